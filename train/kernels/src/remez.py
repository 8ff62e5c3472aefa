"""Near-minimax coefficients of 2^r and e^r with the constant fixed at 1 (relative error): the constants of math.rs.

The basis r, r^2, … vanishes at 0, so Remez does not apply; Lawson's reweighted least squares does."""
from mpmath import mp, mpf, matrix, lu_solve, cos, pi, exp, log
mp.dps = 30
def lawson(f, deg, half, points=161, rounds=60):
    xs = [half * cos(pi * (i + mpf(1)/2) / points) for i in range(points)]
    u = [mpf(1) / points] * points
    best = None
    for _ in range(rounds):
        A = matrix(deg, deg); B = matrix(deg, 1)
        for x, w in zip(xs, u):
            s = w / f(x)**2
            for i in range(deg):
                B[i] += s * x**(i+1) * (f(x) - 1)
                for j in range(deg): A[i, j] += s * x**(i+j+2)
        c = lu_solve(A, B)
        e = [abs(1 + sum(c[j] * x**(j+1) for j in range(deg)) - f(x)) / f(x) for x in xs]
        if best is None or max(e) < best[0]: best = (max(e), [c[j] for j in range(deg)])
        u = [w * v for w, v in zip(u, e)]; t = sum(u); u = [w / t for w in u]
    return best
for name, f, half, degs in (("2^r", lambda x: mpf(2)**x, mpf(1)/2, (4, 5, 6)), ("e^r", exp, log(2)/2*mpf('1.0001'), (5, 6))):
    for deg in degs:
        e, c = lawson(f, deg, half)
        print(name, deg, [mp.nstr(v, 12) for v in c], mp.nstr(e, 4))
