"""The dense auction: free rows bid on columns, first in first out, until every row has one.

Bertsekas' picture of the assignment problem: columns have *prices* (the column duals), each row wants the column of
largest ``A_ij - p_j``, and a row that bids raises the price until it is nearly indifferent to its second choice, plus
``eps``. When all rows are served, each holds a column within ``eps`` of its best (*eps-complementary slackness*), and
by linear-programming duality the matching is within ``S * eps`` of the optimum: the sum of the prices and of the row
maxima of ``A - p`` is an upper bound on k. Running phases of falling ``eps``, each starting from the prices of the one
before, avoids the long price wars of a small ``eps`` from the start.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.auction_setup import PreparedProblem, prepare, trivial_matching
from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.kernels.batches import auction_batch
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phase
from semrsm_bench.solvers.kernels.rows import row_maxima
from semrsm_bench.solvers.kernels.scale import limits_of
from semrsm_bench.solvers.problem import Floats, MatchingProblem, matching_value, random_value
from semrsm_bench.solvers.registry import Solution, get_solver, register_solver

_REFERENCE = "Bertsekas 1988, Annals of Operations Research 14 (auction algorithm with eps-scaling)"
# Bids per row after which an auction is cut off; real activations need 5 to 25.
MAX_BIDS = 200
_FIRST_SHARE, _SHRINK = 0.2, 4.0


def check_eps(eps: tuple[float, ...]) -> None:
    """Raise ValueError unless ``eps`` is a non-empty sequence of positive finite numbers."""
    if not len(eps) or not all(math.isfinite(e) and e > 0 for e in eps):
        raise ValueError(f"eps must be positive finite numbers, one for each phase, got {eps}")


def _solve_batch(
    x: Floats, ys: Floats, affinities: Floats, eps: tuple[float, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Permutations (b, S), -1 where unsolved, and facts (b, 3); see `batches.auction_batch`."""
    perms: NDArray[np.int64] = np.full(ys.shape[:2], -1, np.int64)
    facts: NDArray[np.int64] = np.zeros((len(ys), 3), np.int64)
    if x.shape[0] > 1 and x.shape[1] > 1:
        shares = np.array(eps, np.float64)
        auction_batch(*read_only(x, ys, affinities), shares, limits_of(x.dtype), MAX_BIDS, perms, facts)
    return perms, facts


def auction_many(
    x: Floats, ys: Floats, affinities: Floats, *, eps: tuple[float, ...] = (0.1, 0.01)
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`auction` of one image with many, in one compiled call; see `semrsm_bench.solvers.solver.BatchFunction`."""
    check_eps(eps)
    perms, facts = _solve_batch(x, ys, affinities, eps)
    return perms, facts[:, 0] > 0


_DENSE: dict[str, Any] = {
    "kind": "approximate",
    "complexity": "O(S^2 range/eps)",
    "reference": _REFERENCE,
    "batch": auction_many,
    "releases_gil": True,
}


@register_solver("auction-coarse", **_DENSE, eps=(0.1,))
@register_solver("auction-fine", **_DENSE, eps=(0.1, 0.01))
def auction(problem: MatchingProblem, *, eps: tuple[float, ...] = (0.1, 0.01)) -> Solution:
    """Dense auction in phases of falling ``eps``; within ``S * eps`` of the optimum, in practice a quarter of that.

    Parameters
    ----------
    problem : MatchingProblem
    eps : tuple of float
        One phase each, in units of the typical standard deviation of a row of the affinity (`Scale.deviation`); positive.

    Notes
    -----
    The number of bids is capped. Rows still free then (seen only where many rows or columns are equal) are matched in
    order of index, and ``info["left"]`` says how many; the duals stay feasible.
    """
    check_eps(eps)
    perms, facts = _solve_batch(problem.x, problem.y[None], problem.affinity[None], eps)
    if not facts[0, 0]:
        if (trivial := trivial_matching(problem)) is not None:
            return trivial
        prepared = prepare(problem)
        perms, facts = _solve_batch(prepared.x, prepared.y[None], prepared.affinity[None], eps)
        if not facts[0, 0]:
            raise RuntimeError(f"the auction could not scale its problem: largest affinity {prepared.scale.largest:g}")
    _, bids, left = facts[0].tolist()
    return Solution(perms[0], info={"bids": bids, **({"left": left} if left else {})})


@register_solver(
    "auction-certified",
    kind="approximate",
    complexity="O(S^2 range/eps)",
    reference=_REFERENCE,
    releases_gil=True,
    rtol=0.01,
)
def certified_auction(problem: MatchingProblem, *, rtol: float = 0.01) -> Solution:
    """Dense auction that stops as soon as ``k_upper - k <= rtol * (k_upper - k_rand)``: certified c >= 1 - rtol.

    After each phase the prices give the upper bound ``k_upper`` on the optimum (row maxima of ``A - p`` plus the
    prices, rounded up); ``eps`` falls by a factor of 4 until the matching is good enough. Where the bidding is cut off
    or ``eps`` reaches the rounding error first, `exact-auction` takes over, and the promise holds up to rounding.

    Parameters
    ----------
    problem : MatchingProblem
    rtol : float
        Between 0 and 1; 0 asks for the optimum.

    Returns
    -------
    Solution
        ``info`` holds ``k_upper`` and ``phases``, or ``exact: True`` where the exact solver took over.
    """
    if not 0.0 <= rtol <= 1.0:
        raise ValueError(f"rtol must be between 0 and 1, got {rtol}")
    if (trivial := trivial_matching(problem)) is not None:
        return trivial
    prepared = prepare(problem)
    if rtol > 0 and prepared.exponent == 0:
        prices, assignment = prepared.start.copy(), Assignment.empty(problem.size)
        share, phases, chance = _FIRST_SHARE, 0, random_value(problem)
        while share * prepared.scale.deviation > prepared.eps(0.0):
            eps = prepared.eps(share)
            left, _ = dense_phase(prepared.affinity, prices, assignment, eps, MAX_BIDS * problem.size)
            phases += 1
            if left:
                break
            bound = _upper_value(prepared, prices)
            if bound - matching_value(problem, assignment.column_of) <= rtol * (bound - chance):
                return Solution(assignment.column_of, info={"k_upper": bound, "phases": phases})
            share /= _SHRINK
    exact = get_solver("exact-auction").run(problem)
    return Solution(exact.perm, exact.duals, {**exact.info, "exact": True})


def _upper_value(prepared: PreparedProblem, prices: Floats) -> float:
    """Upper bound on k: the prices plus the row maxima of ``affinity - prices``, rounding included."""
    duals = np.empty_like(prices)
    row_maxima(prepared.affinity, prices, duals)
    total = duals.sum(dtype=np.float64) + prices.sum(dtype=np.float64)
    # The affinity itself carries the rounding of C products, besides that of the subtraction.
    products = (prepared.x.shape[1] + 2) * prepared.scale.unit * prepared.scale.largest
    return float(total + len(prices) * (prepared.rounding(prices) + products))
