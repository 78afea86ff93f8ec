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
from semrsm_bench.solvers.kernels.rows import mask_of, top_two, update_two

# Columns of a list, a whole number of vectors, and how many a new one should hold: few enough that few lists overflow.
WIDTH = 16
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
        return cls(np.empty((size, WIDTH), np.int32), np.empty((size, WIDTH), dtype), np.empty(size, dtype))


@njit(forceinline=True, **COMPILED)
def _lower_finite(x: v.Vector, low: v.Vector, none: v.Vector) -> v.Vector:
    """Lane by lane minimum of ``low`` and those of ``x`` that are above minus infinity."""
    return v.lower(low, v.choose_above(x, none, x, low))


@njit(forceinline=True, **COMPILED)
def _threshold(a: v.Vector, b: v.Vector, c: v.Vector, d: v.Vector, row: Floats) -> Scalar:
    """A value that at least 12 of these lanes reach (all above minus infinity, where those are fewer), and not many more."""
    lanes, none = v.lanes_of(row), v.lowest_number(row)
    high = v.highest(v.higher(v.higher(a, b), v.higher(c, d)))
    most = v.fill(row, high)
    low = v.lowest(_lower_finite(a, _lower_finite(b, _lower_finite(c, _lower_finite(d, most, none), none), none), none))
    if v.count_bits(mask_of(a, b, c, d, v.fill(row, low), lanes)) <= _WANTED:
        return low
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


@njit(**COMPILED)
def list_row(row: Floats, prices: Floats, columns: Integers, values: Floats) -> Scalar:
    """Make one row's list; returns the bound on ``row - prices`` over all columns not on it.

    The row is dealt into 4 vectors' worth of lanes. Of each lane the largest entry may be listed; the second largest is lost. The best
    entries seldom share a lane.
    """
    n = row.shape[0]
    lanes = v.lanes_of(row)
    first_a = first_b = first_c = first_d = v.lowest_number(row)
    second_a = second_b = second_c = second_d = first_a
    place_a = place_b = place_c = place_d = v.fill(row, 0)
    full, whole = n - n % (4 * lanes), n - n % lanes
    for k in range(0, full, 4 * lanes):
        here = v.fill(row, k)
        x = v.minus(v.load(row, k), v.load(prices, k))
        first_a, second_a, place_a = update_two(x, here, first_a, second_a, place_a)
        x = v.minus(v.load(row, k + lanes), v.load(prices, k + lanes))
        first_b, second_b, place_b = update_two(x, here, first_b, second_b, place_b)
        x = v.minus(v.load(row, k + 2 * lanes), v.load(prices, k + 2 * lanes))
        first_c, second_c, place_c = update_two(x, here, first_c, second_c, place_c)
        x = v.minus(v.load(row, k + 3 * lanes), v.load(prices, k + 3 * lanes))
        first_d, second_d, place_d = update_two(x, here, first_d, second_d, place_d)
    for k in range(full, whole, lanes):
        x = v.minus(v.load(row, k), v.load(prices, k))
        first_a, second_a, place_a = update_two(x, v.fill(row, k), first_a, second_a, place_a)
    least = _threshold(first_a, first_b, first_c, first_d, row)
    lost = v.highest(v.higher(v.higher(second_a, second_b), v.higher(second_c, second_d)))
    for k in range(WIDTH):
        columns[k] = 0
        values[k] = -np.inf
    mask = mask_of(first_a, first_b, first_c, first_d, v.fill(row, least), lanes)
    if v.count_bits(mask) < 4 * lanes:
        lost = max(lost, least)
    count = 0
    while mask != 0 and count < WIDTH:
        lane = v.first_bit(mask)
        mask &= mask - 1
        j = np.int64(v.lane_of_four(place_a, place_b, place_c, place_d, lane)) + lane
        columns[count] = j
        values[count] = row[j]
        count += 1
    if mask != 0:
        lost = v.highest(v.higher(v.higher(first_a, first_b), v.higher(first_c, first_d)))
    for j in range(whole, n):
        if count < WIDTH:
            columns[count] = j
            values[count] = row[j]
            count += 1
        else:
            lost = max(lost, row[j] - prices[j])
    return lost


@njit(**COMPILED)
def list_rows(affinity: Floats, prices: Floats, lists: Lists) -> None:
    """Make the lists of all rows of ``affinity``, which may be a block of rows."""
    for i in range(affinity.shape[0]):
        lists.bounds[i] = list_row(affinity[i], prices, lists.columns[i], lists.values[i])


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
