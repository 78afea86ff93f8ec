"""What a table says about a method besides its figures: from the run's own record, so that a plugin need not be there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from semrsm_bench.bench.summary import Summary

# In the order of the tables; other categories follow as they come.
CATEGORIES = {"exact": "Optimal", "baseline": "Baseline", "approximate": "Approximation", "": "Methods"}
# Name and complexity of what the methods of a kind share and what is therefore timed apart.
SHARED = {"solver": ("affinity x @ y.T", "O(S^2 C)")}
# Heading of the column of names.
NOUNS = {"solver": "Algorithm", "metric": "Metric", "rsm": "Method", "instance": "Score"}


@dataclass(frozen=True)
class MethodKey:
    """One line of a table: a method with the options it ran with."""

    name: str
    kind: str = "solver"
    category: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, summary: Summary) -> MethodKey:
        """The line that a summary stands in."""
        options = tuple(sorted((str(name), _option_text(value)) for name, value in summary.options.items()))
        return cls(summary.method, summary.kind, summary.category, options)

    @property
    def block_size(self) -> str:
        """The paper's column b: the option ``b`` of Batch-Optimal, ``k`` of TopK-Greedy; empty for others."""
        if self.kind != "solver":
            return ""
        return next((value for name in ("b", "k") for key, value in self.options if key == name), "")

    @property
    def category_title(self) -> str:
        """Heading of its part of the table."""
        return CATEGORIES.get(self.category) or self.category.capitalize()


def shared_name(kind: str) -> str:
    """Name of what the methods of a kind share."""
    return SHARED.get(kind, ("shared by methods", ""))[0]


def _option_text(value: Any) -> str:
    """An option's value as text, the same before and after a journey through JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


class Catalogue:
    """Names, complexities and order of the methods of a run.

    Parameters
    ----------
    environment : mapping
        From `semrsm_bench.bench.results.load_environment`, of any schema; methods it does not describe are looked up in the
        registries.
    """

    def __init__(self, environment: Mapping[str, Any]) -> None:
        described = environment.get("methods") or {
            f"solver:{name}": facts for name, facts in (environment.get("solvers") or {}).items()
        }
        self._facts: dict[str, Mapping[str, Any]] = dict(described) if isinstance(described, Mapping) else {}
        self._rank = {name: i for i, name in enumerate(self._facts)}

    def about(self, method: MethodKey) -> Mapping[str, Any]:
        """``complexity``, ``options``, ``reference``, ``summary`` and what else is known of a method."""
        key = f"{method.kind}:{method.name}"
        if key not in self._facts:
            import semrsm_bench

            try:
                found = getattr(semrsm_bench, f"get_{method.kind}")(method.name)
                self._facts[key] = {"complexity": found.complexity, "options": dict(found.options)}
            except (KeyError, AttributeError):
                self._facts[key] = {}
        return self._facts[key]

    def order(self, methods: Iterable[MethodKey]) -> list[MethodKey]:
        """By category, exact ones first, others as they come; inside of one as registered, unknown ones last."""
        unique = list(dict.fromkeys(methods))
        categories = list(dict.fromkeys([*CATEGORIES, *(m.category for m in unique)]))
        appearance = {method: i for i, method in enumerate(unique)}
        rank = self._rank
        if any(f"{m.kind}:{m.name}" not in rank for m in unique):
            registered = [key for kind in dict.fromkeys(m.kind for m in unique) for key in _registered(kind)]
            rank = {key: i for i, key in enumerate(dict.fromkeys([*registered, *rank]))}

        def place(method: MethodKey) -> tuple[int, int, int]:
            known = rank.get(f"{method.kind}:{method.name}", len(rank))
            return categories.index(method.category), known, appearance[method]

        return sorted(unique, key=place)

    def complexity(self, method: MethodKey) -> str:
        """In O-notation; "" where nothing is known."""
        return str(self.about(method).get("complexity") or "")

    def display_name(self, method: MethodKey) -> str:
        """The registered name, followed by the options that differ from those bound to it."""
        bound = {name: _option_text(value) for name, value in dict(self.about(method).get("options") or {}).items()}
        extra = [
            f"{name}={value}"
            for name, value in method.options
            if bound.get(name) != value and not (name in ("b", "k") and method.name.endswith(f"-{value}"))
        ]
        return f"{method.name} ({', '.join(extra)})" if extra else method.name


def _registered(kind: str) -> list[str]:
    import semrsm_bench

    names = getattr(semrsm_bench, f"{kind}_names", list)
    return [f"{kind}:{name}" for name in names()]
