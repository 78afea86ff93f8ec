"""Tasks by name."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from semrsm_bench.core.registry import Registry
from semrsm_bench.core.task import Task

TASKS: Registry[Task] = Registry(
    "task",
    "semrsm_bench.tasks",
    (
        "matching",
        "translation",
        "retrieval",
        "outputs",
        "shifts",
        "rsm_cost",
        "layers",
        "exchange",
        "noise",
        "function",
        "predictions",
        "designed",
        "monotonicity",
        "null",
        "samples",
        "cost",
        "instances",
    ),
)

T = TypeVar("T", bound=type[Task])


def register_task(task: T) -> T:
    """Register a task; use it as a decorator on a subclass of `Task`.

    ValueError where the name is taken or malformed; TypeError where the class lacks a method of `Task`, or one of ``name``,
    ``question``, ``kind``, ``scores`` and ``options``, or where a field of its options is no option.
    """
    missing = [name for name in ("name", "question", "kind", "scores", "options") if not hasattr(task, name)]
    if missing:
        raise TypeError(f"{task.__name__} has no {', '.join(missing)}; see semrsm_bench.core.task.Task")
    options = task.options
    if not (isinstance(options, type) and dataclasses.is_dataclass(options)):
        raise TypeError(f"{task.__name__}.options is a dataclass (the class, not an instance), got {options!r}")
    for field in dataclasses.fields(options):
        if field.init and "help" not in field.metadata:
            hint = getattr(field.type, "__name__", field.type)
            default = "..." if field.default is dataclasses.MISSING else repr(field.default)
            raise TypeError(
                f"{options.__name__}.{field.name} is no option, so no user could choose it; write `{field.name}: {hint} = "
                f"option({default}, help=...)` with `option` of semrsm_bench.core.options"
            )
    TASKS.add([task()])
    return task


def get_task(name: str) -> Task:
    """Task of that name; a KeyError that names the nearest ones where there is none."""
    return TASKS.get(name)


def default_tasks() -> list[str]:
    """Names of the tasks that a run measures where the user names none."""
    return [name for name in TASKS.names() if TASKS.get(name).by_default]


def task_names(kind: str | None = None) -> list[str]:
    """Names of all registered tasks, or of those that judge methods of one kind."""
    return [name for name in TASKS.names() if kind is None or TASKS.get(name).kind == kind]
