"""Shortest augmenting paths on candidate lists, the last step of the exact finish.

Dijkstra's algorithm on reduced costs ``u_i - (A_ij - p_j)``, from a free row to the nearest free column. A row's list gives
only its best columns; all others lie at least ``u_i - bound`` away, and that distance enters the heap as a node of its own.
Only when this node is the nearest must the whole row be looked at, which is rare.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Integers
from semrsm_bench.solvers.kernels.exact import PATHS, WHOLE_ROWS, Finish, best_column, renew_list, renewed_best_column
from semrsm_bench.solvers.kernels.rows import reaching
from semrsm_bench.solvers.kernels.vectors import fill, first_bit, lanes_of


class _Search(NamedTuple):
    """Workspace of one search: a heap of nodes by distance, the place of each node in it, and the path to every column.

    Nodes 0..S-1 are columns, S..2S-1 stand for "the columns that row i's list leaves out". ``sizes`` holds the number of
    nodes in the heap and of nodes touched.
    """

    heap: Integers
    place: Integers
    distance: Floats
    reached_from: Integers
    closed: Any
    touched: Integers
    sizes: Integers


@njit(**COMPILED)
def _new_search(n: int) -> _Search:
    heap, touched, reached_from = np.empty(2 * n, np.int64), np.empty(2 * n, np.int64), np.empty(n, np.int64)
    place, distance = np.full(2 * n, -1, np.int64), np.full(2 * n, np.inf)
    closed, sizes = np.zeros(n, np.bool_), np.zeros(2, np.int64)
    return _Search(heap, place, distance, reached_from, closed, touched, sizes)


@njit(**COMPILED)
def _rise(heap: Integers, place: Integers, distance: Floats, at: int) -> None:
    """Move the node at ``at`` towards the root until its parent is no farther."""
    node = heap[at]
    nearer = distance[node]
    while at > 0:
        parent = (at - 1) >> 1
        if distance[heap[parent]] <= nearer:
            break
        heap[at] = heap[parent]
        place[heap[at]] = at
        at = parent
    heap[at] = node
    place[node] = at


@njit(**COMPILED)
def _pop(heap: Integers, place: Integers, distance: Floats, length: int) -> int:
    """Take the nearest node off a heap of ``length`` nodes."""
    nearest = heap[0]
    place[nearest] = -1
    length -= 1
    if length > 0:
        node = heap[length]
        at = 0
        while 2 * at + 1 < length:
            child = 2 * at + 1
            if child + 1 < length and distance[heap[child + 1]] < distance[heap[child]]:
                child += 1
            if distance[heap[child]] >= distance[node]:
                break
            heap[at] = heap[child]
            place[heap[at]] = at
            at = child
        heap[at] = node
        place[node] = at
    return int(nearest)


@njit(**COMPILED)
def _touch(node: int, nearer: float, search: _Search) -> None:
    """Put a node into the heap, or nearer to its root, at a distance that is less than known."""
    heap, place, distance, _, _, touched, sizes = search
    if distance[node] == np.inf:
        touched[sizes[1]] = node
        sizes[1] += 1
    distance[node] = nearer
    if place[node] < 0:
        heap[sizes[0]] = node
        place[node] = sizes[0]
        sizes[0] += 1
    _rise(heap, place, distance, place[node])


@njit(**COMPILED)
def _reach(j: int, i: int, nearer: float, shortest: float, end: int, row_of: Integers, search: _Search) -> Any:
    """Note that column j is nearer than known through row i; returns distance and number of the nearest free column."""
    _, _, known, reached_from, closed, touched, sizes = search
    if closed[j]:
        return shortest, end
    reached_from[j] = i
    if row_of[j] >= 0:
        _touch(j, nearer, search)
        return shortest, end
    # A free column ends the path and never leaves the heap: it need not enter.
    if known[j] == np.inf:
        touched[sizes[1]] = j
        sizes[1] += 1
    known[j] = nearer
    return nearer, j


@njit(**COMPILED)
def _search_path(start: int, free: Integers, state: Finish, search: _Search, renewed: Integers, most_rows: int) -> Any:
    """Nearest free column of a free row, its distance, and the number -1 where too many whole rows would have to be read."""
    affinity, prices, rounded, lists, rounding, assignment, _, counters = state
    columns, values, bounds, _ = lists
    column_of, row_of = assignment
    heap, place, distance, _, closed, _, sizes = search
    n = affinity.shape[0]
    j, start_dual, _ = best_column(start, affinity, prices, columns, values, bounds)
    if j < 0:
        _, start_dual, _ = renewed_best_column(start, state)
    dual = start_dual
    step = 4 * lanes_of(rounded)
    full = n - n % step
    # The free columns next to the start limit the search from the beginning.
    shortest = np.inf
    end = np.int64(-1)
    for k in range(len(free)):
        j = free[k]
        nearer = max(0.0, dual - (np.float64(affinity[start, j]) - prices[j]))
        if nearer < shortest:
            shortest, end = _reach(j, start, nearer, shortest, end, row_of, search)
    i = np.int64(start)
    base = 0.0
    whole = False
    while True:
        if whole:
            row = affinity[i]
            least = fill(row, rounded.dtype.type(dual + base - shortest - 2.0 * rounding))
            for k in range(0, full, step):
                mask = reaching(row, rounded, k, least)
                while mask != 0:
                    j = k + first_bit(mask)
                    mask &= mask - 1
                    nearer = base + max(0.0, dual - (np.float64(row[j]) - prices[j]))
                    if nearer < shortest and nearer < distance[j]:
                        shortest, end = _reach(j, i, nearer, shortest, end, row_of, search)
            for j in range(full, n):
                nearer = base + max(0.0, dual - (np.float64(row[j]) - prices[j]))
                if nearer < shortest and nearer < distance[j]:
                    shortest, end = _reach(j, i, nearer, shortest, end, row_of, search)
        else:
            for k in range(columns.shape[1]):
                j = np.int64(columns[i, k])
                nearer = base + max(0.0, dual - (np.float64(values[i, k]) - prices[j]))
                if nearer < shortest and nearer < distance[j]:
                    shortest, end = _reach(j, i, nearer, shortest, end, row_of, search)
            others = base + max(0.0, dual - bounds[i])
            if others < shortest:
                _touch(n + i, others, search)
        if sizes[0] == 0 or distance[heap[0]] >= shortest:
            return end, shortest
        node = np.int64(_pop(heap, place, distance, sizes[0]))
        sizes[0] -= 1
        whole = False
        if node < n:
            closed[node] = True
            i = np.int64(row_of[node])
            base = distance[node]
        else:
            # The row gets a new list under the prices of the moment; only if it comes up again is the whole row read.
            i = node - n
            base = 0.0 if i == start else distance[column_of[i]]
            whole = renewed[i] == start
            if not whole:
                renewed[i] = start
                renew_list(i, state)
            else:
                counters[WHOLE_ROWS] += 1
                if counters[WHOLE_ROWS] > most_rows:
                    return np.int64(-1), shortest
        # That of the start is not the best of its list, which rounding may have put below that of the row.
        dual = start_dual if i == start else np.float64(affinity[i, column_of[i]]) - prices[column_of[i]]


@njit(**COMPILED)
def _raise_prices(shortest: float, state: Finish, search: _Search) -> None:
    """Raise the prices of columns nearer than the path is long, which keeps all pairs tight; clear the workspace."""
    prices, rounded = state.prices, state.rounded
    _, place, distance, _, closed, touched, sizes = search
    for k in range(sizes[1]):
        node = touched[k]
        if node < len(prices) and closed[node]:
            prices[node] += shortest - distance[node]
            rounded[node] = prices[node]
            closed[node] = False
        distance[node] = np.inf
        place[node] = -1
    sizes[:] = 0


@njit(**COMPILED)
def _flip(start: int, end: int, reached_from: Integers, state: Finish) -> None:
    """Match along the path from row ``start`` to column ``end``."""
    column_of, row_of = state.assignment
    j = end
    while True:
        i = reached_from[j]
        following = column_of[i]
        column_of[i] = j
        row_of[j] = i
        if i == start:
            break
        j = following


@njit(**COMPILED)
def augment(state: Finish, most_rows: int) -> bool:
    """Match every free row along a shortest augmenting path; False where that would take more than so many whole rows."""
    column_of, row_of = state.assignment
    free = np.flatnonzero(row_of < 0)
    number = len(free)
    search = _new_search(len(row_of))
    renewed = np.full(len(row_of), -1, np.int64)
    for start in range(len(column_of)):
        if column_of[start] >= 0:
            continue
        state.counters[PATHS] += 1
        end, shortest = _search_path(start, free[:number], state, search, renewed, most_rows)
        if end < 0:
            return False
        _raise_prices(shortest, state, search)
        _flip(start, end, search.reached_from, state)
        number -= 1
        free[np.flatnonzero(free == end)[0]] = free[number]
    return True
