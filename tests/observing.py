"""Meets the cases of a task with methods of its kind, through the worker's functions but without a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from semrsm_bench.bench import observe
from semrsm_bench.bench.engine import wanted_inputs
from semrsm_bench.bench.plan import settled
from semrsm_bench.bench.worker import ResultCache
from semrsm_bench.core.task import Answer, Case, Result, Scored, Task
from semrsm_bench.metrics.instances import get_instance
from semrsm_bench.metrics.registry import get_metric
from semrsm_bench.rsm.registry import get_rsm

METHODS = {"rsm": get_rsm, "metric": get_metric, "instance": get_instance}


class Untimed:
    """Calls twice at most, where a clock might have to call more often."""

    timed, peak_bytes = False, 0

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.shared_seconds: list[float] = []

    def run(self, fresh: Any, call: Any, *, most: int, **_: Any) -> list[Any]:
        return [call(fresh(i)) for i in range(min(2, most))]

    def shared(self, call: Any) -> Any:
        self.shared_seconds.append(0.0)
        return call()


def options(task: Task, profile: str = "quick", **given: Any) -> Any:
    """Options of a task, filled up by a profile."""
    return settled(task.options(**given), task.profiles[profile])


def answer(
    kind: str, name: str, inputs: Any, settings: Any = None, memory: ResultCache | None = None
) -> dict[str, Any]:
    """What the worker sends back."""
    command = {"kind": kind, "name": name, "settings": settings or {}, "inputs": {}}
    command["inputs"] = {key: str(id(value)) for key, value in inputs.items()}
    return observe.observe(command, inputs, Untimed(), memory or ResultCache())


def scored(task: Task, case: Case, name: str, memory: ResultCache | None = None) -> Scored:
    """A method's answer to a case, scored."""
    method = METHODS[task.kind](name).declare()
    arrays = case.inputs()
    found = answer(task.kind, name, wanted_inputs(arrays, method), case.settled(), memory)
    truth = task.truth(case, arrays, None)
    return task.score(case, arrays, Answer(found["arrays"], found.get("info", {})), truth, method)


def met(task: Task, methods: Sequence[str], chosen: Any) -> Iterator[tuple[str, Case, Scored]]:
    """Every method on every case that is not skipped; translation only where there is a grid. Kernels share a matching."""
    memory, alive = ResultCache(), []
    for case in task.cases(chosen):
        if not case.skip:
            # The memory knows arrays by their id.
            alive.append(case.inputs())
            for method in methods:
                if method != "translation" or case.settings["grid"]:
                    yield method, case, scored(task, case, method, memory)


def result(case: Case, found: Scored) -> Result:
    """As it comes back from a row."""
    return Result(case.name, case.cell, case.units, found.scores, found.raw, found.arrays)
