"""Compiled kernels of the dense auction: one row at a time against all prices.

Every kernel is written once for float32 and float64 (`vectors` picks the lanes), releases the GIL and does a bounded
amount of work. ``prices`` are the column duals; the row duals are always the row maxima of ``A - prices``, so a pair of
duals made here is feasible by construction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from semrsm_bench.solvers.vectors import (
    at_least,
    first_bit,
    higher,
    highest,
    lanes_of,
    load,
    lower,
    minus,
    spread,
    store,
    without_lane,
)

# error_model: kernels divide by numbers they have checked; the Python model would add a branch and an exception path.
COMPILED: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**COMPILED)
def best_two(row: Any, prices: Any) -> Any:
    """Column of the largest ``row - prices`` (lowest of equals within a lane), its value, and the second largest."""
    n = row.shape[0]
    lanes = lanes_of(row)
    first = spread(row, -np.inf)
    second = first
    other_first = first
    other_second = first
    full = n - n % (2 * lanes)
    for k in range(0, full, 2 * lanes):
        x = minus(load(row, k), load(prices, k))
        y = minus(load(row, k + lanes), load(prices, k + lanes))
        second = higher(second, lower(first, x))
        first = higher(first, x)
        other_second = higher(other_second, lower(other_first, y))
        other_first = higher(other_first, y)
    second = higher(higher(second, other_second), lower(first, other_first))
    first = higher(first, other_first)
    best = highest(first)
    wanted = spread(row, best)
    lane = first_bit(at_least(first, wanted) | (1 << 62))
    runner_up = best
    if lane < lanes:
        runner_up = highest(without_lane(first, lane, second))
    column = 0
    for k in range(0, full, lanes):
        mask = at_least(minus(load(row, k), load(prices, k)), wanted)
        if mask != 0:
            column = k + first_bit(mask)
            break
    for j in range(full, n):
        value = row[j] - prices[j]
        if value > best:
            runner_up = best
            best = value
            column = j
        elif value > runner_up:
            runner_up = value
    return column, best, runner_up


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

    Returns
    -------
    left, bids : int
        Rows still free, bids made.
    """
    n = affinity.shape[0]
    queue = np.empty(n, np.int64)
    waiting = 0
    for i in range(n):
        if column_of[i] < 0:
            queue[waiting] = i
            waiting += 1
    head = 0
    bids = 0
    while waiting > 0 and bids < max_bids:
        i = queue[head]
        j, best, runner_up = best_two(affinity[i], prices)
        prices[j] += best - runner_up + eps
        bids += 1
        owner = row_of[j]
        row_of[j] = i
        column_of[i] = j
        head += 1
        if head == n:
            head = 0
        waiting -= 1
        if owner >= 0:
            column_of[owner] = -1
            tail = head + waiting
            if tail >= n:
                tail -= n
            queue[tail] = owner
            waiting += 1
    return waiting, bids
