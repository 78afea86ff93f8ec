"""Meets the cases of a task with metrics and instance scores, through the worker's own functions but without a worker."""

from __future__ import annotations

from typing import Any

from semrsm_bench.bench import observe
from semrsm_bench.bench.engine import wanted_inputs
from semrsm_bench.bench.plan import settled
from semrsm_bench.bench.worker import Memory
from semrsm_bench.core.task import Answer, Case, Result, Scored, Task
from semrsm_bench.metrics.instances import get_instance
from semrsm_bench.metrics.registry import get_metric


class Untimed:
    """Calls once more than a clock would have to."""

    timed = False

    def run(self, fresh: Any, call: Any, **_: Any) -> list[Any]:
        return [call(fresh(0)), call(fresh(1))]


def options(task: Task, profile: str = "quick", **given: Any) -> Any:
    """Options of a task, filled up by a profile."""
    return settled(task.options(**given), task.profiles[profile])


def answer(kind: str, name: str, inputs: Any, settings: Any = None) -> dict[str, Any]:
    """What the worker sends back."""
    command = {"kind": kind, "name": name, "settings": settings or {}, "inputs": {}}
    command["inputs"] = {key: str(id(value)) for key, value in inputs.items()}
    return observe.observe(command, inputs, Untimed(), Memory())


def scored(task: Task, case: Case, name: str) -> Scored:
    """A method's answer to a case, scored."""
    method = (get_metric if task.kind == "metric" else get_instance)(name).declare()
    arrays = case.inputs()
    found = answer(task.kind, name, wanted_inputs(arrays, method), case.settled())
    truth = task.truth(case, arrays, None)
    return task.score(case, arrays, Answer(found["arrays"], found["info"]), truth, method)


def result(case: Case, found: Scored) -> Result:
    """As it comes back from a row."""
    return Result(case.name, case.cell, case.units, found.scores, found.raw, found.arrays)
