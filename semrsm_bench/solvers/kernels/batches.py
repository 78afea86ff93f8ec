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
from semrsm_bench.solvers.kernels.lists import WIDTH
from semrsm_bench.solvers.kernels.scale import READY, Scale, mean_and_longest, measure, rounding_of

# Bids for each row after which an auction is cut off; real activations need 5 to 25.
MAX_BIDS = 200
# From this size on the exact finish, which reads the same rows again and again, begins with lists.
_LISTS_FROM = 512

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


class AuctionResults(NamedTuple):
    """Answers to b problems: ``perms`` (b, S), of ``solved`` ones only; bids; rows ``left`` free by them, matched by index."""

    perms: Counts
    solved: Flags
    bids: Counts
    left: Counts

    @classmethod
    def empty(cls, number: int, size: int) -> AuctionResults:
        """All unsolved."""
        return cls(np.full((number, size), -1), np.zeros(number, np.bool_), *np.zeros((2, number), np.int64))


class ExactResults(NamedTuple):
    """Answers to b problems: ``perms`` (b, S), of ``solved`` ones only, with exact bids and rows matched along ``paths``.

    ``slacks`` (b,) float64 are the largest of a matched pair, infinite where a problem is unsolved; ``duals`` (b, 2, S) float64
    those of rows and of columns.
    """

    perms: Counts
    bids: Counts
    paths: Counts
    slacks: NDArray[np.float64]
    duals: NDArray[np.float64]

    @classmethod
    def empty(cls, number: int, size: int) -> ExactResults:
        """All unsolved."""
        perms, _, bids, paths = AuctionResults.empty(number, size)
        return cls(perms, bids, paths, np.full(number, np.inf), np.empty((number, 2, size)))

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
    start, assignment = np.empty(size, y.dtype), Assignment(np.full(size, -1), np.full(size, -1))
    scale, status = measure(y, affinity, mean, longest, start)
    prices = start.copy()
    if status == READY:
        made = dense_phases(affinity, prices, assignment, shares, scale, MAX_BIDS * size)
    return made, scale, start, prices, assignment


@njit(**COMPILED)
def auction_batch(
    x: Floats, ys: Floats, affinities: Floats, shares: Floats, perms: Counts, solved: Flags, bids: Counts, left: Counts
) -> None:
    """Match x with every y by an auction, into the arrays of `AuctionResults`."""
    mean, longest = mean_and_longest(x)
    for t in range(len(ys)):
        made, _, _, _, assignment = _run_auction(ys[t], affinities[t], mean, longest, shares)
        if made >= 0:
            bids[t] = made
            left[t] = (assignment.row_of < 0).sum()
            match_leftovers(assignment)
            perms[t] = assignment.column_of
            solved[t] = True


@njit(**COMPILED)
def exact_batch(
    x: Floats,
    ys: Floats,
    affinities: Floats,
    shares: Floats,
    tolerance: float,
    perms: Counts,
    bids: Counts,
    paths: Counts,
    slacks: Floats,
    duals: Floats,
) -> None:
    """Match x with every y by an auction that is finished exactly and checked, into the arrays of `ExactResults`."""
    mean, longest = mean_and_longest(x)
    for t in range(len(ys)):
        affinity = affinities[t]
        made, scale, start, prices, assignment = _run_auction(ys[t], affinity, mean, longest, shares)
        if made >= 0:
            # Prices rise in the finish; the factor leaves them room before the rounding of a scan exceeds its allowance.
            rounding = 4.0 * max(rounding_of(scale, start), rounding_of(scale, prices))
            lists = make_lists(affinity, prices, rounding, WIDTH if len(start) >= _LISTS_FROM else 0)
            state = Finish(affinity, duals[t, 1], prices, lists, rounding, assignment)
            bids[t], paths[t], slacks[t] = finish_exactly(state, scale, tolerance, duals[t, 0])
            if slacks[t] < np.inf:
                perms[t] = assignment.column_of
