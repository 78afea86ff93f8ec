"""The exact auction: an approximate one, finished in float64 and certified.

An auction leaves almost all rows with their optimal column and prices that are almost optimal duals. From there the
optimum is near: free the few pairs that are not tight, let them bid without ``eps``, and match the rest along shortest
augmenting paths (see `kernels.exact`). Every result is then checked whatever it came from: with ``u_i`` the
row maxima of ``A - p`` in float64, the duals are feasible by construction, and the matching is optimal if each matched
pair attains its row's maximum (complementary slackness).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers.auction import MAX_BIDS
from semrsm_bench.solvers.auction_setup import PreparedProblem, prepare, trivial_matching
from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.kernels.batches import Effort, ExactResults, exact_batch, finish_exactly
from semrsm_bench.solvers.kernels.exact import BIDS, PATHS, Finish
from semrsm_bench.solvers.kernels.lists import WIDTH
from semrsm_bench.solvers.kernels.scale import limits_of
from semrsm_bench.solvers.list_auction import bid_in_rounds, sampled_prices
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution, register_solver

# From this size on, a pass over the affinity is bound by memory and lists pay; in the exact finish, which comes back to the same
# rows, from the size in the effort.
_LISTS_FROM = 2048
_SHARES = (0.2, 0.01, 0.001)
_ROUNDS = ((0.1, 1.0), (0.02, 0.1), (0.001, 0.0))
_EFFORT = Effort(auction_bids=MAX_BIDS, exact_bids=4, whole_rows=512, lists_from=512)
_FALLBACKS = ("scipy", "none")


def _check_fallback(fallback: str) -> None:
    if fallback not in _FALLBACKS:
        raise ValueError(f"fallback must be one of {', '.join(_FALLBACKS)}, got {fallback!r}")


def _solve_batch(x: Floats, ys: Floats, affinities: Floats, tolerance: float) -> ExactResults:
    results = ExactResults.empty(len(ys), len(x))
    if 1 < len(x) < _LISTS_FROM and x.shape[1] > 1:
        arrays = read_only(x, ys, affinities)
        exact_batch(*arrays, np.array(_SHARES), limits_of(x.dtype), _EFFORT, tolerance, results)
    return results


def exact_many(
    x: Floats, ys: Floats, affinities: Floats, *, tolerance: float = 1e-12, fallback: str = "scipy"
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`exact_auction` of one image with many, in one compiled call; see `semrsm_bench.solvers.solver.BatchFunction`."""
    _check_fallback(fallback)
    results = _solve_batch(x, ys, affinities, tolerance)
    return results.perms, np.isfinite(results.slacks)


@register_solver(
    "exact-auction",
    kind="exact",
    complexity="O(S^2) in practice, O(S^3) at worst",
    reference="Bertsekas 1988 (auction); Jonker & Volgenant 1987 (augmentation); certificate: complementary slackness",
    batch=exact_many,
    releases_gil=True,
)
def exact_auction(problem: MatchingProblem, *, tolerance: float = 1e-12, fallback: str = "scipy") -> Solution:
    """Optimal matching with a float64 certificate: auction, exact bids, shortest paths, check.

    Exact for ``problem.affinity`` as it is: no rounding to integers. A float64 problem is solved in float64 throughout, and so
    is a float32 problem whose affinity would be too coarse (its rounding error above a thousandth of its deviation).

    Parameters
    ----------
    problem : MatchingProblem
    tolerance : float
        Largest slack of a matched pair that passes the check, relative to the largest ``|A_ij| + |p_j|``.
        Then k is within ``S * tolerance`` of that scale of the optimum; on real activations the slack is 0.
    fallback : {"scipy", "none"}
        What to do where the check fails or the work exceeds its limit: SciPy's solver in float64, named in
        ``info["fallback"]``, or RuntimeError.

    Returns
    -------
    Solution
        With duals ``(u, v)`` in float64, ``u_i + v_j >= A_ij`` (none after a fallback, or where they leave float64), and
        ``info``: ``slack`` (the largest, in units of A), ``paths`` (rows matched along shortest paths), ``bids``.
    """
    _check_fallback(fallback)
    results = _solve_batch(problem.x, problem.y[None], problem.affinity[None], tolerance)
    exponent = 0
    if not np.isfinite(results.slacks[0]):
        if (trivial := trivial_matching(problem)) is not None:
            return trivial
        prepared = prepare(problem)
        exponent = prepared.exponent
        results = _solve_prepared(prepared, tolerance)
        if not np.isfinite(results.slacks[0]):
            if fallback == "none":
                raise RuntimeError(
                    f"exact-auction could not certify its matching at S={problem.size}; use fallback='scipy'"
                )
            perm = linear_sum_assignment(prepared.affinity.astype(np.float64), maximize=True)[1]
            return Solution(perm, info={"fallback": "scipy"})
    counters = results.counters[0]
    slack, duals, prices = results.slacks[0], results.duals[0], results.prices[0]
    if exponent:
        with np.errstate(over="ignore"):
            slack, duals, prices = (np.ldexp(z, exponent) for z in (slack, duals, prices))
    info = {"slack": float(slack), "paths": int(counters[PATHS]), "bids": int(counters[BIDS])}
    lost = exponent > 0 and not (np.isfinite(duals).all() and np.isfinite(prices).all())
    return Solution(results.perms[0], None if lost else (duals, prices), info)


def _solve_prepared(prepared: PreparedProblem, tolerance: float) -> ExactResults:
    """One prepared problem of any size; from some size on with lists all the way."""
    affinity, size = prepared.affinity, len(prepared.affinity)
    if size < _LISTS_FROM:
        return _solve_batch(prepared.x, prepared.y[None], affinity[None], tolerance)
    prices = sampled_prices(prepared, share=8, seed=0)
    assignment, lists, _, _ = bid_in_rounds(prepared, prices, _ROUNDS)
    results = ExactResults.empty(1, size)
    rounding = 4.0 * max(prepared.rounding(prepared.start), prepared.rounding(prices))
    wide = lists._replace(bounds=lists.bounds + np.float64(rounding))
    reduced = np.empty(WIDTH, prices.dtype)
    state = Finish(affinity, results.prices[0], prices, wide, rounding, assignment, reduced, results.counters[0])
    finish_exactly(state, prepared.scale, _EFFORT, tolerance, results, 0)
    return results
