"""The usual Markov source again, from its description alone: prints what the test in markov.rs pins.

    python3 markov_reference.py

The stationary distribution comes from solving its linear equations, not from iterating.
"""

import hashlib
import math

ORDER, ALPHABET, SEED, LENGTH, BURN_IN = 2, 16, 0, 100_000, 4096
MASK = (1 << 64) - 1
CONTEXTS = ALPHABET**ORDER


def split_mix_64(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        yield mixed ^ (mixed >> 31)


def draw_row(generator):
    magnitudes = []
    for _ in range(ALPHABET):
        exponent = next(generator) % 13
        magnitudes.append((1 << exponent) + next(generator) % (1 << exponent))
    even = 4096 // ALPHABET
    row = [even + m * (65536 - even * ALPHABET) // sum(magnitudes) for m in magnitudes]
    left_over = 65536 - sum(row)
    return [weight + (symbol < left_over) for symbol, weight in enumerate(row)]


def stationary(rows):
    """Gaussian elimination on (P^T - I) x = 0 with the last equation replaced by sum x = 1."""
    matrix = [[0.0] * (CONTEXTS + 1) for _ in range(CONTEXTS)]
    for context, row in enumerate(rows):
        matrix[context][context] -= 1.0
        for symbol, weight in enumerate(row):
            matrix[(context * ALPHABET + symbol) % CONTEXTS][context] += weight / 65536
    matrix[-1] = [1.0] * (CONTEXTS + 1)
    for column in range(CONTEXTS):
        pivot = max(range(column, CONTEXTS), key=lambda r: abs(matrix[r][column]))
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        for r in range(CONTEXTS):
            if r != column and matrix[r][column]:
                factor = matrix[r][column] / matrix[column][column]
                matrix[r] = [a - factor * b for a, b in zip(matrix[r], matrix[column])]
    return [matrix[c][-1] / matrix[c][c] for c in range(CONTEXTS)]


def sample(rows, generator):
    context, output = 0, bytearray()
    for _ in range(BURN_IN + LENGTH):
        value, symbol = next(generator) >> 48, 0
        while value >= rows[context][symbol]:
            value -= rows[context][symbol]
            symbol += 1
        context = (context * ALPHABET + symbol) % CONTEXTS
        output.append(ord("a") + symbol)
    return bytes(output[BURN_IN:])


generator = split_mix_64(SEED)
rows = [draw_row(generator) for _ in range(CONTEXTS)]
entropies = [-sum(w / 65536 * math.log2(w / 65536) for w in row) for row in rows]
print(hashlib.sha256(sample(rows, generator)).hexdigest())
print(sum(p * h for p, h in zip(stationary(rows), entropies)))
