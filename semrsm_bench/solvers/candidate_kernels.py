"""Compiled kernels of the list auction: each row bids on a short list of columns instead of on all of them.

A list keeps the ``width`` columns that looked best for a row under the prices of the moment, and a *bound* on
``affinity - prices`` over every column it left out. Prices only rise, so the bound stays true for good. While the best
listed value is at least the bound, the list alone decides; otherwise the row is scanned anew.

Lists are padded with column 0 at affinity minus infinity, so a kernel may read whole vectors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from semrsm_bench.solvers.auction_kernels import take_in, top_two
from semrsm_bench.solvers.queue_kernels import COMPILED, award, free_rows, turn
from semrsm_bench.solvers.vectors import (
    at_least,
    count_bits,
    first_bit,
    gather,
    higher,
    highest,
    lanes_of,
    load,
    load_as,
    lower,
    lowest,
    minus,
    spread,
)

# Columns of a list, a whole number of vectors.
WIDTH = 16
# A threshold is looked for among the maxima of 4 vectors' worth of lanes; bisection stops after this many halvings.
_HALVINGS = 8


class Lists(NamedTuple):
    """Candidate lists of all rows: ``columns`` and ``values`` (S, width), ``bounds`` (S,), and how many columns one should hold."""

    columns: Any
    values: Any
    bounds: Any
    wanted: int


@njit(forceinline=True, **COMPILED)
def mask_of(a: Any, b: Any, c: Any, d: Any, threshold: Any, lanes: int) -> Any:
    """One bit for each lane of four vectors that reaches the threshold."""
    low = at_least(a, threshold) | (at_least(b, threshold) << lanes)
    high = at_least(c, threshold) | (at_least(d, threshold) << lanes)
    return low | (high << (2 * lanes))


@njit(forceinline=True, **COMPILED)
def reaching(row: Any, prices: Any, k: int, threshold: Any) -> Any:
    """`mask_of` four vectors of ``row - prices``, from column ``k`` on."""
    lanes = lanes_of(prices)
    return mask_of(
        minus(load(row, k), load(prices, k)),
        minus(load(row, k + lanes), load(prices, k + lanes)),
        minus(load(row, k + 2 * lanes), load(prices, k + 2 * lanes)),
        minus(load(row, k + 3 * lanes), load(prices, k + 3 * lanes)),
        threshold,
        lanes,
    )


@njit(**COMPILED)
def _threshold(row: Any, prices: Any, wanted: int) -> Any:
    """A value that at least ``wanted`` entries of ``row - prices`` reach (all, where that is fewer), and not many more.

    The row is dealt into 4 vectors' worth of lanes, and the number of lanes whose maximum reaches a value is bisected:
    entries of the top ``wanted`` seldom share a lane.
    """
    n = row.shape[0]
    lanes = lanes_of(row)
    total = 4 * lanes
    full = n - n % total
    a = b = c = d = spread(row, -np.inf)
    for k in range(0, full, total):
        a = higher(a, minus(load(row, k), load(prices, k)))
        b = higher(b, minus(load(row, k + lanes), load(prices, k + lanes)))
        c = higher(c, minus(load(row, k + 2 * lanes), load(prices, k + 2 * lanes)))
        d = higher(d, minus(load(row, k + 3 * lanes), load(prices, k + 3 * lanes)))
    none = row.dtype.type(-np.inf)
    if full == 0:
        return none
    high = highest(higher(higher(a, b), higher(c, d)))
    low = lowest(lower(lower(a, b), lower(c, d)))
    half = row.dtype.type(0.5)
    for _ in range(_HALVINGS):
        middle = low + half * (high - low)
        reached = count_bits(mask_of(a, b, c, d, spread(row, middle), lanes))
        if reached < wanted:
            high = middle
        else:
            low = middle
            if reached <= wanted + 1:
                break
    return low


@njit(**COMPILED)
def _keep(value: Any, column: int, count: int, columns: Any, reduced: Any, floor: Any, lost: Any) -> Any:
    """Put one entry into a list, in place of the worst where it is full.

    Returns the count, the worst entry of a full list, and the best value lost. Where many entries are equal nearly all
    are turned away by their first comparison with ``floor``.
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
def list_row(row: Any, prices: Any, wanted: int, columns: Any, values: Any, reduced: Any) -> Any:
    """Fill one row's list; returns the bound on ``row - prices`` over all columns that are not on it."""
    n = row.shape[0]
    total = 4 * lanes_of(row)
    least = lost = floor = _threshold(row, prices, wanted)
    count = 0
    full = n - n % total
    threshold = spread(row, least)
    for k in range(0, full, total):
        mask = reaching(row, prices, k, threshold)
        while mask != 0:
            j = k + first_bit(mask)
            mask &= mask - 1
            count, floor, lost = _keep(row[j] - prices[j], j, count, columns, reduced, floor, lost)
    for j in range(full, n):
        value = row[j] - prices[j]
        if value >= least:
            count, floor, lost = _keep(value, j, count, columns, reduced, floor, lost)
    for k in range(count):
        values[k] = row[columns[k]]
    for k in range(count, columns.shape[0]):
        columns[k] = 0
        values[k] = -np.inf
    return lost


@njit(**COMPILED)
def list_rows(affinity: Any, prices: Any, lists: Lists) -> None:
    """Make the lists of all rows of ``affinity``, which may be a block of rows."""
    columns, values, bounds, wanted = lists
    reduced = np.empty(columns.shape[1], prices.dtype)
    for i in range(affinity.shape[0]):
        bounds[i] = list_row(affinity[i], prices, wanted, columns[i], values[i], reduced)


@njit(forceinline=True, **COMPILED)
def listed_best_two(columns: Any, values: Any, prices: Any) -> Any:
    """Best column of one list, its value, and the second largest value, in the precision of the prices.

    That may be wider than the list's.
    """
    lanes = lanes_of(prices)
    first = minus(load_as(prices, values, 0), gather(prices, columns, 0))
    second = spread(prices, -np.inf)
    place = spread(prices, 0)
    for k in range(lanes, values.shape[0], lanes):
        x = minus(load_as(prices, values, k), gather(prices, columns, k))
        first, second, place = take_in(x, spread(prices, k), first, second, place)
    at, best, runner_up = top_two(prices, first, second, place)
    return np.int64(columns[at]), best, runner_up


@njit(**COMPILED)
def free_listed_pairs(lists: Lists, prices: Any, column_of: Any, row_of: Any, eps: Any, slack: Any) -> int:
    """Free the matched pairs that the lists show to be further than ``eps`` below their row's maximum.

    A pair whose column is not on its row's list is freed too: nothing is known of it. Returns how many rows are free.
    """
    columns, values, bounds, _ = lists
    free = 0
    for i in range(column_of.shape[0]):
        j = column_of[i]
        if j >= 0:
            _, best, _ = listed_best_two(columns[i], values[i], prices)
            own = -np.inf
            for k in range(columns.shape[1]):
                if columns[i, k] == j and values[i, k] > -np.inf:
                    own = np.float64(values[i, k] - prices[j])
            if not own >= max(best, bounds[i] - slack) - eps:
                column_of[i] = -1
                row_of[j] = -1
                j = -1
        if j < 0:
            free += 1
    return free


@njit(**COMPILED)
def list_auction(
    affinity: Any, prices: Any, lists: Lists, slack: Any, column_of: Any, row_of: Any, eps: Any, max_bids: int
) -> Any:
    """Dense auction's bidding on lists; a row whose list has fallen ``slack`` below its bound is scanned anew.

    With ``slack = 0`` every pair ends within ``eps`` of its row's maximum over *all* columns; a larger slack trusts
    that the columns left out have become dearer as well, and saves scans. Returns rows left, bids and scans.
    """
    columns, values, bounds, wanted = lists
    n = column_of.shape[0]
    reduced = np.empty(columns.shape[1], prices.dtype)
    queue = np.empty(n, np.int64)
    waiting = free_rows(column_of, queue)
    head = 0
    bids = 0
    scans = 0
    while waiting > 0 and bids < max_bids:
        i = queue[head]
        j, best, runner_up = listed_best_two(columns[i], values[i], prices)
        if best < bounds[i] - slack:
            bounds[i] = list_row(affinity[i], prices, wanted, columns[i], values[i], reduced)
            j, best, runner_up = listed_best_two(columns[i], values[i], prices)
            scans += 1
        # The best column left out may be as good as the bound; rounding must not put it above the best listed one.
        runner_up = min(best, max(runner_up, bounds[i] - slack))
        prices[j] += best - runner_up + eps
        bids += 1
        head = turn(head + 1, n)
        waiting = award(i, j, column_of, row_of, queue, head, waiting - 1)
    return waiting, bids, scans
