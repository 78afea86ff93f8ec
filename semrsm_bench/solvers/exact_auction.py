"""The exact auction: an approximate one, finished in float64 and certified.

An auction leaves almost all rows with their optimal column and prices that are almost optimal duals. From there the
optimum is near: free the few pairs that are not tight, let them bid without ``eps``, and match the rest along shortest
augmenting paths (see `exact_kernels`). Every result is then checked without trusting any of this: with ``u_i`` the
row maxima of ``A - p`` in float64, the duals are feasible by construction, and the matching is optimal if each matched
pair attains its row's maximum (complementary slackness).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers.auction import Matching, dense_phase
from semrsm_bench.solvers.auction_setup import Setup, affinity_of, prepare, trivial_matching
from semrsm_bench.solvers.exact_kernels import (
    BIDS,
    COUNTERS,
    PATHS,
    bid_exactly,
    check_tight,
    free_loose_pairs,
)
from semrsm_bench.solvers.list_auction import Lists, sampled_prices
from semrsm_bench.solvers.path_kernels import augment
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution, register_solver

# From this size on, a pass over the affinity is bound by memory and lists pay.
_LISTS_FROM = 2048
_DENSE_EPS = (0.1, 0.01, 0.001)
_ROUNDS = ((0.1, 1.0), (0.02, 0.1), (0.001, 0.0))
_EXACT_BIDS = 4
# Whole rows that shortest paths may look at, for each row of the problem, before the library takes over.
_WHOLE_ROWS = 64
_FALLBACKS = ("scipy", "none")


@register_solver(
    "exact-auction",
    kind="exact",
    complexity="O(S^2) in practice, O(S^3) at worst",
    reference="Bertsekas 1988 (auction); Jonker & Volgenant 1987 (augmentation); certificate: complementary slackness",
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
    if fallback not in _FALLBACKS:
        raise ValueError(f"fallback must be one of {', '.join(_FALLBACKS)}, got {fallback!r}")
    trivial = trivial_matching(problem)
    if trivial is not None:
        return trivial
    setup = prepare(problem)
    affinity = affinity_of(problem, setup)
    matching, prices, lists = _approximate(setup, affinity)
    rounding = setup.rounding(setup.start, prices)
    exact_prices = prices.astype(np.float64)
    # The finish keeps the prices twice, in float64 and rounded to the affinity's precision for its scans.
    rounded = exact_prices if prices.dtype == np.float64 else prices
    counters = np.zeros(COUNTERS, np.int64)
    finished = _finish(setup, affinity, exact_prices, rounded, lists, matching, counters)
    slack = np.inf
    if finished:
        duals = np.empty(problem.size)
        rounding = setup.rounding(exact_prices)
        rounded = exact_prices.astype(prices.dtype)
        slack = float(check_tight(affinity, exact_prices, rounded, matching.column_of, rounding, duals))
    if slack > tolerance * (setup.largest + float(np.abs(exact_prices).max())):
        if fallback == "none":
            raise RuntimeError(
                f"exact-auction could not certify its matching at S={problem.size} (slack {slack:.3g}); use fallback='scipy'"
            )
        perm = linear_sum_assignment(affinity.astype(np.float64), maximize=True)[1]
        return Solution(perm, info={"fallback": "scipy"})
    info = {"slack": slack, "paths": int(counters[PATHS]), "bids": int(counters[BIDS])}
    if setup.scaled:
        return Solution(matching.column_of, info=info)
    return Solution(matching.column_of, (duals, exact_prices), info)


def _approximate(setup: Setup, affinity: Floats) -> tuple[Matching, Floats, Lists]:
    """Nearly optimal matching and prices, and lists that are valid under them."""
    size = len(affinity)
    matching = Matching(size)
    lists = Lists(size, affinity.dtype)
    if size < _LISTS_FROM:
        prices = setup.start.copy()
        for share in _DENSE_EPS:
            dense_phase(affinity, prices, matching, setup.eps(share))
        lists.fill(affinity, prices)
    else:
        prices = sampled_prices(setup, affinity, share=8, seed=0)
        for share, trust in _ROUNDS:
            lists.fill(affinity, prices)
            lists.auction(affinity, prices, matching, setup.eps(share), prices.dtype.type(trust * setup.spread))
    return matching, prices, lists


def _finish(
    setup: Setup,
    affinity: Floats,
    prices: Floats,
    rounded: Floats,
    lists: Lists,
    matching: Matching,
    counters: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> bool:
    """Make every pair tight, in place; False where the shortest paths gave up."""
    # Prices rise in the finish; the factor leaves them room before the rounding of a scan exceeds its allowance.
    rounding = 4.0 * setup.rounding(setup.start, prices)
    bounds = lists.bounds.astype(np.float64) + rounding
    state = (
        affinity,
        prices,
        rounded,
        lists.wanted,
        lists.columns,
        lists.values,
        bounds,
        rounding,
        matching.column_of,
        matching.row_of,
    )
    free_loose_pairs(*state, counters)
    bid_exactly(*state, _EXACT_BIDS * len(prices), counters)
    return bool(augment(*state, _WHOLE_ROWS * len(prices), counters))
