"""What a table says about a solver besides its figures: from the run's own record, so that a plugin need not be there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from semrsm_bench.report.cells import CATEGORIES, SolverKey, option_text


class Catalogue:
    """Names, complexities and order of the solvers of a run.

    Parameters
    ----------
    environment : mapping
        From `semrsm_bench.bench.results.load_environment`; solvers it does not describe are looked up in the registry.
    """

    def __init__(self, environment: Mapping[str, Any]) -> None:
        described = environment.get("solvers")
        self._facts: dict[str, Mapping[str, Any]] = dict(described) if isinstance(described, Mapping) else {}
        self._rank = {name: i for i, name in enumerate(self._facts)}

    def _about(self, name: str) -> Mapping[str, Any]:
        if name not in self._facts:
            from semrsm_bench.solvers import get_solver

            try:
                solver = get_solver(name)
                self._facts[name] = {"complexity": solver.complexity, "options": dict(solver.options)}
            except KeyError:
                self._facts[name] = {}
        return self._facts[name]

    def order(self, keys: Iterable[SolverKey]) -> list[SolverKey]:
        """Exact ones first, then baselines, then approximations; inside a kind as registered, unknown ones last."""
        kinds = list(CATEGORIES)
        unique = list(dict.fromkeys(keys))
        appearance = {solver: i for i, solver in enumerate(unique)}
        rank = self._rank
        if any(solver.name not in rank for solver in unique):
            from semrsm_bench.solvers import solver_names

            registered = solver_names()
            rank = {name: i for i, name in enumerate([*registered, *(n for n in rank if n not in registered)])}

        def place(solver: SolverKey) -> tuple[int, int, int]:
            kind = kinds.index(solver.kind) if solver.kind in kinds else len(kinds)
            return kind, rank.get(solver.name, len(rank)), appearance[solver]

        return sorted(unique, key=place)

    def complexity(self, solver: SolverKey) -> str:
        """In O-notation; "" where nothing is known."""
        return str(self._about(solver.name).get("complexity") or "")

    def display_name(self, solver: SolverKey) -> str:
        """The registered name, followed by the options that differ from those bound to it."""
        bound = {
            name: option_text(value) for name, value in dict(self._about(solver.name).get("options") or {}).items()
        }
        extra = [
            f"{name}={value}"
            for name, value in solver.options
            if bound.get(name) != value and not (name in ("b", "k") and solver.name.endswith(f"-{value}"))
        ]
        return f"{solver.name} ({', '.join(extra)})" if extra else solver.name
