"""What a run measures: cells, each one method on the cases that share a place in the table."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from semrsm_bench.bench.environment import package_folder
from semrsm_bench.bench.methods import choose_methods
from semrsm_bench.core.method import Declaration, sources
from semrsm_bench.core.options import check, command_words, describe, option
from semrsm_bench.core.registry import unknown_name
from semrsm_bench.core.row import cell_key, plain
from semrsm_bench.core.task import Case, Profile, Task

TOO_SLOW = "too slow for quick"
PROFILES = ("quick", "paper", "large")


@dataclass(frozen=True)
class RunOptions:
    """What a user may choose about a run, beside the options of its tasks; None means what the profile says."""

    profile: str = option("quick", help="How much is measured.", choices=PROFILES)
    methods: tuple[str, ...] | None = option(
        None, help="Only these; default: all that the task names.", aliases=("solvers",)
    )
    repeats: int = option(1, help="Observations of each case.", minimum=1)
    seeds: int = option(1, help="Seeds 0, 1, ... that methods which draw numbers are measured with.", minimum=1)
    deadline: float | None = option(
        None,
        help="Seconds for a call, a minute more for a method's first; default: the profile's.",
        positive=True,
    )
    memory: int = option(4 << 30, help="Memory for one call, beyond its inputs.", positive=True, unit="bytes")
    budget: float | None = option(
        None, help="Seconds for one cell (a method at one place of the table); default: the profile's.", positive=True
    )
    plugins: tuple[Path, ...] = option((), help="File with methods, or with tasks; repeatable.", name="plugin")
    commands: Mapping[str, str] = option(
        {},
        help='A program as a solver, such as "mine=./solver {problem} {answer}"; repeatable.',
        name="command",
        metavar="NAME=COMMAND",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.methods is not None and (not self.methods or len(set(self.methods)) != len(self.methods)):
            raise ValueError(f"methods must name at least one and none twice, got {', '.join(self.methods) or 'none'}")


@dataclass(frozen=True, eq=False)
class Cell:
    """One method at one place of a task's table: on the cases that share it, in the order in which they are measured.

    ``code`` is the digest of what decides its rows: the method's code, the task's, the clock's. ``skip`` says why it is not
    measured at all.
    """

    task: Task
    method: Declaration
    profile: Profile
    place: Mapping[str, Any]
    cases: tuple[Case, ...]
    code: str
    skip: str = ""
    repeats: int = 1  # observations of a case, of each seed
    seeds: int = 1  # with more than one the method is given each of them, repeats of one seed together

    @property
    def observations(self) -> int:
        """How often a case is observed."""
        return self.repeats * self.seeds

    @cached_property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the other cells of a plan."""
        return self.task.name, self.method.name, cell_key(self.place)

    @property
    def size(self) -> int:
        """S of its cases."""
        return self.cases[0].size

    @property
    def extent(self) -> tuple[int, int]:
        """S and C of its cases, 0 where they have none."""
        return self.size, self.cases[0].channels

    def identity(self, case: Case | None, repeat: int) -> dict[str, Any]:
        """The fields of a row that its key is made of; a row without a case speaks for the cell."""
        return {
            "task": self.task.name,
            "method": self.method.name,
            "options": dict(self.method.options),
            "code": self.code,
            "case": case.name if case else "",
            "data_sha256": (case or self.cases[0]).data_sha256,
            "repeat": repeat,
        }


@dataclass(frozen=True)
class Plan:
    """The cells of a run, task by task, and the options and the profile of each task."""

    options: RunOptions
    tasks: Mapping[str, tuple[Any, Profile]]
    cells: tuple[Cell, ...]

    def describe(self) -> dict[str, Any]:
        """What must agree for a run to be resumed, JSON-ready."""
        tasks = {
            name: {
                "options": plain(dataclasses.asdict(options), bounded=False),
                "methods": list(self.codes[name]),
                "deadline": profile.deadline,
                "budget": profile.budget,
            }
            for name, (options, profile) in self.tasks.items()
        }
        run = self.options
        # Runs from before there were seeds are resumed.
        seeds = {"seeds": run.seeds} if run.seeds > 1 else {}
        return {"profile": run.profile, "tasks": tasks, "repeats": run.repeats, "memory": run.memory, **seeds}

    @property
    def commands(self) -> list[str]:
        """What measures each of the tasks again, elsewhere too."""
        found = []
        for task, (options, _) in self.tasks.items():
            run = dataclasses.replace(self.options, methods=tuple(self.codes[task]), profile=RunOptions.profile)
            words = ["semrsm-bench", "run", task, "--profile", self.options.profile]
            found.append(shlex.join([*words, *command_words(run), *command_words(options)]))
        return found

    @property
    def codes(self) -> dict[str, dict[str, str]]:
        """Digest of the code behind the rows of each method, by task."""
        found: dict[str, dict[str, str]] = {name: {} for name in self.tasks}
        for cell in self.cells:
            found[cell.task.name][cell.method.name] = cell.code
        return found


def make_plan(
    options: RunOptions,
    tasks: Sequence[Task],
    task_options: Mapping[str, Any],
    declared: Sequence[Declaration],
    leave_out: Callable[[str], None] | None = None,
) -> Plan:
    """Work out all cells of a run from all methods that are known; where options of a task are missing its defaults hold.

    With ``leave_out`` tasks that cannot be measured, for want of a library, data, the profile or methods, are none of the plan, and
    it is called with a line that says why.
    """
    chosen: dict[str, tuple[Any, Profile]] = {}
    cells: list[Cell] = []
    problems: list[Exception] = []
    # A solver that is named alone is measured as a solver, though it is an RSM method too.
    solvers = {method.name for method in declared if method.kind == "solver"}
    as_solvers = options.methods and solvers.issuperset(options.methods) and any(t.kind == "solver" for t in tasks)
    for task in tasks:
        base = task.profiles.get(options.profile)
        if base is None:
            lacking = f"task {task.name!r} has no profile {options.profile!r}; it has {', '.join(task.profiles)}"
            if leave_out is None:
                raise ValueError(lacking)
            leave_out(lacking)
            continue
        profile = dataclasses.replace(
            base, deadline=options.deadline or base.deadline, budget=options.budget or base.budget
        )
        filled = settled(task_options.get(task.name) or task.options(), profile)
        methods, measured_by = choose_methods(task, options.methods, declared), task_digest(task)
        # Of several tasks those that judge none of the methods that are named have nothing to do.
        if not methods and (leave_out is not None or len(tasks) > 1):
            continue
        if leave_out is not None and task.kind != "solver" and as_solvers:
            continue
        places: dict[str, list[Case]] = {}
        try:
            for case in task.cases(filled):
                places.setdefault(cell_key(case.cell), []).append(case)
        except (ImportError, FileNotFoundError, ValueError) as error:
            if leave_out is None:
                raise
            leave_out(f"task {task.name!r} is left out: {error}")
            problems.append(error)
            continue
        chosen[task.name] = (filled, profile)
        for cases in places.values():
            kept = tuple(case for case in cases if not case.skip) or tuple(cases)
            for method in methods:
                code = hashlib.sha256(f"{method.code} {measured_by}".encode()).hexdigest()[:16]
                skip = _reason_to_skip(method, kept[0], options.memory, profile)
                # Whose seed is bound to the name, or has no default, is no matter of draws.
                seeds = options.seeds if "seed" in method.defaults and "seed" not in method.options else 1
                cells.append(Cell(task, method, profile, cases[0].cell, kept, code, skip, options.repeats, seeds))
    kinds = sorted({task.kind for task in tasks})
    known = dict.fromkeys([*(m.name for m in declared if m.kind in kinds), *(cell.method.name for cell in cells)])
    for name in options.methods or ():
        if name not in known:
            raise unknown_name(name, kinds, list(known))
    if not cells:
        for problem in problems:
            raise problem
        why = [line for task in tasks if task.name in chosen for line in task.notices(chosen[task.name][0])]
        raise ValueError("; ".join(["there is nothing to measure: no task has a case for these options", *why]))
    return Plan(options, chosen, tuple(cells))


def settled(options: Any, profile: Profile) -> Any:
    """A task's options with what the profile says in place of None."""
    fields = {info.field for info in describe(type(options))}
    given = {k: v for k, v in profile.settings.items() if k in fields and getattr(options, k) is None}
    return dataclasses.replace(options, **given)


def task_digest(task: Task) -> str:
    """Digest of all code that makes, observes and scores a task's cases: what tasks may use, and the files of its plugin."""
    package = package_folder()
    paths = {package / "bench" / name for name in ("worker.py", "observe.py", "optimum.py")}
    for room in ("core", "activations", "solvers", "metrics", "rsm", "tasks"):
        paths |= set((package / room).rglob("*.py"))
    digest = hashlib.sha256()
    for path in sorted(paths | sources(sys.modules.get(task.module))):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _reason_to_skip(method: Declaration, case: Case, memory: int, profile: Profile) -> str:
    size, settings, facts = case.size, case.settings, method.facts
    if method.reason:
        return f"not available: {method.reason}"
    if case.skip:
        return case.skip
    lacks = settings.get("lacks", ())  # names of inputs, or a mapping of these to what is said of them
    if missing := [name for name in facts.get("inputs") or () if name in lacks]:
        if isinstance(lacks, Mapping):
            return "; ".join(dict.fromkeys(lacks[name] for name in missing))
        return f"it takes {' and '.join(missing)}, of which there are none here"
    if facts.get("needs_grid") and None in (settings.get(name, ()) for name in ("grid", "grid_x", "grid_y")):
        return "it shifts a grid, and these positions are on none"
    if method.max_size is not None and size > method.max_size:
        return f"meant for S up to {method.max_size}"
    if method.kind == "solver" and not facts.get("matrix_free") and 4 * size * size > memory:
        return f"its affinity alone takes {4 * size * size / 2**30:.1f} GiB, beyond the memory limit"
    if profile.patience is not None and method.slow_from is not None and size >= method.slow_from:
        return TOO_SLOW
    return ""
