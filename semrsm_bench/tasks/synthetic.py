"""Assignment problems made by code from a seed: what the assignment literature measures solvers on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.task import Arrays
from semrsm_bench.solvers import MatchingProblem

Generator = np.random.Generator
# What an entry costs that is not the cheap one of 1.
_DEAR = 1_000_000


def uniform_small(size: int, channels: int, rng: Generator) -> Arrays:
    """Costs are whole numbers from 1 to 100: many are equal."""
    return _costs(rng.integers(1, 101, (size, size), dtype=np.int16))


def uniform_large(size: int, channels: int, rng: Generator) -> Arrays:
    """Costs are whole numbers from 1 to a million: few are equal."""
    return _costs(rng.integers(1, _DEAR + 1, (size, size), dtype=np.int32))


def euclidean(size: int, channels: int, rng: Generator) -> Arrays:
    """Costs are distances between two sets of points of the unit square."""
    points = rng.random((2, size, 2))
    return _costs(np.hypot(*(points[0][:, None] - points[1]).transpose(2, 0, 1)).astype(np.float32))


def two_cost(size: int, channels: int, rng: Generator) -> Arrays:
    """Costs are 1 or a million; of each row about log S are 1.

    At this density there begin to be matchings of cheap entries alone (Erdős and Rényi 1964).
    """
    cheap = rng.random((size, size)) < math.log(size) / size
    return _costs(np.where(cheap, 1, _DEAR).astype(np.int32))


def machol_wien(size: int, channels: int, rng: Generator) -> Arrays:
    """Costs are i j for i, j = 1 .. S, rows and columns in an order drawn at random: the best matching is unique."""
    rows, columns = (rng.permutation(size) + 1 for _ in range(2))
    return _costs(np.multiply.outer(rows, columns).astype(np.int32))


def low_rank(size: int, channels: int, rng: Generator) -> Arrays:
    """Position vectors of few channels, standard normal: the best matching is that of least squared distances."""
    x, y = rng.standard_normal((2, size, channels), dtype=np.float32)
    return {"x": x, "y": y}


def _costs(costs: NDArray[np.integer | np.floating]) -> Arrays:
    return {"affinity": MatchingProblem.from_costs(costs).affinity}
