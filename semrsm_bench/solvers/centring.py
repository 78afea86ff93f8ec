"""Position vectors with their means taken out, and passes over their inner products that never hold the affinity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.products import pack_for_unit, unit_for

# Bytes of a block of inner products that stays in the cache between the product and what is done with it.
_BLOCK_BYTES = 8 << 20
# Columns of such a block where there are many.
_COLUMNS = 4096


@dataclass(frozen=True)
class Centred:
    """A problem with the means taken out of its vectors: x is ``(problem.x - x_mean) * 2**-x_exponent``, and y alike, near 1.

    For any vectors a and b, ``x_i . y_j = (x_i - a).(y_j - b) + a.y_j + x_i.b - a.b``; summed over the pairs of a permutation
    the last three terms are a constant. The centred problem therefore has the same optimum, its inner products are smaller, and
    their rounding with them; what float64 vectors have beyond float32 is often in the common part alone.
    """

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

    @property
    def transposed(self) -> Centred:
        """The same with x and y exchanged."""
        return Centred(self.y, self.x, self.y_mean, self.x_mean, self.y_exponent, self.x_exponent)


def centre(problem: MatchingProblem, dtype: DTypeLike = np.float32) -> Centred:
    """Centred and scaled vectors in the given precision; S and C at least 1."""
    means = [z.mean(axis=0, dtype=np.float64) for z in (problem.x, problem.y)]
    moved = problem.x - means[0], problem.y - means[1]
    exponents = [math.frexp(float(np.abs(z).max(initial=0.0)))[1] for z in moved]
    x, y = (np.ldexp(z, -e, out=z).astype(dtype, copy=False) for z, e in zip(moved, exponents))
    return Centred(x, y, *means, *exponents)


def row_duals(x: Floats, y: Floats, prices: Floats) -> Floats:
    """``u_i = max_j (x_i . y_j - prices_j)``, (S,), of x (S, C), y (T, C) and prices (T,) in their precision, block by block.

    With x and y exchanged, and row duals in place of prices, it gives the smallest feasible prices of those row duals.
    """
    if packed := pack_for_unit(x, y):
        unit, words = packed
        found = np.empty(len(x), x.dtype)
        if unit.row_duals_into(*read_only(x), words, prices.astype(x.dtype), found):
            return found
    result = np.full(len(x), -np.inf, x.dtype)
    for j in range(0, len(y), _COLUMNS):
        right = np.concatenate([y[j : j + _COLUMNS].T, -prices[None, j : j + _COLUMNS].astype(x.dtype)])
        for here, product in _products(x, right):
            np.maximum(result[here], product.max(axis=1), out=result[here])
    return result


def roundings(x: Floats, y: Floats) -> int:
    """How many roundings an entry of a product in `row_duals` goes through at most: C, or six times that, and two left out."""
    channels = int(x.shape[1])
    return 6 * channels + 2 if unit_for(x, y) else channels


def _products(vectors: Floats, right: Floats) -> Iterator[tuple[slice, Floats]]:
    """Inner products with every column of ``right``, plus its last row: blocks of rows that stay in the cache, and which rows."""
    left = np.concatenate([vectors, np.ones((len(vectors), 1), vectors.dtype)], axis=1)
    height = min(len(left), max(1, _BLOCK_BYTES // (left.itemsize * right.shape[1])))
    block = np.empty((height, right.shape[1]), left.dtype)
    for i in range(0, len(left), height):
        here = slice(i, min(i + height, len(left)))
        product = np.dot(left[here], right, out=block[: here.stop - i])
        product.flags.writeable = False
        yield here, product
