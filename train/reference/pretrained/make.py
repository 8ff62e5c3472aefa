#!/usr/bin/env python3
"""Writes the fixtures beside this file: tiny networks of every architecture, with random weights, and what
Hugging Face's transformers says of them in float64.

Each folder is what `save_pretrained` makes (one is in shards, they differ in numbers), with `reference.json`:
the begin token, some tokens, and the bits -log2 p of each. All share one byte-level `tokenizer.json`.

    pip install torch transformers tokenizers && python make.py [NAME ...]
"""
import json, math, shutil, sys
from pathlib import Path

import torch
import transformers as tr
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

HERE, VOCABULARY, TOKENS = Path(__file__).parent, 260, 100
SHARED = dict(vocab_size=VOCABULARY, bos_token_id=256, eos_token_id=256, max_position_embeddings=128,
              hidden_size=40, num_hidden_layers=2, num_attention_heads=4, intermediate_size=56)
SMALL = SHARED | dict(hidden_size=32, intermediate_size=40)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32, rope_theta=500.0)

# Name, class, numbers, options of saving, and a configuration that differs from the defaults where it can.
FIXTURES = [
    ("gpt2", tr.GPT2LMHeadModel, torch.float16, {}, tr.GPT2Config(
        vocab_size=VOCABULARY, bos_token_id=256, eos_token_id=256, n_positions=128, n_embd=24, n_layer=3, n_head=3,
        n_inner=40, scale_attn_by_inverse_layer_idx=True)),
    ("neox", tr.GPTNeoXForCausalLM, torch.float16, {}, tr.GPTNeoXConfig(
        **SHARED | dict(num_attention_heads=2),
        rope_parameters=dict(rope_type="default", rope_theta=1000.0, partial_rotary_factor=0.5))),
    ("neox-serial", tr.GPTNeoXForCausalLM, torch.bfloat16, {}, tr.GPTNeoXConfig(
        **SHARED, use_parallel_residual=False, attention_bias=False, hidden_act="gelu_new")),
    ("llama3", tr.LlamaForCausalLM, torch.bfloat16, {}, tr.LlamaConfig(
        **SHARED, num_key_value_heads=2, tie_word_embeddings=False, rope_parameters=LLAMA3)),
    ("llama-linear", tr.LlamaForCausalLM, torch.bfloat16, {}, tr.LlamaConfig(
        **SHARED, tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
        rope_parameters=dict(rope_type="linear", rope_theta=2000.0, factor=3.0))),
    ("mistral", tr.MistralForCausalLM, torch.bfloat16, {}, tr.MistralConfig(
        **SHARED, num_key_value_heads=2, head_dim=16, sliding_window=19)),
    ("qwen2", tr.Qwen2ForCausalLM, torch.float32, {}, tr.Qwen2Config(
        **SHARED | dict(hidden_size=32, intermediate_size=40), num_key_value_heads=2, tie_word_embeddings=True,
        use_sliding_window=True, sliding_window=23, max_window_layers=1)),
    ("qwen3", tr.Qwen3ForCausalLM, torch.bfloat16, dict(max_shard_size="30KB"), tr.Qwen3Config(
        **SHARED | dict(hidden_size=36), num_key_value_heads=1, head_dim=24, attention_bias=True)),
    ("gemma2", tr.Gemma2ForCausalLM, torch.bfloat16, {}, tr.Gemma2Config(
        **SMALL, num_key_value_heads=2, head_dim=12, sliding_window=13, query_pre_attn_scalar=20,
        attn_logit_softcapping=4.0, final_logit_softcapping=6.0)),
    ("gemma3", tr.Gemma3ForCausalLM, torch.bfloat16, {}, tr.Gemma3TextConfig(
        **SMALL | dict(num_hidden_layers=3, intermediate_size=24), num_key_value_heads=1, head_dim=12, sliding_window=11,
        query_pre_attn_scalar=24, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(full_attention=dict(rope_type="linear", rope_theta=5000.0, factor=4.0),
                             sliding_attention=dict(rope_type="default", rope_theta=300.0)))),
    ("phi3", tr.Phi3ForCausalLM, torch.bfloat16, {}, tr.Phi3Config(
        **SMALL | dict(max_position_embeddings=512), num_key_value_heads=2, tie_word_embeddings=True,
        pad_token_id=0, original_max_position_embeddings=128, sliding_window=60, rope_parameters=dict(
            rope_type="longrope", rope_theta=800.0, partial_rotary_factor=0.75,
            short_factor=[1.0, 1.2, 1.6], long_factor=[1.0, 2.0, 4.0]))),
    ("olmo2", tr.Olmo2ForCausalLM, torch.bfloat16, {}, tr.Olmo2Config(
        **SMALL, num_key_value_heads=2, pad_token_id=0, attention_bias=True)),
    ("smollm3", tr.SmolLM3ForCausalLM, torch.bfloat16, {}, tr.SmolLM3Config(
        **SMALL | dict(num_hidden_layers=3, intermediate_size=24), num_key_value_heads=2, pad_token_id=0, no_rope_layers=[1, 0, 1],
        use_sliding_window=True, sliding_window=21, mlp_bias=True)),
    ("granite", tr.GraniteForCausalLM, torch.bfloat16, {}, tr.GraniteConfig(
        **SMALL, num_key_value_heads=2, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
        embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.3, logits_scaling=1.7,
        rope_parameters=dict(rope_type="dynamic", rope_theta=700.0, factor=2.0))),
    ("gemma", tr.GemmaForCausalLM, torch.bfloat16, {}, tr.GemmaConfig(
        **SMALL, num_key_value_heads=1, head_dim=12)),
    ("stablelm", tr.StableLmForCausalLM, torch.bfloat16, {}, tr.StableLmConfig(
        **SMALL, num_key_value_heads=2, use_qkv_bias=True, qk_layernorm=True, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=900.0, partial_rotary_factor=0.25))),
    ("stablelm-parallel", tr.StableLmForCausalLM, torch.float16, {}, tr.StableLmConfig(
        **SMALL, num_key_value_heads=4, use_parallel_residual=True, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=900.0, partial_rotary_factor=0.75))),
    ("llama-yarn", tr.LlamaForCausalLM, torch.bfloat16, {}, tr.LlamaConfig(
        **SMALL, hidden_act="quick_gelu", tie_word_embeddings=True, rope_parameters=dict(
            rope_type="yarn", rope_theta=400.0, factor=4.0, original_max_position_embeddings=32, beta_fast=8.0))),
    ("gpt2-relu", tr.GPT2LMHeadModel, torch.float16, {}, tr.GPT2Config(
        vocab_size=VOCABULARY, bos_token_id=256, eos_token_id=256, n_positions=128, n_embd=20, n_layer=2, n_head=2,
        n_inner=24, activation_function="relu")),
]


def fill(model, seed):
    """Weights that make sharp attention and far from uniform predictions; norms near 1, biases near 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator)
        if weight.dim() == 1:
            weight.data = 0.2 * noise + (0.0 if name.endswith("bias") else 1.0)
        else:
            weight.data = noise * (0.5 if "emb" in name or "wte" in name else 1.2 / math.sqrt(weight.shape[1]))


def reference(model, begin):
    ids = [(7 * i * i + 13 * i + i // 5) % 256 for i in range(TOKENS)]
    with torch.no_grad():
        logits = model(torch.tensor([[begin] + ids[:-1]])).logits[0]
    bits = -torch.log_softmax(logits, -1)[range(TOKENS), ids] / math.log(2)
    return dict(begin=begin, ids=ids, bits=bits.tolist())


def tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(alphabet)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    return made


if __name__ == "__main__":
    tokenizer().save(str(HERE / "tokenizer.json"))
    for seed, (name, kind, numbers, options, config) in enumerate(FIXTURES):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        config._attn_implementation = "eager"
        model = kind(config).eval()
        fill(model, seed)
        model.tie_weights()
        model.to(numbers).save_pretrained(folder, **options)
        (folder / "generation_config.json").unlink(missing_ok=True)
        # Loaded again: tables of positions would have been rounded too.
        model = kind.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
        found = reference(model, 256)
        (folder / "reference.json").write_text(json.dumps(found))
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        print(f"{name}: {size} bytes, {sum(found['bits']) / TOKENS:.3f} bits a token")
