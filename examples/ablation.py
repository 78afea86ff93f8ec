"""What each idea of the exact auction is worth: the solver again, with one idea left out at a time.

    semrsm-bench run matching --plugin examples/ablation.py --methods exact-auction,in-pieces,without-phases

`in-pieces` lacks what makes a solve one compiled call, lists for large S, and classes of equal vectors; four others leave one more
idea out of it, and are compared with it. All prove their answers, or say that SciPy had to help (``fallback``).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from scipy.optimize import linear_sum_assignment

from semrsm_bench import MatchingProblem, Solution, get_solver, register_solver
from semrsm_bench.solvers.auction import Prepared, prepare
from semrsm_bench.solvers.exact_auction import match_row_by_row
from semrsm_bench.solvers.kernels.batches import LOOKS, MAX_BIDS
from semrsm_bench.solvers.kernels.bidding import Assignment, bid, dense_phase, match_leftovers, wrap
from semrsm_bench.solvers.kernels.exact import Finish, correct, proven_slack, smallest_rise
from semrsm_bench.solvers.kernels.rows import best_two
from semrsm_bench.solvers.kernels.scale import room_for_rises

PHASES = (0.1, 0.015, 0.003)
TOLERANCE = 1e-12
DECLARED: dict[str, Any] = {"kind": "exact", "releases_gil": True, "requires": "numba"}


@register_solver("in-pieces", **DECLARED)
@register_solver("without-starting-prices", **DECLARED, from_means=False)
@register_solver("without-phases", **DECLARED, shares=PHASES[-1:])
@register_solver("without-fours", **DECLARED, in_fours=False)
def pieces(
    problem: MatchingProblem, *, shares: tuple[float, ...] = PHASES, from_means: bool = True, in_fours: bool = True
) -> Solution:
    """Dense phases of bids, then corrected prices; further phases where the correction takes too long."""
    prepared = prepare(problem)
    size = problem.size
    phase = dense_phase if in_fours else one_at_a_time
    prices, assignment = prepared.start.copy(), Assignment.empty(size)
    if not from_means:
        prices[:] = 0
    for share in shares:
        phase(prepared.affinity, prices, assignment, prepared.eps(share), MAX_BIDS * size)
    for k in range(1, 6):
        if (answer := finish(prepared, prices, assignment, step=k > 1)) is not None:
            return answer
        phase(prepared.affinity, prices, assignment, prepared.eps(shares[-1] / 5**k), MAX_BIDS * size)
    return with_scipy(prepared)


def widened(problem: MatchingProblem) -> MatchingProblem:
    """The problem in float64, with its affinity; not timed."""
    wide = MatchingProblem(problem.x.astype(np.float64), problem.y.astype(np.float64))
    _ = wide.affinity
    return wide


@register_solver("without-correction", **DECLARED, prepare=widened)
def bids_alone(problem: MatchingProblem) -> Solution:
    """Bertsekas's auction: phases of ever smaller eps, in float64, until the prices prove the matching."""
    prepared = prepare(problem)
    prices, assignment, share = prepared.start.copy(), Assignment.empty(problem.size), PHASES[0]
    while share * prepared.scale.deviation > TOLERANCE / 10 * prepared.scale.largest:
        eps = share * prepared.scale.deviation
        dense_phase(prepared.affinity, prices, assignment, eps, MAX_BIDS * problem.size)
        if (answer := finish(prepared, prices, assignment, looks=0)) is not None:
            return answer
        share /= 5
    return with_scipy(prepared)


@register_solver("without-float32", **DECLARED, prepare=widened)
def in_float64(problem: MatchingProblem) -> Solution:
    """The solver itself, on a float64 affinity."""
    return get_solver("exact-auction").run(problem)


@register_solver("without-classes", **DECLARED, max_size=2047)
def position_by_position(problem: MatchingProblem) -> Solution:
    """The solver itself, also where many vectors are equal."""
    arrays = problem.x, problem.y[None], problem.affinity[None]
    results = match_row_by_row(*arrays, tolerance=TOLERANCE, only_unequal=False)
    return Solution(results.perms[0]) if results.solved[0] else pieces(problem)


def finish(
    prepared: Prepared, rounded: np.ndarray, assignment: Assignment, *, step: bool = False, looks: int = LOOKS
) -> Solution | None:
    """The matching with its duals, where these prices, after so many looks a row, make all pairs tight; None elsewhere."""
    size, duals = len(rounded), np.empty((2, len(rounded)))
    left = match_leftovers(assignment)
    duals[1] = rounded
    room = room_for_rises(prepared.scale, prepared.start, rounded)
    state = Finish(prepared.affinity, duals[1], rounded, room, assignment)
    smallest = smallest_rise(prepared.scale, TOLERANCE, duals[1]) if step else 0.0
    waiting = correct(state, None, smallest, looks * size)[0] if looks and not left else left
    if waiting or not np.isfinite(proven_slack(state, None, prepared.scale, TOLERANCE, duals[0])):
        rounded[:] = duals[1]
        return None
    return Solution(assignment.column_of, (duals[0], duals[1]))


def with_scipy(prepared: Prepared) -> Solution:
    """SciPy's answer, which the row of the table says."""
    return Solution(linear_sum_assignment(prepared.affinity, maximize=True)[1], info={"fallback": "scipy"})


@numba.njit(nogil=True, error_model="numpy")
def one_at_a_time(affinity, prices, assignment, eps, max_bids):  # type: ignore[no-untyped-def]
    """`dense_phase` with one row after the other."""
    column_of, row_of = assignment
    size, waiting, head, bids = len(prices), 0, 0, 0
    queue = np.empty(size, np.int64)
    for i in range(size):
        j = column_of[i]
        if j >= 0 and affinity[i, j] - prices[j] < best_two(affinity[i], prices)[1] - eps:
            column_of[i] = -1
            row_of[j] = -1
    for i in range(size):
        if column_of[i] < 0:
            queue[waiting] = i
            waiting += 1
    while waiting > 0 and bids < max_bids:
        i = queue[head]
        j, best, second = best_two(affinity[i], prices)
        head = wrap(head + 1, size)
        waiting = bid(i, j, best - second + eps, prices, assignment, queue, head, waiting - 1)
        bids += 1
    return waiting, bids
