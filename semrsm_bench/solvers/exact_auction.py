"""The exact auction: an approximate one, finished in float64 and certified.

An auction leaves almost all rows with their optimal column and prices that are almost optimal duals. From there the
optimum is near: free the few pairs that are not tight, let them bid without ``eps``, and match the rest along shortest
augmenting paths (see `exact_kernels`). Every result is then checked without trusting any of this: with ``u_i`` the
row maxima of ``A - p`` in float64, the duals are feasible by construction, and the matching is optimal if each matched
pair attains its row's maximum (complementary slackness).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers.auction import MAX_BIDS, Matching, read_only
from semrsm_bench.solvers.auction_setup import Setup, limits_of, prepare, trivial_matching
from semrsm_bench.solvers.batch_kernels import Outcome, exact_batch, finish_exactly
from semrsm_bench.solvers.candidate_kernels import Lists, list_rows
from semrsm_bench.solvers.exact_kernels import BIDS, COUNTERS, PATHS
from semrsm_bench.solvers.list_auction import WANTED, bid_on_lists, empty_lists, sampled_prices
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution, register_solver

# From this size on, a pass over the affinity is bound by memory and lists pay.
_LISTS_FROM = 2048
# And from this size on in the exact finish, which comes back to the same rows.
_LISTS_IN_FINISH_FROM = 512
_DENSE_EPS = (0.2, 0.01, 0.001)
_ROUNDS = ((0.1, 1.0), (0.02, 0.1), (0.001, 0.0))
_EXACT_BIDS = 4
# Whole rows that shortest paths may look at, for each row of the problem, before the library takes over.
_WHOLE_ROWS = 512
_EFFORT = (MAX_BIDS, _EXACT_BIDS, _WHOLE_ROWS, WANTED, _LISTS_IN_FINISH_FROM)
_FALLBACKS = ("scipy", "none")


def exact_many(
    x: Floats, ys: Floats, affinities: Floats, *, tolerance: float = 1e-12, fallback: str = "scipy"
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`exact_auction` of one image with many, in one compiled call; see `semrsm_bench.solvers.solver.BatchFunction`."""
    _check_fallback(fallback)
    outcome = _solve_plainly(x, ys, affinities, tolerance)
    return outcome.perms, np.isfinite(outcome.slacks)


def _room_for(number: int, size: int) -> Outcome:
    perms, prices, duals = np.empty((number, size), np.int64), np.empty((number, size)), np.empty((number, size))
    return Outcome(perms, prices, duals, np.full(number, np.inf), np.zeros((number, COUNTERS), np.int64))


def _solve_plainly(x: Floats, ys: Floats, affinities: Floats, tolerance: float) -> Outcome:
    outcome = _room_for(len(ys), len(x))
    if 1 < len(x) < _LISTS_FROM and x.shape[1] > 1:
        arrays = read_only(x, ys, affinities)
        exact_batch(*arrays, np.array(_DENSE_EPS), limits_of(x.dtype), _EFFORT, tolerance, outcome)
    return outcome


def _check_fallback(fallback: str) -> None:
    if fallback not in _FALLBACKS:
        raise ValueError(f"fallback must be one of {', '.join(_FALLBACKS)}, got {fallback!r}")


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
    is a float32 problem whose affinity would be too coarse (its rounding error above a thousandth of its spread).

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
        With duals ``(u, v)`` in float64, ``u_i + v_j >= A_ij`` (none after a fallback), and ``info``: ``slack`` (the largest,
        in units of A), ``paths`` (rows matched along shortest paths), ``bids``.
    """
    _check_fallback(fallback)
    outcome = _solve_plainly(problem.x, problem.y[None], problem.affinity[None], tolerance)
    scaled = False
    if not np.isfinite(outcome.slacks[0]):
        trivial = trivial_matching(problem)
        if trivial is not None:
            return trivial
        setup = prepare(problem)
        scaled = setup.scaled
        outcome = _solve_carefully(setup, tolerance)
        if not np.isfinite(outcome.slacks[0]):
            if fallback == "none":
                raise RuntimeError(
                    f"exact-auction could not certify its matching at S={problem.size}; use fallback='scipy'"
                )
            perm = linear_sum_assignment(setup.affinity.astype(np.float64), maximize=True)[1]
            return Solution(perm, info={"fallback": "scipy"})
    counters = outcome.counters[0]
    info = {"slack": float(outcome.slacks[0]), "paths": int(counters[PATHS]), "bids": int(counters[BIDS])}
    return Solution(outcome.perms[0], None if scaled else (outcome.duals[0], outcome.prices[0]), info)


def _solve_carefully(setup: Setup, tolerance: float) -> Outcome:
    """One problem that has been prepared, of any size; from some size on with lists all the way."""
    affinity, size = setup.affinity, len(setup.affinity)
    if size < _LISTS_FROM:
        return _solve_plainly(setup.x, setup.y[None], affinity[None], tolerance)
    matching, lists = Matching(size), empty_lists(size, affinity.dtype)
    prices = sampled_prices(setup, share=8, seed=0)
    for share, trust in _ROUNDS:
        list_rows(affinity, prices, lists)
        bid_on_lists(setup, lists, prices, matching, share, trust)
    outcome = _room_for(1, size)
    outcome.perms[0] = matching.column_of
    rounding = 4.0 * setup.rounding(setup.start, prices)
    wide = Lists(lists.columns, lists.values, lists.bounds + np.float64(rounding), lists.wanted)
    finish_exactly(
        affinity, prices, wide, rounding, matching.row_of, setup.largest, setup.unit, _EFFORT, tolerance, outcome, 0
    )
    return outcome
