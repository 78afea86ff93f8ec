"""Time per pair of many solvers, in this process: one pinned thread, every solver on every pair in turn."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from semrsm_bench.bench.cores import claimed_core
from semrsm_bench.solvers import MatchingProblem, Solution, get_solver, matching_value
from semrsm_bench.studies.solver_targets import CLOCKS

_SAMPLES = 3
_SAMPLE_NS = 1_000_000
# A call this long is its own only sample: pairs differ more than repeats.
_LONG_NS = 20_000_000


Row = dict[str, Any]


@contextlib.contextmanager
def one_pinned_thread() -> Iterator[None]:
    """Pin this thread to one core, which other runs of this user leave alone meanwhile."""
    with claimed_core() as core, threadpool_limits(1):
        # The claim sends this thread to the other cores and gives it back all of them at the end.
        if core is not None:
            os.sched_setaffinity(0, {core})
        yield


def time_solvers(
    problems: Iterable[MatchingProblem],
    solvers: Sequence[str],
    clock: str = "wall",
    tell: Callable[[int], object] = lambda pairs: None,
) -> list[Row]:
    """Solve every problem with every solver, one after the other, so that what else the machine does falls on all alike.

    The first problem is solved once untimed, then timed like the others. Samples last a millisecond at least; the time of a
    pair is the median of up to three. The solver that begins changes from pair to pair.

    Parameters
    ----------
    problems : iterable of MatchingProblem
        Of one size.
    solvers : sequence of str
    clock : {"wall", "cpu"}
        "cpu" counts this thread's work only, for a machine that is shared with other work.
    tell : callable
        Called with 1 after each problem.

    Returns
    -------
    list of dict
        Keys ``solver pair solve_seconds affinity_seconds seconds k``; affinity_seconds is 0 for matrix-free solvers, and
        seconds the sum of the two. A solver that raises is left out.
    """
    rows: list[Row] = []
    running = list(solvers)
    for number, problem in enumerate(problems):
        if number == 0:
            running = [name for name in solvers if _works(name, problem)]
        affinity = problem.x @ problem.y.T
        _, affinity_seconds = _timed(lambda p=problem: p.x @ p.y.T, CLOCKS[clock])  # type: ignore[misc]
        turn = number % max(1, len(running))
        for name in [*running[turn:], *running[:turn]]:
            solver = get_solver(name)
            given = MatchingProblem.trusted(problem.x, problem.y, None if solver.matrix_free else affinity)
            found, seconds = _timed(lambda s=solver, p=given: s.function(p, **s.options), CLOCKS[clock])  # type: ignore[misc]
            shared = 0.0 if solver.matrix_free else affinity_seconds
            rows.append(
                {
                    "solver": name,
                    "pair": number,
                    "solve_seconds": seconds,
                    "affinity_seconds": shared,
                    "seconds": seconds + shared,
                    "k": matching_value(problem, found.perm if isinstance(found, Solution) else found),
                }
            )
        tell(1)
    return rows


def _works(name: str, problem: MatchingProblem) -> bool:
    """Whether a solver solves the problem; compiling and importing are over afterwards."""
    try:
        get_solver(name).run(MatchingProblem.trusted(problem.x, problem.y))
    except Exception:
        return False
    return True


def _timed(call: Callable[[], Any], clock: Callable[[], int]) -> tuple[Any, float]:
    """What a call returns, and its seconds."""
    start = clock()
    result = call()
    probe = max(1, clock() - start)
    if probe >= _LONG_NS:
        return result, probe / 1e9
    loops = max(1, math.ceil(_SAMPLE_NS / probe))
    samples = []
    for _ in range(_SAMPLES):
        start = clock()
        for _ in range(loops):
            call()
        samples.append((clock() - start) / loops)
    return result, float(np.median(samples)) / 1e9
