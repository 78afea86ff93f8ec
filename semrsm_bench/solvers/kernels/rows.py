"""Passes over rows of ``affinity - prices``: the largest, the two largest, and every column that reaches a threshold.

``prices`` are the column duals; the row duals are always the row maxima of ``A - prices``, so a pair of duals made here is
feasible by construction.
"""

from __future__ import annotations

import numpy as np

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Index, Integers, Scalar
from semrsm_bench.solvers.kernels import vectors as v


@njit(forceinline=True, **COMPILED)
def update_two(
    x: v.Vector, here: v.Vector, first: v.Vector, second: v.Vector, place: v.Vector
) -> tuple[v.Vector, v.Vector, v.Vector]:
    """Largest and second largest of every lane, and where the largest came, with ``x`` of step ``here`` added."""
    return v.higher(first, x), v.higher(second, v.lower(first, x)), v.choose_above(x, first, here, place)


@njit(forceinline=True, **COMPILED)
def top_two(like: Floats, first: v.Vector, second: v.Vector, place: v.Vector) -> tuple[Index, Scalar, Scalar]:
    """The two largest of many numbers, from the two largest of every lane.

    ``place`` says for every lane at which step of the loop (times the lanes) its largest came. Returns where the largest
    number is, and the two.
    """
    best = v.highest(first)
    wanted = v.fill(like, best)
    mask = v.at_least(first, wanted)
    # The last lane stands in where no lane reaches the best, which only numbers that are not finite could bring about.
    lane = v.first_bit(mask | (1 << (v.lanes_of(like) - 1)))
    runner_up = v.highest(v.choose_above(wanted, first, first, second))
    if v.count_bits(mask) > 1:
        runner_up = best
    return np.int64(v.lane_of(place, lane)) + lane, best, runner_up


@njit(forceinline=True, **COMPILED)
def _add_rest(
    row: Floats, prices: Floats, begin: int, column: Index, best: Scalar, runner_up: Scalar
) -> tuple[Index, Scalar, Scalar]:
    """The two largest with the columns from ``begin`` on, which fill no vector."""
    for j in range(begin, row.shape[0]):
        value = row[j] - prices[j]
        if value > best:
            runner_up = best
            best = value
            column = j
        elif value > runner_up:
            runner_up = value
    return column, best, runner_up


@njit(**COMPILED)
def best_two(row: Floats, prices: Floats) -> tuple[Index, Scalar, Scalar]:
    """Column of the largest ``row - prices``, its value, and the second largest, in the precision of the prices.

    That may be wider than the row's.
    """
    n = row.shape[0]
    lanes = v.lanes_of(prices)
    first = second = other_first = other_second = v.fill(prices, -np.inf)
    place = other_place = v.fill(prices, 0)
    full = n - n % (2 * lanes)
    for k in range(0, full, 2 * lanes):
        x = v.minus(v.load_as(prices, row, k), v.load(prices, k))
        y = v.minus(v.load_as(prices, row, k + lanes), v.load(prices, k + lanes))
        first, second, place = update_two(x, v.fill(prices, k), first, second, place)
        other_first, other_second, other_place = update_two(
            y, v.fill(prices, k + lanes), other_first, other_second, other_place
        )
    second = v.higher(v.higher(second, other_second), v.lower(first, other_first))
    place = v.choose_above(other_first, first, other_place, place)
    column, best, runner_up = top_two(prices, v.higher(first, other_first), second, place)
    return _add_rest(row, prices, full, column, best, runner_up)


@njit(**COMPILED)
def best_two_of_four(
    a: Floats, b: Floats, c: Floats, d: Floats, prices: Floats, columns: Integers, bests: Floats, runners_up: Floats
) -> None:
    """`best_two` of four rows at once, into three arrays of four.

    Prices are read once, and the comparisons of one row need not wait for those of another.
    """
    n = a.shape[0]
    lanes = v.lanes_of(a)
    first_a = first_b = first_c = first_d = v.fill(a, -np.inf)
    second_a = second_b = second_c = second_d = first_a
    place_a = place_b = place_c = place_d = v.fill(a, 0)
    full = n - n % lanes
    for k in range(0, full, lanes):
        price = v.load(prices, k)
        here = v.fill(a, k)
        first_a, second_a, place_a = update_two(v.minus(v.load(a, k), price), here, first_a, second_a, place_a)
        first_b, second_b, place_b = update_two(v.minus(v.load(b, k), price), here, first_b, second_b, place_b)
        first_c, second_c, place_c = update_two(v.minus(v.load(c, k), price), here, first_c, second_c, place_c)
        first_d, second_d, place_d = update_two(v.minus(v.load(d, k), price), here, first_d, second_d, place_d)
    j, best, runner_up = top_two(a, first_a, second_a, place_a)
    columns[0], bests[0], runners_up[0] = _add_rest(a, prices, full, j, best, runner_up)
    j, best, runner_up = top_two(a, first_b, second_b, place_b)
    columns[1], bests[1], runners_up[1] = _add_rest(b, prices, full, j, best, runner_up)
    j, best, runner_up = top_two(a, first_c, second_c, place_c)
    columns[2], bests[2], runners_up[2] = _add_rest(c, prices, full, j, best, runner_up)
    j, best, runner_up = top_two(a, first_d, second_d, place_d)
    columns[3], bests[3], runners_up[3] = _add_rest(d, prices, full, j, best, runner_up)


@njit(**COMPILED)
def best_value(row: Floats, prices: Floats) -> Scalar:
    """Largest ``row - prices``."""
    n = row.shape[0]
    lanes = v.lanes_of(row)
    first = v.fill(row, -np.inf)
    other = first
    full = n - n % (2 * lanes)
    for k in range(0, full, 2 * lanes):
        first = v.higher(first, v.minus(v.load(row, k), v.load(prices, k)))
        other = v.higher(other, v.minus(v.load(row, k + lanes), v.load(prices, k + lanes)))
    best = v.highest(v.higher(first, other))
    for j in range(full, n):
        best = max(best, row[j] - prices[j])
    return best


@njit(**COMPILED)
def row_maxima(affinity: Floats, prices: Floats) -> Floats:
    """``max_j affinity[i, j] - prices[j]`` of every row i: the smallest feasible row duals of these prices."""
    duals = np.empty(affinity.shape[0], prices.dtype)
    for i in range(affinity.shape[0]):
        duals[i] = best_value(affinity[i], prices)
    return duals


@njit(**COMPILED)
def column_maxima(affinity: Floats, rows: Integers, duals: Floats) -> Floats:
    """``max_k affinity[rows[k], j] - duals[k]`` of every column j: the smallest feasible prices of these row duals."""
    n = affinity.shape[1]
    prices = np.full(n, -np.inf, duals.dtype)
    lanes = v.lanes_of(prices)
    full = n - n % lanes
    for i in range(rows.shape[0]):
        row = affinity[rows[i]]
        dual = v.fill(row, duals[i])
        for k in range(0, full, lanes):
            v.store(prices, k, v.higher(v.load(prices, k), v.minus(v.load(row, k), dual)))
        for j in range(full, n):
            prices[j] = max(prices[j], row[j] - duals[i])
    return prices


@njit(forceinline=True, **COMPILED)
def mask_of(a: v.Vector, b: v.Vector, c: v.Vector, d: v.Vector, threshold: v.Vector, lanes: int) -> int:
    """One bit for each lane of four vectors that reaches the threshold."""
    low = v.at_least(a, threshold) | (v.at_least(b, threshold) << lanes)
    high = v.at_least(c, threshold) | (v.at_least(d, threshold) << lanes)
    return low | (high << (2 * lanes))


@njit(forceinline=True, **COMPILED)
def reaching(row: Floats, prices: Floats, k: int, threshold: v.Vector) -> int:
    """`mask_of` four vectors of ``row - prices``, from column ``k`` on."""
    lanes = v.lanes_of(prices)
    a = v.minus(v.load(row, k), v.load(prices, k))
    b = v.minus(v.load(row, k + lanes), v.load(prices, k + lanes))
    c = v.minus(v.load(row, k + 2 * lanes), v.load(prices, k + 2 * lanes))
    d = v.minus(v.load(row, k + 3 * lanes), v.load(prices, k + 3 * lanes))
    return mask_of(a, b, c, d, threshold, lanes)


@njit(**COMPILED)
def columns_reaching(row: Floats, prices: Floats, threshold: Scalar, found: Integers) -> int:
    """Columns where ``row - prices`` reaches the threshold, into ``found`` (room for all) in order; returns how many."""
    n = row.shape[0]
    step = 4 * v.lanes_of(prices)
    full = n - n % step
    least = v.fill(prices, threshold)
    count = 0
    for k in range(0, full, step):
        mask = reaching(row, prices, k, least)
        while mask != 0:
            found[count] = k + v.first_bit(mask)
            count += 1
            mask &= mask - 1
    for j in range(full, n):
        if row[j] - prices[j] >= threshold:
            found[count] = j
            count += 1
    return count
