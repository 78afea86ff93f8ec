"""The exact auction: an approximate one, finished in float64 and certified.

An auction leaves almost all rows with their optimal column and prices that are almost optimal duals. From there the
optimum is near: raise prices until every pair is tight, and turn the cycles along which rows had better change columns (see
`kernels.exact`). Every result is then checked whatever it came from: with ``u_i`` the
row maxima of ``A - p`` in float64, the duals are feasible by construction, and the matching is optimal if each matched
pair attains its row's maximum (complementary slackness).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers.auction import Prepared, prepare, trivial_matching
from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.kernels.batches import LIST_AUCTION_FROM, MAX_BIDS, ExactResults, exact_batch
from semrsm_bench.solvers.kernels.bidding import list_phase
from semrsm_bench.solvers.kernels.exact import Finish, Work, finish_exactly
from semrsm_bench.solvers.kernels.scale import rounding_of
from semrsm_bench.solvers.list_auction import bid_in_rounds, sampled_prices
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution, register_solver

# Phases of the dense auction; rounds of the list auction that takes its place for large problems, and its last eps, for which the
# lists of the last round are as good as new ones.
_SHARES = np.array((0.1, 0.015, 0.003))
_ROUNDS, _LAST_SHARE = ((0.1, 1.0), (0.02, 0.1)), 0.003


def exact_many(
    x: Floats, ys: Floats, affinities: Floats, *, tolerance: float = 1e-12
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`exact_auction` of one image with many, in one compiled call; see `semrsm_bench.solvers.registry.BatchFunction`."""
    results = exact_batch(_SHARES, tolerance, *read_only(x, ys, affinities))
    return results.perms, results.solved


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
    results = exact_batch(_SHARES, tolerance, *read_only(problem.x, problem.y[None], problem.affinity[None]))
    exponent = 0
    if not results.solved[0]:
        if (trivial := trivial_matching(problem)) is not None:
            return trivial
        prepared = prepare(problem)
        exponent = prepared.exponent
        if problem.size < LIST_AUCTION_FROM:
            arrays = read_only(prepared.x, prepared.y[None], prepared.affinity[None])
            results = exact_batch(_SHARES, tolerance, *arrays)
        else:
            results = _large_exactly(prepared, tolerance)
        if not results.solved[0]:
            perm = linear_sum_assignment(prepared.affinity.astype(np.float64), maximize=True)[1]
            return Solution(perm, info={"fallback": "scipy"})
    slack, duals = float(results.slacks[0]), results.duals[0]
    if exponent:
        with np.errstate(over="ignore"):
            slack, duals = float(np.ldexp(slack, exponent)), np.ldexp(duals, exponent)
    lost = exponent > 0 and not np.isfinite(duals).all()
    info = {"slack": slack, **Work(*results.work[0].tolist())._asdict()}
    return Solution(results.perms[0], None if lost else (duals[0], duals[1]), info)


def _large_exactly(prepared: Prepared, tolerance: float) -> ExactResults:
    """List auction, finish on its lists, and check."""
    affinity, start, scale = prepared.affinity, prepared.start, prepared.scale
    prices = sampled_prices(prepared)
    assignment, lists, bids, _ = bid_in_rounds(prepared, prices, _ROUNDS)
    eps, most = prepared.eps(_LAST_SHARE), MAX_BIDS * len(prices)
    bids += list_phase(affinity, prices, lists, assignment, eps, prices.dtype.type(0), most)[2]
    # Prices rise in the finish; the factor leaves them room.
    rounding = 4.0 * max(rounding_of(scale, start), rounding_of(scale, prices))
    lists = lists._replace(bounds=lists.bounds + np.float64(rounding))
    duals = np.empty((1, 2, len(start)))
    state = Finish(affinity, duals[0, 1], prices, lists, rounding, assignment)
    slack, work = finish_exactly(state, scale, float(eps), tolerance, duals[0, 0])
    done = np.array([[bids + work.bids, work.looks, work.cycles]])
    return ExactResults(assignment.column_of[None], done, np.array([slack]), duals)
