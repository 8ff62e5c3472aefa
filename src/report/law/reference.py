#!/usr/bin/env python3
"""Writes reference.json: scaling laws of a few sets of points, fitted by SciPy, for the test in reference.rs.

    python3 reference.py        needs numpy and scipy; takes ten minutes, nearly all for the intervals

What is minimised is written down here a second time, from its description in fit.rs alone: the Huber
loss of log rates over log E, log A and α (Hoffmann et al., arXiv 2203.15556, section 3.3), with δ of
1.345 times the residuals' robust scale and 10^-3 at least. How it is minimised has nothing in common
with fit.rs: trust regions by `least_squares` from a grid of starts, then Nelder and Mead's simplex. The
intervals are those of bootstrap.rs, with numpy's random numbers: they agree as two bootstraps do.
"""
import itertools
import json
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares, minimize

LEAST_DELTA, HUBER, NORMAL_MEDIAN = 1e-3, 1.345, 0.6745
EXPONENTS, LEAST_FLOOR = (0.02, 4.0), -7.0
DRAWS = 4000
# Length of a corpus, and bytes that a parameter costs, for which the best size is computed.
CORPUS, COST = 1e9, 2.0


def predicted(law, logs):
    """Log rates under (log E, log A, α, …), logs being the scales' logarithms about their means."""
    terms = [height - exponent * logs[:, i] for i, (height, exponent) in enumerate(law[1:].reshape(-1, 2))]
    return np.logaddexp.reduce([np.full(len(logs), law[0]), *terms])


def loss(law, logs, rates, delta):
    size = np.abs(rates - predicted(law, logs))
    return np.sum(np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)))


def bounds(logs, rates):
    terms = logs.shape[1]
    low = [rates.min() + LEAST_FLOOR] + [-np.inf, EXPONENTS[0]] * terms
    high = [rates.min()] + [np.inf, EXPONENTS[1]] * terms
    return np.array(low), np.array(high)


def starts(logs, rates):
    terms = logs.shape[1]
    for share in (0.02, 0.3, 0.6, 0.95):
        floor = np.log(share) + rates.min()
        height = np.log(max(np.exp(rates.mean()) - np.exp(floor), 1e-3 * np.exp(rates.min())) / terms)
        for exponents in itertools.product((0.15, 0.4, 1.0), repeat=terms):
            yield np.array([floor] + [value for exponent in exponents for value in (height, exponent)])


def descend(start, logs, rates, delta, precision=1e-15):
    low, high = bounds(logs, rates)
    found = least_squares(
        lambda law: rates - predicted(law, logs), np.clip(start, low + 1e-9, high - 1e-9), loss="huber",
        f_scale=delta, x_scale="jac", bounds=(low, high), ftol=precision, xtol=precision, gtol=precision, max_nfev=2000)
    return found.x


def best(begin, logs, rates, delta, precision=1e-15):
    laws = [descend(start, logs, rates, delta, precision) for start in begin]
    return min(laws, key=lambda law: loss(law, logs, rates, delta))


def polished(law, logs, rates, delta):
    """The same law by another method, which must not find a better one."""
    low, high = bounds(logs, rates)
    inside = lambda law: np.clip(law, low, high)
    again = minimize(
        lambda law: loss(inside(law), logs, rates, delta), law, method="Nelder-Mead",
        options={"xatol": 1e-13, "fatol": 1e-18, "maxiter": 50_000, "maxfev": 50_000, "adaptive": True})
    before, after = loss(law, logs, rates, delta), loss(inside(again.x), logs, rates, delta)
    assert after > before * (1 - 1e-7), (before, after)
    return inside(again.x) if after < before else law


def fitted(logs, rates):
    numbers = 1 + 2 * logs.shape[1]
    first = best(starts(logs, rates), logs, rates, LEAST_DELTA)
    first = polished(first, logs, rates, LEAST_DELTA)
    sizes = np.sort(np.abs(rates - predicted(first, logs)))
    delta = max(LEAST_DELTA, HUBER * np.median(sizes[numbers:]) / NORMAL_MEDIAN)
    law = best([first, *starts(logs, rates)], logs, rates, delta)
    return polished(law, logs, rates, delta), delta


def plain(law, means):
    """E, and A and α of each term, the scales no longer about their means."""
    heights, exponents = law[1::2], law[2::2]
    return np.exp(law[0]), np.exp(heights + exponents * means), exponents


def best_size(law, means):
    _, factors, exponents = plain(law, means)
    return (exponents[0] * factors[0] * CORPUS / COST) ** (1 / (exponents[0] + 1))


def intervals(law, delta, logs, rates, means, draws):
    random = np.random.default_rng(0)
    count, freedom = len(rates), len(rates) - len(law)
    center = predicted(law, logs)
    residuals = rates - center
    begin = [law, *list(starts(logs, rates))[::5]]
    found = []
    for _ in range(draws):
        scale = np.sqrt(count / freedom) * np.sqrt(freedom / random.chisquare(freedom))
        signed = random.choice(residuals, count) * random.choice([-1.0, 1.0], count)
        drawn = best(begin, logs, center + scale * signed, delta, precision=1e-9)
        found.append([drawn[2], best_size(drawn, means)])
    return np.quantile(found, [0.025, 0.975], axis=0).T


def case(name, scales, rates, draws=0):
    scales, rates = np.array(scales), np.log(np.array(rates))
    means = np.log(scales).mean(axis=0)
    logs = np.log(scales) - means
    law, delta = fitted(logs, rates)
    floor, factors, exponents = plain(law, means)
    result = {
        "name": name,
        "points": [{"scales": list(row), "rate": rate} for row, rate in zip(scales.tolist(), np.exp(rates).tolist())],
        "delta": delta, "loss": loss(law, logs, rates, delta),
        "floor": floor, "factors": factors.tolist(), "exponents": exponents.tolist(),
        "best_size": best_size(law, means),
    }
    if draws:
        ends = intervals(law, delta, logs, rates, means, draws).tolist()
        result["intervals"] = dict(zip(["exponent", "best_size"], ends))
    print(name, {key: value for key, value in result.items() if key not in ("name", "points")}, flush=True)
    return result


def main():
    # The runs of the study `pocket` with bytes: raw rates on two texts.
    sizes = [[size] for size in (65576, 229456, 491628, 852112, 1867992, 3277088)]
    tail = [0.3137958984375, 0.2861015625, 0.27054296875, 0.263224609375, 0.2589365234375, 0.2524541015625]
    head = [0.4943173828125, 0.453875, 0.431126953125, 0.4203232421875, 0.4122119140625, 0.39389453125]
    # Made up: noise, and one rate that is far off.
    random = np.random.default_rng(1)
    nine = [[2e5 * 2**step] for step in range(9)]
    outlying = [(0.1 + 30 * size**-0.4) * np.exp(0.004 * random.normal()) for (size,) in nine]
    outlying[3] *= 1.12
    both = [[size, tokens] for size in (2e5, 8e5, 3.2e6, 1.2e7) for tokens in (1e7, 1e8, 1e9)]
    chinchilla = [
        (0.08 + 20 * size**-0.4 + 40 * tokens**-0.35) * np.exp(0.003 * random.normal()) for size, tokens in both]
    cases = [
        case("pocket-tail", sizes, tail, DRAWS),
        case("pocket-head", sizes, head),
        case("outlier", nine, outlying, DRAWS),
        case("size-and-tokens", both, chinchilla),
    ]
    text = json.dumps({"corpus_bytes": CORPUS, "bytes_per_parameter": COST, "cases": cases}, indent=1)
    (Path(__file__).parent / "reference.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
