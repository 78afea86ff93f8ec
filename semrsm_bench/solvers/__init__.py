"""Pair of images in, permutation out: the problem, the registry, and every built-in solver."""

from semrsm_bench.solvers.problem import (
    MatchingProblem,
    chance_corrected,
    check_permutation,
    matching_value,
    quality,
    random_value,
)
from semrsm_bench.solvers.registry import (
    InvalidMatchingError,
    Solution,
    Solver,
    SolverUnavailableError,
    UnknownSolverError,
    get_solver,
    register_solver,
    solve,
    solve_many,
    solver_names,
    warm_up,
)

__all__ = [
    "InvalidMatchingError",
    "MatchingProblem",
    "Solution",
    "Solver",
    "SolverUnavailableError",
    "UnknownSolverError",
    "chance_corrected",
    "check_permutation",
    "get_solver",
    "matching_value",
    "quality",
    "random_value",
    "register_solver",
    "solve",
    "solve_many",
    "solver_names",
    "warm_up",
]
