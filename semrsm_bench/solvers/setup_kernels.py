"""Compiled kernels for what an auction needs before its first bid: starting prices, and the unit of ``eps``.

Sums may be taken in any order (``reassoc``), so that they are made of vectors; none of them decides more than where the
bidding starts and how large its steps are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from semrsm_bench.solvers.queue_kernels import COMPILED

# Rows whose spread is looked at; their median is the unit of eps.
SAMPLED_ROWS = 64
# A float32 affinity whose rounding error exceeds this share of the spread is computed in float64 instead.
COARSEST = 1e-3
_SUMS: dict[str, Any] = {**COMPILED, "fastmath": {"reassoc", "nsz", "contract"}}


@njit(**_SUMS)
def mean_and_longest(x: Any, mean: Any) -> Any:
    """Mean position vector into ``mean``; returns the length of the longest."""
    size, channels = x.shape
    total = np.zeros(channels)
    longest = x.dtype.type(0)
    for i in range(size):
        length = x.dtype.type(0)
        for c in range(channels):
            total[c] += x[i, c]
            length += x[i, c] * x[i, c]
        longest = max(longest, length)
    for c in range(channels):
        mean[c] = total[c] / size
    return np.sqrt(np.float64(longest))


@njit(**_SUMS)
def starting_prices(y: Any, mean: Any, start: Any) -> Any:
    """``start = y @ mean``, the column means of the affinity; returns the length of the longest y."""
    size, channels = y.shape
    longest = y.dtype.type(0)
    for j in range(size):
        price = y.dtype.type(0)
        length = y.dtype.type(0)
        for c in range(channels):
            price += y[j, c] * mean[c]
            length += y[j, c] * y[j, c]
        start[j] = price
        longest = max(longest, length)
    return np.sqrt(np.float64(longest))


@njit(**_SUMS)
def _deviation(row: Any, start: Any) -> Any:
    """Standard deviation of ``row - start``."""
    shift = row[0] - start[0]
    total = 0.0
    squares = 0.0
    for j in range(row.shape[0]):
        value = np.float64(row[j] - start[j] - shift)
        total += value
        squares += value * value
    mean = total / row.shape[0]
    return np.sqrt(max(0.0, squares / row.shape[0] - mean * mean))


@njit(**COMPILED)
def spread_of(affinity: Any, start: Any) -> Any:
    """Median over at most 64 rows of the standard deviation of ``affinity - start``; their mean where that is zero."""
    size = affinity.shape[0]
    count = min(SAMPLED_ROWS, size)
    deviations = np.empty(count)
    for k in range(count):
        deviations[k] = _deviation(affinity[k * (size - 1) // max(1, count - 1)], start)
    mean = deviations.mean()
    deviations.sort()
    median = 0.5 * (deviations[(count - 1) // 2] + deviations[count // 2])
    return median if median > 0.0 else mean


@njit(**COMPILED)
def dearest(prices: Any) -> Any:
    """Largest ``|price|``."""
    most = 0.0
    for j in range(prices.shape[0]):
        most = max(most, abs(np.float64(prices[j])))
    return most


@njit(**COMPILED)
def least_eps(rounding: float) -> Any:
    """The smallest ``eps`` at which every bid still changes a price."""
    return 4.0 * rounding
