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

from semrsm_bench.solvers.auction_kernels import dense_auction, free_slack_pairs, row_maxima
from semrsm_bench.solvers.auction_setup import Setup, limits_of, prepare, trivial_matching
from semrsm_bench.solvers.batch_kernels import auction_batch
from semrsm_bench.solvers.problem import Floats, MatchingProblem, matching_value, random_value
from semrsm_bench.solvers.registry import Solution, get_solver, register_solver

_REFERENCE = "Bertsekas 1988, Annals of Operations Research 14 (auction algorithm with eps-scaling)"
# Bids per row after which an auction is cut off; real activations need 5 to 25.
MAX_BIDS = 200
_SHRINK = 4.0


class Matching:
    """A partial matching kept from both sides: ``column_of[i]`` and ``row_of[j]``, -1 where free."""

    def __init__(self, size: int) -> None:
        self.column_of: NDArray[np.int64] = np.full(size, -1, np.int64)
        self.row_of: NDArray[np.int64] = np.full(size, -1, np.int64)

    def pair(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> None:
        """Match free rows with free columns."""
        self.column_of[rows] = columns
        self.row_of[columns] = rows

    def fill(self) -> int:
        """Match what is left in order of index; returns how many pairs that were."""
        rows = np.flatnonzero(self.column_of < 0)
        self.pair(rows, np.flatnonzero(self.row_of < 0))
        return len(rows)


def dense_phase(
    affinity: Floats, prices: Floats, matching: Matching, eps: np.floating, max_bids: int = MAX_BIDS
) -> tuple[int, int]:
    """One phase: free the pairs that ``eps`` no longer allows, then bid; returns rows left and bids made."""
    column_of, row_of = matching.column_of, matching.row_of
    if (column_of >= 0).any():
        free_slack_pairs(affinity, prices, column_of, row_of, eps)
    left, bids = dense_auction(affinity, prices, column_of, row_of, eps, max_bids * len(prices))
    return int(left), int(bids)


def upper_value(affinity: Floats, prices: Floats, setup: Setup) -> float:
    """Upper bound on k from prices: their sum plus the row maxima of ``affinity - prices``, rounding included."""
    duals = np.empty_like(prices)
    row_maxima(affinity, prices, duals)
    total = duals.sum(dtype=np.float64) + prices.sum(dtype=np.float64)
    # The affinity itself carries the rounding of C products, besides that of the subtraction.
    error = setup.rounding(prices) + (setup.x.shape[1] + 2) * setup.unit * setup.largest
    return float(total + len(prices) * error)


def auction_many(
    x: Floats, ys: Floats, affinities: Floats, *, eps: tuple[float, ...] = (0.1, 0.01)
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`auction` of one image with many, in one compiled call; see `semrsm_bench.solvers.solver.BatchFunction`."""
    check_eps(eps)
    perms, facts = _auction_plainly(x, ys, affinities, eps)
    return perms, facts[:, 0] > 0


def _auction_plainly(
    x: Floats, ys: Floats, affinities: Floats, eps: tuple[float, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    perms: NDArray[np.int64] = np.empty(ys.shape[:2], np.int64)
    facts: NDArray[np.int64] = np.zeros((len(ys), 3), np.int64)
    if x.shape[0] > 1 and x.shape[1] > 1:
        shares = np.array(eps, np.float64)
        auction_batch(*read_only(x, ys, affinities), shares, limits_of(x.dtype), MAX_BIDS, perms, facts)
    return perms, facts


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
        One phase each, in units of the spread of a row of the affinity (`Setup.spread`); positive.

    Notes
    -----
    The number of bids is capped. Rows still free then (seen only where many rows or columns are equal) are matched in
    order of index, and ``info["left"]`` says how many; the duals stay feasible.
    """
    check_eps(eps)
    perms, facts = _auction_plainly(problem.x, problem.y[None], problem.affinity[None], eps)
    if not facts[0, 0]:
        if (trivial := trivial_matching(problem)) is not None:
            return trivial
        setup = prepare(problem)
        perms, facts = _auction_plainly(setup.x, setup.y[None], setup.affinity[None], eps)
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
    trivial = trivial_matching(problem)
    if trivial is not None:
        return trivial
    setup = prepare(problem)
    if rtol > 0 and not setup.scaled:
        affinity = setup.affinity
        prices = setup.start.copy()
        matching = Matching(problem.size)
        share = 0.2
        chance = random_value(problem)
        phases = 0
        while share * setup.spread > setup.eps(0.0):
            left, _ = dense_phase(affinity, prices, matching, setup.eps(share))
            phases += 1
            if left:
                break
            bound = upper_value(affinity, prices, setup)
            if bound - matching_value(problem, matching.column_of) <= rtol * (bound - chance):
                return Solution(matching.column_of, info={"k_upper": bound, "phases": phases})
            share /= _SHRINK
    exact = get_solver("exact-auction").run(problem)
    return Solution(exact.perm, exact.duals, {**exact.info, "exact": True})


def read_only(*arrays: Floats) -> tuple[Floats, ...]:
    """Views that nobody can write to: kernels are compiled once more for arrays that are writeable."""
    views = tuple(array.view() for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views


def check_eps(eps: tuple[float, ...]) -> None:
    """Raise ValueError unless ``eps`` is a non-empty sequence of positive finite numbers."""
    if not len(eps) or not all(math.isfinite(e) and e > 0 for e in eps):
        raise ValueError(f"eps must be positive finite numbers, one for each phase, got {eps}")
