"""A problem with the common parts of its vectors taken out, for algorithms that never form the affinity.

For any vectors a and b, ``x_i . y_j = (x_i - a).(y_j - b) + a.y_j + x_i.b - a.b``; summed over the pairs of a permutation
the last three terms are a constant. The centred problem therefore has the same optimum, its inner products are smaller, and their
rounding with them; what float64 vectors have beyond float32 often lies in the common part alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from semrsm_bench.solvers.problem import Floats, MatchingProblem

# Bytes of a block of inner products that stays in the cache between the product and what is done with it.
BLOCK_BYTES = 8 << 20
# Rows and columns of such a block, in a shape that matrix products are fast at.
TILE = (512, 4096)


@dataclass(frozen=True)
class Centred:
    """Centred vectors, scaled to magnitudes near 1: x is ``(problem.x - x_mean) * 2**-x_exponent``, and y alike."""

    x: Floats
    y: Floats
    x_mean: NDArray[np.float64]
    y_mean: NDArray[np.float64]
    x_exponent: int
    y_exponent: int

    @property
    def exponent(self) -> int:
        """The inner products of x and y times ``2**exponent`` are those of the centred problem."""
        return self.x_exponent + self.y_exponent


def centre(problem: MatchingProblem, dtype: DTypeLike = np.float32) -> Centred:
    """Centred and scaled vectors in the given precision; S and C at least 1."""
    (x, x_mean, x_exponent), (y, y_mean, y_exponent) = (_centred(z, dtype) for z in (problem.x, problem.y))
    return Centred(x, y, x_mean, y_mean, x_exponent, y_exponent)


def _centred(z: Floats, dtype: DTypeLike) -> tuple[Floats, NDArray[np.float64], int]:
    mean = z.mean(axis=0, dtype=np.float64)
    moved = z - mean
    exponent = math.frexp(float(np.abs(moved).max(initial=0.0)))[1]
    np.ldexp(moved, -exponent, out=moved)
    return moved.astype(dtype, copy=False), mean, exponent


def with_ones(vectors: Floats) -> Floats:
    """One more column, of ones: for products that subtract a number for each column."""
    return np.concatenate([vectors, np.ones((len(vectors), 1), vectors.dtype)], axis=1)


def row_duals(x: Floats, y: Floats, prices: Floats) -> Floats:
    """``u_i = max_j (x_i . y_j - prices_j)``, (S,), of x (S, C), y (T, C) and prices (T,) in their precision, block by block.

    With x and y exchanged, and row duals in place of prices, it gives the smallest feasible prices of those row duals.
    """
    left, right = with_ones(x), []
    for j in range(0, len(y), TILE[1]):
        right.append(np.concatenate([y[j : j + TILE[1]].T, -prices[None, j : j + TILE[1]].astype(x.dtype)]))
    result = np.full(len(x), -np.inf, x.dtype)
    for i in range(0, len(x), TILE[0]):
        here = result[i : i + TILE[0]]
        for columns in right:
            np.maximum(here, (left[i : i + TILE[0]] @ columns).max(axis=1), out=here)
    return result
