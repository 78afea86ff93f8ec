"""Compiled kernels of the dense auction: rows, one or four at a time, against all prices.

Every kernel is written once for float32 and float64 (`vectors` picks the lanes), releases the GIL and does a bounded
amount of work. ``prices`` are the column duals; the row duals are always the row maxima of ``A - prices``, so a pair of
duals made here is feasible by construction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from semrsm_bench.solvers.queue_kernels import COMPILED, award, free_rows, turn
from semrsm_bench.solvers.vectors import (
    at_least,
    choose_above,
    count_bits,
    first_bit,
    higher,
    highest,
    lane_of,
    lanes_of,
    load,
    load_as,
    lower,
    minus,
    spread,
    store,
)


@njit(forceinline=True, **COMPILED)
def take_in(x: Any, here: Any, first: Any, second: Any, place: Any) -> Any:
    """Largest and second largest of every lane, and where the largest came, with ``x`` of step ``here`` taken in."""
    return higher(first, x), higher(second, lower(first, x)), choose_above(x, first, here, place)


@njit(forceinline=True, **COMPILED)
def top_two(like: Any, first: Any, second: Any, place: Any) -> Any:
    """The two largest of many numbers, from the two largest of every lane.

    ``place`` says for every lane at which step of the loop (times the lanes) its largest came. Returns where the largest
    number stands, and the two.
    """
    best = highest(first)
    wanted = spread(like, best)
    mask = at_least(first, wanted)
    # The last lane stands in where no lane reaches the best, which only numbers that are not finite could bring about.
    lane = first_bit(mask | (1 << (lanes_of(like) - 1)))
    runner_up = highest(choose_above(wanted, first, first, second))
    if count_bits(mask) > 1:
        runner_up = best
    return np.int64(lane_of(place, lane)) + lane, best, runner_up


@njit(forceinline=True, **COMPILED)
def _beside(row: Any, prices: Any, begin: int, column: int, best: Any, runner_up: Any) -> Any:
    """Take the columns from ``begin`` on, which fill no vector, into account."""
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
def best_two(row: Any, prices: Any) -> Any:
    """Column of the largest ``row - prices``, its value, and the second largest, in the precision of the prices.

    That may be wider than the row's.
    """
    n = row.shape[0]
    lanes = lanes_of(prices)
    first = second = other_first = other_second = spread(prices, -np.inf)
    place = other_place = spread(prices, 0)
    full = n - n % (2 * lanes)
    for k in range(0, full, 2 * lanes):
        x = minus(load_as(prices, row, k), load(prices, k))
        y = minus(load_as(prices, row, k + lanes), load(prices, k + lanes))
        first, second, place = take_in(x, spread(prices, k), first, second, place)
        other_first, other_second, other_place = take_in(
            y, spread(prices, k + lanes), other_first, other_second, other_place
        )
    second = higher(higher(second, other_second), lower(first, other_first))
    place = choose_above(other_first, first, other_place, place)
    column, best, runner_up = top_two(prices, higher(first, other_first), second, place)
    return _beside(row, prices, full, column, best, runner_up)


@njit(**COMPILED)
def best_two_of_four(a: Any, b: Any, c: Any, d: Any, prices: Any, columns: Any, bests: Any, runners_up: Any) -> None:
    """`best_two` of four rows at once, into three arrays of four.

    Prices are read once, and the comparisons of one row need not wait for those of another.
    """
    n = a.shape[0]
    lanes = lanes_of(a)
    first_a = first_b = first_c = first_d = spread(a, -np.inf)
    second_a = second_b = second_c = second_d = first_a
    place_a = place_b = place_c = place_d = spread(a, 0)
    full = n - n % lanes
    for k in range(0, full, lanes):
        price = load(prices, k)
        here = spread(a, k)
        first_a, second_a, place_a = take_in(minus(load(a, k), price), here, first_a, second_a, place_a)
        first_b, second_b, place_b = take_in(minus(load(b, k), price), here, first_b, second_b, place_b)
        first_c, second_c, place_c = take_in(minus(load(c, k), price), here, first_c, second_c, place_c)
        first_d, second_d, place_d = take_in(minus(load(d, k), price), here, first_d, second_d, place_d)
    j, best, runner_up = top_two(a, first_a, second_a, place_a)
    columns[0], bests[0], runners_up[0] = _beside(a, prices, full, j, best, runner_up)
    j, best, runner_up = top_two(a, first_b, second_b, place_b)
    columns[1], bests[1], runners_up[1] = _beside(b, prices, full, j, best, runner_up)
    j, best, runner_up = top_two(a, first_c, second_c, place_c)
    columns[2], bests[2], runners_up[2] = _beside(c, prices, full, j, best, runner_up)
    j, best, runner_up = top_two(a, first_d, second_d, place_d)
    columns[3], bests[3], runners_up[3] = _beside(d, prices, full, j, best, runner_up)


@njit(**COMPILED)
def best_value(row: Any, prices: Any) -> Any:
    """Largest ``row - prices``."""
    n = row.shape[0]
    lanes = lanes_of(row)
    first = spread(row, -np.inf)
    other = first
    full = n - n % (2 * lanes)
    for k in range(0, full, 2 * lanes):
        first = higher(first, minus(load(row, k), load(prices, k)))
        other = higher(other, minus(load(row, k + lanes), load(prices, k + lanes)))
    best = highest(higher(first, other))
    for j in range(full, n):
        best = max(best, row[j] - prices[j])
    return best


@njit(**COMPILED)
def row_maxima(affinity: Any, prices: Any, duals: Any) -> None:
    """``duals[i] = max_j affinity[i, j] - prices[j]``: the smallest feasible row duals of these prices."""
    for i in range(affinity.shape[0]):
        duals[i] = best_value(affinity[i], prices)


@njit(**COMPILED)
def raise_to(row: Any, dual: Any, prices: Any) -> None:
    """``prices = max(prices, row - dual)``, in place."""
    n = row.shape[0]
    lanes = lanes_of(row)
    full = n - n % lanes
    taken = spread(row, dual)
    for k in range(0, full, lanes):
        store(prices, k, higher(load(prices, k), minus(load(row, k), taken)))
    for j in range(full, n):
        prices[j] = max(prices[j], row[j] - dual)


@njit(**COMPILED)
def column_maxima(affinity: Any, duals: Any, prices: Any) -> None:
    """``prices[j] = max_i affinity[i, j] - duals[i]``: the smallest feasible prices of these row duals."""
    prices[:] = -np.inf
    for i in range(affinity.shape[0]):
        raise_to(affinity[i], duals[i], prices)


@njit(**COMPILED)
def free_slack_pairs(affinity: Any, prices: Any, column_of: Any, row_of: Any, eps: Any) -> int:
    """Free every matched pair that is further than ``eps`` below its row's maximum; returns how many rows are free."""
    free = 0
    for i in range(affinity.shape[0]):
        j = column_of[i]
        if j >= 0 and affinity[i, j] - prices[j] < best_value(affinity[i], prices) - eps:
            column_of[i] = -1
            row_of[j] = -1
            j = -1
        if j < 0:
            free += 1
    return free


@njit(**COMPILED)
def dense_auction(affinity: Any, prices: Any, column_of: Any, row_of: Any, eps: Any, max_bids: int) -> Any:
    """Let the free rows bid, first in first out, until none is free or ``max_bids`` were made.

    A bid raises the price of the row's best column by its lead over the second best plus ``eps`` and evicts the owner.
    Every pair made here stays within ``eps`` of its row's maximum, because prices only rise.

    Rows bid in fours. What a row knows is then a little old: a column that an earlier row of its four has just taken is
    not available, so it goes back into the queue; and a price that rose meanwhile only makes its own bid smaller.
    Returns rows still free and bids made.
    """
    n = affinity.shape[0]
    queue = np.empty(n, np.int64)
    rows = np.empty(4, np.int64)
    columns = np.empty(4, np.int64)
    bests = np.empty(4, prices.dtype)
    runners_up = np.empty(4, prices.dtype)
    waiting = free_rows(column_of, queue)
    head = 0
    bids = 0
    while waiting > 0 and bids < max_bids:
        if waiting < 3:
            i = queue[head]
            j, best, runner_up = best_two(affinity[i], prices)
            prices[j] += best - runner_up + eps
            bids += 1
            head = turn(head + 1, n)
            waiting = award(i, j, column_of, row_of, queue, head, waiting - 1)
            continue
        number = min(waiting, 4)
        for k in range(4):
            rows[k] = queue[turn(head + min(k, number - 1), n)]
        a, b, c, d = rows[0], rows[1], rows[2], rows[3]
        best_two_of_four(affinity[a], affinity[b], affinity[c], affinity[d], prices, columns, bests, runners_up)
        head = turn(head + number, n)
        waiting -= number
        bids += number
        for k in range(number):
            i = rows[k]
            j = columns[k]
            if affinity[i, j] - prices[j] == bests[k]:
                prices[j] += bests[k] - runners_up[k] + eps
                waiting = award(i, j, column_of, row_of, queue, head, waiting)
            else:
                queue[turn(head + waiting, n)] = i
                waiting += 1
    return waiting, bids
