"""What every auction needs before its first bid: a well-scaled affinity, starting prices, and the unit of ``eps``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from semrsm_bench.solvers.kernels.scale import (
    OUT_OF_RANGE,
    TOO_COARSE,
    Scale,
    least_eps,
    limits_of,
    mean_and_longest,
    measure,
    rounding_of,
)
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.solver import Solution


@dataclass(frozen=True)
class PreparedProblem:
    """A problem made ready for an auction.

    Attributes
    ----------
    x, y : ndarray, (S, C)
        Position vectors: the problem's own, unless they had to be scaled by powers of two to make inner products of
        moderate size, or float32 is too coarse for them and they are float64 here.
    affinity : ndarray, (S, S), read-only
        ``x @ y.T``.
    exponent : int
        This affinity and its duals times ``2**exponent`` are those of the given problem; 0 unless the vectors were scaled.
    start : ndarray, (S,)
        Starting prices: the column means of the affinity.
    scale : Scale
        The unit of ``eps``, the largest affinity, and the rounding error.
    """

    x: Floats
    y: Floats
    affinity: Floats
    exponent: int
    start: Floats
    scale: Scale

    def rounding(self, prices: Floats) -> float:
        """Bound on the rounding error of ``affinity - prices`` in the problem's precision."""
        return float(rounding_of(self.scale, prices))

    def eps(self, share: float) -> np.floating:
        """``share`` of the deviation, but never so little that a bid could leave a price unchanged."""
        return self.x.dtype.type(max(share * self.scale.deviation, least_eps(self.scale, self.start)))


def prepare(problem: MatchingProblem) -> PreparedProblem:
    """A problem that `trivial_matching` has no answer to, rescaled or in float64 where its precision demands it."""
    prepared, status = _measured(problem.x, problem.y, problem.affinity, 0)
    if status == OUT_OF_RANGE:
        exponents = [math.frexp(float(np.abs(z).max()))[1] for z in (problem.x, problem.y)]
        x, y = (np.ldexp(z, -exponent) for z, exponent in zip((problem.x, problem.y), exponents))
        prepared, status = _measured(x, y, x @ y.T, sum(exponents))
    if status == TOO_COARSE:
        x, y = prepared.x.astype(np.float64), prepared.y.astype(np.float64)
        prepared, status = _measured(x, y, x @ y.T, prepared.exponent)
    return prepared


def _measured(x: Floats, y: Floats, affinity: Floats, exponent: int) -> tuple[PreparedProblem, int]:
    affinity.flags.writeable = False
    mean, start = np.empty(x.shape[1], x.dtype), np.empty(len(y), y.dtype)
    longest = mean_and_longest(x, mean)
    scale, status = measure(y, affinity, mean, longest, limits_of(x.dtype), start)
    return PreparedProblem(x, y, affinity, exponent, start, Scale(*scale)), status


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
