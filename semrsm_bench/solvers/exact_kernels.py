"""Compiled kernels that finish an almost optimal matching exactly, in float64, and that check the result.

The prices are float64 here. A *tight* pair is one whose column is the row's best: ``A_ij - p_j = max_k (A_ik - p_k)``.
A complete matching of tight pairs is optimal (complementary slackness). Three steps lead there:

1. `free_loose_pairs` frees every pair that is not tight under the prices at hand;
2. `bid_exactly` lets free rows bid without the ``eps``: most of them find a column at once;
3. `augment` matches each row that is left along a shortest path of reduced costs (Dijkstra), raising prices as far as
   the path is long, which keeps all pairs tight.

All three read the candidate lists of `candidate_kernels`. A list's bound enters Dijkstra's heap as a node of its own:
only when that node is the nearest one must the whole row be looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from semrsm_bench.solvers.auction_kernels import COMPILED
from semrsm_bench.solvers.candidate_kernels import list_row, mask_of
from semrsm_bench.solvers.vectors import first_bit, lanes_of, load, minus, spread

# Places in the array of counters that the kernels fill.
SCANS, FREED, BIDS, PATHS, DENSE = range(5)
COUNTERS = 5


@njit(**COMPILED)
def _look(i: int, prices: Any, columns: Any, values: Any) -> Any:
    """Best and second column of a list in float64: ``(j1, value1, j2, value2)``."""
    best = -np.inf
    second = -np.inf
    j1 = -1
    j2 = -1
    for k in range(columns.shape[1]):
        value = np.float64(values[i, k])
        if value == -np.inf:
            break
        j = columns[i, k]
        value -= prices[j]
        if value > best:
            second = best
            j2 = j1
            best = value
            j1 = j
        elif value > second:
            second = value
            j2 = j
    return j1, best, j2, second


@njit(**COMPILED)
def _scan(i: int, affinity: Any, prices: Any) -> Any:
    """The same over the whole row."""
    best = -np.inf
    second = -np.inf
    j1 = -1
    j2 = -1
    for j in range(affinity.shape[1]):
        value = np.float64(affinity[i, j]) - prices[j]
        if value > best:
            second = best
            j2 = j1
            best = value
            j1 = j
        elif value > second:
            second = value
            j2 = j
    return j1, best, j2, second


@njit(**COMPILED)
def _best(
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
    """Best and second column of row ``i`` over all columns: from the list where its bound allows, else from the row.

    The second value may be the bound, with column -1: no column left out is better than that.
    """
    j1, best, j2, second = _look(i, prices, columns, values)
    if best < bounds[i]:
        bounds[i] = np.float64(list_row(affinity[i], rounded, wanted, columns[i], values[i], reduced)) + rounding
        counters[SCANS] += 1
        j1, best, j2, second = _look(i, prices, columns, values)
        if best < bounds[i]:
            counters[DENSE] += 1
            return _scan(i, affinity, prices)
    if second < bounds[i]:
        return j1, best, -1, min(best, bounds[i])
    return j1, best, j2, second


@njit(**COMPILED)
def free_loose_pairs(
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
    counters: Any,
) -> None:
    """Free every pair whose column is not its row's best in float64."""
    reduced = np.empty(columns.shape[1], rounded.dtype)
    for i in range(affinity.shape[0]):
        j = column_of[i]
        if j < 0:
            continue
        own = np.float64(affinity[i, j]) - prices[j]
        _, best, _, _ = _best(
            i, affinity, prices, rounded, wanted, columns, values, bounds, rounding, reduced, counters
        )
        if own < best:
            column_of[i] = -1
            row_of[j] = -1
            counters[FREED] += 1


@njit(**COMPILED)
def bid_exactly(
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
    max_bids: int,
    counters: Any,
) -> None:
    """Free rows take their best column at the price that makes it no better than their second; owners are evicted.

    Without an ``eps`` two rows may chase one another for ever over equal columns, hence ``max_bids``.
    """
    n = affinity.shape[0]
    reduced = np.empty(columns.shape[1], rounded.dtype)
    stack = np.empty(n, np.int64)
    free = 0
    for i in range(n - 1, -1, -1):
        if column_of[i] < 0:
            stack[free] = i
            free += 1
    bids = 0
    while free > 0 and bids < max_bids:
        i = stack[free - 1]
        j, best, other, second = _best(
            i, affinity, prices, rounded, wanted, columns, values, bounds, rounding, reduced, counters
        )
        bids += 1
        if second >= best and row_of[j] >= 0 and other >= 0 and row_of[other] < 0:
            j = other
        elif second < best:
            prices[j] += best - second
            rounded[j] = prices[j]
        owner = row_of[j]
        row_of[j] = i
        column_of[i] = j
        if owner >= 0:
            column_of[owner] = -1
            stack[free - 1] = owner
        else:
            free -= 1
    counters[BIDS] += bids


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
        _, dual, _, _ = _best(
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
                _, dual, _, _ = _look(i, prices, columns, values)
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


@njit(**COMPILED)
def check_tight(affinity: Any, prices: Any, rounded: Any, perm: Any, rounding: float, duals: Any) -> float:
    """Row maxima of ``affinity - prices`` in float64 (into ``duals``) and the largest slack of a matched pair.

    Knows nothing of how the prices came about. Where the affinity is float32 a float32 scan first finds the entries
    that can exceed the matched one, allowing for ``rounding``; those are looked at in float64.
    """
    n = affinity.shape[0]
    lanes = lanes_of(rounded)
    total = 4 * lanes
    full = n - n % total
    worst = 0.0
    for i in range(n):
        own = np.float64(affinity[i, perm[i]]) - prices[perm[i]]
        best = own
        row = affinity[i]
        threshold = spread(row, rounded.dtype.type(own - 2.0 * rounding))
        for k in range(0, full, total):
            mask = mask_of(
                minus(load(row, k), load(rounded, k)),
                minus(load(row, k + lanes), load(rounded, k + lanes)),
                minus(load(row, k + 2 * lanes), load(rounded, k + 2 * lanes)),
                minus(load(row, k + 3 * lanes), load(rounded, k + 3 * lanes)),
                threshold,
                lanes,
            )
            while mask != 0:
                j = k + first_bit(mask)
                mask &= mask - 1
                best = max(best, np.float64(row[j]) - prices[j])
        for j in range(full, n):
            best = max(best, np.float64(row[j]) - prices[j])
        duals[i] = best
        worst = max(worst, best - own)
    return worst
