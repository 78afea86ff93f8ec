"""Classes that asv measures: a solver's time, quality and memory over S and centring.

A subclass gives ``params``, literals, since asv knows parameters by their place in the lists, and the problems of ``setup_cache``.
asv leaves out what has abstract parts, and so these classes themselves. Public names of the package and NumPy only: linked into
``benchmarks/``, the same file measures every commit.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .calls import (
    Problem,
    answer_of,
    inverse_quality,
    matching_of,
    observed,
    shifted,
    solved_in_kernels,
    solver_for,
)
from .clock import peak_bytes

_MIB = 1 << 20
Problems = dict[tuple[int, str], list[Problem]]


def _shown(unit: str, name: str) -> Callable[[Any], Any]:
    """The unit and the name under which asv shows what a function gives."""

    def mark(function: Any) -> Any:
        function.unit, function.pretty_name = unit, name
        return function

    return mark


class OverSizes(ABC):
    """One benchmark over solver, S and centring."""

    @property
    @abstractmethod
    def params(self) -> Sequence[list[Any]]:
        """Names of solvers, numbers of positions, centrings."""

    param_names = ("solver", "size", "centring")
    version = "1"
    timeout = 300.0

    @abstractmethod
    def setup_cache(self) -> Problems:
        """Problems with their optima by (S, centring), made once for each commit."""

    def setup(self, problems: Problems, solver: str, size: int, centring: str) -> None:
        """The problems of the cell; NotImplementedError where the solver is not to be measured."""
        solver_for(solver, size)
        self.problems = problems[size, centring]


class Runtime(OverSizes):
    """Time for one pair of images. asv's own ``time_`` gives every call the same bytes; these calls each get another shift."""

    version = "2"

    def times(self, solver: str) -> list[tuple[float, float]]:
        """Median (solve, affinity) of each pair, in seconds."""
        found = [observed(solver, problem) for problem in self.problems]
        return [(statistics.median(o.seconds), statistics.median(o.affinity_seconds)) for o in found]

    @_shown("seconds", "Solve, the affinity being there (seconds, lower is better)")
    def track_solve_seconds(self, problems: Problems, solver: str, size: int, centring: str) -> float:
        """Seconds of a solve, median over the pairs."""
        return float(statistics.median(solve for solve, _ in self.times(solver)))

    @_shown("seconds", "Affinity and solve (seconds, lower is better)")
    def track_end_to_end_seconds(self, problems: Problems, solver: str, size: int, centring: str) -> float:
        """Seconds of affinity and solve, median over the pairs."""
        return float(statistics.median(map(sum, self.times(solver))))

    @_shown("reference kernels", "Solve in units of a fixed kernel (lower is better; gated)")
    def track_rel_time(self, problems: Problems, solver: str, size: int, centring: str) -> float:
        """Time of the first pair in units of a fixed kernel."""
        return solved_in_kernels(solver, self.problems[0])


class Quality(OverSizes):
    """How near the optimum, over all pairs of the cell. asv takes every rise for a regression: gate inverse quality only."""

    def scores(self, solver: str, size: int, centring: str) -> list[tuple[float, float]]:
        """(k / k_opt, c) of every pair; one solve serves all benchmarks of this class, by a file in asv's cache folder."""
        path = Path(f"scores-{solver}-{size}-{centring}.json")
        if path.is_file():
            return [(ratio, c) for ratio, c in json.loads(path.read_text())]
        found = [problem.score(matching_of(solver, problem)) for problem in self.problems]
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(found))
        partial.replace(path)
        return found

    @_shown("k/k_opt", "Quality k/k_opt (HIGHER is better; means nothing where k_opt <= 0)")
    def track_quality(self, problems: Problems, solver: str, size: int, centring: str) -> float:
        """Mean k / k_opt; NaN where an optimum is not positive."""
        ratios = [ratio for ratio, _ in self.scores(solver, size, centring)]
        return math.nan if any(map(math.isnan, ratios)) else float(sum(ratios) / len(ratios))

    @_shown("c", "Chance-corrected quality c (HIGHER is better: 0 random, 1 optimal)")
    def track_chance_corrected(self, problems: Problems, solver: str, size: int, centring: str) -> float:
        """Mean c."""
        return _mean_c(self.scores(solver, size, centring))

    @_shown("%", "Gap 1 - c in percent (lower is better)")
    def track_gap_percent(self, problems: Problems, solver: str, size: int, centring: str) -> float:
        """Mean 1 - c in percent."""
        return 100.0 * (1.0 - _mean_c(self.scores(solver, size, centring)))

    @_shown("%", "Gap of the worst pair in percent (lower is better)")
    def track_worst_gap_percent(self, problems: Problems, solver: str, size: int, centring: str) -> float:
        """1 - c of the worst pair in percent."""
        return 100.0 * (1.0 - min(c for _, c in self.scores(solver, size, centring)))

    @_shown("1/c", "Inverse quality 1/c (lower is better; gated)")
    def track_inverse_quality(self, problems: Problems, solver: str, size: int, centring: str) -> float:
        """1 / c of the mean c."""
        return float(inverse_quality(_mean_c(self.scores(solver, size, centring))))


class Memory(OverSizes):
    """What a solve takes beyond its inputs and the affinity."""

    @_shown("bytes", "Peak memory of the solve, at least 1 MiB (bytes, lower is better)")
    def track_peak_extra(self, problems: Problems, solver: str, size: int, centring: str) -> float:
        """Bytes of the first pair, at least 1 MiB."""
        registered, problem = solver_for(solver, size), self.problems[0]
        matching_of(solver, problem)  # compiles and imports
        given, _ = shifted(problem, 0, registered.matrix_free)
        peak = peak_bytes(lambda: answer_of(registered, given))
        if peak is None:
            raise NotImplementedError("this kernel does not report a process's peak memory")
        return float(max(peak, _MIB))


def _mean_c(scores: Sequence[tuple[float, float]]) -> float:
    return float(sum(c for _, c in scores) / len(scores))
