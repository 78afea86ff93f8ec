"""The exact finish of an almost optimal matching, in float64, and the check of its result.

The prices are float64 here. A *tight* pair is one whose column is the row's best: ``A_ij - p_j = max_k (A_ik - p_k)``.
A complete matching of tight pairs is optimal (complementary slackness). Three steps lead there:

1. `free_loose_pairs` frees every pair that is not tight under the prices at hand;
2. `bid_exactly` lets free rows bid without the ``eps``: most of them find a column at once;
3. `paths.augment` matches each row that is left along a shortest path of reduced costs (Dijkstra), raising prices as far as
   the path is long, which keeps all pairs tight.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Integers
from semrsm_bench.solvers.kernels.bidding import Assignment
from semrsm_bench.solvers.kernels.lists import Lists, list_row, listed_best_two
from semrsm_bench.solvers.kernels.rows import best_two, columns_reaching

# Places in the array of counters that the kernels fill.
SCANS, FREED, BIDS, PATHS, WHOLE_ROWS = range(5)
COUNTERS = 5
# Evictions in a row after which the row at hand is left free.
_LONGEST_CHAIN = 256


class Finish(NamedTuple):
    """What the three steps work on.

    ``prices`` are float64, ``rounded`` the same in the precision of the affinity, as are the values of the lists, whose bounds
    are float64 and allow for ``rounding``, that of ``affinity - rounded``. Lists without a column mean that there are none.
    ``reduced`` is room for one list.
    """

    affinity: Floats
    prices: Floats
    rounded: Floats
    lists: Lists
    rounding: float
    assignment: Assignment
    reduced: Floats
    counters: Integers


@njit(forceinline=True, **COMPILED)
def best_column(i: int, affinity: Floats, prices: Floats, columns: Integers, values: Floats, bounds: Floats) -> Any:
    """Best column of row ``i``, its value and the second largest; column -1 where the row's list has fallen behind its bound.

    The second value may be the bound: no column left out is better than that. The arrays of the state stand here one by one,
    because to count references to all of them for every row would cost as much as a short list.
    """
    if columns.shape[1] == 0:
        return best_two(affinity[i], prices)
    j, best, second = listed_best_two(columns[i], values[i], prices)
    if best < bounds[i]:
        j = np.int64(-1)
    return j, best, min(best, max(second, bounds[i]))


@njit(**COMPILED)
def renew_list(i: int, state: Finish) -> None:
    """A new list for row ``i`` under the prices of the moment."""
    lists = state.lists
    bound = list_row(state.affinity[i], state.rounded, lists.wanted, lists.columns[i], lists.values[i], state.reduced)
    lists.bounds[i] = np.float64(bound) + state.rounding
    state.counters[SCANS] += 1


@njit(**COMPILED)
def renewed_best_column(i: int, state: Finish) -> Any:
    """`best_column` after a new list was made, from the whole row where even that has fallen behind."""
    renew_list(i, state)
    columns, values, bounds, _ = state.lists
    j, best, second = best_column(i, state.affinity, state.prices, columns, values, bounds)
    if j < 0:
        state.counters[WHOLE_ROWS] += 1
        return best_two(state.affinity[i], state.prices)
    return j, best, second


@njit(**COMPILED)
def _free_equal(best: float, row: Floats, prices: Floats, columns: Integers, row_of: Integers) -> int:
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
    affinity, prices = state.affinity, state.prices
    columns, values, bounds, _ = state.lists
    column_of, row_of = state.assignment
    freed = 0
    for i in range(affinity.shape[0]):
        j = column_of[i]
        if j < 0:
            continue
        own = np.float64(affinity[i, j]) - prices[j]
        k, best, _ = best_column(i, affinity, prices, columns, values, bounds)
        if k < 0:
            k, best, _ = renewed_best_column(i, state)
        # About half of them are loose, in no order: choosing values is cheaper than guessing branches.
        loose = own < best
        column_of[i] = -1 if loose else j
        row_of[j] = -1 if loose else i
        freed += loose
    state.counters[FREED] += freed


@njit(**COMPILED)
def bid_exactly(state: Finish, max_bids: int) -> None:
    """Free rows take their best column at the price that makes it no better than their second; owners are evicted.

    A row that finds equal columns taken is left free, and so is the last of a long chain of evictions: without an ``eps`` a
    price war can go on for ever. `paths.augment` settles those.
    """
    affinity, prices, rounded = state.affinity, state.prices, state.rounded
    columns, values, bounds, _ = state.lists
    column_of, row_of = state.assignment
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
        j, best, second = best_column(i, affinity, prices, columns, values, bounds)
        if j < 0:
            j, best, second = renewed_best_column(i, state)
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
    state.counters[BIDS] += bids


@njit(**COMPILED)
def check_tight(
    affinity: Floats, prices: Floats, rounded: Floats, perm: Integers, rounding: float, duals: Floats
) -> float:
    """Row maxima of ``affinity - prices`` in float64 (into ``duals``) and the largest slack of a matched pair.

    Knows nothing of how the prices came about. A scan in the precision of the affinity first finds the entries
    that can exceed the matched one, allowing for ``rounding``; those are looked at in float64.
    """
    n = affinity.shape[0]
    found = np.empty(n, np.int32)
    worst = 0.0
    for i in range(n):
        row = affinity[i]
        own = np.float64(row[perm[i]]) - prices[perm[i]]
        best = own
        for k in range(columns_reaching(row, rounded, rounded.dtype.type(own - 2.0 * rounding), found)):
            best = max(best, np.float64(row[found[k]]) - prices[found[k]])
        duals[i] = best
        worst = max(worst, best - own)
    return worst
