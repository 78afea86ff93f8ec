"""What a table says about a method besides its scores: from the run's own record, so that a plugin need not be there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# In the order of the tables; other categories follow as they come.
CATEGORIES = {
    "exact": "Optimal",
    "baseline": "Baseline",
    "statistic": "Statistic of each side alone",
    "approximate": "Approximation",
    "": "Methods",
    "wrong": "Not exact",
}
# Heading of the column of names.
NOUNS = {"solver": "Algorithm", "metric": "Metric", "rsm": "Method", "instance": "Score"}
_SHARED = "shared input"


@dataclass(frozen=True)
class MethodKey:
    """One line of a table: a method with the options it ran with."""

    name: str
    kind: str = "solver"
    category: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, name: str, kind: str, category: str, options: Mapping[str, Any]) -> MethodKey:
        """The line of a method with these options."""
        return cls(name, kind, category, tuple(sorted((str(k), _option_text(v)) for k, v in options.items())))

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> MethodKey:
        """The line that a row of a run belongs to."""
        return cls.of(str(row["method"]), str(row["kind"]), str(row["category"]), row["options"])

    @property
    def block_size(self) -> str:
        """The paper's column b: the option ``b`` of Batch-Optimal, ``k`` of TopK-Greedy; empty for others."""
        options = dict(self.options) if self.kind == "solver" else {}
        return options.get("b") or options.get("k") or ""

    @property
    def category_title(self) -> str:
        """Heading of its part of the table."""
        return CATEGORIES.get(self.category) or self.category.capitalize()


AFFINITY = MethodKey("affinity x @ y.T", "solver", _SHARED)
"""The line of what solvers share, and what is therefore timed apart."""


def _option_text(value: Any) -> str:
    """An option's value as text; the same for one that was read from JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


class Catalogue:
    """Names, complexities and order of the methods of a run, from its environment, or else from the registries."""

    def __init__(self, environment: Mapping[str, Any]) -> None:
        self._described: Mapping[str, Any] = environment.get("methods") or {}

    def about(self, method: MethodKey) -> Mapping[str, Any]:
        """``complexity``, ``options`` and what else is known of a method."""
        if method.category == _SHARED:
            return {"complexity": "O(S^2 C)"}
        if facts := self._described.get(f"{method.kind}:{method.name}"):
            return dict(facts)
        import semrsm_bench

        try:
            found = getattr(semrsm_bench, f"get_{method.kind}")(method.name)
        except (KeyError, AttributeError):
            return {}
        return {"complexity": found.complexity, "options": found.options, "facts": found.facts}

    def order(self, methods: Iterable[MethodKey]) -> list[MethodKey]:
        """The methods by category, exact ones first, others as they come; inside of one as registered, unknown ones last."""
        unique = list(dict.fromkeys(methods))
        categories = list(dict.fromkeys([*CATEGORIES, *(m.category for m in unique)]))
        known = [*self._described]
        if any(f"{m.kind}:{m.name}" not in self._described for m in unique):
            import semrsm_bench

            kinds = dict.fromkeys(m.kind for m in unique)
            known = [f"{k}:{n}" for k in kinds for n in getattr(semrsm_bench, f"{k}_names", list)()] + known
        rank = {key: i for i, key in enumerate(dict.fromkeys(known))}
        # Sorting is stable: those of one place stay as they come.
        return sorted(unique, key=lambda m: (categories.index(m.category), rank.get(f"{m.kind}:{m.name}", len(rank))))

    def complexity(self, method: MethodKey) -> str:
        """The cost in O-notation; "" where nothing is known."""
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
