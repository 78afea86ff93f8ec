"""Candidate lists: a few columns of each row that look best, and a bound on all others.

A list keeps up to 16 columns that looked best for a row under the prices of the moment, and a *bound* on ``affinity -
prices`` over every column it left out. Prices only rise, so the bound stays true for good. While the best listed value is at
least the bound, the list alone decides; otherwise the row is scanned anew.

Lists are padded with column 0 at affinity minus infinity, so a kernel may read whole vectors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Index, Integers, Scalar
from semrsm_bench.solvers.kernels import vectors as v
from semrsm_bench.solvers.kernels.rows import mask_of, reaching, top_two, update_two

# Columns of a list, a whole number of vectors, and how many a new one should hold: few enough that few lists overflow.
_WIDTH = 16
_WANTED = 12
# A threshold is looked for among the maxima of 4 vectors' worth of lanes; bisection stops after this many halvings.
_HALVINGS = 8


class Lists(NamedTuple):
    """Lists of all rows: int32 columns and their affinities (S, 16), and bounds (S,)."""

    columns: Integers
    values: Floats
    bounds: Floats

    @classmethod
    def empty(cls, size: int, dtype: np.dtype[Any]) -> Lists:
        """Room for lists of all rows."""
        return cls(np.empty((size, _WIDTH), np.int32), np.empty((size, _WIDTH), dtype), np.empty(size, dtype))


@njit(forceinline=True, **COMPILED)
def _lower_finite(x: v.Vector, low: v.Vector, none: v.Vector) -> v.Vector:
    """Lane by lane minimum of ``low`` and those of ``x`` that are above minus infinity."""
    return v.lower(low, v.choose_above(x, none, x, low))


@njit(**COMPILED)
def _threshold(row: Floats, prices: Floats) -> Scalar:
    """A value that at least 12 entries of ``row - prices`` reach (all, where that is fewer), and not many more.

    The row is dealt into 4 vectors' worth of lanes, and the number of lanes whose maximum reaches a value is bisected:
    the best entries seldom share a lane. Entries of minus infinity, which pad some rows, do not count.
    """
    n = row.shape[0]
    lanes = v.lanes_of(row)
    full = n - n % (4 * lanes)
    none = v.fill(row, -np.inf)
    a = b = c = d = none
    for k in range(0, full, 4 * lanes):
        a = v.higher(a, v.minus(v.load(row, k), v.load(prices, k)))
        b = v.higher(b, v.minus(v.load(row, k + lanes), v.load(prices, k + lanes)))
        c = v.higher(c, v.minus(v.load(row, k + 2 * lanes), v.load(prices, k + 2 * lanes)))
        d = v.higher(d, v.minus(v.load(row, k + 3 * lanes), v.load(prices, k + 3 * lanes)))
    high = v.highest(v.higher(v.higher(a, b), v.higher(c, d)))
    most = v.fill(row, high)
    low = v.lowest(_lower_finite(a, _lower_finite(b, _lower_finite(c, _lower_finite(d, most, none), none), none), none))
    if full == 0 or v.count_bits(mask_of(a, b, c, d, v.fill(row, low), lanes)) < _WANTED:
        return row.dtype.type(-np.inf)
    half = row.dtype.type(0.5)
    for _ in range(_HALVINGS):
        middle = low + half * (high - low)
        reached = v.count_bits(mask_of(a, b, c, d, v.fill(row, middle), lanes))
        if reached < _WANTED:
            high = middle
        else:
            low = middle
            if reached <= _WANTED + 1:
                break
    return low


@njit(forceinline=True, **COMPILED)
def _keep(
    value: Scalar, column: int, count: int, columns: Integers, reduced: Floats, floor: Scalar, lost: Scalar
) -> tuple[int, Scalar, Scalar]:
    """Put one entry into a list, in place of the worst where it is full.

    Returns the count, the worst entry of a full list, and the best value lost. Where many entries are equal, the first comparison
    with ``floor`` refuses nearly all.
    """
    width = columns.shape[0]
    if count < width:
        columns[count] = column
        reduced[count] = value
        count += 1
    elif value > floor:
        worst = 0
        while reduced[worst] != floor:
            worst += 1
        lost = max(lost, floor)
        columns[worst] = column
        reduced[worst] = value
    else:
        return count, floor, max(lost, value)
    if count == width:
        floor = reduced[0]
        for k in range(1, width):
            floor = min(floor, reduced[k])
    return count, floor, lost


@njit(**COMPILED)
def list_row(row: Floats, prices: Floats, columns: Integers, values: Floats, is_followed: bool = False) -> Scalar:
    """Make one row's list; returns the bound on ``row - prices`` over all columns not on it.

    Where the next row in memory follows, it is fetched meanwhile. Of many equal entries most are refused one by one; to collect
    them first (`columns_reaching`) takes half as long again.
    """
    n = row.shape[0]
    step = 4 * v.lanes_of(row)
    least = lost = floor = _threshold(row, prices)
    count = 0
    full = n - n % step
    threshold = v.fill(row, least)
    for k in range(_WIDTH):
        columns[k] = 0
        values[k] = -np.inf
    # While the list is made, its values are reduced ones.
    for k in range(0, full, step):
        if is_followed:
            for line in range(k + n, k + n + step, v.lanes_of(row)):
                v.fetch(row, line)
        mask = reaching(row, prices, k, threshold)
        while mask != 0:
            j = k + v.first_bit(mask)
            mask &= mask - 1
            count, floor, lost = _keep(row[j] - prices[j], j, count, columns, values, floor, lost)
    for j in range(full, n):
        value = row[j] - prices[j]
        if value >= least:
            count, floor, lost = _keep(value, j, count, columns, values, floor, lost)
    for k in range(count):
        values[k] = row[columns[k]]
    return lost


@njit(**COMPILED)
def list_rows(affinity: Floats, prices: Floats, lists: Lists) -> None:
    """Make the lists of all rows of ``affinity``, which may be a block of rows."""
    for i in range(affinity.shape[0]):
        lists.bounds[i] = list_row(affinity[i], prices, lists.columns[i], lists.values[i], True)


@njit(forceinline=True, **COMPILED)
def listed_best_two(columns: Integers, values: Floats, prices: Floats) -> tuple[Index, Scalar, Scalar]:
    """Best column of one list, its value, and the second largest value, in the precision of the prices.

    That may be wider than the list's.
    """
    lanes = v.lanes_of(prices)
    first = v.minus(v.load_as(prices, values, 0), v.gather(prices, columns, 0))
    second = v.fill(prices, -np.inf)
    place = v.fill(prices, 0)
    for k in range(lanes, values.shape[0], lanes):
        x = v.minus(v.load_as(prices, values, k), v.gather(prices, columns, k))
        first, second, place = update_two(x, v.fill(prices, k), first, second, place)
    at, best, runner_up = top_two(prices, first, second, place)
    return np.int64(columns[at]), best, runner_up
