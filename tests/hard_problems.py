"""Problems for the tests of solvers, those that break them among them, and their optima by SciPy or by every permutation."""

import itertools

import numpy as np
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers import MatchingProblem, chance_corrected, get_solver, matching_value, random_value


def _relu(draw, size, channels):
    return np.maximum(draw.normal(size=(size, channels)), 0).astype(np.float32)


def _normal(draw, size, channels):
    return draw.normal(size=(size, channels)).astype(np.float32)


def _one_of(draw, size, factor):
    """A column (size, 1) of ones and one factor."""
    return np.where(np.arange(size) == draw.integers(size), factor, 1)[:, None].astype(np.float32)


KINDS = {
    "normal": _normal,
    "relu": _relu,
    "zero rows": lambda draw, size, channels: _relu(draw, size, channels) * (draw.random((size, 1)) >= 0.7),
    "all zero": lambda draw, size, channels: np.zeros((size, channels), np.float32),
    "constant": lambda draw, size, channels: np.full((size, channels), 0.7, np.float32),
    "integers": lambda draw, size, channels: draw.integers(0, 2, (size, channels)).astype(np.float32),
    "duplicates": lambda draw, size, channels: _normal(draw, size, channels)[draw.integers(0, size, size) // 3],
    "huge row": lambda draw, size, channels: _normal(draw, size, channels) * _one_of(draw, size, 1e4),
    "rank one": lambda draw, size, channels: np.outer(draw.normal(size=size), np.arange(1, channels + 1)),
    "denormal": lambda draw, size, channels: _normal(draw, size, channels) * np.float32(1e-30),
    "offset": lambda draw, size, channels: _normal(draw, size, channels) + np.float32(1000),
    "float64": lambda draw, size, channels: draw.normal(size=(size, channels)),
    "beyond float32": lambda draw, size, channels: 1 + 1e-9 * draw.normal(size=(size, channels)),
    "very large": lambda draw, size, channels: 1e140 * draw.normal(size=(size, channels)),
    "very small": lambda draw, size, channels: 1e-140 * draw.normal(size=(size, channels)),
}


def hard_problem(kind, size, channels, seed):
    """A problem of one kind against the same kind or, every other seed, against plain noise."""
    draw = np.random.default_rng(seed)
    make = KINDS[kind]
    other = make if seed % 2 else _normal
    return MatchingProblem(make(draw, size, channels), other(draw, size, channels))


def activations(size, channels, seed=0):
    """Correlated, rectified position vectors, such as a convolution makes."""
    draw = np.random.default_rng(seed)
    basis = draw.normal(size=(8, channels))
    x, y = (np.maximum(draw.normal(size=(size, 8)) @ basis + 0.3, 0).astype(np.float32) for _ in range(2))
    return MatchingProblem(x, y)


def true_affinity(problem):
    """Inner products in float64."""
    return problem.x.astype(np.float64) @ problem.y.astype(np.float64).T


def best_columns(affinity):
    """The optimal permutation by SciPy in float64, at a scale where it is at home."""
    wide = affinity.astype(np.float64)
    return linear_sum_assignment(wide / (np.abs(wide).max(initial=0.0) or 1.0), maximize=True)[1]


def best_value(problem):
    affinity = true_affinity(problem)
    return affinity[np.arange(problem.size), best_columns(affinity)].sum()


def best_by_trying_all(affinity):
    rows = np.arange(len(affinity))
    return max(affinity[rows, list(p)].sum() for p in itertools.permutations(range(len(affinity))))


def shortfalls(affinity, prices, column_of):
    """By how much each matched row's pair is below the row's maximum."""
    reduced, rows = affinity.astype(np.float64) - prices, np.flatnonzero(column_of >= 0)
    return reduced[rows].max(axis=1) - reduced[rows, column_of[rows]]


def rounding(problem):
    """What the affinity's precision may cost a matching: its own rounding, on both sides, for every row."""
    sizes = [np.abs(z.astype(np.float64)).max(initial=0.0) for z in (problem.x, problem.y)]
    return 8 * problem.size * problem.channels * np.finfo(problem.x.dtype).eps * sizes[0] * sizes[1]


def corrected(problem, perm):
    """Chance-corrected quality of a matching."""
    optimum = matching_value(problem, get_solver("exact-auction").run(problem).perm)
    return chance_corrected(matching_value(problem, perm), optimum, random_value(problem))
