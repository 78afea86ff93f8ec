"""Compiled kernels that finish an almost optimal matching exactly, in float64, and that check the result.

The prices are float64 here. A *tight* pair is one whose column is the row's best: ``A_ij - p_j = max_k (A_ik - p_k)``.
A complete matching of tight pairs is optimal (complementary slackness). Three steps lead there:

1. `free_loose_pairs` frees every pair that is not tight under the prices at hand;
2. `bid_exactly` lets free rows bid without the ``eps``: most of them find a column at once;
3. `path_kernels.augment` matches each row that is left along a shortest path of reduced costs (Dijkstra), raising prices as far as
   the path is long, which keeps all pairs tight.

All three read the candidate lists of `candidate_kernels`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from semrsm_bench.solvers.auction_kernels import best_two
from semrsm_bench.solvers.candidate_kernels import Lists, list_row, listed_best_two, reaching
from semrsm_bench.solvers.queue_kernels import COMPILED
from semrsm_bench.solvers.vectors import first_bit, lanes_of, spread

# Places in the array of counters that the kernels fill.
SCANS, FREED, BIDS, PATHS, DENSE = range(5)
COUNTERS = 5
# Evictions in a row after which the row at hand is left free.
_LONGEST_CHAIN = 256


class Finish(NamedTuple):
    """What the three steps work on.

    ``prices`` are float64, ``rounded`` the same in the precision of the affinity, as are the values of the lists, whose bounds
    are float64 and allow for ``rounding``, that of ``affinity - rounded``. Lists without a column mean that there are none.
    ``reduced`` is room for one list.
    """

    affinity: Any
    prices: Any
    rounded: Any
    lists: Lists
    rounding: float
    column_of: Any
    row_of: Any
    reduced: Any
    counters: Any


@njit(forceinline=True, **COMPILED)
def best_column(
    i: int,
    affinity: Any,
    prices: Any,
    rounded: Any,
    wanted: int,
    columns: Any,
    values: Any,
    bounds: Any,
    rounding: float,
    reduced: Any,
    counters: Any,
) -> Any:
    """Best column of row ``i``, its value and the second largest: from the list where its bound allows, else from the row.

    The second value may be the bound: no column left out is better than that. The arrays stand here one by one, because to
    take them out of a tuple for every row would cost as much as a short list.
    """
    if columns.shape[1] == 0:
        return best_two(affinity[i], prices)
    j, best, second = listed_best_two(columns[i], values[i], prices)
    if best < bounds[i]:
        bounds[i] = np.float64(list_row(affinity[i], rounded, wanted, columns[i], values[i], reduced)) + rounding
        counters[SCANS] += 1
        j, best, second = listed_best_two(columns[i], values[i], prices)
        if best < bounds[i]:
            counters[DENSE] += 1
            return best_two(affinity[i], prices)
    return j, best, min(best, max(second, bounds[i]))


@njit(**COMPILED)
def _free_equal(best: float, row: Any, prices: Any, columns: Any, row_of: Any) -> int:
    """A free column that is worth ``best`` to a row, or -1; of its list, if it has one."""
    listed = columns.shape[0]
    for k in range(listed if listed > 0 else row.shape[0]):
        j = columns[k] if listed > 0 else np.int32(k)
        if row_of[j] < 0 and np.float64(row[j]) - prices[j] == best:
            return int(j)
    return -1


@njit(**COMPILED)
def free_loose_pairs(state: Finish) -> None:
    """Free every pair whose column is not its row's best in float64."""
    affinity, prices, rounded, lists, rounding, column_of, row_of, reduced, counters = state
    columns, values, bounds, wanted = lists
    for i in range(affinity.shape[0]):
        j = column_of[i]
        if j < 0:
            continue
        own = np.float64(affinity[i, j]) - prices[j]
        _, best, _ = best_column(
            i, affinity, prices, rounded, wanted, columns, values, bounds, rounding, reduced, counters
        )
        # About half of them are loose, in no order: choosing values is cheaper than guessing branches.
        loose = own < best
        column_of[i] = -1 if loose else j
        row_of[j] = -1 if loose else i
        counters[FREED] += loose


@njit(**COMPILED)
def bid_exactly(state: Finish, max_bids: int) -> None:
    """Free rows take their best column at the price that makes it no better than their second; owners are evicted.

    A row that finds equal columns taken is left free, and so is the last of a long chain of evictions: without an ``eps`` a
    price war can go on for ever. `path_kernels.augment` settles those.
    """
    affinity, prices, rounded, lists, rounding, column_of, row_of, reduced, counters = state
    columns, values, bounds, wanted = lists
    n = affinity.shape[0]
    stack = np.empty(n, np.int64)
    free = 0
    for i in range(n - 1, -1, -1):
        if column_of[i] < 0:
            stack[free] = i
            free += 1
    bids = 0
    chain = 0
    while free > 0 and bids < max_bids:
        if chain == _LONGEST_CHAIN:
            free -= 1
            chain = 0
            continue
        i = stack[free - 1]
        j, best, second = best_column(
            i, affinity, prices, rounded, wanted, columns, values, bounds, rounding, reduced, counters
        )
        bids += 1
        chain += 1
        if second < best:
            prices[j] += best - second
            rounded[j] = prices[j]
        elif row_of[j] >= 0:
            j = _free_equal(best, affinity[i], prices, columns[i], row_of)
            if j < 0:
                # Evicting an owner at the same price would only move the question on; a path settles it.
                free -= 1
                chain = 0
                continue
        owner = row_of[j]
        row_of[j] = i
        column_of[i] = j
        if owner >= 0:
            column_of[owner] = -1
            stack[free - 1] = owner
        else:
            free -= 1
            chain = 0
    counters[BIDS] += bids


@njit(**COMPILED)
def check_tight(affinity: Any, prices: Any, rounded: Any, perm: Any, rounding: float, duals: Any) -> float:
    """Row maxima of ``affinity - prices`` in float64 (into ``duals``) and the largest slack of a matched pair.

    Knows nothing of how the prices came about. Where the affinity is float32 a float32 scan first finds the entries
    that can exceed the matched one, allowing for ``rounding``; those are looked at in float64.
    """
    n = affinity.shape[0]
    total = 4 * lanes_of(rounded)
    full = n - n % total
    worst = 0.0
    for i in range(n):
        own = np.float64(affinity[i, perm[i]]) - prices[perm[i]]
        best = own
        row = affinity[i]
        threshold = spread(row, rounded.dtype.type(own - 2.0 * rounding))
        for k in range(0, full, total):
            mask = reaching(row, rounded, k, threshold)
            while mask != 0:
                j = k + first_bit(mask)
                mask &= mask - 1
                best = max(best, np.float64(row[j]) - prices[j])
        for j in range(full, n):
            best = max(best, np.float64(row[j]) - prices[j])
        duals[i] = best
        worst = max(worst, best - own)
    return worst
