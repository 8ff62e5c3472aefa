"""The same work as speed.rs by the Python package: pip install tokenizers

python peer.py TEXT-FILE VOCABULARY-FILE TOKENS train|encode
"""
import resource
import sys
import time

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

PATTERN = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}{1,64}| ?\p{N}{1,64}| ?[^\s\p{L}\p{N}]{1,64}"
    r"|\s{1,64}(?!\S)|\s{1,64}"
)
LINES = 1000  # of a piece: the package works on pieces in parallel, and on one text alone slowly

text_file, vocabulary_file, tokens, what = sys.argv[1:]
with open(text_file, encoding="utf-8", errors="replace", newline="") as file:
    text = file.read()
lines = text.splitlines(keepends=True)
pieces = ["".join(lines[at : at + LINES]) for at in range(0, len(lines), LINES)]
start = time.perf_counter()
if what == "train":
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=int(tokens), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(pieces, trainer)
    tokenizer.save(vocabulary_file)
    made = tokenizer.get_vocab_size()
else:
    tokenizer = Tokenizer.from_file(vocabulary_file)
    made = sum(len(piece.ids) for piece in tokenizer.encode_batch_fast(pieces))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{what}: {seconds:.2f} s, {len(text.encode()) / 1e6 / seconds:.2f} MB/s, {made} tokens, "
      f"peak memory {peak} kB")
