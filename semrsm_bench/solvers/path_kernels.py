"""Compiled shortest augmenting paths on candidate lists, the last step of the exact auction.

Dijkstra's algorithm on reduced costs ``u_i - (A_ij - p_j)``, from a free row to the nearest free column. A row's list gives
only its best columns; all others lie at least ``u_i - bound`` away, and that distance enters the heap as a node of its own.
Only when this node is the nearest must the whole row be looked at, which is rare.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from semrsm_bench.solvers.auction_kernels import COMPILED
from semrsm_bench.solvers.exact_kernels import DENSE, PATHS, best_column, look


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
def augment(
    affinity: Any,
    prices: Any,
    rounded: Any,
    wanted: int,
    columns: Any,
    values: Any,
    bounds: Any,
    rounding: float,
    column_of: Any,
    row_of: Any,
    max_dense: int,
    counters: Any,
) -> bool:
    """Match every free row along a shortest augmenting path; False where that would take too many whole rows.

    Heap nodes 0..n-1 are columns, n..2n-1 stand for "the columns that row i's list leaves out".
    """
    n = affinity.shape[0]
    reduced = np.empty(columns.shape[1], rounded.dtype)
    heap = np.empty(2 * n, np.int64)
    place = np.full(2 * n, -1, np.int64)
    key = np.full(2 * n, np.inf)
    reached_from = np.empty(n, np.int64)
    closed = np.zeros(n, np.bool_)
    touched = np.empty(2 * n, np.int64)
    for start in range(n):
        if column_of[start] >= 0:
            continue
        counters[PATHS] += 1
        _, dual, _, _ = best_column(
            start, affinity, prices, rounded, wanted, columns, values, bounds, rounding, reduced, counters
        )
        length = 0
        marks = 0
        shortest = np.inf
        end = np.int64(-1)
        i = np.int64(start)
        base = 0.0
        whole = False
        while True:
            count = n if whole else columns.shape[1]
            for k in range(count):
                if whole:
                    j = np.int64(k)
                    value = np.float64(affinity[i, j])
                else:
                    j = np.int64(columns[i, k])
                    value = np.float64(values[i, k])
                    if value == -np.inf:
                        break
                if closed[j]:
                    continue
                distance = base + max(0.0, dual - (value - prices[j]))
                if distance >= shortest or distance >= key[j]:
                    continue
                if key[j] == np.inf:
                    touched[marks] = j
                    marks += 1
                key[j] = distance
                reached_from[j] = i
                if row_of[j] < 0:
                    shortest = distance
                    end = j
                else:
                    if place[j] < 0:
                        heap[length] = j
                        place[j] = length
                        length += 1
                    _rise(heap, place, key, place[j])
            if not whole:
                distance = base + max(0.0, dual - bounds[i])
                if distance < shortest:
                    node = n + i
                    touched[marks] = node
                    marks += 1
                    key[node] = distance
                    heap[length] = node
                    length += 1
                    _rise(heap, place, key, length - 1)
            if length == 0 or key[heap[0]] >= shortest:
                break
            node = np.int64(_pop(heap, place, key, length))
            length -= 1
            whole = node >= n
            if whole:
                counters[DENSE] += 1
                if counters[DENSE] > max_dense:
                    return False
                i = node - n
                base = 0.0 if i == start else key[column_of[i]]
            else:
                closed[node] = True
                i = np.int64(row_of[node])
                base = key[node]
            if i != start:
                dual = np.float64(affinity[i, column_of[i]]) - prices[column_of[i]]
            else:
                _, dual, _, _ = look(i, prices, columns, values)
        for k in range(marks):
            node = touched[k]
            if node < n and closed[node]:
                prices[node] += shortest - key[node]
                rounded[node] = prices[node]
                closed[node] = False
            key[node] = np.inf
            place[node] = -1
        if end < 0:
            return False
        j = end
        while True:
            i = reached_from[j]
            following = column_of[i]
            column_of[i] = j
            row_of[j] = i
            if i == start:
                break
            j = following
    return True
