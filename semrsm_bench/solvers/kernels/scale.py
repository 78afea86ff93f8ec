"""What an auction needs before its first bid: starting prices, the unit of ``eps``, and whether the numbers suit their precision.

Sums may be taken in any order (``reassoc``), so that they are made of vectors; none of them decides more than where the
bidding starts and how large its steps are.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats

# Rows whose deviation is computed; their median is the unit of eps.
_SAMPLED_ROWS = 64
# Limits between which the longest x and y and the largest affinity must be, so that neither sums of prices nor squares leave their
# precision; relative error of one operation; its largest share of the deviation (float32 that is coarser gives way to float64).
_LIMITS32 = (1e-16, 1e18, float(np.finfo(np.float32).eps), 1e-3)
_LIMITS64 = (1e-140, 1e140, float(np.finfo(np.float64).eps), math.inf)
SUMS: dict[str, Any] = {**COMPILED, "fastmath": {"reassoc", "nsz", "contract"}}

# What `measure` says of a problem: ready, its numbers too large or small, or too close together for their precision.
READY, OUT_OF_RANGE, TOO_COARSE = range(3)


class Scale(NamedTuple):
    """Magnitudes of a problem.

    ``deviation`` is the median over rows of the standard deviation of ``A - start``, the unit of ``eps``, which a few huge
    rows do not move; ``largest`` an upper bound on ``|A|``; ``unit`` the relative rounding error of one subtraction.
    """

    deviation: float
    largest: float
    unit: float


@njit(**SUMS)
def mean_and_longest(x: Floats) -> tuple[Floats, np.float64]:
    """Mean position vector, and the length of the longest."""
    size, channels = x.shape
    mean = np.empty(channels, x.dtype)
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
    return mean, np.sqrt(np.float64(longest))


@njit(**SUMS)
def _starting_prices(y: Floats, mean: Floats) -> tuple[Floats, np.float64]:
    """``y @ mean``, the column means of the affinity, and the length of the longest y."""
    size, channels = y.shape
    start, longest = np.empty(size, y.dtype), y.dtype.type(0)
    for j in range(size):
        price = y.dtype.type(0)
        length = y.dtype.type(0)
        for c in range(channels):
            price += y[j, c] * mean[c]
            length += y[j, c] * y[j, c]
        start[j] = price
        longest = max(longest, length)
    return start, np.sqrt(np.float64(longest))


@njit(**SUMS)
def _deviation(row: Floats, start: Floats) -> np.float64:
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
def largest_magnitude(scale: Scale, prices: Floats) -> float:
    """Upper bound on ``|A| + |price|``; not finite where a price is not."""
    most = 0.0
    for j in range(prices.shape[0]):
        most = max(most, abs(np.float64(prices[j])))
    return scale.largest + most


@njit(**COMPILED)
def rounding_of(scale: Scale, prices: Floats) -> float:
    """Bound on the rounding error of ``affinity - prices`` in the problem's precision."""
    return scale.unit * largest_magnitude(scale, prices)


@njit(**COMPILED)
def room_for_rises(scale: Scale, start: Floats, prices: Floats) -> float:
    """`rounding_of` prices that may still rise: four times that of the starting prices or of these, whichever is more."""
    return 4.0 * max(rounding_of(scale, start), rounding_of(scale, prices))


@njit(**COMPILED)
def measure(y: Floats, affinity: Floats, mean: Floats, longest: float) -> tuple[Scale, int, Floats]:
    """The scale, whether it suits the precision, and starting prices: the column means of the affinity.

    ``mean`` and ``longest`` are of x. Bidding from these prices is bidding on the channel-centred problem, whatever the
    centring of the given one: centring only adds constants to rows and columns of the affinity.
    """
    low, high, unit, coarsest = _LIMITS64 if y.itemsize == 8 else _LIMITS32
    start, longest_y = _starting_prices(y, mean)
    largest = 1.001 * longest * longest_y
    if not (low < min(longest, longest_y, largest) and max(longest, longest_y, largest) < high):
        return Scale(0.0, largest, unit), OUT_OF_RANGE, start
    size = affinity.shape[0]
    count = min(_SAMPLED_ROWS, size)
    deviations, total = np.empty(count), 0.0
    for k in range(count):
        value = _deviation(affinity[k * (size - 1) // max(1, count - 1)], start)
        total += value
        # In order: to compile numpy's sort takes a second.
        at = k
        while at > 0 and deviations[at - 1] > value:
            deviations[at] = deviations[at - 1]
            at -= 1
        deviations[at] = value
    mean_deviation = total / count
    deviation = 0.5 * (deviations[(count - 1) // 2] + deviations[count // 2])
    scale = Scale(deviation if deviation > 0.0 else mean_deviation, largest, unit)
    coarse = scale.deviation > 0.0 and rounding_of(scale, start) > coarsest * scale.deviation
    return scale, TOO_COARSE if coarse else READY, start
