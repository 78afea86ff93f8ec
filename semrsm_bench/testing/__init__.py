"""For benchmarks in repositories of others: what their files for asv and pytest-benchmark need.

`Runtime`, `Quality` and `Memory` are classes that asv measures; a subclass gives ``params``. `measure` is for the fixture of
pytest-benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from semrsm_bench.bench.gate.measure import load_problems as problems_of_gate
from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.testing import cells
from semrsm_bench.testing.calls import Problem, matching_of, measure, observed, proved_optimum, solver_for

__all__ = [
    "Memory",
    "Problem",
    "Quality",
    "Runtime",
    "load_problems",
    "matching_of",
    "measure",
    "observed",
    "solver_for",
]


def load_problems(
    sizes: Sequence[int], centrings: Sequence[str] = ("none",), *, data: str | Path | None = None
) -> dict[tuple[int, str], list[Problem]]:
    """The problems that the gate measures, with proved optima.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of positions S; the shipped activations have 64, 256, 1024 and 4096.
    centrings : sequence of {"none", "channel", "position"}
        Which means are subtracted.
    data : path, optional
        Activations; default: where a run looks for them.

    Returns
    -------
    dict
        Problems by (S, centring): six pairs of images up to S = 256, four at 1024, two at 4096.

    Raises
    ------
    ValueError
        The data has no layer of that size.
    """
    place = None if data is None else Path(data)
    options = GateOptions(sizes=tuple(sizes), centrings=tuple(centrings), data=place)  # type: ignore[arg-type]
    found: dict[tuple[int, str], list[Problem]] = {(size, centring): [] for size in sizes for centring in centrings}
    for made in problems_of_gate(options, lambda problem: SimpleNamespace(k_opt=proved_optimum(problem))):
        x, y = made.arrays["x"], made.arrays["y"]
        found[made.cell].append(Problem(made.pair, x, y, made.truth[2].k_opt))
    return found


class _OfData(cells.OverSizes):
    def setup_cache(self) -> cells.Problems:
        """The problems of `load_problems` at the sizes and centrings of ``params``."""
        return load_problems(self.params[1], self.params[2])


class Runtime(_OfData, cells.Runtime):
    """Seconds of a solve, with the affinity and without, and its time in units of a fixed kernel."""


class Quality(_OfData, cells.Quality):
    """How near the optimum a solver comes."""


class Memory(_OfData, cells.Memory):
    """Peak memory of a solve beyond its inputs."""
