"""Solvers by name: register, look up, load plugins, solve."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import inspect
import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation, check_permutation

Kind = Literal["exact", "approximate", "baseline"]
KINDS: tuple[Kind, ...] = ("exact", "approximate", "baseline")
ENTRY_POINT_GROUP = "semrsm_bench.solvers"


class SolverUnavailableError(RuntimeError):
    """The solver is registered, but a library it needs is not installed."""


class InvalidMatchingError(RuntimeError):
    """A solver returned something that is not a permutation."""


@dataclass(frozen=True)
class Solution:
    """What a solver may return instead of a bare permutation.

    Attributes
    ----------
    perm : ndarray, (S,)
    duals : (ndarray, ndarray), optional
        Row and column potentials (S,) each, feasible up to rounding: ``u_i + v_j >= A_ij``.
    info : mapping
        Facts worth a line in the results, such as ``{"fallback": "scipy"}``.
    """

    perm: Permutation
    duals: tuple[Floats, Floats] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


SolverFunction = Callable[..., ArrayLike | Solution]


@dataclass(frozen=True)
class Solver:
    """A registered solver: a function with bound options and what one must know to use it.

    Attributes
    ----------
    name : str
    kind : {"exact", "approximate", "baseline"}
    function : callable
        ``function(problem, **options)`` returns a permutation or a `Solution`.
    options : mapping
        Options bound to this name (``{"b": 128}``); a call may override them and give any other option of the function.
    matrix_free : bool
        Never touches ``problem.affinity``.
    complexity, reference : str
        In O-notation, and where the algorithm is described.
    max_size : int or None
        Largest S it is meant for.
    requires : tuple of str
        Modules that must be importable.
    version : str
        Version of the library that does the work, or of this package.
    """

    name: str
    kind: Kind
    function: SolverFunction
    options: Mapping[str, Any] = field(default_factory=dict)
    matrix_free: bool = False
    complexity: str = ""
    reference: str = ""
    max_size: int | None = None
    requires: tuple[str, ...] = ()
    unavailable: Callable[[], str] | None = None
    distribution: str = "semrsm-bench"

    @property
    def reason(self) -> str:
        """Why the solver cannot be used here; empty when it can."""
        for module in self.requires:
            if importlib.util.find_spec(module) is None:
                return f"needs the module {module!r}, which is not installed"
        return self.unavailable() if self.unavailable else ""

    @property
    def available(self) -> bool:
        """Whether everything it needs is installed."""
        return not self.reason

    @property
    def version(self) -> str:
        """Version of the distribution that does the work; "unknown" for a bare file."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return "unknown"

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n")[0]

    def run(self, problem: MatchingProblem, **options: Any) -> Solution:
        """Solve and validate: the result always holds a valid permutation.

        Raises
        ------
        SolverUnavailableError
            A library is missing.
        InvalidMatchingError
            The function returned something else than a permutation.
        TypeError
            An option the function does not have.
        """
        if reason := self.reason:
            raise SolverUnavailableError(f"solver {self.name!r} is not available: {reason}")
        merged = {**self.options, **options}
        self.check_options(merged)
        result = self.function(problem, **merged)
        solution = result if isinstance(result, Solution) else Solution(np.asarray(result))
        try:
            perm = check_permutation(solution.perm, problem.size)
        except ValueError as error:
            raise InvalidMatchingError(f"solver {self.name!r}: {error}") from None
        return Solution(perm, solution.duals, dict(solution.info))

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise TypeError for an option that the function does not take, naming those it does."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return
        known = [p.name for p in parameters]
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known) or 'none'}"
                raise TypeError(f"solver {self.name!r} has no option {name!r}; {hint}")


_SOLVERS: dict[str, Solver] = {}
_LOADED = {"builtin": False, "entry points": False}


def register_solver(
    name: str,
    *,
    kind: Kind,
    grid: Mapping[str, Sequence[Any]] | None = None,
    matrix_free: bool = False,
    complexity: str = "",
    reference: str = "",
    max_size: int | None = None,
    requires: Iterable[str] = (),
    unavailable: Callable[[], str] | None = None,
    distribution: str = "semrsm-bench",
    **options: Any,
) -> Callable[[SolverFunction], SolverFunction]:
    """Register a function as a solver; use it as a decorator.

    Parameters
    ----------
    name : str
        Lower case, words joined by hyphens.
    kind : {"exact", "approximate", "baseline"}
    grid : mapping of option to values, optional
        One solver is registered for each combination, as ``name-value``.
    matrix_free : bool
        The function never touches ``problem.affinity``.
    complexity, reference : str
        Shown by ``semrsm-bench solvers``.
    max_size : int, optional
        Larger problems are skipped by the runner, with a row that says so.
    requires : iterable of str
        Modules the function imports; where one is missing the solver stays listed with the reason.
    unavailable : callable, optional
        Returns a reason (or "") for cases that a module's name does not decide.
    distribution : str
        Distribution whose version is recorded with every result.
    **options
        Further options bound to the name.

    Raises
    ------
    ValueError
        The name is taken (by another function) or malformed, the kind unknown, or the grid empty.
    """
    if kind not in KINDS:
        raise ValueError(f"solver {name!r}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if not name or name != name.strip().lower() or " " in name:
        raise ValueError(f"a solver's name is lower case, its words joined by hyphens, got {name!r}")

    def register(function: SolverFunction) -> SolverFunction:
        grids = grid or {}
        if any(not values for values in grids.values()):
            raise ValueError(f"solver {name!r}: an empty grid registers nothing")
        for values in itertools.product(*grids.values()):
            full = "-".join([name, *(str(v) for v in values)])
            solver = Solver(
                name=full,
                kind=kind,
                function=function,
                options=MappingProxyType({**options, **dict(zip(grids, values))}),
                matrix_free=matrix_free,
                complexity=complexity,
                reference=reference,
                max_size=max_size,
                requires=tuple(requires),
                unavailable=unavailable,
                distribution=distribution,
            )
            solver.check_options(solver.options)
            _add(solver)
        return function

    return register


def _add(solver: Solver) -> None:
    _load_builtin()
    taken = _SOLVERS.get(solver.name)
    if taken is not None:
        raise ValueError(
            f"a solver named {solver.name!r} is registered already, by {taken.function.__module__}.{taken.function.__qualname__}; "
            "choose another name"
        )
    _SOLVERS[solver.name] = solver


def _load_builtin() -> None:
    if not _LOADED["builtin"]:
        _LOADED["builtin"] = True
        from semrsm_bench.solvers.builtin import MODULES

        for module in MODULES:
            importlib.import_module(f"semrsm_bench.solvers.{module}")


def _load_entry_points() -> None:
    if _LOADED["entry points"]:
        return
    _LOADED["entry points"] = True
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            point.load()
        except Exception as error:
            owner = point.dist.name if point.dist else "unknown distribution"
            warnings.warn(
                f"the solver plugin {point.name!r} of {owner} is broken and was left out: {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )


def load_plugin(path: str | Path) -> list[str]:
    """Import a Python file that registers solvers; returns the names it added. The same file loads once.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        It fails to import, or registers nothing.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"plugin {path}: no such file")
    module_name = f"semrsm_bench_plugin_{file.stem}_{abs(hash(str(file))):x}"
    if module_name in sys.modules:
        return [n for n, s in _SOLVERS.items() if s.function.__module__ == module_name]
    before = set(solver_names())
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"plugin {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        for name in set(_SOLVERS) - before:
            del _SOLVERS[name]
        raise ValueError(f"plugin {path} failed to import: {type(error).__name__}: {error}") from error
    added = [name for name in _SOLVERS if name not in before]
    if not added:
        raise ValueError(
            f"plugin {path} registers no solver; decorate a function with @semrsm_bench.register_solver(...)"
        )
    return added


def solver_names(kind: Kind | None = None, *, available_only: bool = False) -> list[str]:
    """Names of all registered solvers, in the order of registration."""
    _load_builtin()
    _load_entry_points()
    return [
        name
        for name, solver in _SOLVERS.items()
        if (kind is None or solver.kind == kind) and (not available_only or solver.available)
    ]


def get_solver(name: str) -> Solver:
    """The solver of that name.

    Raises
    ------
    KeyError
        Unknown; the message names the nearest ones.
    """
    names = solver_names()
    if name not in _SOLVERS:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are {', '.join(names)}"
        raise UnknownSolverError(f"unknown solver {name!r}; {hint}")
    return _SOLVERS[name]


class UnknownSolverError(KeyError, ValueError):
    """No solver of that name; a KeyError whose text prints without quotes."""

    def __str__(self) -> str:
        return str(self.args[0])


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
    """Match many problems, ``n_jobs`` at a time in threads (the solvers of this package release the GIL).

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
