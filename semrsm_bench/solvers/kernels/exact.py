"""The exact finish of an almost optimal matching, in float64, and the check of its result.

A pair is *tight* if its column is the row's best: ``A_ij - p_j = max_k (A_ik - p_k)``. A complete matching of tight pairs is
optimal (complementary slackness). `correct` looks for the prices that make all pairs of a matching tight: a row that finds a
column better than its own raises that column's price until both are as good, and the column's owner looks again. These are
shortest paths by corrected labels (Bellman and Ford), and from the prices of an auction few rows look more than twice. If
the matching is not optimal, prices would rise round a cycle for ever; the cycle is found from who raised what, and its rows
each take the column that they raised, which makes the matching better (Klein 1967).

`check_tight` checks the result from the prices alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Index, Integers
from semrsm_bench.solvers.kernels.bidding import Assignment, wrap
from semrsm_bench.solvers.kernels.lists import Lists, list_row
from semrsm_bench.solvers.kernels.rows import columns_reaching
from semrsm_bench.solvers.kernels.scale import Scale, largest_magnitude

# Where a correction did not end, rounding may have driven prices round a cycle of equal pairs: from the second one of a problem on
# they are raised for a difference above this share of the slack that passes the check.
_STEP = 1e-3


class Finish(NamedTuple):
    """What the finish works on: a complete matching and its prices.

    ``prices`` are float64, ``rounded`` the same in the precision of the affinity; ``rounding`` bounds the error of
    ``affinity - rounded`` for all prices up to the end.
    """

    affinity: Floats
    prices: Floats
    rounded: Floats
    rounding: float
    assignment: Assignment


class Queue(NamedTuple):
    """Rows, or classes of them, that wait: a ring, whether each does, and ``state`` (2,), where the next is and how many wait."""

    ring: Integers
    waits: NDArray[np.bool_]
    state: Integers


@njit(**COMPILED)
def full_queue(number: int) -> Queue:
    """All wait, in order of index."""
    queue = Queue(np.empty(number, np.int64), np.empty(number, np.bool_), np.empty(2, np.int64))
    for i in range(number):
        queue.ring[i] = i
        queue.waits[i] = True
    queue.state[0] = 0
    queue.state[1] = number
    return queue


@njit(forceinline=True, **COMPILED)
def append(i: Index, queue: Queue) -> None:
    """Number i waits, if it does not already."""
    ring, waits, state = queue
    if not waits[i]:
        waits[i] = True
        ring[wrap(state[0] + state[1], ring.shape[0])] = i
        state[1] += 1


@njit(forceinline=True, **COMPILED)
def take_next(queue: Queue) -> Index:
    """The number that waits longest; it waits no more."""
    ring, waits, state = queue
    i = ring[state[0]]
    state[0] = wrap(state[0] + 1, ring.shape[0])
    state[1] -= 1
    waits[i] = False
    return i


@njit(**COMPILED)
def correct(state: Finish, lists: Lists | None, step: float, most: int) -> tuple[int, int, int]:
    """Raise prices, and turn cycles, until no row finds a column better than its own by more than ``step``.

    With ``lists``, whose bounds are float64 and allow for the rounding, a row looks at its list alone while it can. Returns how
    many rows were still to look after ``most`` looks, the looks, and the cycles.
    """
    affinity, prices, rounded, rounding, assignment = state
    column_of = assignment.column_of
    n = affinity.shape[0]
    queue, raised_by = full_queue(n), np.empty(n, np.int64)
    # Walks from column to column by who raised them; one of this pass over the queue need not go where another has been.
    walked, found = np.empty(n, np.int64), np.empty(n, np.int32)
    for j in range(n):
        raised_by[j] = -1
        walked[j] = 0
    looks = cycles = walk = 0
    first_of_pass, left_of_pass = 1, n
    while queue.state[1] > 0 and looks < most:
        if left_of_pass == 0:
            first_of_pass, left_of_pass = walk + 1, queue.state[1]
        left_of_pass -= 1
        i = take_next(queue)
        looks += 1
        walk += 1
        k = column_of[i]
        while k >= 0 and walked[k] < first_of_pass:
            walked[k] = walk
            k = column_of[raised_by[k]] if raised_by[k] >= 0 else -1
        if k >= 0 and walked[k] == walk:
            cycles += 1
            append(i, queue)
            _turn(k, raised_by, assignment, queue)
            continue
        own = np.float64(affinity[i, column_of[i]]) - prices[column_of[i]]
        if lists is not None:
            _raise_listed(i, own, step, lists, state, raised_by, queue)
            if lists.bounds[i] > own + step:
                bound = list_row(affinity[i], rounded, lists.columns[i], lists.values[i])
                lists.bounds[i] = np.float64(bound) + rounding
                _raise_listed(i, own, step, lists, state, raised_by, queue)
            if lists.bounds[i] <= own + step:
                continue
        for c in range(columns_reaching(affinity[i], rounded, rounded.dtype.type(own - 2.0 * rounding), found)):
            k = np.int64(found[c])
            if np.float64(affinity[i, k]) - prices[k] > own + step:
                _raise(i, k, np.float64(affinity[i, k]) - own, state, raised_by, queue)
    return queue.state[1], looks, cycles


@njit(**COMPILED)
def _raise_listed(
    i: Index, own: float, step: float, lists: Lists, state: Finish, raised_by: Integers, queue: Queue
) -> None:
    """Row i raises the columns of its list that are better than its own."""
    for c in range(lists.columns.shape[1]):
        k = np.int64(lists.columns[i, c])
        if np.float64(lists.values[i, c]) - state.prices[k] > own + step:
            _raise(i, k, np.float64(lists.values[i, c]) - own, state, raised_by, queue)


@njit(forceinline=True, **COMPILED)
def _raise(i: Index, k: Index, price: float, state: Finish, raised_by: Integers, queue: Queue) -> None:
    """Row i raises column k to this price; the owner is to look."""
    state.prices[k] = price
    state.rounded[k] = price
    raised_by[k] = i
    append(state.assignment.row_of[k], queue)


@njit(**COMPILED)
def _turn(first: Index, raised_by: Integers, assignment: Assignment, queue: Queue) -> None:
    """Every row of a cycle takes the column that it raised, and is to look."""
    column_of, row_of = assignment
    k = first
    while True:
        i = raised_by[k]
        following = column_of[i]
        column_of[i] = k
        row_of[k] = i
        raised_by[k] = -1
        append(i, queue)
        k = following
        if k == first:
            return


def smallest_rise(scale: Scale, tolerance: float, prices: Floats) -> float:
    """The ``step`` of a second correction and of further ones, where prices are these."""
    return max(0.0, _STEP * tolerance * largest_magnitude(scale, prices))


@njit(**COMPILED)
def proven_slack(state: Finish, lists: Lists | None, scale: Scale, tolerance: float, duals: Floats) -> float:
    """`check_tight`; infinite where it exceeds ``tolerance`` times the largest ``|A| + |p|``, or prices have left float64."""
    prices, rounded = state.prices, state.rounded
    for j in range(prices.shape[0]):
        rounded[j] = prices[j]
    magnitude = largest_magnitude(scale, prices)
    perm = state.assignment.column_of
    slack = check_tight(state.affinity, prices, rounded, lists, perm, scale.unit * magnitude, duals)
    return slack if magnitude < np.inf and slack <= tolerance * magnitude else np.inf


@njit(**COMPILED)
def check_tight(
    affinity: Floats,
    prices: Floats,
    rounded: Floats,
    lists: Lists | None,
    perm: Integers,
    rounding: float,
    duals: Floats,
) -> float:
    """Row maxima of ``affinity - prices`` in float64 (into ``duals``) and the largest slack of a matched pair.

    Any prices will do. A scan in the precision of the affinity first finds the entries
    that can exceed the matched one, allowing for ``rounding``; those are compared in float64. With ``lists``, made under prices
    that have only risen and with bounds that allow for rounding, no row is scanned whose pair is at least as good as all that its
    list leaves out.
    """
    n = affinity.shape[0]
    found = np.empty(n, np.int32)
    worst = 0.0
    for i in range(n):
        row = affinity[i]
        own = np.float64(row[perm[i]]) - prices[perm[i]]
        best = own
        if lists is not None and own >= lists.bounds[i]:
            for c in range(lists.columns.shape[1]):
                best = max(best, np.float64(lists.values[i, c]) - prices[lists.columns[i, c]])
        else:
            for k in range(columns_reaching(row, rounded, rounded.dtype.type(own - 2.0 * rounding), found)):
                best = max(best, np.float64(row[found[k]]) - prices[found[k]])
        duals[i] = best
        worst = max(worst, best - own)
    return worst
