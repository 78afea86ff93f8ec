"""Whole solves in one compiled call, for one problem after another: no Python between the affinity and the matching.

A batch is one image x against many images y: x (S, C), ys (b, S, C), affinities (b, S, S). `auction_batch` is the auction alone;
`exact_batch` finishes it exactly and checks the result. A problem whose numbers do not suit their precision (see
`scale.measure`), or for which no certificate is found, stays unsolved; the caller solves it alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phases, list_phase, match_leftovers
from semrsm_bench.solvers.kernels.classes import count_repeats
from semrsm_bench.solvers.kernels.exact import Finish, correct, proven_slack
from semrsm_bench.solvers.kernels.lists import Lists, list_rows
from semrsm_bench.solvers.kernels.scale import READY, Scale, mean_and_longest, measure, room_for_rises, rounding_of

# Bids for each row after which an auction is cut off; real activations need 5 to 25.
MAX_BIDS = 200
# How often a row may look on average before there is another phase of bids.
LOOKS = 8
# From this size on bids on lists are faster than bids on whole rows, after a first phase of those.
LISTS_FROM = 1000
# From this size on a pass over the affinity is bound by memory, and a list auction is faster from the start.
LIST_AUCTION_FROM = 2048
# From this size on an auction between classes of equal vectors is faster than one between positions.
CLASSES_FROM = 192
# Vectors of x and of y that repeat an earlier one, as a share of the size, from which on that is so.
LEAST_REPEATS = 1 / 16

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


class AuctionResults(NamedTuple):
    """Answers to b problems: ``perms`` (b, S), of ``solved`` ones only; bids; rows ``left`` free by them, matched by index."""

    perms: Counts
    solved: Flags
    bids: Counts
    left: Counts


class ExactResults(NamedTuple):
    """Answers to b problems: ``perms`` (b, S), -1 where there was no auction; ``work`` (b, 3): bids, looks and cycles.

    ``slacks`` (b,) float64 are the largest of a matched pair, infinite where a problem is unsolved; ``duals`` (b, 2, S) float64
    those of rows and of columns. Matching and prices of an unsolved problem are as far as they have come.
    """

    perms: Counts
    work: Counts
    slacks: NDArray[np.float64]
    duals: NDArray[np.float64]

    @property
    def solved(self) -> Flags:
        """Which problems have an answer, (b,)."""
        return np.isfinite(self.slacks)


@njit(**COMPILED)
def _run_auction(
    y: Floats, affinity: Floats, mean: Floats, longest: float, shares: Floats
) -> tuple[int, Scale, Floats, Floats, Assignment]:
    """An auction with phases of these shares of the deviation.

    Returns the bids made, -1 where the problem is not ready; the scale, the starting prices, the final ones, and the matching.
    """
    size, made = len(y), -1
    assignment = Assignment(np.full(size, -1), np.full(size, -1))
    scale, status, start = measure(y, affinity, mean, longest)
    prices = start.copy()
    if status == READY:
        made = dense_phases(affinity, prices, assignment, shares, scale, MAX_BIDS * size)
    return made, scale, start, prices, assignment


@njit(**COMPILED)
def auction_batch(shares: Floats, x: Floats, ys: Floats, affinities: Floats) -> AuctionResults:
    """Match x with every y by an auction; all stay unsolved where there is nothing to bid on."""
    number, size = ys.shape[:2]
    perms, solved = np.full((number, size), -1), np.zeros(number, np.bool_)
    bids, left = np.zeros(number, np.int64), np.zeros(number, np.int64)
    if size > 1 and x.shape[1] > 1:
        mean, longest = mean_and_longest(x)
        for t in range(number):
            made, _, _, _, assignment = _run_auction(ys[t], affinities[t], mean, longest, shares)
            if made >= 0:
                bids[t] = made
                left[t] = match_leftovers(assignment)
                perms[t] = assignment.column_of
                solved[t] = True
    return AuctionResults(perms, solved, bids, left)


@njit(**COMPILED)
def exact_batch(
    shares: Floats,
    tolerance: float,
    only_unequal: bool,
    lists: Lists | None,
    x: Floats,
    ys: Floats,
    affinities: Floats,
) -> ExactResults:
    """Match x with every y by an auction whose prices are corrected, and check.

    With room for ``lists`` rows bid on lists after the first phase. All stay unsolved where there is nothing to bid on, or a list
    auction is faster from the start; with ``only_unequal`` also those in which many vectors are equal.
    """
    number, size = ys.shape[:2]
    perms, work = np.full((number, size), -1), np.zeros((number, 3), np.int64)
    slacks, duals = np.full(number, np.inf), np.empty((number, 2, size))
    if 1 < size < LIST_AUCTION_FROM and x.shape[1] > 1:
        mean, longest = mean_and_longest(x)
        watched = only_unequal and size >= CLASSES_FROM
        in_x = count_repeats(x) if watched else 0
        for t in range(number):
            if watched and in_x + count_repeats(ys[t]) >= LEAST_REPEATS * size:
                continue
            whole = shares if lists is None else shares[:1]
            made, scale, start, rounded, assignment = _run_auction(ys[t], affinities[t], mean, longest, whole)
            if made >= 0:
                if lists is not None:
                    made += _bid_on_lists(affinities[t], rounded, lists, assignment, shares[1:], scale)
                left = match_leftovers(assignment)
                prices, rounding = duals[t, 1], room_for_rises(scale, start, rounded)
                for j in range(size):
                    prices[j] = rounded[j]
                state = Finish(affinities[t], prices, rounded, rounding, assignment)
                # A pair that was not bid for would drive all prices up.
                most = LOOKS * size if left == 0 else 0
                if lists is None:
                    allowing = None
                else:
                    bounds = np.empty(size)
                    for i in range(size):
                        bounds[i] = lists.bounds[i] + rounding
                    allowing = Lists(lists.columns, lists.values, bounds)
                waiting, looks, cycles = correct(state, allowing, 0.0, most)
                if waiting == 0:
                    slacks[t] = proven_slack(state, allowing, scale, tolerance, duals[t, 0])
                for j in range(size):
                    perms[t, j] = assignment.column_of[j]
                work[t, 0], work[t, 1], work[t, 2] = made, looks, cycles
    return ExactResults(perms, work, slacks, duals)


@njit(**COMPILED)
def _bid_on_lists(
    affinity: Floats, prices: Floats, lists: Lists, assignment: Assignment, shares: Floats, scale: Scale
) -> int:
    """Phases of bids on lists that are made under these prices; returns the bids."""
    list_rows(affinity, prices, lists)
    floor, made = 4.0 * rounding_of(scale, prices), 0
    for share in shares:
        eps = prices.dtype.type(max(share * scale.deviation, floor))
        made += list_phase(affinity, prices, lists, assignment, eps, 0 * eps, MAX_BIDS * affinity.shape[0])[2]
    return made
