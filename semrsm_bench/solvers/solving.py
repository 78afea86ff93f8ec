"""Solve one problem or many with a solver named by its registered name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """Match many problems, ``n_jobs`` at a time in threads.

    Threads help as far as a solver releases the GIL: scipy, lapjv and this package's own kernels do, ortools and lap do not.

    Returns
    -------
    list of ndarray, (S,), intp
        In the order of ``problems``.
    """
    from joblib import Parallel, delayed

    chosen = get_solver(solver)
    if n_jobs == 1:
        return [chosen.run(problem, **options).perm for problem in problems]
    solutions = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(chosen.run)(p, **options) for p in problems)
    return [solution.perm for solution in solutions]


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
