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
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.kernels.batches import MAX_BIDS, auction_batch
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phase
from semrsm_bench.solvers.kernels.rows import row_maxima
from semrsm_bench.solvers.kernels.scale import OUT_OF_RANGE, TOO_COARSE, Scale, mean_and_longest, measure, rounding_of
from semrsm_bench.solvers.problem import Floats, MatchingProblem, matching_value, random_value
from semrsm_bench.solvers.products import inner_products
from semrsm_bench.solvers.registry import Solution, get_solver, register_solver

_FIRST_SHARE, _SHRINK = 0.2, 4.0


def auction_many(
    x: Floats, ys: Floats, affinities: Floats, *, eps: tuple[float, ...] = (0.1, 0.01)
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`auction` of one image with many, in one compiled call; see `semrsm_bench.solvers.registry.BatchFunction`."""
    check_eps(eps)
    results = auction_batch(np.array(eps, np.float64), *read_only(x, ys, affinities))
    return results.perms, results.solved


_AUCTION: dict[str, Any] = {
    "kind": "approximate",
    "complexity": "O(S^2 range/eps)",
    "reference": "Bertsekas 1988, Annals of Operations Research 14 (auction algorithm with eps-scaling)",
    "releases_gil": True,
}


@register_solver("auction-coarse", **_AUCTION, batch=auction_many, eps=(0.1,))
@register_solver("auction-fine", **_AUCTION, batch=auction_many, eps=(0.1, 0.01))
def auction(problem: MatchingProblem, *, eps: tuple[float, ...] = (0.1, 0.01)) -> Solution:
    """Dense auction in phases of falling ``eps``; within ``S * eps`` of the optimum, in practice a quarter of that.

    Parameters
    ----------
    eps : tuple of float
        One phase each, in units of the typical standard deviation of a row of the affinity (`Scale.deviation`); positive.

    Notes
    -----
    The number of bids is capped. Rows still free then (seen only where many rows or columns are equal) are matched in
    order of index, and ``info["left"]`` says how many.
    """
    check_eps(eps)
    shares = np.array(eps, np.float64)
    results = auction_batch(shares, *read_only(problem.x, problem.y[None], problem.affinity[None]))
    if not results.solved[0]:
        if (trivial := trivial_matching(problem)) is not None:
            return trivial
        prepared = prepare(problem)
        results = auction_batch(shares, *read_only(prepared.x, prepared.y[None], prepared.affinity[None]))
    bids, left = int(results.bids[0]), int(results.left[0])
    return Solution(results.perms[0], info={"bids": bids, **({"left": left} if left else {})})


@register_solver("auction-certified", **_AUCTION, rtol=0.01)
def certified_auction(problem: MatchingProblem, *, rtol: float = 0.01) -> Solution:
    """Dense auction that stops as soon as ``k_upper - k <= rtol * (k_upper - k_rand)``: certified c >= 1 - rtol.

    After each phase the prices give the upper bound ``k_upper`` on the optimum (row maxima of ``A - p`` plus the
    prices, rounded up); ``eps`` falls by a factor of 4 until the matching is good enough. Where the bidding is cut off
    or ``eps`` reaches the rounding error first, `exact-auction` takes over, and the promise holds up to rounding.

    Parameters
    ----------
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


def _upper_value(prepared: Prepared, prices: Floats) -> float:
    """Upper bound on k: the prices plus the row maxima of ``affinity - prices``, rounding included."""
    scale = prepared.scale
    total = row_maxima(prepared.affinity, prices).sum(dtype=np.float64) + prices.sum(dtype=np.float64)
    # The affinity itself carries the rounding of C products, besides that of the subtraction.
    products = (prepared.x.shape[1] + 2) * scale.unit * scale.largest
    return float(total + len(prices) * (rounding_of(scale, prices) + products))


def check_eps(eps: tuple[float, ...]) -> None:
    """Raise ValueError unless ``eps`` is a non-empty sequence of positive finite numbers."""
    if not len(eps) or not all(math.isfinite(e) and e > 0 for e in eps):
        raise ValueError(f"eps must be positive finite numbers, one for each phase, got {eps}")


@dataclass(frozen=True)
class Prepared:
    """A problem made ready for an auction.

    ``x`` and ``y`` (S, C) are the vectors of the problem. Where its inner products are very large or small, they are scaled by
    powers of two; where float32 is too coarse, they are float64. This affinity and its duals times ``2**exponent`` are those of
    the given problem. ``start`` (S,) are starting prices, the column means of the affinity.
    """

    x: Floats
    y: Floats
    affinity: Floats
    exponent: int
    start: Floats
    scale: Scale

    def eps(self, share: float) -> np.floating:
        """``share`` of the deviation, but never so little that a bid could leave a price unchanged."""
        return self.x.dtype.type(max(share * self.scale.deviation, 4.0 * rounding_of(self.scale, self.start)))


def prepare(problem: MatchingProblem) -> Prepared:
    """A problem that `trivial_matching` has no answer to, rescaled or in float64 where its precision demands it."""
    prepared, status = _measured(problem.x, problem.y, problem.affinity, 0)
    if status == OUT_OF_RANGE:
        exponents = [math.frexp(float(np.abs(z).max()))[1] for z in (problem.x, problem.y)]
        x, y = (np.ldexp(z, -exponent) for z, exponent in zip((problem.x, problem.y), exponents))
        prepared, status = _measured(x, y, inner_products(x, y), sum(exponents))
    if status == TOO_COARSE:
        x, y = prepared.x.astype(np.float64), prepared.y.astype(np.float64)
        prepared, status = _measured(x, y, x @ y.T, prepared.exponent)
    return prepared


def _measured(x: Floats, y: Floats, affinity: Floats, exponent: int) -> tuple[Prepared, int]:
    affinity.flags.writeable = False
    scale, status, start = measure(y, affinity, *mean_and_longest(x))
    return Prepared(x, y, affinity, exponent, start, scale), status


def trivial_matching(problem: MatchingProblem) -> Solution | None:
    """The optimum and its duals where no bidding is needed: fewer than two positions, all vectors zero, one channel.

    With one channel ``k = sum x_i y_perm(i)``, which the rearrangement inequality maximises by sorting both sides.
    Auctions would get there, but one small step of the price at a time. The price of each column exceeds that of the one
    below by the difference of the two y times an x between those of their rows, which makes all pairs tight.
    """
    size = problem.size
    if size >= 2 and problem.channels > 1 and problem.x.any() and problem.y.any():
        return None
    duals = np.zeros(size), np.zeros(size)
    perm = np.arange(size, dtype=np.intp)
    if problem.channels == 1:
        x, y = (a[:, 0].astype(np.float64) for a in (problem.x, problem.y))
        rows, columns = (np.argsort(a, kind="stable") for a in (x, y))
        perm[rows] = columns
        between = x[rows[:-1]] + 0.5 * np.diff(x[rows])
        duals[1][columns[1:]] = np.cumsum(between * np.diff(y[columns]))
        duals[0][rows] = x[rows] * y[columns] - duals[1][columns]
    elif size == 1 and problem.channels:
        duals[0][0] = float(problem.x[0].astype(np.float64) @ problem.y[0].astype(np.float64))
    return Solution(perm, duals)
