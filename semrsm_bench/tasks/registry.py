"""Tasks by name."""

from __future__ import annotations

from typing import TypeVar

from semrsm_bench.core.registry import Registry
from semrsm_bench.core.task import Task

TASKS: Registry[Task] = Registry(
    "task", "semrsm_bench.tasks", ("matching", "translation", "retrieval", "outputs", "layers", "instances")
)

T = TypeVar("T", bound=type[Task])


def register_task(task: T) -> T:
    """Register a task; use it as a decorator on a subclass of `Task`.

    Raises
    ------
    ValueError
        The name is taken or malformed.
    TypeError
        The class leaves a method of `Task` undefined, or lacks ``name``, ``question``, ``kind``, ``scores`` or ``options``.
    """
    missing = [name for name in ("name", "question", "kind", "scores", "options") if not hasattr(task, name)]
    if missing:
        raise TypeError(f"{task.__name__} has no {', '.join(missing)}; see semrsm_bench.core.task.Task")
    TASKS.add([task()])
    return task


def get_task(name: str) -> Task:
    """Task of that name; a KeyError that names the nearest ones where there is none."""
    return TASKS.get(name)


def task_names(kind: str | None = None) -> list[str]:
    """Names of all registered tasks, or of those that judge methods of one kind."""
    return [name for name in TASKS.names() if kind is None or TASKS.get(name).kind == kind]
