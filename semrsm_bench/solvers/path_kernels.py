"""Compiled shortest augmenting paths on candidate lists, the last step of the exact auction.

Dijkstra's algorithm on reduced costs ``u_i - (A_ij - p_j)``, from a free row to the nearest free column. A row's list gives
only its best columns; all others lie at least ``u_i - bound`` away, and that distance enters the heap as a node of its own.
Only when this node is the nearest must the whole row be looked at, which is rare.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from semrsm_bench.solvers.candidate_kernels import list_row, reaching
from semrsm_bench.solvers.exact_kernels import DENSE, PATHS, SCANS, Finish, best_column
from semrsm_bench.solvers.queue_kernels import COMPILED
from semrsm_bench.solvers.vectors import first_bit, lanes_of, spread


class _Search(NamedTuple):
    """Workspace of Dijkstra's algorithm: a heap of nodes by ``key``, ``place`` in it, and the path to every column.

    ``sizes`` holds the number of nodes in the heap and of nodes touched.
    """

    heap: Any
    place: Any
    key: Any
    reached_from: Any
    closed: Any
    touched: Any
    sizes: Any


@njit(**COMPILED)
def _rise(heap: Any, place: Any, key: Any, at: int) -> None:
    """Move the node at ``at`` towards the root until its parent is no farther."""
    node = heap[at]
    distance = key[node]
    while at > 0:
        parent = (at - 1) >> 1
        if key[heap[parent]] <= distance:
            break
        heap[at] = heap[parent]
        place[heap[at]] = at
        at = parent
    heap[at] = node
    place[node] = at


@njit(**COMPILED)
def _pop(heap: Any, place: Any, key: Any, length: int) -> int:
    """Take the nearest node off a heap of ``length`` nodes."""
    nearest = heap[0]
    place[nearest] = -1
    length -= 1
    if length > 0:
        node = heap[length]
        distance = key[node]
        at = 0
        while True:
            child = 2 * at + 1
            if child >= length:
                break
            if child + 1 < length and key[heap[child + 1]] < key[heap[child]]:
                child += 1
            if key[heap[child]] >= distance:
                break
            heap[at] = heap[child]
            place[heap[at]] = at
            at = child
        heap[at] = node
        place[node] = at
    return int(nearest)


@njit(**COMPILED)
def _touch(node: int, distance: float, search: _Search) -> None:
    """Put a node into the heap, or nearer to its root, at a distance that is less than known."""
    heap, place, key, _, _, touched, sizes = search
    if key[node] == np.inf:
        touched[sizes[1]] = node
        sizes[1] += 1
    key[node] = distance
    if place[node] < 0:
        heap[sizes[0]] = node
        place[node] = sizes[0]
        sizes[0] += 1
    _rise(heap, place, key, place[node])


@njit(**COMPILED)
def _reach(j: int, i: int, distance: float, shortest: float, end: int, row_of: Any, search: _Search) -> Any:
    """Note that column j is nearer than known, ``distance`` away through row i; returns the nearest free column's distance."""
    if search.closed[j]:
        return shortest, end
    search.reached_from[j] = i
    if row_of[j] >= 0:
        _touch(j, distance, search)
        return shortest, end
    # A free column ends the path and never leaves the heap: it need not enter.
    if search.key[j] == np.inf:
        search.touched[search.sizes[1]] = j
        search.sizes[1] += 1
    search.key[j] = distance
    return distance, j


@njit(**COMPILED)
def _flip(start: int, end: int, reached_from: Any, column_of: Any, row_of: Any) -> None:
    """Match along the path that ends in column ``end``."""
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
def augment(state: Finish, max_dense: int) -> bool:
    """Match every free row along a shortest augmenting path; False where that would take too many whole rows.

    Heap nodes 0..n-1 are columns, n..2n-1 stand for "the columns that row i's list leaves out". When such a node is the
    nearest, the row gets a new list under the prices of the moment, and only if it comes up again is the whole row read.
    """
    affinity, prices, rounded, lists, rounding, column_of, row_of, reduced, counters = state
    columns, values, bounds, wanted = lists
    n = affinity.shape[0]
    free = np.flatnonzero(row_of < 0)
    number = len(free)
    if number == 0:
        return True
    total = 4 * lanes_of(rounded)
    full = n - n % total
    heap = np.empty(2 * n, np.int64)
    place = np.full(2 * n, -1, np.int64)
    key = np.full(2 * n, np.inf)
    reached_from = np.empty(n, np.int64)
    closed = np.zeros(n, np.bool_)
    touched = np.empty(2 * n, np.int64)
    sizes = np.zeros(2, np.int64)
    search = _Search(heap, place, key, reached_from, closed, touched, sizes)
    renewed = np.full(n, -1, np.int64)
    for start in range(n):
        if column_of[start] >= 0:
            continue
        counters[PATHS] += 1
        _, start_dual, _ = best_column(
            start, affinity, prices, rounded, wanted, columns, values, bounds, rounding, reduced, counters
        )
        dual = start_dual
        sizes[:] = 0
        # The free columns next to the start limit the search from the beginning.
        shortest = np.inf
        end = np.int64(-1)
        for k in range(number):
            distance = max(0.0, dual - (np.float64(affinity[start, free[k]]) - prices[free[k]]))
            if distance < shortest:
                shortest, end = _reach(free[k], start, distance, shortest, end, row_of, search)
        i = np.int64(start)
        base = 0.0
        whole = False
        while True:
            if whole:
                threshold = spread(rounded, rounded.dtype.type(dual + base - shortest - 2.0 * rounding))
                for k in range(0, full, total):
                    mask = reaching(affinity[i], rounded, k, threshold)
                    while mask != 0:
                        j = k + first_bit(mask)
                        mask &= mask - 1
                        distance = base + max(0.0, dual - (np.float64(affinity[i, j]) - prices[j]))
                        if distance < shortest and distance < key[j]:
                            shortest, end = _reach(j, i, distance, shortest, end, row_of, search)
                for j in range(full, n):
                    distance = base + max(0.0, dual - (np.float64(affinity[i, j]) - prices[j]))
                    if distance < shortest and distance < key[j]:
                        shortest, end = _reach(j, i, distance, shortest, end, row_of, search)
            else:
                for k in range(columns.shape[1]):
                    value = np.float64(values[i, k])
                    if value == -np.inf:
                        break
                    j = np.int64(columns[i, k])
                    distance = base + max(0.0, dual - (value - prices[j]))
                    if distance < shortest and distance < key[j]:
                        shortest, end = _reach(j, i, distance, shortest, end, row_of, search)
                distance = base + max(0.0, dual - bounds[i])
                if distance < shortest:
                    _touch(n + i, distance, search)
            if sizes[0] == 0 or key[heap[0]] >= shortest:
                break
            node = np.int64(_pop(heap, place, key, sizes[0]))
            sizes[0] -= 1
            if node >= n:
                i = node - n
                base = 0.0 if i == start else key[column_of[i]]
                whole = renewed[i] == start
                if whole:
                    counters[DENSE] += 1
                    if counters[DENSE] > max_dense:
                        return False
                else:
                    renewed[i] = start
                    counters[SCANS] += 1
                    bound = list_row(affinity[i], rounded, wanted, columns[i], values[i], reduced)
                    bounds[i] = np.float64(bound) + rounding
            else:
                closed[node] = True
                whole = False
                i = np.int64(row_of[node])
                base = key[node]
            if i != start:
                dual = np.float64(affinity[i, column_of[i]]) - prices[column_of[i]]
            else:
                # Not the best of its list, which rounding may have put below that of the row.
                dual = start_dual
        for k in range(sizes[1]):
            node = touched[k]
            if node < n and closed[node]:
                prices[node] += shortest - key[node]
                rounded[node] = prices[node]
                closed[node] = False
            key[node] = np.inf
            place[node] = -1
        if end < 0:
            return False
        _flip(start, end, reached_from, column_of, row_of)
        for k in range(number):
            if free[k] == end:
                number -= 1
                free[k] = free[number]
                break
    return True
