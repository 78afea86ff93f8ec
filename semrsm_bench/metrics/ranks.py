"""Order of numbers in which those that are equal up to rounding are ties: ranks, the first of the largest, Spearman's correlation.

Symmetric sets of stimuli have many similarities that are equal in exact arithmetic; rounding must not order them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.metrics.arrays import FloatArray

TIE = 1e-12
"""Relative difference up to which two numbers are equal: far above rounding, far below what distinct stimuli differ by."""

Indices = NDArray[np.intp]


def tie_groups(values: FloatArray) -> tuple[Indices, Indices]:
    """The order of n values, and where in it each group of ties begins; with n itself as the last entry."""
    order = np.argsort(values)
    low, high = values[order[0]], values[order[-1]]
    # Sums that cancel leave rounding as large as that of the largest. What is never negative, such as a divergence or an
    # RBF kernel, is small without cancelling, and its small values have an order.
    return order, _starts(values, order, TIE * max(-low, high) if low < 0 else 0.0)


@njit()
def _starts(values: FloatArray, order: Indices, rounding: float) -> Indices:  # pragma: no cover
    """Where in the order each group of values begins that differ by no more than rounding, 0: their own; and n."""
    starts, groups, last = np.empty(len(order) + 1, np.intp), 0, values[order[0]]
    for i in range(len(order)):
        value = values[order[i]]
        if i == 0 or not value - last <= (rounding if rounding > 0.0 else TIE * value):
            starts[groups] = i
            groups += 1
        last = value
    starts[groups] = len(order)
    return starts[: groups + 1]


def dense_ranks(values: FloatArray) -> tuple[NDArray[np.int32], Indices]:
    """Ranks from 0 on without gaps, ties sharing one, and how many values have each; fewer than 2^31 values."""
    order, starts = tie_groups(values)
    return _spread(np.arange(len(starts) - 1, dtype=np.int32), order, starts), np.diff(starts)


def mid_ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1 on, ties sharing the mean of their ranks."""
    order, starts = tie_groups(values)
    return np.asarray(_spread((starts[:-1] + starts[1:] + 1) / 2, order, starts))


@njit()
def _spread(of_groups: Any, order: Indices, starts: Indices) -> Any:  # pragma: no cover
    """What belongs to each group of ties, at the place of each of its values, (n,)."""
    result = np.empty(len(order), of_groups.dtype)
    for group in range(len(of_groups)):
        for i in range(starts[group], starts[group + 1]):
            result[order[i]] = of_groups[group]
    return result


def weighted_ranks(values: Any, weights: FloatArray) -> FloatArray:
    """Mid-ranks minus their mean of samples in which value i occurs ``weights[b, i]`` times, (B, n)."""
    order, starts = tie_groups(np.asarray(values, dtype=np.float64))
    tied = np.add.reduceat(weights[:, order], starts[:-1], axis=1)
    middle = np.cumsum(tied, axis=1) - tied / 2 - weights.sum(axis=1, keepdims=True) / 2
    ranks = np.empty(weights.shape)
    ranks[:, order] = np.repeat(middle, np.diff(starts), axis=1)
    return ranks


def first_largest(values: FloatArray) -> Indices:
    """Place of the largest value along the last axis, the first of ties."""
    largest = values.max(axis=-1, keepdims=True)
    return np.asarray((values >= largest - TIE * np.abs(largest)).argmax(axis=-1))


def correlation(a: FloatArray, b: FloatArray, weights: FloatArray) -> FloatArray:
    """Spearman's correlation from `weighted_ranks`, (B,); NaN where a side is constant."""
    ab, aa, bb = (np.einsum("bi,bi,bi->b", weights, *pair) for pair in ((a, b), (a, a), (b, b)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(aa * bb > 0, ab / np.sqrt(aa * bb), np.nan)


def partial_correlation(a: FloatArray, b: FloatArray, given: FloatArray, weights: FloatArray) -> FloatArray:
    """Spearman's correlation of a and b at equal rank of a third, (B,); NaN where nothing is left of a side."""
    ab, ac, bc = (correlation(*pair, weights) for pair in ((a, b), (a, given), (b, given)))
    left = (1 - ac**2) * (1 - bc**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > 1e-12, (ab - ac * bc) / np.sqrt(left), np.nan)
