"""Solvers by name: register, look up, load plugins."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib.metadata
import importlib.util
import itertools
import re
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from semrsm_bench.solvers.builtin import MODULES
from semrsm_bench.solvers.solver import (
    KINDS,
    OWN_DISTRIBUTION,
    BatchFunction,
    InvalidMatchingError,
    Kind,
    Solution,
    Solver,
    SolverFunction,
    SolverUnavailableError,
)

__all__ = [
    "ENTRY_POINT_GROUP",
    "KINDS",
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

ENTRY_POINT_GROUP = "semrsm_bench.solvers"
_OWN_ROOM = "semrsm_bench.solvers."
# Names become parts of file names, of comma-separated lists and of table cells.
_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")

_SOLVERS: dict[str, Solver] = {}
_LOADED = {"builtin": False, "entry points": False}
# Names that each plugin file added, by the name its module has in sys.modules.
_PLUGINS: dict[str, list[str]] = {}
# Loading registers, and registering loads: one thread may enter again.
_LOCK = threading.RLock()


class UnknownSolverError(KeyError, ValueError):
    """No solver of that name; a KeyError whose text prints without quotes."""

    def __str__(self) -> str:
        return str(self.args[0])


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
    batch: BatchFunction | None = None,
    releases_gil: bool = False,
    distribution: str = "",
    **options: Any,
) -> Callable[[SolverFunction], SolverFunction]:
    """Register a function as a solver; use it as a decorator.

    Parameters
    ----------
    name : str
        Lower case letters, digits and ``. _ + -``, such as ``norm-sort``.
    kind : {"exact", "approximate", "baseline"}
    grid : mapping of option to values, optional
        One solver is registered for each combination, as ``name-value``.
    matrix_free : bool
        The function never makes ``problem.affinity``.
    complexity, reference : str
        Shown by ``semrsm-bench solvers``.
    max_size : int, optional
        Larger problems are skipped by the runner, with a row that says so.
    requires : iterable of str
        Modules the function imports; where one is missing the solver stays listed with the reason.
    unavailable : callable, optional
        Returns a reason (or "") for cases that a module's name does not decide.
    batch : callable, optional
        Matches one image with many in one call, see `semrsm_bench.solvers.solver.BatchFunction`.
    releases_gil : bool
        The function (and ``batch``) may run in several threads at once and spend their time without Python's lock.
    distribution : str
        Distribution whose version is recorded with every result; by default the one that the plugin came in.
    **options
        Further options bound to the name.

    Raises
    ------
    ValueError
        The name is taken or malformed, the kind unknown, or the grid empty. Nothing is registered then.
    TypeError
        The function does not take the problem first, or lacks an option that is bound.
    """
    if kind not in KINDS:
        raise ValueError(f"solver {name!r}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if isinstance(requires, str):
        requires = (requires,)
    needed = tuple(requires)

    def register(function: SolverFunction) -> SolverFunction:
        grids = grid or {}
        if any(not len(values) for values in grids.values()):
            raise ValueError(f"solver {name!r}: an empty grid registers nothing")
        own = _module_of(function).startswith(_OWN_ROOM)
        made = [
            Solver(
                name="-".join([name, *(str(v).lower() for v in values)]),
                kind=kind,
                function=function,
                options=MappingProxyType({**options, **dict(zip(grids, values))}),
                matrix_free=matrix_free,
                complexity=complexity,
                reference=reference,
                max_size=max_size,
                requires=needed,
                unavailable=unavailable,
                batch=batch,
                releases_gil=releases_gil,
                distribution=distribution or (OWN_DISTRIBUTION if own else ""),
            )
            for values in itertools.product(*grids.values())
        ]
        if own:
            # While the built-in ones load, which holds the lock, another thread may be importing one of their modules.
            _add(made)
        else:
            with _LOCK:
                _load_builtin()
                _add(made)
        return function

    return register


def _add(solvers: Sequence[Solver]) -> None:
    fresh: dict[str, Solver] = {}
    for solver in solvers:
        if not _NAME.fullmatch(solver.name):
            raise ValueError(
                f"a solver's name is lower case letters, digits and . _ + -, its words joined by hyphens, got {solver.name!r}"
            )
        solver.check_options(solver.options)
        taken = _SOLVERS.get(solver.name) or fresh.get(solver.name)
        if taken is not None:
            raise ValueError(
                f"a solver named {solver.name!r} is registered already, by {_module_of(taken.function)}."
                f"{getattr(taken.function, '__qualname__', repr(taken.function))}; choose another name"
            )
        fresh[solver.name] = solver
    _SOLVERS.update(fresh)


def _module_of(function: SolverFunction) -> str:
    return getattr(function, "__module__", None) or ""


def _load_builtin() -> None:
    with _LOCK:
        if _LOADED["builtin"]:
            return
        _LOADED["builtin"] = True
        try:
            for module in MODULES:
                importlib.import_module(_OWN_ROOM + module)
        except BaseException:
            _LOADED["builtin"] = False
            raise


def _load_entry_points() -> None:
    with _LOCK:
        if _LOADED["entry points"]:
            return
        _LOADED["entry points"] = True
        for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
            owner = point.dist.name if point.dist else ""
            before = set(_SOLVERS)
            try:
                point.load()
            except (Exception, SystemExit) as error:
                _forget_all_but(before)
                warnings.warn(
                    f"the solver plugin {point.name!r} of {owner or 'an unknown distribution'} is broken and was left out: "
                    f"{type(error).__name__}: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
            else:
                _name_origin(set(_SOLVERS) - before, distribution=owner)


def load_plugin(path: str | Path) -> list[str]:
    """Import a Python file that registers solvers; returns the names it added. The same file loads once.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        It fails to import, or registers nothing; nothing it registered before failing stays.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"plugin {path}: no such file")
    module_name = f"semrsm_bench_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    with _LOCK:
        if module_name in _PLUGINS:
            return list(_PLUGINS[module_name])
        solver_names()
        before = set(_SOLVERS)
        spec = importlib.util.spec_from_file_location(module_name, file)
        if spec is None or spec.loader is None:
            raise ValueError(f"plugin {path}: not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
            added = [name for name in _SOLVERS if name not in before]
            if not added:
                raise ValueError("it registers no solver; decorate a function with @semrsm_bench.register_solver(...)")
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            _forget_all_but(before)
            raise ValueError(f"plugin {path} failed to load: {type(error).__name__}: {error}") from error
        _name_origin(added, digest=hashlib.sha256(file.read_bytes()).hexdigest()[:12])
        _PLUGINS[module_name] = added
        return list(added)


def _forget_all_but(names: Collection[str]) -> None:
    for name in [n for n in _SOLVERS if n not in names]:
        del _SOLVERS[name]


def _name_origin(names: Iterable[str], *, distribution: str = "", digest: str = "") -> None:
    for name in names:
        if not _SOLVERS[name].distribution:
            _SOLVERS[name] = dataclasses.replace(_SOLVERS[name], distribution=distribution, digest=digest)


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
    _load_builtin()
    _load_entry_points()
    # A module may have been imported by itself before the rest: the tables' order holds all the same.
    rank = {_OWN_ROOM + module: i for i, module in enumerate(MODULES)}
    return [
        solver.name
        for solver in sorted(_SOLVERS.copy().values(), key=lambda s: rank.get(_module_of(s.function), len(rank)))
        if (kind is None or solver.kind == kind) and (not available_only or solver.available)
    ]


def get_solver(name: str) -> Solver:
    """Solver of that name.

    Raises
    ------
    UnknownSolverError
        A KeyError; the message names the nearest ones.
    """
    found = _SOLVERS.get(name)
    if found is None:
        names = solver_names()
        found = _SOLVERS.get(name)
    if found is None:
        near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are {', '.join(names)}"
        raise UnknownSolverError(f"unknown solver {name!r}; {hint}")
    return found
