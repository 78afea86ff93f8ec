"""The exact auction: an approximate one, finished in float64 and certified.

An auction leaves almost all rows with their optimal column and prices that are almost optimal duals. From there the
optimum is near: raise prices until every pair is tight, and turn the cycles along which rows had better change columns (see
`kernels.exact`). Every result is then checked whatever it came from: with ``u_i`` the
row maxima of ``A - p`` in float64, the duals are feasible by construction, and the matching is optimal if each matched
pair attains its row's maximum (complementary slackness).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers.auction import Prepared, prepare, trivial_matching
from semrsm_bench.solvers.classes import match_classes
from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.kernels.batches import (
    LIST_AUCTION_FROM,
    LISTS_FROM,
    LOOKS,
    ExactResults,
    exact_batch,
)
from semrsm_bench.solvers.kernels.bidding import Assignment, list_phase, match_leftovers
from semrsm_bench.solvers.kernels.exact import Finish, correct, proven_slack, smallest_rise
from semrsm_bench.solvers.kernels.lists import Lists, list_rows
from semrsm_bench.solvers.kernels.scale import room_for_rises, rounding_of
from semrsm_bench.solvers.list_auction import bid_in_rounds, sampled_prices
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution, register_solver

# Phases of an auction on whole rows, and of one that bids on lists after the first; rounds of the list auction that takes their
# place for large problems, the third where its lists cost less than the bids that they save, and its last eps.
_SHARES, _LISTED_SHARES = np.array((0.1, 0.015, 0.003)), np.array((0.1, 0.01, 0.001))
_ROUNDS, _THREE_FROM, _LAST_SHARE = ((0.1, 1.0), (0.01, 0.1), (0.001, 0.01)), 8192, 0.0003
# Further phases where a correction takes too long, each with so much smaller an eps; their bids for each row, after which a price
# war goes on with so much larger a one, so many times at most; and the looks that a row may take when no phase is left.
_PHASES, _FACTOR, _MAX_BIDS, _WARS, _LAST_LOOKS = 5, 5.0, 20, 6, 5000


def exact_many(
    x: Floats, ys: Floats, affinities: Floats, *, tolerance: float = 1e-12
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`exact_auction` of one image with many, in one compiled call; see `semrsm_bench.solvers.registry.BatchFunction`."""
    results = match_row_by_row(x, ys, affinities, tolerance=tolerance)
    return np.where(results.solved[:, None], results.perms, -1), results.solved


@register_solver(
    "exact-auction",
    kind="exact",
    complexity="O(S^2) in practice, O(S^3) at worst",
    reference="Bertsekas 1988 (auction); Klein 1967 (cycles); certificate: complementary slackness",
    batch=exact_many,
    releases_gil=True,
)
def exact_auction(problem: MatchingProblem, *, tolerance: float = 1e-12) -> Solution:
    """Optimal matching with a float64 certificate: auction, corrected prices, check.

    Exact for ``problem.affinity`` as it is: no rounding to integers. A float64 problem is solved in float64 throughout, and so
    is a float32 problem whose affinity would be too coarse (its rounding error above a thousandth of its deviation).

    Parameters
    ----------
    tolerance : float
        Largest slack of a matched pair that passes the check, relative to the largest ``|A_ij| + |p_j|``.
        Then k is within ``S * tolerance`` of that scale of the optimum; on real activations the slack is 0. Where the check
        fails or the work exceeds its limit, SciPy's solver answers in float64, and ``info["fallback"]`` says so.

    Returns
    -------
    Solution
        With duals ``(u, v)`` in float64, ``u_i + v_j >= A_ij`` (none after a fallback, or where they leave float64), and
        ``info``: ``slack`` (the largest, in units of A), ``bids`` of the auction, ``looks`` (rows looked at by the
        correction), ``cycles`` (turned by it).
    """
    results = match_row_by_row(problem.x, problem.y[None], problem.affinity[None], tolerance=tolerance)
    exponent = 0
    if not results.solved[0]:
        if (trivial := trivial_matching(problem)) is not None:
            return trivial
        prepared = prepare(problem)
        exponent = prepared.exponent
        results = match_classes(prepared, tolerance) or _match_positions(prepared, tolerance, results)
        if not results.solved[0]:
            perm = linear_sum_assignment(prepared.affinity.astype(np.float64), maximize=True)[1]
            return Solution(perm, info={"fallback": "scipy"})
    slack, duals = float(results.slacks[0]), results.duals[0]
    if exponent:
        with np.errstate(over="ignore"):
            slack, duals = float(np.ldexp(slack, exponent)), np.ldexp(duals, exponent)
    lost = exponent > 0 and not np.isfinite(duals).all()
    bids, looks, cycles = results.work[0].tolist()
    info = {"slack": slack, "bids": bids, "looks": looks, "cycles": cycles}
    return Solution(results.perms[0], None if lost else (duals[0], duals[1]), info)


def match_row_by_row(
    x: Floats, ys: Floats, affinities: Floats, *, tolerance: float, only_unequal: bool = True
) -> ExactResults:
    """One image with many, see `exact_batch`; none is solved where there are many equal vectors, unless told otherwise."""
    size = ys.shape[1]
    shares, lists = (_SHARES, None) if size < LISTS_FROM else (_LISTED_SHARES, Lists.empty(size, x.dtype))
    return exact_batch(shares, tolerance, only_unequal, lists, *read_only(x, ys, affinities))


def _match_positions(prepared: Prepared, tolerance: float, results: ExactResults) -> ExactResults:
    """What `match_classes` leaves: row by row, from where `exact_batch` has come."""
    small = len(prepared.start) < LIST_AUCTION_FROM
    if small and results.perms[0, 0] < 0:
        arrays = prepared.x, prepared.y[None], prepared.affinity[None]
        results = match_row_by_row(*arrays, tolerance=tolerance, only_unequal=False)
    if results.solved[0] or (small and results.perms[0, 0] < 0):
        return results
    return _bid_again(prepared, tolerance, results)


def _bid_again(prepared: Prepared, tolerance: float, results: ExactResults) -> ExactResults:
    """Phases of bids with ever smaller eps, each with a correction: for what `exact_batch` leaves unsolved, where it stopped.

    Large problems begin with a list auction.
    """
    affinity, start, scale, size = prepared.affinity, prepared.start, prepared.scale, len(prepared.start)
    is_large = size >= LIST_AUCTION_FROM
    bids, looks, cycles = results.work[0].tolist()
    if is_large:
        rounded = sampled_prices(prepared)
        rounds = _ROUNDS[: 3 if size >= _THREE_FROM else 2]
        assignment, lists, bids, _ = bid_in_rounds(prepared, rounded, rounds)
        eps = prepared.eps(_LAST_SHARE)
        bids += _bid_for_all(affinity, rounded, lists, assignment, eps)
    else:
        last = _SHARES if size < LISTS_FROM else _LISTED_SHARES
        rounded, eps = results.duals[0, 1].astype(affinity.dtype), prepared.eps(last[-1])
        assignment = Assignment(results.perms[0], np.argsort(results.perms[0]))
        lists = Lists.empty(size, affinity.dtype)
        list_rows(affinity, rounded, lists)
    duals = np.empty((1, 2, size))
    rounding, slack = room_for_rises(scale, start, rounded), np.inf
    lists = lists._replace(bounds=lists.bounds + rounding)
    for phase in range(0 if is_large else 1, _PHASES + 1):
        if phase:
            eps = rounded.dtype.type(max(float(eps) / _FACTOR, 4.0 * rounding_of(scale, rounded)))
            bids += _bid_for_all(affinity, rounded, lists, assignment, eps)
        left = match_leftovers(assignment)
        prices = duals[0, 1]
        prices[:] = rounded
        state = Finish(affinity, prices, rounded, rounding, assignment)
        step = smallest_rise(scale, tolerance, prices) if phase else 0.0
        # A pair that was not bid for would drive all prices up.
        most = 0 if left else (LOOKS if phase < _PHASES else _LAST_LOOKS) * size
        waiting, looked, turned = correct(state, lists, step, most)
        looks, cycles = looks + looked, cycles + turned
        slack = proven_slack(state, lists, scale, tolerance, duals[0, 0]) if waiting == 0 else np.inf
        if slack < np.inf:
            break
        # Prices may have risen so far that what is allowed for their rounding is too little.
        more = max(0.0, 4.0 * rounding_of(scale, prices) - rounding)
        rounding += more
        lists.bounds[:] += more
        rounded[:] = prices
    return ExactResults(assignment.column_of[None], np.array([[bids, looks, cycles]]), np.array([slack]), duals)


def _bid_for_all(affinity: Floats, prices: Floats, lists: Lists, assignment: Assignment, eps: np.floating[Any]) -> int:
    """A phase of bids, and further ones with larger eps while rows are free; returns the bids.

    Many equal rows and columns outbid each other by little more than eps, until the price of all is that of the next best.
    """
    bids, step = 0, eps
    for _ in range(_WARS):
        left, _, made = list_phase(affinity, prices, lists, assignment, step, 0 * step, _MAX_BIDS * len(prices))
        bids, step = bids + int(made), step * prices.dtype.type(_FACTOR)
        if not left:
            break
    return bids
