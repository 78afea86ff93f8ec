"""The exact finish of an almost optimal matching, in float64, and the check of its result.

A pair is *tight* if its column is the row's best: ``A_ij - p_j = max_k (A_ik - p_k)``. A complete matching of tight pairs is
optimal (complementary slackness). `correct` looks for the prices that make all pairs of a matching tight: a row that finds a
column better than its own raises that column's price until both are as good, and the column's owner looks again. These are
shortest paths by corrected labels (Bellman and Ford), and from the prices of an auction few rows look more than twice. If
the matching is not optimal, prices would rise round a cycle for ever; the cycle is found from who raised what, and its rows
each take the column that they raised, which makes the matching better (Klein 1967).

`finish_exactly` bids once more, with a smaller ``eps``, where that takes too long, and `check_tight` checks the result from the
prices alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Index, Integers
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phase, list_phase, match_leftovers
from semrsm_bench.solvers.kernels.lists import WANTED, WIDTH, Lists, list_row, list_rows
from semrsm_bench.solvers.kernels.rows import columns_reaching
from semrsm_bench.solvers.kernels.scale import Scale, largest_magnitude, rounding_of

# How often a row may look on average before there is a further phase of bids, and when no phase is left.
_LOOKS, _LAST_LOOKS = 8, 500
# Phases of bids between corrections, each with so much smaller an eps, and their bids for each row.
_PHASES, _SHRINK, _MAX_BIDS = 5, 5.0, 40
# From this size on rows have lists once the first correction has not been enough.
_LISTS_FROM = 512
# Where the first correction did not end, rounding may have driven prices round a cycle of equal pairs: then they are raised only
# for a difference above this share of the slack that passes the check.
_STEP = 1e-3


class Finish(NamedTuple):
    """What the finish works on.

    ``prices`` are float64, ``rounded`` the same in the precision of the affinity, as are the values of the lists, whose bounds
    are float64 and allow for ``rounding``, that of ``affinity - rounded``. Lists without a column mean that there are none.
    """

    affinity: Floats
    prices: Floats
    rounded: Floats
    lists: Lists
    rounding: float
    assignment: Assignment


class Work(NamedTuple):
    """How much was done: bids of the auction, rows looked at by the correction, cycles turned."""

    bids: int
    looks: int
    cycles: int


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
def finish_exactly(state: Finish, scale: Scale, eps: float, tolerance: float, duals: Floats) -> tuple[float, Work]:
    """Turns an almost optimal matching into the optimum, with its prices and row duals.

    ``state.rounded`` are the prices of an auction that ended with ``eps``; its lists are valid under them. ``state.rounding``
    bounds the error of ``affinity - prices`` for all prices up to the end. Returns the largest slack of a matched pair, which
    is infinite where the work exceeds its limits or the slack exceeds ``tolerance``, relative to the largest ``|A| + |p|``.
    """
    affinity, prices, rounded, lists, rounding, assignment = state
    n = affinity.shape[0]
    bids = looks = cycles = 0
    for phase in range(_PHASES + 1):
        if phase > 0:
            eps = max(eps / _SHRINK, 4.0 * rounding_of(scale, rounded))
            least, most = rounded.dtype.type(eps), _MAX_BIDS * n
            if phase == 1 and lists.columns.shape[1] == 0 and n >= _LISTS_FROM:
                lists = make_lists(affinity, rounded, rounding, WIDTH)
            if lists.columns.shape[1] > 0:
                bids += list_phase(affinity, rounded, lists, assignment, least, rounded.dtype.type(0), most)[2]
            else:
                bids += dense_phase(affinity, rounded, assignment, least, most)[1]
        match_leftovers(assignment)
        prices[:] = rounded
        step = max(0.0, _STEP * tolerance * largest_magnitude(scale, prices)) if phase > 0 else 0.0
        state = Finish(affinity, prices, rounded, lists, rounding, assignment)
        waiting, looked, turned = correct(state, step, (_LOOKS if phase < _PHASES else _LAST_LOOKS) * n)
        looks += looked
        cycles += turned
        rounded[:] = prices
        if waiting > 0:
            continue
        slack = check_tight(affinity, prices, rounded, assignment.column_of, rounding_of(scale, prices), duals)
        # Prices that have left float64 would allow any slack.
        magnitude = largest_magnitude(scale, prices)
        if magnitude < np.inf and slack <= tolerance * magnitude:
            return slack, Work(bids, looks, cycles)
        # They may have risen so far that what lists and scans allow for their rounding is too little.
        more = max(0.0, 4.0 * rounding_of(scale, prices) - rounding)
        rounding += more
        lists.bounds[:] += more
    return np.inf, Work(bids, looks, cycles)


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
    n = raises.queue.shape[0]
    at = head + waiting
    raises.queue[at - n if at >= n else at] = i
    raises.queued[i] = True
    return waiting + 1


@njit(**COMPILED)
def correct(state: Finish, step: float, most: int) -> tuple[int, int, int]:
    """Raise prices, and turn cycles of a complete matching, until no row finds a column better than its own by more than ``step``.

    Returns how many rows were still to look after ``most`` looks, the looks, and the cycles.
    """
    affinity, prices, rounded, lists, rounding, assignment = state
    columns, values, bounds, wanted = lists
    column_of = assignment.column_of
    n, width = affinity.shape[0], columns.shape[1]
    raises = _Raises(np.arange(n), np.ones(n, np.bool_), np.full(n, -1))
    head, waiting, looks, cycles = 0, n, 0, 0
    # Walks from column to column by who raised them; one of this pass over the queue need not go where another has been.
    walked = np.zeros(n, np.int64)
    walk, first_of_pass, left_of_pass = 0, 1, n
    found = np.empty(n, np.int32)
    while waiting > 0 and looks < most:
        if left_of_pass == 0:
            first_of_pass, left_of_pass = walk + 1, waiting
        left_of_pass -= 1
        i = raises.queue[head]
        head = head + 1 if head + 1 < n else 0
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
        for c in range(width):
            k = np.int64(columns[i, c])
            if np.float64(values[i, c]) - prices[k] > own + step:
                waiting = _raise(i, k, np.float64(values[i, c]) - own, state, raises, head, waiting)
        if width > 0 and bounds[i] <= own + step:
            continue
        if width > 0:
            bounds[i] = np.float64(list_row(affinity[i], rounded, wanted, columns[i], values[i])) + rounding
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
