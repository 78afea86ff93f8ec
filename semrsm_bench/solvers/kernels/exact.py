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

# From the second correction of a problem on, prices are raised for a difference above this share of the slack that passes the
# check: rounding may have driven them round a cycle of equal pairs.
STEP = 1e-3


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


class _Raises(NamedTuple):
    """What the correction keeps: rows that are to look, in a ring, whether each is in it, and the row that raised each column."""

    queue: Integers
    queued: NDArray[np.bool_]
    raised_by: Integers


@njit(forceinline=True, **COMPILED)
def _append(i: Index, raises: _Raises, head: int, waiting: int) -> int:
    """Row i is to look, if it is not to do so already; returns how many are."""
    if raises.queued[i]:
        return waiting
    raises.queue[wrap(head + waiting, raises.queue.shape[0])] = i
    raises.queued[i] = True
    return waiting + 1


@njit(**COMPILED)
def correct(state: Finish, lists: Lists | None, step: float, most: int) -> tuple[int, int, int]:
    """Raise prices, and turn cycles, until no row finds a column better than its own by more than ``step``.

    With ``lists``, whose bounds are float64 and allow for the rounding, a row looks at its list alone while it can. Returns how
    many rows were still to look after ``most`` looks, the looks, and the cycles.
    """
    affinity, prices, rounded, rounding, assignment = state
    column_of = assignment.column_of
    n = affinity.shape[0]
    raises = _Raises(np.empty(n, np.int64), np.empty(n, np.bool_), np.empty(n, np.int64))
    # Walks from column to column by who raised them; one of this pass over the queue need not go where another has been.
    walked, found = np.empty(n, np.int64), np.empty(n, np.int32)
    for i in range(n):
        raises.queue[i] = i
        raises.queued[i] = True
        raises.raised_by[i] = -1
        walked[i] = 0
    head, waiting, looks, cycles = 0, n, 0, 0
    walk, first_of_pass, left_of_pass = 0, 1, n
    while waiting > 0 and looks < most:
        if left_of_pass == 0:
            first_of_pass, left_of_pass = walk + 1, waiting
        left_of_pass -= 1
        i = raises.queue[head]
        head = wrap(head + 1, n)
        waiting -= 1
        raises.queued[i] = False
        looks += 1
        walk += 1
        k = column_of[i]
        while k >= 0 and walked[k] < first_of_pass:
            walked[k] = walk
            k = column_of[raises.raised_by[k]] if raises.raised_by[k] >= 0 else -1
        if k >= 0 and walked[k] == walk:
            cycles += 1
            waiting = _turn(k, raises, assignment, head, _append(i, raises, head, waiting))
            continue
        own = np.float64(affinity[i, column_of[i]]) - prices[column_of[i]]
        if lists is not None:
            for c in range(lists.columns.shape[1]):
                k = np.int64(lists.columns[i, c])
                if np.float64(lists.values[i, c]) - prices[k] > own + step:
                    waiting = _raise(i, k, np.float64(lists.values[i, c]) - own, state, raises, head, waiting)
            if lists.bounds[i] <= own + step:
                continue
            bound = list_row(affinity[i], rounded, lists.wanted, lists.columns[i], lists.values[i])
            lists.bounds[i] = np.float64(bound) + rounding
        for c in range(columns_reaching(affinity[i], rounded, rounded.dtype.type(own - 2.0 * rounding), found)):
            k = np.int64(found[c])
            if np.float64(affinity[i, k]) - prices[k] > own + step:
                waiting = _raise(i, k, np.float64(affinity[i, k]) - own, state, raises, head, waiting)
    return waiting, looks, cycles


@njit(forceinline=True, **COMPILED)
def _raise(i: Index, k: Index, price: float, state: Finish, raises: _Raises, head: int, waiting: int) -> int:
    """Row i raises column k to this price; the owner is to look. Returns how many are."""
    state.prices[k] = price
    state.rounded[k] = price
    raises.raised_by[k] = i
    return _append(state.assignment.row_of[k], raises, head, waiting)


@njit(**COMPILED)
def _turn(first: Index, raises: _Raises, assignment: Assignment, head: int, waiting: int) -> int:
    """Every row of a cycle takes the column that it raised, and is to look; returns how many are."""
    column_of, row_of = assignment
    k = first
    while True:
        i = raises.raised_by[k]
        following = column_of[i]
        column_of[i] = k
        row_of[k] = i
        raises.raised_by[k] = -1
        waiting = _append(i, raises, head, waiting)
        k = following
        if k == first:
            return waiting


@njit(**COMPILED)
def proven_slack(state: Finish, scale: Scale, tolerance: float, duals: Floats) -> float:
    """`check_tight`; infinite where it exceeds ``tolerance`` times the largest ``|A| + |p|``, or prices have left float64."""
    prices, rounded = state.prices, state.rounded
    for j in range(prices.shape[0]):
        rounded[j] = prices[j]
    magnitude = largest_magnitude(scale, prices)
    slack = check_tight(state.affinity, prices, rounded, state.assignment.column_of, scale.unit * magnitude, duals)
    return slack if magnitude < np.inf and slack <= tolerance * magnitude else np.inf


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
