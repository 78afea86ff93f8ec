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
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phases, match_leftovers
from semrsm_bench.solvers.kernels.exact import Finish, finish_exactly, make_lists
from semrsm_bench.solvers.kernels.scale import READY, Scale, mean_and_longest, measure, rounding_of

# Bids for each row after which an auction is cut off; real activations need 5 to 25.
MAX_BIDS = 200
# From this size on a pass over the affinity is bound by memory, and a list auction is faster than a dense one.
LIST_AUCTION_FROM = 2048

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


class AuctionResults(NamedTuple):
    """Answers to b problems: ``perms`` (b, S), of ``solved`` ones only; bids; rows ``left`` free by them, matched by index."""

    perms: Counts
    solved: Flags
    bids: Counts
    left: Counts


class ExactResults(NamedTuple):
    """Answers to b problems: ``perms`` (b, S), of ``solved`` ones only, and the ``work``, (b, 3), see `kernels.exact.Work`.

    ``slacks`` (b,) float64 are the largest of a matched pair, infinite where a problem is unsolved; ``duals`` (b, 2, S) float64
    those of rows and of columns.
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
                left[t] = (assignment.row_of < 0).sum()
                match_leftovers(assignment)
                perms[t] = assignment.column_of
                solved[t] = True
    return AuctionResults(perms, solved, bids, left)


@njit(**COMPILED)
def exact_batch(shares: Floats, tolerance: float, x: Floats, ys: Floats, affinities: Floats) -> ExactResults:
    """Match x with every y by an auction that is finished exactly and checked.

    All stay unsolved where there is nothing to bid on, or a list auction is faster.
    """
    number, size = ys.shape[:2]
    perms, work = np.full((number, size), -1), np.zeros((number, 3), np.int64)
    slacks, duals = np.full(number, np.inf), np.empty((number, 2, size))
    if 1 < size < LIST_AUCTION_FROM and x.shape[1] > 1:
        mean, longest = mean_and_longest(x)
        for t in range(number):
            affinity = affinities[t]
            made, scale, start, prices, assignment = _run_auction(ys[t], affinity, mean, longest, shares)
            if made >= 0:
                # Prices rise in the finish; the factor leaves them room before the rounding of a scan exceeds its allowance.
                rounding = 4.0 * max(rounding_of(scale, start), rounding_of(scale, prices))
                none = make_lists(affinity, prices, rounding, 0)
                state = Finish(affinity, duals[t, 1], prices, none, rounding, assignment)
                slacks[t], done = finish_exactly(state, scale, shares[-1] * scale.deviation, tolerance, duals[t, 0])
                work[t, 0], work[t, 1], work[t, 2] = made + done.bids, done.looks, done.cycles
                if slacks[t] < np.inf:
                    perms[t] = assignment.column_of
    return ExactResults(perms, work, slacks, duals)
