"""The exact finish of an almost optimal matching, in float64, and the check of its result.

The prices are float64 here. A *tight* pair is one whose column is the row's best: ``A_ij - p_j = max_k (A_ik - p_k)``.
A complete matching of tight pairs is optimal (complementary slackness). `finish_exactly` gets there in three steps:

1. `_free_loose_pairs` frees every pair that is not tight under the prices at hand;
2. `_bid_exactly` lets free rows bid without the ``eps``: most of them find a column at once;
3. `augment` matches each row that is left along a shortest path of reduced costs (Dijkstra), raising prices as far as the
   path is long, which keeps all pairs tight.

`check_tight` then checks the result from the prices alone.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Index, Integers, Scalar
from semrsm_bench.solvers.kernels.bidding import Assignment
from semrsm_bench.solvers.kernels.lists import WANTED, WIDTH, Lists, list_row, list_rows, listed_best_two
from semrsm_bench.solvers.kernels.rows import best_two, columns_reaching
from semrsm_bench.solvers.kernels.scale import Scale, largest_magnitude, rounding_of

# Limits for each row of a problem: exact bids, and whole rows that path searches read.
_MAX_BIDS = 4
_MAX_WHOLE_ROWS = 512
# Evictions in a row after which the row at hand is left free.
_LONGEST_CHAIN = 256

# Distances and nodes of `_search_path`.
_Heap = list[tuple[float, Index]]


class Finish(NamedTuple):
    """What the three steps work on.

    ``prices`` are float64, ``rounded`` the same in the precision of the affinity, as are the values of the lists, whose bounds
    are float64 and allow for ``rounding``, that of ``affinity - rounded``. Lists without a column mean that there are none.
    """

    affinity: Floats
    prices: Floats
    rounded: Floats
    lists: Lists
    rounding: float
    assignment: Assignment


@njit(**COMPILED)
def make_lists(affinity: Floats, prices: Floats, rounding: float, width: int) -> Lists:
    """New lists under these prices, with bounds in float64 that allow for ``rounding``; none where the width is 0."""
    size = affinity.shape[0]
    columns, values = np.empty((size, width), np.int32), np.empty((size, width), prices.dtype)
    lists = Lists(columns, values, np.empty(size), WANTED)
    if width > 0:
        list_rows(affinity, prices, lists)
        lists.bounds[:] += rounding
    return lists


@njit(**COMPILED)
def finish_exactly(state: Finish, scale: Scale, tolerance: float, duals: Floats) -> tuple[int, int, float]:
    """Turns an almost optimal matching into the optimum, with its prices and row duals.

    ``state.rounded`` are the prices of the auction. The lists are valid under them; if there are none, bids read whole rows,
    and lists are made only if there is a path to look for. ``state.rounding`` bounds the error of ``affinity - prices`` for all
    prices up to the end. Returns the bids, the paths, and the largest slack of a matched pair, which is infinite where the
    work exceeds its limits or the slack exceeds ``tolerance``, relative to the largest ``|A| + |p|``.
    """
    affinity, prices, rounded, lists, rounding, assignment = state
    prices[:] = rounded
    _free_loose_pairs(state)
    bids, paths = _bid_exactly(state), 0
    if (assignment.row_of < 0).any():
        if lists.columns.shape[1] == 0:
            lists = make_lists(affinity, rounded, rounding, WIDTH)
        paths = augment(Finish(affinity, prices, rounded, lists, rounding, assignment))
        if paths < 0:
            return bids, paths, np.inf
    rounded[:] = prices
    slack = check_tight(affinity, prices, rounded, assignment.column_of, rounding_of(scale, prices), duals)
    # Prices that have left float64 would allow any slack.
    magnitude = largest_magnitude(scale, prices)
    proven = magnitude < np.inf and slack <= tolerance * magnitude
    return bids, paths, slack if proven else np.inf


@njit(forceinline=True, **COMPILED)
def _best_column(
    i: Index, affinity: Floats, prices: Floats, columns: Integers, values: Floats, bounds: Floats
) -> tuple[Index, Scalar, Scalar]:
    """Best column of row ``i``, its value and the second largest; column -1 where the row's list has fallen behind its bound.

    The second value may be the bound: no column left out is better than that. The arrays of the state are here one by one,
    because to count references to all of them for every row would cost as much as a short list.
    """
    if columns.shape[1] == 0:
        return best_two(affinity[i], prices)
    j, best, second = listed_best_two(columns[i], values[i], prices)
    if best < bounds[i]:
        j = np.int64(-1)
    return j, best, min(best, max(second, bounds[i]))


@njit(**COMPILED)
def _renew_list(i: Index, state: Finish) -> None:
    """A new list for row ``i`` under the prices of the moment."""
    columns, values, bounds, wanted = state.lists
    bound = list_row(state.affinity[i], state.rounded, wanted, columns[i], values[i])
    bounds[i] = np.float64(bound) + state.rounding


@njit(**COMPILED)
def _renewed_best_column(i: Index, state: Finish) -> tuple[Index, Scalar, Scalar]:
    """`_best_column` after a new list was made, from the whole row where even that has fallen behind."""
    _renew_list(i, state)
    columns, values, bounds, _ = state.lists
    j, best, second = _best_column(i, state.affinity, state.prices, columns, values, bounds)
    if j < 0:
        return best_two(state.affinity[i], state.prices)
    return j, best, second


@njit(**COMPILED)
def _free_equal(best: Scalar, row: Floats, prices: Floats, columns: Integers, row_of: Integers) -> int:
    """A free column that is worth ``best`` to a row, or -1; of its list, if it has one."""
    listed = columns.shape[0]
    for k in range(listed if listed > 0 else row.shape[0]):
        j = columns[k] if listed > 0 else np.int32(k)
        if row_of[j] < 0 and np.float64(row[j]) - prices[j] == best:
            return int(j)
    return -1


@njit(**COMPILED)
def _free_loose_pairs(state: Finish) -> None:
    """Free every pair whose column is not its row's best in float64."""
    affinity, prices = state.affinity, state.prices
    columns, values, bounds, _ = state.lists
    column_of, row_of = state.assignment
    for i in range(affinity.shape[0]):
        j = column_of[i]
        if j < 0:
            continue
        own = np.float64(affinity[i, j]) - prices[j]
        k, best, _ = _best_column(i, affinity, prices, columns, values, bounds)
        if k < 0:
            k, best, _ = _renewed_best_column(i, state)
        # About half of them are loose, in no order: choosing values is cheaper than guessing branches.
        loose = own < best
        column_of[i] = -1 if loose else j
        row_of[j] = -1 if loose else i


@njit(**COMPILED)
def _bid_exactly(state: Finish) -> int:
    """Free rows take their best column at the price that makes it no better than their second; owners are evicted.

    A row that finds equal columns taken is left free, and so is the last of a long chain of evictions: without an ``eps`` a
    price war can go on for ever. `augment` settles those. Returns the bids made.
    """
    affinity, prices, rounded = state.affinity, state.prices, state.rounded
    columns, values, bounds, _ = state.lists
    column_of, row_of = state.assignment
    n = affinity.shape[0]
    stack = np.flatnonzero(column_of < 0)[::-1].copy()
    free = len(stack)
    bids = 0
    chain = 0
    while free > 0 and bids < _MAX_BIDS * n:
        if chain == _LONGEST_CHAIN:
            free -= 1
            chain = 0
            continue
        i = stack[free - 1]
        j, best, second = _best_column(i, affinity, prices, columns, values, bounds)
        if j < 0:
            j, best, second = _renewed_best_column(i, state)
        bids += 1
        chain += 1
        if second < best:
            prices[j] += best - second
            rounded[j] = prices[j]
        elif row_of[j] >= 0:
            j = _free_equal(best, affinity[i], prices, columns[i], row_of)
            if j < 0:
                # Evicting an owner at the same price leaves that row in the same place; a path settles it.
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
    return bids


@njit(**COMPILED)
def augment(state: Finish) -> int:
    """Match every free row along a shortest augmenting path; returns how many there were, -1 where it reads too many rows."""
    prices, rounded = state.prices, state.rounded
    column_of, row_of = state.assignment
    n = len(row_of)
    free_columns = np.flatnonzero(row_of < 0)
    number = len(free_columns)
    renewed_for, found = np.full(n, -1, np.int64), np.empty(n, np.int32)
    paths = whole_rows = 0
    for start in range(n):
        if column_of[start] >= 0:
            continue
        paths += 1
        tree = _Tree(np.full(2 * n, np.inf), np.empty(n, np.int64), np.zeros(n, np.bool_))
        end, length, read = _search_path(start, free_columns[:number], state, tree, renewed_for, found)
        whole_rows += read
        if whole_rows > _MAX_WHOLE_ROWS * n:
            return -1
        # The prices of columns nearer than the path is long rise by the difference, which keeps all pairs tight.
        for j in range(n):
            if tree.closed[j]:
                prices[j] += length - tree.distance[j]
                rounded[j] = prices[j]
        number -= 1
        free_columns[np.flatnonzero(free_columns == end)[0]] = free_columns[number]
        i = np.int64(-1)
        while i != start:
            i = tree.reached_from[end]
            row_of[end] = i
            following = column_of[i]
            column_of[i] = end
            end = following
    return paths


class _Tree(NamedTuple):
    """The shortest paths from one free row.

    Nodes 0..S-1 are columns, S..2S-1 stand for "the columns that row i's list leaves out". ``distance`` (2S,) is infinite where
    a node is not reached, ``reached_from`` (S,) the row before a column, and ``closed`` (S,) the columns that are settled.
    """

    distance: Floats
    reached_from: Integers
    closed: NDArray[np.bool_]


@njit(**COMPILED)
def _search_path(
    start: int, free_columns: Integers, state: Finish, tree: _Tree, renewed_for: Integers, found: Integers
) -> tuple[Index, float, int]:
    """Nearest free column of a free row, its distance, and how many whole rows were read on the way.

    Dijkstra's algorithm on the reduced costs ``u_i - (A_ij - p_j)``. A row's list gives only its best columns; all others
    are at least ``u_i - bound`` away, and that distance enters the heap as a node of its own. Only when this node is the
    nearest must more be known: the row gets a new list, and if it comes up again, the whole row is read, which is rare.
    """
    affinity, prices, rounded, lists, rounding, assignment = state
    columns, values, bounds, _ = lists
    column_of, row_of = assignment
    distance, n = tree.distance, affinity.shape[0]
    j, start_dual, _ = _best_column(start, affinity, prices, columns, values, bounds)
    if j < 0:
        _, start_dual, _ = _renewed_best_column(start, state)
    heap: _Heap = [(np.inf, np.int64(0))]
    # The free columns next to the start limit the search from the beginning.
    shortest = np.inf
    end: Index = np.int64(-1)
    for j in free_columns:
        nearer = max(0.0, start_dual - (np.float64(affinity[start, j]) - prices[j]))
        if nearer < shortest:
            shortest, end = _reach(j, start, nearer, shortest, end, row_of, tree, heap)
    i: Index = np.int64(start)
    base, dual = 0.0, start_dual
    whole_rows, whole = 0, False
    while True:
        if whole:
            whole_rows += 1
            least = rounded.dtype.type(dual + base - shortest - 2.0 * rounding)
            for k in range(columns_reaching(affinity[i], rounded, least, found)):
                j = np.int64(found[k])
                nearer = base + max(0.0, dual - (np.float64(affinity[i, j]) - prices[j]))
                if nearer < shortest and nearer < distance[j]:
                    shortest, end = _reach(j, i, nearer, shortest, end, row_of, tree, heap)
        else:
            for k in range(columns.shape[1]):
                j = np.int64(columns[i, k])
                nearer = base + max(0.0, dual - (np.float64(values[i, k]) - prices[j]))
                if nearer < shortest and nearer < distance[j]:
                    shortest, end = _reach(j, i, nearer, shortest, end, row_of, tree, heap)
            others = base + max(0.0, dual - bounds[i])
            if others < shortest:
                distance[n + i] = others
                heapq.heappush(heap, (others, n + i))
        # A node that came nearer while it waited is in the heap at its old distance, too.
        while True:
            if heap[0][0] >= shortest:
                return end, shortest, whole_rows
            base, node = heapq.heappop(heap)
            if base == distance[node]:
                break
        whole = False
        if node < n:
            tree.closed[node] = True
            i = row_of[node]
        else:
            i = node - n
            base = 0.0 if i == start else distance[column_of[i]]
            whole = renewed_for[i] == start
            if not whole:
                renewed_for[i] = start
                _renew_list(i, state)
        # The start's dual is not the best of its list, which rounding may have put below that of the row.
        dual = start_dual if i == start else np.float64(affinity[i, column_of[i]]) - prices[column_of[i]]


@njit(**COMPILED)
def _reach(
    j: Index, i: Index, nearer: float, shortest: float, end: Index, row_of: Integers, tree: _Tree, heap: _Heap
) -> tuple[float, Index]:
    """Column j is nearer than known through row i; returns distance and number of the nearest free column."""
    if not tree.closed[j]:
        tree.distance[j] = nearer
        tree.reached_from[j] = i
        if row_of[j] < 0:
            return nearer, j
        heapq.heappush(heap, (nearer, j))
    return shortest, end


@njit(**COMPILED)
def check_tight(
    affinity: Floats, prices: Floats, rounded: Floats, perm: Integers, rounding: float, duals: Floats
) -> float:
    """Row maxima of ``affinity - prices`` in float64 (into ``duals``) and the largest slack of a matched pair.

    Any prices will do. A scan in the precision of the affinity first finds the entries
    that can exceed the matched one, allowing for ``rounding``; those are compared in float64.
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
