"""Solve one problem or many with a solver named by its registered name."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from semrsm_bench.solvers.problem import MatchingProblem, Permutation
from semrsm_bench.solvers.registry import get_solver


def solve(problem: MatchingProblem, solver: str, **options: Any) -> Permutation:
    """Match the positions of a problem with a registered solver.

    Parameters
    ----------
    problem : MatchingProblem
    solver : str
        A name from `solver_names`.
    **options
        Options of the solver, such as ``block_solver="scipy"``.

    Returns
    -------
    ndarray, (S,), intp
        Row i of x is matched with row ``perm[i]`` of y; always a valid permutation.
    """
    return get_solver(solver).run(problem, **options).perm


def solve_many(problems: Iterable[MatchingProblem], solver: str, n_jobs: int = 1, **options: Any) -> list[Permutation]:
    """Match many problems, ``n_jobs`` at a time in threads (-1: as many as there are cores).

    Threads help as far as a solver releases the GIL: scipy, lapjv and this package's own kernels do, ortools and lap do not.

    Returns
    -------
    list of ndarray, (S,), intp
        In the order of ``problems``.
    """
    from joblib import effective_n_jobs

    chosen = get_solver(solver)
    threads = effective_n_jobs(n_jobs)
    if threads == 1:
        return [chosen.run(problem, **options).perm for problem in problems]
    # Threads draw from one iterator: nothing is scheduled, and of a generator's problems only those at work are held.
    waiting, turn, failed = enumerate(problems), threading.Lock(), threading.Event()
    perms: dict[int, Permutation] = {}

    def work() -> None:
        try:
            while not failed.is_set():
                with turn:
                    position, problem = next(waiting, (-1, None))
                if problem is None:
                    return
                perms[position] = chosen.run(problem, **options).perm
        except BaseException:
            failed.set()  # the others need not go on for a call that raises
            raise

    with ThreadPoolExecutor(threads) as pool:
        for worker in [pool.submit(work) for _ in range(threads)]:
            worker.result()
    return [perms[i] for i in range(len(perms))]


def warm_up(solver: str, dtype: DTypeLike = np.float32, sizes: Sequence[int] = (8, 70), **options: Any) -> None:
    """Run a solver on tiny problems, so that compiling and importing are over before anything is timed.

    Parameters
    ----------
    solver : str
    dtype : float32 or float64
        Of the problems that will follow: compiled kernels exist once per type.
    sizes : sequence of int
        S of each. A solver that goes other ways with large problems wants large ones here.
    **options
        Those of the calls that will follow.
    """
    chosen = get_solver(solver)
    rng = np.random.default_rng(0)
    for size in sizes:
        x, y = rng.standard_normal((2, size, 4)).astype(dtype)
        problem = MatchingProblem(x, y)
        chosen.run(problem, **options)
        # Some solvers take another path once the affinity is there.
        _ = problem.affinity
        chosen.run(problem, **options)
