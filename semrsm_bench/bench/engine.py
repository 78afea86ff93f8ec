"""The engine: every cell of a plan observed in workers, scored here, written down row by row. It knows no task and no method."""

from __future__ import annotations

import hashlib
import itertools
import re
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from semrsm_bench.bench.cores import claimed_core
from semrsm_bench.bench.environment import describe_environment
from semrsm_bench.bench.ledger import Ledger, identity
from semrsm_bench.bench.optimum import Optimum, OptimumCache
from semrsm_bench.bench.plan import Cell, Plan, RunOptions, make_plan
from semrsm_bench.bench.process import Limits, Outcome, Scratch, Setup, Worker, describe
from semrsm_bench.bench.results import ARRAYS_FOLDER, load_rows, read_rows
from semrsm_bench.bench.runs import open_run
from semrsm_bench.bench.writer import RunWriter
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.registry import (
    PLUGIN_MODULE,
    brings_tasks,
    entry_points,
    entry_points_limited_to,
    leave_out_if_broken,
    plugin_entries,
)
from semrsm_bench.core.row import FAULTS, Row, plain, resume_key
from semrsm_bench.core.task import Answer, Case, Scored, Task
from semrsm_bench.progress import progress_bar
from semrsm_bench.solvers import MatchingProblem
from semrsm_bench.tasks.registry import get_task

# Cases of a cell measured in a row, before the next method's turn: short enough that a drift of the machine hits all alike.
_CHUNK = 5
_KEPT_TRUTHS = 12
_WORKER_BYTES = 400 << 20
_OPTIMUM_LIMITS = Limits(deadline=900.0, memory=16 << 30, warm_up=120.0)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Finished:
    """What a session left behind.

    Attributes
    ----------
    folder : Path
    measured, resumed : int
        Rows written now, and rows that were there before.
    counts : dict of status to rows
    complete : bool
        Nothing of the plan is left.
    """

    folder: Path
    measured: int
    resumed: int
    counts: dict[str, int]
    complete: bool

    @property
    def exit_code(self) -> int:
        """0 fine, 3 a method failed, 4 nothing was measured."""
        if any(self.counts.get(status) for status in FAULTS):
            return 3
        return 0 if self.counts.get("ok") else 4


def sort_plugins(plugins: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Files that bring methods, and names of the tasks that the others bring; those are imported here.

    A file of tasks runs where answers are scored and is trusted; a file of methods is imported in workers alone.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, a file of tasks that does not load, or one that brings methods too.
    """
    methods, tasks = [], []
    for path in plugins:
        if not path.is_file():
            raise FileNotFoundError(f"plugin {path}: no such file")
        if brings_tasks(path):
            tasks += [name for _, name in plugin_entries(path)]
        else:
            methods.append(path)
    return methods, tasks


def declarations(plugins: Sequence[Path] = (), kinds: Sequence[str] | None = None) -> list[Declaration]:
    """Declarations of all methods, or of some kinds, read in workers: one for the package, and one for each plugin."""
    return [*_declared_by(None, kinds), *brought(plugins, kinds)]


def brought(plugins: Sequence[Path] = (), kinds: Sequence[str] | None = None) -> list[Declaration]:
    """Declarations of the methods that files and installed distributions bring; of these a broken one is left out.

    Raises
    ------
    FileNotFoundError, ValueError
        A file that does not load, or two that bring a method of the same name.
    """
    found: dict[tuple[str, str], Declaration] = {}
    for path in dict.fromkeys(plugins):
        for declared in _declared_by(str(path.resolve()), kinds):
            if found.setdefault((declared.kind, declared.name), declared) is not declared:
                raise ValueError(f"two plugins bring a {declared.kind} named {declared.name!r}; rename one")
    for point in entry_points():
        with leave_out_if_broken(point):
            new = [] if brings_tasks(point) else _declared_by(point, kinds)
            for declared in new:
                other = found.get((declared.kind, declared.name), declared)
                if other.code != declared.code:  # the same where one module imports the other
                    raise ValueError(f"another plugin brings a {declared.kind} named {declared.name!r}")
            found |= {(declared.kind, declared.name): declared for declared in new}
    return list(found.values())


def _declared_by(plugin: str | None, kinds: Sequence[str] | None) -> list[Declaration]:
    """What a worker says that a plugin brings; None: the package."""
    known = set(Declaration.__dataclass_fields__)
    told = [{k: v for k, v in e.items() if k in known} for e in describe([plugin] if plugin else [], kinds)]
    return [declared for declared in map(Declaration.from_dict, told) if plugin is None or declared.plugins]


@entry_points_limited_to("tasks")
def run(
    options: RunOptions,
    results: Path,
    *,
    tasks: Sequence[str] = (),
    task_options: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    fresh: bool = False,
    quiet: bool = False,
    first_cases_only: bool = False,
    optima: OptimumCache | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[Finished, Ledger]:
    """Measure what the options ask for, or what is left of it.

    Parameters
    ----------
    options : RunOptions
    results : Path
        Folder of all runs.
    tasks : sequence of str
        Default: those that plugins bring, or else "matching".
    task_options : mapping of str to dataclass, optional
        By name of the task.
    run_id, fresh
        As in `semrsm_bench.bench.runs.open_run`.
    quiet : bool
        No progress bar.
    first_cases_only : bool
        Stop after one case of every cell, which is what an estimate is made of.
    optima : OptimumCache, optional
        Where k_opt is kept; default: the user's cache folder.
    report : callable
        Called with one line when the folder is known.

    Returns
    -------
    Finished, Ledger
    """
    method_files, brought = sort_plugins(options.plugins)
    chosen = [get_task(name) for name in dict.fromkeys(tasks or brought or ("matching",))]
    kinds = {kind for task in chosen for kind in (("metric", "rsm") if task.kind == "metric" else (task.kind,))}
    declared = declarations(method_files, sorted(kinds))
    for path in method_files:
        if all(str(path.resolve()) not in method.plugins for method in declared):
            raise ValueError(
                f"plugin {path} brings no {' or '.join(sorted(kinds))} for {', '.join(task.name for task in chosen)}; "
                "name a task that judges what it brings"
            )
    plan = make_plan(options, chosen, task_options or {}, declared)
    methods = {(c.method.kind, c.method.name): c.method for c in plan.cells}
    environment = describe_environment(plan.data, options.plugins, methods.values())
    opened = open_run(results, plan.describe(), environment, run_id=run_id, fresh=fresh)
    with opened.writer as writer:
        opened.note_codes(plan.codes)
        ledger = Ledger(plan)
        old = read_rows(opened.folder)
        for row in old:
            ledger.observe(row)
        report(f"{'resuming' if opened.resumed else 'new'} run {opened.folder} ({len(old)} rows are there)")
        kept = int(psutil.virtual_memory().available // _WORKER_BYTES)
        with claimed_core() as core, Scratch() as scratch, Workers(core, kept) as workers:
            engine = _Engine(plan, ledger, writer, Observer(workers.of, scratch), optima or OptimumCache())
            engine.measure_all(quiet, first_cases_only)
        complete = not first_cases_only
        if complete:
            opened.finish()
    counts = Counter(row["status"] for row in load_rows(opened.folder))
    return Finished(opened.folder, len(read_rows(opened.folder)) - len(old), len(old), dict(counts), complete), ledger


class Workers:
    """One worker for each method, at most ``kept`` processes alive; use it as a context manager."""

    def __init__(self, core: int | None = None, kept: int = 32) -> None:
        self._core, self._kept = core, max(1, kept)
        self._workers: OrderedDict[tuple[str, str], Worker] = OrderedDict()

    def of(self, method: Declaration) -> Worker:
        """The worker of a method; only the files that bring it are imported there."""
        key = (method.kind, method.name)
        if key not in self._workers:
            # A file may change while the run lasts; what a composite is made of is not looked at again.
            expected = (*key, method.code) if method.plugins and "[" not in method.name else None
            self._workers[key] = Worker(Setup(plugins=method.plugins, core=self._core, expected=expected))
        worker = self._workers[key]
        self._workers.move_to_end(key)
        alive = [w for w in self._workers.values() if w.pid is not None and w is not worker]
        for old in alive[: max(0, len(alive) + 1 - self._kept)]:
            old.close()
        return worker

    def close(self) -> None:
        """Kill all workers."""
        for worker in self._workers.values():
            worker.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Observer:
    """Has methods observed: arrays go to files, commands to workers, answers come back.

    Parameters
    ----------
    worker_of : callable
        The worker of a method, such as `Workers.of`.
    scratch : Scratch
    """

    def __init__(self, worker_of: Callable[[Declaration], Worker], scratch: Scratch) -> None:
        self.worker_of, self.scratch = worker_of, scratch

    def __call__(
        self,
        method: Declaration,
        arrays: Arrays,
        limits: Limits,
        *,
        settings: Mapping[str, Any] | None = None,
        observer: str = "",
        timed: bool = True,
        seed: int = 0,
    ) -> Outcome:
        """One observation."""
        command = {
            "kind": method.kind,
            "name": method.name,
            "inputs": self.scratch.write(arrays),
            "settings": dict(settings or {}),
            "observer": observer,
            "timed": timed,
            "seed": seed,
            "out": str(self.scratch.answer()),
        }
        return self.worker_of(method).observe(command, limits, sum(a.nbytes for a in arrays.values()))

    def exact(self, name: str, x: NDArray[Any], y: NDArray[Any]) -> Outcome:
        """An exact solver on two images, once and untimed; see `semrsm_bench.bench.optimum.Exact`."""
        return self(Declaration("solver", name), {"x": x, "y": y}, _OPTIMUM_LIMITS, timed=False)


class _Engine:
    """One session."""

    def __init__(self, plan: Plan, ledger: Ledger, writer: RunWriter, observe: Observer, optima: OptimumCache) -> None:
        self.plan, self.ledger, self.writer, self.observe, self.optima = plan, ledger, writer, observe, optima
        self._truths: OrderedDict[tuple[str, str, str], tuple[Arrays, Any]] = OrderedDict()

    def measure_all(self, quiet: bool, first_cases_only: bool) -> None:
        """Go through the plan in rounds: one case of every cell, then a few cases of every cell at a time."""
        begun = time.monotonic()
        shown = begun - 1.0
        with progress_bar(1, "measuring", unit="s", quiet=quiet) as bar:
            # Counted in seconds of work, measured and expected, because cells differ by a factor of 10,000.
            bar.smoothing = 0
            bar.bar_format = "{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}{postfix}"
            for cell, case, repeat in self._steps(first_cases_only):
                now = time.monotonic()
                if now - shown > 0.25:
                    shown = now
                    place = " ".join(f"{value}" for value in cell.place.values())
                    bar.set_postfix_str(f"{cell.task.name} {cell.method.name} {place}", refresh=False)
                    bar.total = now - begun + self.ledger.remaining_seconds()
                    bar.update(now - begun - bar.n)
                self._write(self._measure(cell, case, repeat))
            bar.total = max(time.monotonic() - begun, 1e-9)
            bar.update(bar.total - bar.n)

    def _write(self, row: Row) -> None:
        self.writer.append(row)
        self.ledger.observe(row.as_dict())

    def _steps(self, first_cases_only: bool) -> Iterator[tuple[Cell, Case, int]]:
        for name in self.plan.tasks:
            cells = [cell for cell in self.plan.cells if cell.task.name == name]
            most = max((len(cell.cases) for cell in cells), default=0)
            postponed: dict[Cell, None] = {}
            for start in itertools.chain([0], range(1, most, _CHUNK)):
                stop = 1 if start == 0 else start + _CHUNK
                for cell in cells:
                    if self.ledger.is_doubtful(cell):
                        postponed[cell] = None
                    else:
                        yield from self._steps_of(cell, 0 if cell in postponed else start, stop)
                if first_cases_only:
                    break
            if not first_cases_only:
                for cell in postponed:
                    yield from self._steps_of(cell, 0, most)

    def _steps_of(self, cell: Cell, start: int, stop: int) -> Iterator[tuple[Cell, Case, int]]:
        for case, repeat in itertools.product(cell.cases[start:stop], range(self.plan.options.repeats)):
            if self.ledger.is_closed(cell):
                return
            if self.ledger.is_done(cell, case, repeat):
                continue
            reason = self.ledger.reason_to_close(cell)
            if reason:
                self._write(Row(**self._facts(cell, None, 0), status="skipped", message=reason))
                return
            yield cell, case, repeat

    def _facts(self, cell: Cell, case: Case | None, repeat: int) -> dict[str, Any]:
        return {
            **identity(cell, case, repeat),
            "run_id": self.writer.folder.name,
            "kind": cell.method.kind,
            "category": cell.method.category,
            "version": cell.method.version,
            "cell": dict(cell.place),
            "units": {} if case is None else case.units,
        }

    def _measure(self, cell: Cell, case: Case, repeat: int) -> Row:
        arrays, truth = self._truth(cell.task, case)
        profile = self.plan.profile(cell)
        outcome = self.observe(
            cell.method,
            wanted_inputs(arrays, cell.method),
            Limits(deadline=profile.deadline, memory=self.plan.options.memory),
            settings=case.settled(),
            observer=observer_of(cell.task),
            seed=repeat,
        )
        facts = self._facts(cell, case, repeat) | {"wall_seconds": outcome.wall_seconds}
        if outcome.status != "ok":
            return Row(**facts, status=outcome.status, message=outcome.message)  # type: ignore[arg-type]
        value = outcome.value
        answer = Answer(value["arrays"], info=value.get("info") or {})
        scored = judged(cell.task, case, arrays, answer, truth, cell.method)
        facts |= {"raw": scored.raw, "info": plain(answer.info)}
        if scored.status != "ok":
            return Row(**facts, status=scored.status, message=scored.message)
        return Row(
            **facts,
            status="ok",
            scores=dict(scored.scores),
            arrays=self._keep(cell, case, repeat, scored),
            **timings(value),
        )

    def _keep(self, cell: Cell, case: Case, repeat: int, scored: Scored) -> str:
        """Write a row's arrays beside the rows; the file's name relative to the run's folder."""
        if not scored.arrays:
            return ""
        name = re.sub(r"[^A-Za-z0-9._+-]+", "_", f"{cell.task.name}-{cell.method.name}-{case.name}")[:120]
        key = hashlib.sha256(resume_key(identity(cell, case, repeat)).encode()).hexdigest()[:16]
        path = self.writer.folder / ARRAYS_FOLDER / f"{name}-{key}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, **scored.arrays)  # type: ignore[arg-type]
        return f"{ARRAYS_FOLDER}/{path.name}"

    def _truth(self, task: Task, case: Case) -> tuple[Arrays, Any]:
        """Arrays and truth of a case, kept for the methods that meet it next."""
        key = (task.name, case.name, case.data_sha256)
        if key in self._truths:
            self._truths.move_to_end(key)
            return self._truths[key]
        start = time.monotonic()
        arrays = case.inputs()
        truth = task.truth(case, arrays, self._solve)
        self._truths[key] = (arrays, truth)
        while len(self._truths) > _KEPT_TRUTHS:
            self._truths.popitem(last=False)
        self.ledger.observe_truth(task.name, case, time.monotonic() - start)
        return arrays, truth

    def _solve(self, problem: MatchingProblem) -> Optimum:
        return self.optima.get(problem, self.observe.exact)


def wanted_inputs(arrays: Mapping[str, Any], method: Declaration) -> dict[str, NDArray[Any]]:
    """The inputs that a method gets: those that it names, or all that are there; one that is made only for it is made now."""
    named = method.facts.get("inputs")
    chosen = {k: v for k, v in arrays.items() if (k in named if named else not callable(v))}
    return {name: value() if callable(value) else value for name, value in chosen.items()}


def observer_of(task: Task) -> str:
    """Where a task's own observer is, as a worker finds it: in a module that it can import, or in a plugin's file."""
    if not task.observe:
        return ""
    place, _, name = task.observe.rpartition(":")
    module = place or task.module
    if module.startswith(PLUGIN_MODULE):
        module = str(sys.modules[module].__file__)
    return f"{module}:{name}"


def judged(task: Task, case: Case, arrays: Arrays, answer: Answer, truth: Any, method: Declaration) -> Scored:
    """`Task.score`; an answer that it cannot read is invalid, and costs its own row only."""
    try:
        return task.score(case, arrays, answer, truth, method)
    except Exception as error:
        return Scored(status="invalid", message=f"the answer cannot be scored: {type(error).__name__}: {error}"[:500])


def timings(value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row that say how long the calls of an observation took."""
    seconds, shared = value["seconds"], value["shared_seconds"]
    if not seconds:
        return {}
    return {
        "seconds": float(np.median(seconds)),
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        "samples": len(seconds),
        "shared_seconds": float(np.median(shared)) if shared else None,
        "peak_bytes": value["peak_bytes"],
    }
