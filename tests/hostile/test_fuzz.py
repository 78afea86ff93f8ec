"""100,000 problems over scales, dtypes, ties and ranks: every answer a permutation, no exact solver below the optimum beyond
what float64 loses, or float32 for those that round to levels, no dense auction below what its eps promises, no upper bound
below the optimum, duals feasible, and a clear error, never an answer, where inner products leave float64.

The truth is SciPy's on affinities in float64 of vectors scaled to one. SEED and COUNT in the environment choose others.
"""

import os
import warnings

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import semrsm_bench as sb

pytestmark = pytest.mark.hostile
SEED, COUNT = int(os.environ.get("SEED", 0)), int(os.environ.get("COUNT", 100_000))
PARTS = 8
SCALES = {np.float64: (-300, 300), np.float32: (-40, 38), np.float16: (-2, 2)}
STRUCTURES = {
    "normal": lambda d, s, c: d.normal(size=(s, c)),
    "relu": lambda d, s, c: np.maximum(d.normal(size=(s, c)), 0),
    "half of the positions equal": lambda d, s, c: d.normal(size=(s, c))[np.minimum(np.arange(s), s // 2)],
    "few values": lambda d, s, c: d.integers(-2, 3, size=(s, c)),
    "two values": lambda d, s, c: d.integers(0, 2, size=(s, c)),
    "zeros": lambda d, s, c: np.zeros((s, c)),
    "constant": lambda d, s, c: np.full((s, c), d.normal()),
    "nearly constant": lambda d, s, c: 1 + 1e-7 * d.normal(size=(s, c)),
    "offset": lambda d, s, c: d.normal(size=(s, c)) + 1000,
    "rank one": lambda d, s, c: np.outer(d.normal(size=s), d.normal(size=c)),
    "one large row": lambda d, s, c: d.normal(size=(s, c)) * np.where(np.arange(s) == d.integers(s), 1e4, 1)[:, None],
    "mixed scales": lambda d, s, c: d.normal(size=(s, c)) * 10.0 ** d.integers(-6, 6, size=(s, 1)),
    "one value": lambda d, s, c: np.eye(s, c) * (d.integers(s) == np.arange(s))[:, None],
}
EPS = {"auction-fine": 0.01, "auction-coarse": 0.1}
# Those that solve float64 as it is; the others round to levels, within what float32 may lose.
IN_FLOAT64 = ("exact-auction", "scipy", "lap")
FAST = ("exact-auction", "auction-fine", "auction-coarse")
OTHERS = tuple(n for n in sb.solver_names() if sb.get_solver(n).available and n not in FAST)


def problem_of(draw):
    """Two images of one dtype and two scales, their structures drawn each by itself or alike, and words about them."""
    size, channels = int(draw.choice([1, 2, 3, 4, 5, 7, 9, 13, 17, 24, 33])), int(draw.choice([1, 2, 3, 8]))
    dtype = draw.choice(np.array(list(SCALES), dtype=object))
    names = draw.choice(list(STRUCTURES), size=2)
    x, y = (STRUCTURES[name](draw, size, channels) for name in names)
    if draw.random() < 0.1:
        y = x[draw.permutation(size)]
    low, high = SCALES[dtype]
    scales = 10.0 ** draw.uniform(low, high, size=2)
    if draw.random() < 0.5:
        # Products of moderate size, whatever the two.
        scales[1] = 10.0 ** np.clip(draw.uniform(-3, 3) - np.log10(scales[0]), low, high)
    x, y = ((z * s / max(1.0, np.abs(z).max())).astype(dtype) for z, s in zip((x, y), scales))
    return x, y, f"{names[0]} x {names[1]}, S={size}, C={channels}, {np.dtype(dtype)}, {scales}"


def normed(z):
    z = np.asarray(z, dtype=np.float64)
    return z / (np.abs(z).max() or 1.0)


def leaves_float64(x, y):
    """Whether the largest product is beyond what a problem takes, by its logarithm; None close to the border."""
    largest = [float(np.abs(z).max()) for z in (x, y)]
    if min(largest) == 0.0:
        return False
    digits = sum(np.log10(largest))
    if abs(digits + 290) < 0.01 or 296 < digits < 300:
        return None
    return bool(digits < -290 or digits > 296)


def truth(problem):
    """(affinity of the scaled vectors, its optimum, what float32 and float64 may lose)."""
    affinity = normed(problem.x) @ normed(problem.y).T
    rows, columns = linear_sum_assignment(affinity, maximize=True)
    size, channels = problem.x.shape
    # Rounding of an inner product of C terms at most one in size, S of them in a value; twice, for it and its rival.
    lost = 4 * size * channels * np.array([np.finfo(np.float32).eps, np.finfo(np.float64).eps])
    return affinity, affinity[rows, columns].sum(), lost


def lost_by(problem, perm, affinity, best, where):
    assert perm.shape == (len(affinity),), where
    assert perm.dtype == np.intp, where
    assert np.array_equal(np.sort(perm), np.arange(len(affinity))), where
    return best - affinity[np.arange(len(affinity)), perm].sum()


def promised(affinity, eps):
    """How far a dense auction that was not cut off may end below the optimum: S eps, in units of the median deviation."""
    deviations = (affinity - affinity.mean(axis=0)).std(axis=1)
    return len(affinity) * eps * (float(np.median(deviations)) or float(deviations.mean()))


def infeasible(problem, duals, affinity):
    """By how much duals miss an entry of the affinity, in units of the scaled one."""
    if duals is None:
        return 0.0
    exponents = [int(np.frexp(np.float64(np.abs(z).max()))[1]) for z in (problem.x, problem.y)]
    u, v = (np.ldexp(np.float64(dual), -sum(exponents)) for dual in duals)
    x, y = (np.ldexp(z.astype(np.float64), -exponent) for z, exponent in zip((problem.x, problem.y), exponents))
    return float((x @ y.T - u[:, None] - v).max())


@pytest.mark.parametrize("part", range(PARTS))
def test_a_hundred_thousand_problems(part):
    draw = np.random.default_rng([SEED, part])
    failures = []
    for i in range(COUNT // PARTS):
        x, y, where = problem_of(draw)
        beyond = leaves_float64(x, y)
        try:
            problem = sb.MatchingProblem(x, y)
        except ValueError as error:
            if beyond is False or "leave float64" not in str(error):
                failures.append(f"{error}: {where}")
            continue
        if beyond:
            failures.append(f"accepted: {where}")
        affinity, best, (single, double) = truth(problem)
        scale = np.abs(problem.x).max().astype(np.float64) * np.abs(problem.y).max().astype(np.float64)
        names = FAST if i % 25 else (*FAST, OTHERS[i // 25 % len(OTHERS)])
        for name in names:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    solution = sb.get_solver(name).run(problem)
                    loss = lost_by(problem, solution.perm, affinity, best, where)
                except Exception as error:
                    failures.append(f"{name}: {type(error).__name__}: {error}: {where}")
                    continue
            wide = name in IN_FLOAT64 and problem.x.dtype == np.float64
            allowed = 100 * double if wide else single
            if sb.get_solver(name).kind == "exact" and loss > allowed:
                failures.append(f"{name}: {loss:.3g} below the optimum: {where}")
            if name in EPS and "left" not in solution.info and loss > 1.01 * promised(affinity, EPS[name]) + single:
                failures.append(f"{name}: {loss:.3g} below the optimum, more than its eps: {where}")
            if (short := infeasible(problem, solution.duals, affinity)) > single:
                failures.append(f"{name}: duals {short:.3g} below the affinity: {where}")
        bound = sb.upper_bound(problem, effort="fast")
        if scale > 0 and bound / scale < best - double * (1 + abs(best)):
            failures.append(f"upper bound {bound / scale} below {best}: {where}")
    assert not failures, f"{len(failures)} of {COUNT // PARTS}:\n" + "\n".join(failures[:20])
