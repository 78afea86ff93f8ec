"""Small matching problems that break solvers, shared by the tests of the auctions and of the bounds."""

import numpy as np

from semrsm_bench.solvers import MatchingProblem


def _relu(draw, size, channels):
    return np.maximum(draw.normal(size=(size, channels)), 0).astype(np.float32)


def _normal(draw, size, channels):
    return draw.normal(size=(size, channels)).astype(np.float32)


def _mostly_zero_rows(draw, size, channels):
    z = _relu(draw, size, channels)
    z[draw.random(size) < 0.7] = 0
    return z


def _huge_row(draw, size, channels):
    z = _normal(draw, size, channels)
    z[draw.integers(size)] *= 1e4
    return z


KINDS = {
    "normal": _normal,
    "relu": _relu,
    "zero rows": _mostly_zero_rows,
    "all zero": lambda draw, size, channels: np.zeros((size, channels), np.float32),
    "constant": lambda draw, size, channels: np.full((size, channels), 0.7, np.float32),
    "integers": lambda draw, size, channels: draw.integers(0, 2, (size, channels)).astype(np.float32),
    "duplicates": lambda draw, size, channels: _normal(draw, size, channels)[draw.integers(0, size, size) // 3],
    "huge row": _huge_row,
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


def true_affinity(problem):
    """Inner products in float64."""
    return problem.x.astype(np.float64) @ problem.y.astype(np.float64).T
