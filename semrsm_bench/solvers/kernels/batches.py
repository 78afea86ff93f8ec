"""Whole solves in one compiled call, for one problem after another: no Python between the affinity and the matching.

A batch is one image x against many images y. A problem that is not ready for its precision (see `scale.measure`), or for which no
certificate is found, is left unsolved; the caller solves it alone. The kernels release the GIL for the whole batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Integers
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phase, match_leftovers
from semrsm_bench.solvers.kernels.exact import COUNTERS, Finish, bid_exactly, check_tight, free_loose_pairs
from semrsm_bench.solvers.kernels.lists import WANTED, WIDTH, Lists, list_rows
from semrsm_bench.solvers.kernels.paths import augment
from semrsm_bench.solvers.kernels.scale import (
    READY,
    Limits,
    Scale,
    largest_price,
    least_eps,
    mean_and_longest,
    measure,
    rounding_of,
)


class ExactResults(NamedTuple):
    """What the exact kernels fill for b problems of one size.

    ``perms`` (b, S) int64, -1 where unsolved, ``prices`` and ``duals`` (b, S) float64, ``slacks`` (b,), the largest of a
    matched pair or infinite where a problem is left unsolved, and ``counters`` (b, COUNTERS) int64.
    """

    perms: NDArray[np.int64]
    prices: Floats
    duals: Floats
    slacks: Floats
    counters: Integers

    @classmethod
    def empty(cls, number: int, size: int) -> ExactResults:
        """All unsolved."""
        perms, slacks = np.full((number, size), -1, np.int64), np.full(number, np.inf)
        prices, duals = np.full((2, number, size), np.nan)
        return cls(perms, prices, duals, slacks, np.zeros((number, COUNTERS), np.int64))


class Effort(NamedTuple):
    """Limits of the exact solver: auction bids, exact bids and whole rows in path searches, each for every row of a problem.

    From the size ``lists_from`` on, the finish begins with lists.
    """

    auction_bids: int
    exact_bids: int
    whole_rows: int
    lists_from: int


@njit(**COMPILED)
def dense_phases(
    affinity: Floats, prices: Floats, assignment: Assignment, shares: Floats, scale: Scale, max_bids: int
) -> int:
    """Dense auctions of falling ``eps`` from starting prices and an empty matching; returns the bids made.

    Each ``eps`` is a share of the deviation, but never so little that a bid could leave a price unchanged.
    """
    floor = least_eps(scale, prices)
    total = 0
    for share in shares:
        eps = prices.dtype.type(max(share * scale.deviation, floor))
        total += dense_phase(affinity, prices, assignment, eps, max_bids)[1]
    return total


@njit(**COMPILED)
def _make_lists(affinity: Floats, prices: Floats, rounding: float) -> Lists:
    """New lists under these prices, with bounds in float64 that allow for ``rounding``."""
    size = affinity.shape[0]
    columns, values = np.empty((size, WIDTH), np.int32), np.empty((size, WIDTH), prices.dtype)
    lists = Lists(columns, values, np.empty(size), WANTED)
    list_rows(affinity, prices, lists)
    lists.bounds[:] += rounding
    return lists


@njit(**COMPILED)
def finish_exactly(
    state: Finish, scale: Scale, effort: Effort, tolerance: float, results: ExactResults, t: int
) -> None:
    """From an almost optimal matching to the optimum and its duals, problem t of the results; unsolved if it gives up.

    ``state.rounded`` are the prices of the auction. The lists are valid under them; if they have no columns, bids read whole
    rows, and lists are made only if there is a path to look for. ``state.rounding`` bounds the error of ``affinity -
    prices`` for all prices up to the end.
    """
    affinity, prices, rounded, lists, rounding, assignment, reduced, counters = state
    size = affinity.shape[0]
    prices[:] = rounded
    free_loose_pairs(state)
    bid_exactly(state, effort.exact_bids * size)
    if (assignment.row_of < 0).any():
        if lists.columns.shape[1] == 0:
            lists = _make_lists(affinity, rounded, rounding)
            state = Finish(affinity, prices, rounded, lists, rounding, assignment, reduced, counters)
        if not augment(state, effort.whole_rows * size):
            return
    rounded[:] = prices
    slack = check_tight(affinity, prices, rounded, assignment.column_of, rounding_of(scale, prices), results.duals[t])
    # Prices that have left float64 would allow any slack.
    magnitude = scale.largest + largest_price(prices)
    if magnitude < np.inf and slack <= tolerance * magnitude:
        results.slacks[t] = slack
        results.perms[t] = assignment.column_of


@njit(**COMPILED)
def auction_batch(
    x: Floats,
    ys: Floats,
    affinities: Floats,
    shares: Floats,
    limits: Limits,
    max_bids: int,
    perms: Integers,
    facts: Integers,
) -> None:
    """Dense auctions of x (S, C) with every y: ys (b, S, C), affinities (b, S, S), ``limits`` of the precision.

    ``perms`` (b, S) receives the matchings, ``facts`` (b, 3) whether a problem was solved, the bids, and the rows they left free.
    ``max_bids`` is for each row of a problem.
    """
    mean = np.empty(x.shape[1], x.dtype)
    longest = mean_and_longest(x, mean)
    size = x.shape[0]
    prices = np.empty(size, x.dtype)
    row_of = np.empty(size, np.int64)
    for t in range(len(ys)):
        scale, status = measure(ys[t], affinities[t], mean, longest, limits, prices)
        if status == READY:
            perms[t] = -1
            row_of[:] = -1
            assignment = Assignment(perms[t], row_of)
            facts[t, 1] = dense_phases(affinities[t], prices, assignment, shares, scale, max_bids * size)
            facts[t, 2] = (row_of < 0).sum()
            match_leftovers(assignment)
            facts[t, 0] = 1


@njit(**COMPILED)
def exact_batch(
    x: Floats,
    ys: Floats,
    affinities: Floats,
    shares: Floats,
    limits: Limits,
    effort: Effort,
    tolerance: float,
    results: ExactResults,
) -> None:
    """Certified optimal matchings of x with every y, as for `auction_batch`: auction, exact finish, check."""
    mean = np.empty(x.shape[1], x.dtype)
    longest = mean_and_longest(x, mean)
    size = x.shape[0]
    start = np.empty(size, x.dtype)
    rounded = np.empty(size, x.dtype)
    column_of, row_of = np.empty(size, np.int64), np.empty(size, np.int64)
    reduced = np.empty(WIDTH, x.dtype)
    for t in range(len(ys)):
        scale, status = measure(ys[t], affinities[t], mean, longest, limits, start)
        if status == READY:
            column_of[:] = -1
            row_of[:] = -1
            rounded[:] = start
            assignment = Assignment(column_of, row_of)
            dense_phases(affinities[t], rounded, assignment, shares, scale, effort.auction_bids * size)
            # Prices rise in the finish; the factor leaves them room before the rounding of a scan exceeds its allowance.
            rounding = 4.0 * max(rounding_of(scale, start), rounding_of(scale, rounded))
            if size < effort.lists_from:
                lists = Lists(np.empty((size, 0), np.int32), np.empty((size, 0), rounded.dtype), np.empty(size), WANTED)
            else:
                lists = _make_lists(affinities[t], rounded, rounding)
            counters = results.counters[t]
            state = Finish(affinities[t], results.prices[t], rounded, lists, rounding, assignment, reduced, counters)
            finish_exactly(state, scale, effort, tolerance, results, t)
