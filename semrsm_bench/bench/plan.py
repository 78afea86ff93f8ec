"""What a run measures: cells, each one method on the cases that share a place in the table."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semrsm_bench.bench.environment import code_digest, package_folder
from semrsm_bench.bench.methods import choose_methods
from semrsm_bench.core.method import Declaration, sources
from semrsm_bench.core.options import check, describe, option
from semrsm_bench.core.registry import unknown_name
from semrsm_bench.core.row import cell_key, plain
from semrsm_bench.core.task import Case, Profile, Task

TOO_SLOW = "too slow for quick"
PROFILES = ("quick", "paper", "large")
DEFAULT_TASKS = ("matching",)


@dataclass(frozen=True)
class RunOptions:
    """What a user may choose about a run, beside the options of its tasks; None means what the profile says."""

    profile: str = option("quick", help="How much is measured.", choices=PROFILES)
    methods: tuple[str, ...] | None = option(
        None, help="Only these; default: all that the task names.", aliases=("solvers",)
    )
    repeats: int = option(1, help="Observations of each case.", minimum=1)
    deadline: float | None = option(None, help="Seconds for one call; default: the profile's.", positive=True)
    memory: int = option(4 << 30, help="For one call, beyond its inputs.", positive=True, unit="bytes")
    budget: float | None = option(
        None, help="Seconds for one cell (a method at one place of the table); default: the profile's.", positive=True
    )
    plugins: tuple[Path, ...] = option((), help="File with methods, or with tasks; repeatable.", name="plugin")

    def __post_init__(self) -> None:
        check(self)
        if self.methods is not None and (not self.methods or len(set(self.methods)) != len(self.methods)):
            raise ValueError(f"methods must name at least one and none twice, got {', '.join(self.methods) or 'none'}")


@dataclass(frozen=True)
class Cell:
    """One method at one place of a task's table.

    Attributes
    ----------
    task : Task
    method : Declaration
    place : mapping
        What its cases share.
    cases : tuple of Case
        In the order in which they are measured.
    code : str
        Digest of what decides its rows: the method's code, the task's, the clock's.
    skip : str
        Why it is not measured at all; "" when it is.
    """

    task: Task
    method: Declaration
    place: Mapping[str, Any]
    cases: tuple[Case, ...]
    code: str
    skip: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the other cells of a plan."""
        return self.task.name, self.method.name, cell_key(self.place)

    @property
    def size(self) -> int:
        """S of its cases."""
        return self.cases[0].size if self.cases else int(self.place.get("size", 0) or 0)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self.key == other.key


@dataclass(frozen=True)
class Plan:
    """The cells of a run and the limits that hold in each.

    Attributes
    ----------
    options : RunOptions
    tasks : mapping of Task to (task options, Profile)
    cells : tuple of Cell
        Task by task, in the order of its cases; methods within.
    """

    options: RunOptions
    tasks: Mapping[str, tuple[Task, Any, Profile]]
    cells: tuple[Cell, ...] = field(repr=False)

    def profile(self, cell: Cell) -> Profile:
        """Limits of a cell."""
        return self.tasks[cell.task.name][2]

    def describe(self) -> dict[str, Any]:
        """What must agree for a run to be resumed, JSON-ready."""
        return {
            "profile": self.options.profile,
            "tasks": {
                name: {
                    "options": plain(dataclasses.asdict(options), bounded=False),
                    "methods": list(dict.fromkeys(c.method.name for c in self.cells if c.task.name == name)),
                    "deadline": profile.deadline,
                    "budget": profile.budget,
                }
                for name, (_, options, profile) in self.tasks.items()
            },
            "repeats": self.options.repeats,
            "memory": self.options.memory,
        }

    @property
    def codes(self) -> dict[str, dict[str, str]]:
        """Digest of the code behind the rows of each method, by task."""
        found: dict[str, dict[str, str]] = {name: {} for name in self.tasks}
        for cell in self.cells:
            found[cell.task.name][cell.method.name] = cell.code
        return found

    @property
    def data(self) -> list[tuple[str, str]]:
        """Name and SHA-256 of everything that cases come from."""
        found = {c.data_sha256: str(cell.place.get("model", "")) for cell in self.cells for c in cell.cases[:1]}
        return [(name, sha256) for sha256, name in found.items() if sha256]


def make_plan(
    options: RunOptions, tasks: Sequence[Task], task_options: Mapping[str, Any], declared: Sequence[Declaration]
) -> Plan:
    """Work out all cells of a run.

    Parameters
    ----------
    options : RunOptions
    tasks : sequence of Task
    task_options : mapping of str to dataclass
        By name of the task; where one is missing its defaults hold.
    declared : sequence of Declaration
        Every method known.

    Raises
    ------
    ValueError
        An unknown method, a profile that a task does not have, options that fit no data, or nothing to measure.
    """
    chosen: dict[str, tuple[Task, Any, Profile]] = {}
    cells: list[Cell] = []
    for task in tasks:
        base = task.profiles.get(options.profile)
        if base is None:
            raise ValueError(
                f"task {task.name!r} has no profile {options.profile!r}; it has {', '.join(task.profiles)}"
            )
        profile = dataclasses.replace(
            base, deadline=options.deadline or base.deadline, budget=options.budget or base.budget
        )
        own = settled(task_options.get(task.name) or task.options(), profile)
        methods = choose_methods(task, options.methods, declared)
        chosen[task.name] = (task, own, profile)
        cells += _cells(task, own, profile, methods, options)
    kinds = sorted({task.kind for task in tasks})
    known = dict.fromkeys([*(m.name for m in declared if m.kind in kinds), *(cell.method.name for cell in cells)])
    for name in options.methods or ():
        if name not in known:
            raise unknown_name(name, kinds, list(known))
    if not cells:
        raise ValueError("there is nothing to measure: no task has a case for these options")
    return Plan(options, chosen, tuple(cells))


def settled(options: Any, profile: Profile) -> Any:
    """A task's options with what the profile says in place of None."""
    fields = {info.field for info in describe(type(options))}
    given = {k: v for k, v in profile.settings.items() if k in fields and getattr(options, k) is None}
    return dataclasses.replace(options, **given) if given else options


def _cells(task: Task, own: Any, profile: Profile, methods: Sequence[Declaration], options: RunOptions) -> list[Cell]:
    groups: dict[str, list[Case]] = {}
    for case in task.cases(own):
        groups.setdefault(cell_key(case.cell), []).append(case)
    measured_by = task_digest(task)
    return [
        Cell(
            task,
            method,
            cases[0].cell,
            tuple(case for case in cases if not case.skip) or tuple(cases),
            hashlib.sha256(f"{method.code} {measured_by}".encode()).hexdigest()[:16],
            _reason_to_skip(method, next((case for case in cases if not case.skip), cases[0]), options, profile),
        )
        for cases in groups.values()
        for method in methods
    ]


def task_digest(task: Task) -> str:
    """Digest of all code that makes a task's cases, observes and scores them: what tasks may use, and a plugin's own files."""
    package = package_folder()
    paths = {package / "bench" / name for name in ("worker.py", "observe.py", "optimum.py")}
    for room in ("core", "activations", "solvers", "metrics", "rsm", "tasks"):
        paths |= set((package / room).rglob("*.py"))
    return code_digest(paths | sources(sys.modules.get(task.module)))


def _reason_to_skip(method: Declaration, case: Case, options: RunOptions, profile: Profile) -> str:
    size = case.size
    if method.reason:
        return f"not available: {method.reason}"
    if case.skip:
        return case.skip
    if missing := [name for name in method.facts.get("inputs") or () if name in case.settings.get("lacks", ())]:
        return f"it takes {' and '.join(missing)}, of which there are none here"
    if method.facts.get("needs_grid") and None in (
        case.settings.get(name, ()) for name in ("grid", "grid_x", "grid_y")
    ):
        return "it shifts a grid, and these positions lie on none"
    if method.max_size is not None and size > method.max_size:
        return f"meant for S up to {method.max_size}"
    if method.kind == "solver" and not method.facts.get("matrix_free") and 4 * size * size > options.memory:
        return f"its affinity alone takes {4 * size * size / 2**30:.1f} GiB, beyond the memory limit"
    if profile.patience is not None and method.slow_from is not None and size >= method.slow_from:
        return TOO_SLOW
    return ""
