"""Upper bounds on the optimum from feasible duals, checked apart from whatever proposed them, and without the affinity.

Weak duality: for any column prices ``v`` let ``u_i = max_j (A_ij - v_j)``. Then ``u_i + v_j >= A_ij`` for every i and j, so no
permutation has a k above ``sum u + sum v``. `dual_value` needs prices alone, and any will do:
bad ones only make the bound loose. It computes ``u`` anew from the position vectors, block by block, adds a bound on
every rounding error, and rounds up. `upper_bound` finds good prices first.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from semrsm_bench.solvers.centring import Centred, centre, roundings, row_duals
from semrsm_bench.solvers.hierarchical import priced_matching
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import get_solver

EFFORTS = ("fast", "tight", "exact")
# Positions of a block, and rounds by effort, in which blocks make prices better.
_BLOCK, _ROUNDS = 1024, {"fast": 6, "tight": 10}
# Smallest float32 that is not denormal, generously: what underflow can take from a product of numbers near 1.
_UNDERFLOW = 1e-37
# Prices beyond this are no prices for vectors near 1; their bound is computed in float64, and may be infinite.
_LARGEST_FLOAT32 = 1e30
_UNIT64 = float(np.finfo(np.float64).eps)


def upper_bound(problem: MatchingProblem, effort: str = "fast") -> float:
    """Certified upper bound on k_opt.

    Parameters
    ----------
    problem : MatchingProblem
    effort : {"fast", "tight", "exact"}
        Where the prices come from. "fast": the optimum of a sample of up to 2,048 rows and columns, extended to all, and
        made better by six rounds of exact matchings of blocks (see `semrsm_bench.solvers.hierarchical`). "tight": by ten
        rounds, and replaced by the best prices for their row duals. "exact": the duals of `exact-auction`; needs the (S, S)
        affinity, and exceeds k_opt by rounding errors only.

    Returns
    -------
    float
        At least the k of every permutation, in exact arithmetic on the given vectors; rounded up.

    Notes
    -----
    "fast" takes one pass over the inner products, ``2 S^2 C`` operations, and "tight" two; both need O(S C) memory, "exact"
    O(S^2).
    """
    if effort not in EFFORTS:
        raise ValueError(f"effort must be one of {', '.join(EFFORTS)}, got {effort!r}")
    if problem.size == 0 or problem.channels == 0:
        return 0.0
    if effort == "exact":
        duals = get_solver("exact-auction").run(problem).duals
        if duals is not None:
            return dual_value(problem, duals[1], dtype=np.float64)
    centred = centre(problem)
    prices = priced_matching(centred, _BLOCK, _ROUNDS[effort])[1]
    return _dual_value(problem, centred, prices) if effort == "fast" else tight_value(problem, centred, prices)


def tight_value(problem: MatchingProblem, centred: Centred, prices: Floats) -> float:
    """`dual_value` of the best prices for the row duals of these prices of the centred problem."""
    # Seen from the columns, these are what the bound computes.
    of_rows = row_duals(centred.x, centred.y, prices)
    return _dual_value(MatchingProblem.trusted(problem.y, problem.x), centred.transposed, of_rows)


def tight_prices(problem: MatchingProblem) -> NDArray[np.float64]:
    """The prices behind the bound "tight", (S,) float64: `dual_value` proves it again from them alone."""
    centred = centre(problem)
    x, y = centred.x, centred.y
    prices = row_duals(y, x, row_duals(x, y, priced_matching(centred, _BLOCK, _ROUNDS["tight"])[1]))
    return np.ldexp(prices.astype(np.float64), centred.exponent) + problem.y.astype(np.float64) @ centred.x_mean


def dual_value(problem: MatchingProblem, prices: ArrayLike, *, dtype: DTypeLike | None = None) -> float:
    """Upper bound on k_opt from any column prices: ``sum_j v_j + sum_i max_j (x_i . y_j - v_j)``, rounded up.

    Parameters
    ----------
    problem : MatchingProblem
    prices : array_like, (S,)
        Column duals in units of the affinity, finite; from any source.
    dtype : {float32, float64}, optional
        Precision of the inner products, that of the problem by default. Rounding is accounted for in either.

    Returns
    -------
    float
        float64; ``O(S^2 C)`` time, ``O(S C)`` memory.
    """
    v = np.asarray(prices, dtype=np.float64)
    if v.shape != (problem.size,):
        raise ValueError(f"prices of {problem.size} columns have shape ({problem.size},), got {v.shape}")
    if not np.isfinite(v).all():
        where = int(np.argmin(np.isfinite(v)))
        raise ValueError(f"prices are not finite: {v[where]} at {where}")
    chosen = np.dtype(problem.x.dtype if dtype is None else dtype)
    if chosen not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {chosen}")
    if problem.size == 0 or problem.channels == 0:
        return 0.0
    centred = centre(problem, chosen)
    # What centring takes out of column j of the affinity it takes out of the price as well.
    with np.errstate(over="ignore"):
        moved = np.ldexp(v - problem.y.astype(np.float64) @ centred.x_mean, -centred.exponent)
    if chosen == np.float32 and float(np.abs(moved).max()) > _LARGEST_FLOAT32:
        centred = centre(problem, np.float64)
    return _dual_value(problem, centred, moved.astype(centred.x.dtype))


def _dual_value(problem: MatchingProblem, centred: Centred, prices: Floats) -> float:
    """`dual_value` from prices of the centred problem.

    Rounding can have taken something from any computed ``x_i . y_j - v_j``: ``|fl(x.y) - x.y| <= gamma(C) |x||y|`` whatever
    the order of summation (Higham 2002, section 3.1); for the terms of `roundings`, one more, and two because the vectors were
    rounded to the working precision. Before that the centre was subtracted in float64, with an error relative to the
    vectors as given.
    """
    if not np.isfinite(prices).all():
        return math.inf
    x, y, size, channels = centred.x, centred.y, problem.size, problem.channels
    largest_x, largest_y = (float(np.abs(z).max()) for z in (problem.x, problem.y))
    terms, unit = roundings(x, y) + 6, float(np.finfo(x.dtype).eps) / 2
    gamma = terms * unit / (1 - terms * unit)
    x_norms, y_norms = (np.sqrt(np.einsum("sc,sc->s", z, z, dtype=np.float64)) * (1 + gamma) for z in (x, y))
    given = math.ldexp(largest_x, -centred.x_exponent) + math.ldexp(largest_y, -centred.y_exponent)
    errors = gamma * (x_norms * float(y_norms.max()) + float(np.abs(prices).max()))
    errors += channels * 4.0 * _UNIT64 * given + terms * _UNDERFLOW
    u, v = row_duals(x, y, prices).astype(np.float64), prices.astype(np.float64)
    try:
        total = math.ldexp(math.fsum(np.concatenate([u, v, errors])), centred.exponent)
    except OverflowError:
        return math.inf
    x_sum, y_sum = (z.sum(axis=0, dtype=np.float64) for z in (problem.x, problem.y))
    a, b = centred.x_mean, centred.y_mean
    constant = float(a @ y_sum) + float(b @ x_sum) - size * float(a @ b)
    # The constant adds S positions and C channels in float64, each sum relative to the magnitudes summed.
    wide = 8.0 * (size + channels + 8) * _UNIT64 * size * channels * largest_x * largest_y
    result = total + constant + wide
    result += 4.0 * _UNIT64 * (abs(total) + abs(constant) + wide)
    return math.nextafter(result, math.inf)
