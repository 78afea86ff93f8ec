"""What every auction needs before its first bid: a well-scaled affinity, starting prices, and the unit of ``eps``."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution
from semrsm_bench.solvers.setup_kernels import (
    COARSEST,
    dearest,
    least_eps,
    mean_and_longest,
    spread_of,
    starting_prices,
)

# Magnitudes of the affinity between which sums and differences of prices neither overflow nor underflow.
_SAFE = {np.dtype(np.float32): (1e-24, 1e30), np.dtype(np.float64): (1e-200, 1e200)}
_EPSILON = {np.dtype(kind): float(np.finfo(kind).eps) for kind in ("float32", "float64")}


@dataclass(frozen=True)
class Setup:
    """A problem made ready for an auction.

    Attributes
    ----------
    x, y : ndarray, (S, C)
        Position vectors: the problem's own, unless they had to be scaled by powers of two to make inner products of
        moderate size, or float32 is too coarse for them and they are float64 here.
    affinity : ndarray, (S, S), read-only
        ``x @ y.T``.
    scaled : bool
        Whether they were scaled: then duals are not those of the given problem.
    start : ndarray, (S,)
        Starting prices: the column means of the affinity. Bidding from them is bidding on the channel-centred problem,
        whatever the centring of the given one: centring only adds constants to rows and columns of the affinity.
    spread : float
        Median over rows of the standard deviation of ``A - start``, the unit of ``eps``; robust to a few huge rows.
    largest : float
        Upper bound on ``|A|``.
    """

    x: Floats
    y: Floats
    affinity: Floats
    scaled: bool
    start: Floats
    spread: float
    largest: float

    @property
    def unit(self) -> float:
        """Relative rounding error of one subtraction in the problem's precision."""
        return _EPSILON[self.x.dtype]

    @functools.cached_property
    def _dearest_start(self) -> float:
        return float(dearest(self.start))

    def rounding(self, *prices: Floats) -> float:
        """Bound on the rounding error of ``affinity - prices`` in the problem's precision, for any of these prices."""
        most = max((self._dearest_start if p is self.start else float(dearest(p)) for p in prices), default=0.0)
        return self.unit * (self.largest + most)

    def eps(self, share: float) -> np.floating:
        """``share`` of the spread, but never so little that a bid could leave a price unchanged."""
        return self.x.dtype.type(max(share * self.spread, least_eps(self.rounding(self.start))))


def limits_of(dtype: np.dtype[np.floating]) -> tuple[float, float, float, float]:
    """What `batch_kernels.measure` asks of a problem in this precision.

    Limits of the largest affinity, the relative rounding error of one operation, and the most of it as a share of the spread.
    """
    return *_SAFE[dtype], _EPSILON[dtype], COARSEST if dtype == np.float32 else math.inf


def prepare(problem: MatchingProblem) -> Setup:
    """Scale, affinity, starting prices and spread of a problem that `trivial_matching` has no answer to."""
    x, y = problem.x, problem.y
    setup = _measure(x, y, problem.affinity, scaled=False)
    low, high, _, coarsest = limits_of(x.dtype)
    if not low < setup.largest < high:
        x, y = (np.ldexp(z, -math.frexp(float(np.abs(z).max()))[1]) for z in (x, y))
        return _measure(x, y, x @ y.T, scaled=True)
    if setup.rounding(setup.start) > coarsest * setup.spread > 0.0:
        x, y = x.astype(np.float64), y.astype(np.float64)
        return _measure(x, y, x @ y.T, scaled=False)
    return setup


def _measure(x: Floats, y: Floats, affinity: Floats, *, scaled: bool) -> Setup:
    affinity.flags.writeable = False
    mean, start = np.empty(x.shape[1], x.dtype), np.empty(len(y), y.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = float(mean_and_longest(x, mean)) * float(starting_prices(y, mean, start))
        spread = float(spread_of(affinity, start))
    return Setup(x, y, affinity, scaled, start, spread, 1.001 * largest)


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
