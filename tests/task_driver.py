"""Meets the cases of a task with RSM methods, without workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from semrsm_bench.bench.plan import settled
from semrsm_bench.core.task import Answer, Case, Result, Scored, Task
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.rsm.registry import get_rsm

# Names of methods in the studies that these tasks were, as `reference.studies` has them.
STUDY_NAMES = {
    "identity": "spatio-semantic",
    "translation": "translation",
    "exact-auction": "semantic (exact-auction)",
    "pooled": "mean over positions",
}


def options(task: Task, profile: str = "quick", **given: Any) -> Any:
    """Options of a task, filled up by a profile."""
    return settled(task.options(**given), task.profiles[profile])


def answer(case: Case, arrays: Any, method: str) -> Answer:
    """The RSM of a method."""
    s = case.settled()
    rsm = compute_rsm(
        arrays["z"], arrays.get("z2"), kernel=s["kernel"], matching=method, centring=s["centring"], grid=s["grid"],
        **({"sigma": s["sigma"]} if "sigma" in s else {}),
    )  # fmt: skip
    return Answer({"rsm": rsm})


def met(task: Task, methods: Sequence[str], chosen: Any) -> Iterator[tuple[str, Case, Scored]]:
    """Every method on every case that is not skipped; translation only where there is a grid."""
    for case in task.cases(chosen):
        if not case.skip:
            arrays = case.inputs()
            truth = task.truth(case, arrays, None)
            for method in methods:
                if method != "translation" or case.settings["grid"]:
                    given = answer(case, arrays, method)
                    yield method, case, task.score(case, arrays, given, truth, get_rsm(method).declare())


def result(case: Case, scored: Scored) -> Result:
    """As it comes back from a row."""
    return Result(case.name, case.cell, case.units, scored.scores, scored.raw, scored.arrays)
