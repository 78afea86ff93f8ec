"""The problems that commits are compared on: cases of the task matching, with certified optima."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Arrays, Case, Scored, Solve
from semrsm_bench.tasks.matching import MatchingOptions, MatchingTask

# Large problems vary less from pair to pair and cost more.
PAIRS: Mapping[str, int] = {"256": 6, "1024": 4, "4096": 2, "": 1}


class GateProblem(NamedTuple):
    """One pair of images at one size: the case, its arrays x and y (S, C), and what `MatchingTask.score` needs beside an answer."""

    case: Case
    arrays: Arrays
    truth: Any

    @property
    def cell(self) -> tuple[int, str]:
        """S, and which means were subtracted."""
        return self.case.size, str(self.case.cell["centring"])

    @property
    def pair(self) -> str:
        """Of images: ``3-7``."""
        return self.case.units["pair"][0]

    @property
    def k_opt(self) -> float | None:
        """None where no exact solver could prove its matching."""
        k_opt: float | None = self.truth[2].k_opt
        return k_opt

    def score(self, perms: Any) -> Scored:
        """Permutations (calls, S) of the pair, scored by this package and never by a commit's."""
        return MatchingTask().score(
            self.case, self.arrays, Answer({"perms": perms}), self.truth, Declaration("solver", "")
        )


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
    task = MatchingTask()
    pairs = {"": options.pairs} if options.pairs else PAIRS
    cases = list(task.cases(MatchingOptions(data=options.data, centring=options.centrings, pairs=pairs)))
    layer_of: dict[int, tuple[Any, Any]] = {}
    for case in cases:
        layer_of.setdefault(case.size, (case.cell["model"], case.cell["layer"]))
    for size in options.sizes:
        if size not in layer_of:
            there = ", ".join(map(str, layer_of)) or "none"
            raise ValueError(f"the data has no layer with S = {size}; it has {there}")
    made = []
    for case in cases:
        if case.size in (options.sizes or layer_of) and (case.cell["model"], case.cell["layer"]) == layer_of[case.size]:
            arrays = case.inputs()
            made.append(GateProblem(case, arrays, task.truth(case, arrays, solve)))
    return made
