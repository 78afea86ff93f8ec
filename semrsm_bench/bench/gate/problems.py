"""The problems that commits are compared on: cases of the task matching, with certified optima."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.core.task import Arrays, Case, Solve
from semrsm_bench.tasks.matching import Matching, MatchingOptions

# Large problems vary less from pair to pair and cost more.
PAIRS: Mapping[str, int] = {"256": 6, "1024": 4, "4096": 2, "": 1}


@dataclass(frozen=True)
class GateProblem:
    """One pair of images at one size.

    Attributes
    ----------
    case : Case
    arrays : mapping of str to ndarray
        x and y, (S, C), float32.
    truth : object
        What `Matching.score` holds matchings against.
    """

    case: Case
    arrays: Arrays
    truth: Any

    @property
    def size(self) -> int:
        """S."""
        return self.case.size

    @property
    def centring(self) -> str:
        """Which means were subtracted."""
        return str(self.case.cell["centring"])

    @property
    def pair(self) -> str:
        """Of images: ``3-7``."""
        return self.case.units["pair"][0]

    @property
    def k_opt(self) -> float | None:
        """None where no exact solver could prove its matching."""
        k_opt: float | None = self.truth[2].k_opt
        return k_opt


def load_problems(options: GateOptions, solve: Solve) -> list[GateProblem]:
    """Problems by ascending size, then centring, then pair; of several layers of one size the first is taken.

    Parameters
    ----------
    options : GateOptions
    solve : callable
        See `semrsm_bench.core.task.Solve`.

    Raises
    ------
    ValueError
        A size that the data does not have.
    """
    task = Matching()
    pairs = {"": options.pairs} if options.pairs else PAIRS
    cases = list(task.cases(MatchingOptions(data=options.data, centring=options.centrings, pairs=pairs)))
    first: dict[int, tuple[Any, Any]] = {}
    for case in cases:
        first.setdefault(case.size, (case.cell["model"], case.cell["layer"]))
    for size in options.sizes:
        if size not in first:
            raise ValueError(f"the data has no layer with S = {size}; it has {', '.join(map(str, first)) or 'none'}")
    made = []
    for case in cases:
        chosen = case.size in (options.sizes or first)
        if chosen and (case.cell["model"], case.cell["layer"]) == first[case.size]:
            arrays = case.inputs()
            made.append(GateProblem(case, arrays, task.truth(case, arrays, solve)))
    return made
