"""Solvers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from semrsm_bench.core.method import registering
from semrsm_bench.core.registry import Registry, UnknownNameError, load_plugin
from semrsm_bench.solvers.solver import (
    KINDS,
    PRECISION,
    BatchFunction,
    InvalidMatchingError,
    Kind,
    Solution,
    Solver,
    SolverFunction,
    SolverUnavailableError,
)

__all__ = [
    "KINDS",
    "SOLVERS",
    "InvalidMatchingError",
    "Kind",
    "Solution",
    "Solver",
    "SolverFunction",
    "SolverUnavailableError",
    "UnknownSolverError",
    "get_solver",
    "load_plugin",
    "register_solver",
    "solver_names",
]

UnknownSolverError = UnknownNameError

F = TypeVar("F", bound=SolverFunction)

SOLVERS: Registry[Solver] = Registry(
    "solver",
    "semrsm_bench.solvers",
    ("exact", "norm_order", "auction", "list_auction", "exact_auction", "matrix_free"),
)


def register_solver(
    name: str,
    *,
    kind: Kind,
    matrix_free: bool = False,
    batch: BatchFunction | None = None,
    releases_gil: bool = False,
    precision: float | None = None,
    stateful: bool = False,
    **declared: Any,
) -> Callable[[F], F]:
    """Register a function as a solver; use it as a decorator.

    Parameters
    ----------
    name : str
        Lower case letters, digits and ``. _ + -``, such as ``norm-sort``.
    kind : {"exact", "approximate", "baseline"}
    matrix_free : bool
        The function never makes ``problem.affinity``; where it has been made already, it may be read.
    batch : callable, optional
        Matches one image with many in one call, see `semrsm_bench.solvers.solver.BatchFunction`.
    releases_gil : bool
        The function (and ``batch``) may run in several threads at once and spend their time without Python's lock: whole
        RSMs are made in threads then.
    precision : float, optional
        What an exact solver promises: ``(k_opt - k) / (k_opt - k_rand)`` is at most this, apart from the rounding of an
        affinity of the problem's own dtype. Default 1e-6; more for one that rounds costs to integers or to float32. A row
        beyond it has the status ``wrong``.
    stateful : bool
        The function keeps something between calls that makes later ones faster, such as buffers or prices to start from; never
        what changes its answers. Tables and ``semrsm-bench list`` say so.
    **declared
        What a method of any kind may declare, and options that are bound to the name:

        grid : mapping of option to values
            One method is registered for each combination, as ``name-value``.
        complexity, reference : str
            Shown by ``semrsm-bench list``.
        requires : str or iterable of str
            Modules the function imports; where one is missing the method stays listed with the reason.
        unavailable : callable
            Returns a reason (or "") for cases that a module's name does not decide.
        files : str or iterable of str
            Files that decide what the method does, such as a shared library, relative to the file that registers it: a run
            that is resumed after one of them changed measures the method again.
        max_size : int
            Larger problems are skipped, with a row that says so.
        slow_from : int
            S from which a pair takes more than some ten seconds: quick runs leave the method out there.
        distribution : str
            Distribution whose version is recorded with every result; by default the one that the plugin came in.

    Raises
    ------
    ValueError
        The name is taken or malformed, the kind unknown, the grid empty, or the precision not in 0 to 1 or not of an exact
        solver. Nothing is registered then.
    TypeError
        The function does not take the problem first, or lacks an option that is bound.
    """
    if kind not in KINDS:
        raise ValueError(f"solver {name!r}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if precision is not None and (kind != "exact" or not 0 <= precision < 1):
        raise ValueError(
            f"solver {name!r}: precision is what an exact solver promises, at least 0 and below 1, got {precision!r} for "
            f"kind {kind!r}"
        )
    promised = PRECISION if kind == "exact" and precision is None else precision
    own: dict[str, Any] = {
        "kind": kind,
        "stateful": stateful,
        "precision": promised,
        "matrix_free": matrix_free,
    }
    return registering(SOLVERS, Solver, name, declared, **own, batch=batch, releases_gil=releases_gil)


def get_solver(name: str) -> Solver:
    """Solver of that name.

    Raises
    ------
    UnknownSolverError
        A KeyError; the message names the nearest ones.
    """
    return SOLVERS.get(name)


def solver_names(kind: Kind | None = None, *, available_only: bool = False) -> list[str]:
    """Names of all registered solvers: the built-in ones in the order of the tables, then plugins as they came.

    Parameters
    ----------
    kind : {"exact", "approximate", "baseline"}, optional
        Only these.
    available_only : bool
        Leave out those whose library is missing.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    chosen = [SOLVERS.get(name) for name in SOLVERS.names()]
    return [s.name for s in chosen if (kind is None or s.kind == kind) and (not available_only or s.available)]
