#!/usr/bin/env python3
"""Scoring speed of pretrained models beside Hugging Face's transformers in float32, on the same machine and in one
run, alternating.

Three models: one folder that is given (stories260K), and a Llama and a Gemma 2 of about 100M random weights that are
made here. Both sides score the same chunks: as many tokens as the context holds up to 1024, each chunk from its begin token, all logits
and log-probabilities of the targets. Each round measures both once; a figure is the median over the rounds.

  cargo build --release
  python train/benches/against_transformers.py --model ../shared/models/stories260K
"""
import argparse, json, platform, statistics, subprocess, sys, tempfile, time
from pathlib import Path

import torch
import transformers

TEXT = Path(__file__).parents[2] / "Cargo.lock"


def random_llama(folder, tokenizer):
    """100M parameters: 12 layers of width 768, 12 heads over 4 of keys, in float32."""
    config = transformers.LlamaConfig(
        vocab_size=32000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
        num_key_value_heads=4, max_position_embeddings=2048, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True)
    return save(transformers.LlamaForCausalLM, config, folder, tokenizer)


def random_gemma2(folder, tokenizer):
    """As many: every other layer sees 512 tokens, scores and logits are capped, what layers give is normed."""
    config = transformers.Gemma2Config(
        vocab_size=32000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
        num_key_value_heads=4, head_dim=64, query_pre_attn_scalar=64, sliding_window=512,
        max_position_embeddings=2048, bos_token_id=1, eos_token_id=2)
    return save(transformers.Gemma2ForCausalLM, config, folder, tokenizer)


def save(kind, config, folder, tokenizer):
    torch.manual_seed(0)
    model = kind(config)
    model.save_pretrained(folder)
    (Path(folder) / "tokenizer.json").write_bytes((Path(tokenizer) / "tokenizer.json").read_bytes())
    return sum(weight.numel() for weight in model.parameters())


def processor():
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def ours(lmtrain, folder, corpus, tokens, chunks):
    """Tokens a second of `lmtrain eval`, without the coder."""
    with tempfile.TemporaryDirectory() as runs:
        command = [lmtrain, "eval", "--json", "--quiet", "--ideal", "--model", str(folder), "--corpus", str(corpus),
                   "--chunk", f"{tokens}tokens", "--runs-dir", runs]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(command)}")
    record = json.loads(done.stdout)[0]
    return record["tokens_per_s"], record["ideal_bits"] / record["tokens"], record["tokens"]


def theirs(model, chunks, begin, batch):
    """Tokens a second of transformers, and bits a token."""
    start, bits, count = time.perf_counter(), 0.0, 0
    with torch.inference_mode():
        for first in range(0, len(chunks), batch):
            some = chunks[first:first + batch]
            inputs = torch.cat([torch.full((len(some), 1), begin), some[:, :-1]], 1)
            logits = model(inputs, use_cache=False).logits
            bits += torch.nn.functional.cross_entropy(logits.flatten(0, 1), some.flatten(), reduction="sum").item()
            count += some.numel()
    return count / (time.perf_counter() - start), bits / count / 0.6931471805599453


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder with a small model and its tokenizer")
    parser.add_argument("--lmtrain", default="target/release/lmtrain")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", default="1,4", help="chunks that transformers scores at once; the fastest counts")
    parser.add_argument("--bytes", type=int, default=400_000, help="text for the given model; a sixteenth for the others")
    parser.add_argument("--only", choices=["given", "llama", "gemma2"], help="one of the models")
    parser.add_argument("--threads", type=int, help="threads of both")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    made = tempfile.TemporaryDirectory()
    rows, models = [], [("given", Path(arguments.model).name, arguments.model, arguments.bytes, 512)]
    for which, name, make in [("llama", "Llama", random_llama), ("gemma2", "Gemma 2", random_gemma2)]:
        if arguments.only in (None, which):
            folder = Path(made.name) / which
            name = f"random {name}, {make(folder, arguments.model) / 1e6:.0f}M"
            models.append((which, name, folder, arguments.bytes // 16, 1024))
    for which, name, folder, most, length in models:
        if arguments.only not in (None, which):
            continue
        corpus = Path(made.name) / "text"
        corpus.write_bytes(TEXT.read_bytes()[:most])
        # The way of attention that caps scores is the plain one.
        kind = {"attn_implementation": "eager"} if which == "gemma2" else {}
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **kind).eval()
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(Path(folder) / "tokenizer.json"))
        ids = tokenizer(corpus.read_text(), add_special_tokens=False)["input_ids"]
        # Whole chunks alone, so that both score the same.
        ids = torch.tensor(ids[:len(ids) // length * length]).view(-1, length)
        begin = model.config.bos_token_id
        speeds = {"lmtrain": [], **{f"batch {batch}": [] for batch in arguments.batches.split(",")}}
        for round in range(arguments.rounds + 1):
            speed, bits, _ = ours(arguments.lmtrain, folder, corpus, length, len(ids))
            found = [("lmtrain", speed)]
            for batch in arguments.batches.split(","):
                speed, expected = theirs(model, ids, begin, int(batch))
                found.append((f"batch {batch}", speed))
            # The last chunk, which is shorter, is ours alone: the means need only be near.
            assert abs(bits - expected) < 0.02 * expected, (bits, expected)
            if round > 0:  # The first warms up.
                for who, speed in found:
                    speeds[who].append(speed)
        medians = {who: statistics.median(values) for who, values in speeds.items()}
        peer = max(value for who, value in medians.items() if who != "lmtrain")
        ratios = [a / max(others) for a, *others in zip(*speeds.values())]
        rows.append((name, medians["lmtrain"], peer, medians["lmtrain"] / peer, min(ratios), max(ratios)))
    print(f"{processor()}, {torch.get_num_threads()} threads, transformers {transformers.__version__}, torch {torch.__version__}; "
          f"medians of {arguments.rounds} rounds, tokens/s\n")
    print("| | lmtrain | transformers, float32 | ratio | over the rounds |\n| --- | --: | --: | --: | --: |")
    for name, mine, peer, ratio, low, high in rows:
        print(f"| {name} | {mine:,.0f} | {peer:,.0f} | {ratio:.2f} | {low:.2f} to {high:.2f} |")


if __name__ == "__main__":
    main()
