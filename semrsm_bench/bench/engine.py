"""The engine: every cell of a plan observed in workers, scored here, written down row by row. It knows no task and no method."""

from __future__ import annotations

import hashlib
import itertools
import re
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from semrsm_bench.bench.cores import claimed_core
from semrsm_bench.bench.environment import describe_environment
from semrsm_bench.bench.ledger import Ledger, identity
from semrsm_bench.bench.methods import declarations, sort_plugins
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.bench.plan import DEFAULT_TASKS, Cell, Plan, RunOptions, make_plan
from semrsm_bench.bench.pool import Observer, Scratch, Workers
from semrsm_bench.bench.process import CallLimits
from semrsm_bench.bench.results import ARRAYS_FOLDER, load_rows, read_rows
from semrsm_bench.bench.runs import RunWriter, SessionOptions, open_run
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.registry import PLUGIN_MODULE, entry_points_limited_to
from semrsm_bench.core.row import FAULT, FAULTS, Row, resume_key
from semrsm_bench.core.task import Answer, Arrays, Case, Scored, Task
from semrsm_bench.progress import progress_bar
from semrsm_bench.tasks.registry import get_task

# Cases of a cell measured in a row, before the next method's turn: short enough that a drift of the machine hits all alike.
_CHUNK = 5
_KEPT_TRUTHS = 12
_WORKER_BYTES = 400 << 20
# All that an estimate waits for one case, seconds; the warm-up may take as long again.
_ESTIMATE_SECONDS = 15.0


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


@entry_points_limited_to("tasks")
def run(
    options: RunOptions,
    session: SessionOptions,
    tasks: Mapping[str, Any] | None = None,
    *,
    optima: OptimumCache | None = None,
    quiet: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[Finished, Ledger]:
    """Measure what the options ask for, or what is left of it.

    Parameters
    ----------
    options : RunOptions
    session : SessionOptions
    tasks : mapping of str to dataclass or None, optional
        Names of tasks and their options, None for the defaults. Without any: the tasks that plugins bring, or else "matching".
    optima : OptimumCache, optional
        Where k_opt is kept; default: the user's cache folder.
    quiet : bool
        No progress bar.
    report : callable
        Called with one line when the folder is known.

    Returns
    -------
    Finished, Ledger
    """
    method_files, brought = sort_plugins(options.plugins)
    wanted = tasks or dict.fromkeys(brought or DEFAULT_TASKS)
    chosen = [get_task(name) for name in wanted]
    kinds = sorted({kind for task in chosen for kind in (("metric", "rsm") if task.kind == "metric" else (task.kind,))})
    declared = declarations(method_files, kinds)
    for path in method_files:
        if all(str(path.resolve()) not in method.plugins for method in declared):
            raise ValueError(
                f"plugin {path} brings no {' or '.join(kinds)} for {', '.join(wanted)}; "
                "name a task that judges what it brings"
            )
    plan = make_plan(options, chosen, wanted, declared)
    methods = {(c.method.kind, c.method.name): c.method for c in plan.cells}
    environment = describe_environment(plan.data, options.plugins, methods.values())
    with open_run(session, plan.describe(), environment) as writer:
        writer.note_codes(plan.codes)
        ledger = Ledger(plan)
        old = read_rows(writer.folder)
        for row in old:
            ledger.observe(row)
        report(f"{'resuming' if writer.resumed else 'new'} run {writer.folder} ({len(old)} rows are there)")
        kept = int(psutil.virtual_memory().available // _WORKER_BYTES)
        with claimed_core() as core, Scratch() as scratch, Workers(core, kept) as workers:
            engine = _Engine(plan, ledger, writer, Observer(workers.of, scratch), optima or OptimumCache())
            engine.measure_all(quiet, first_cases_only=session.estimate)
        if not session.estimate and not ledger.has_faults_of_the_machine:
            writer.finish()
    counts = Counter(row["status"] for row in load_rows(writer.folder))
    measured = len(read_rows(writer.folder)) - len(old)
    return Finished(writer.folder, measured, len(old), dict(counts), complete=not session.estimate), ledger


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
                limits = self._limits(cell, first_cases_only)
                row = self._measure(cell, case, repeat, limits)
                if row.status == "timeout" and limits.deadline < self.plan.profile(cell).deadline:
                    self.ledger.give_up(cell, limits.deadline)
                else:
                    self._write(row)
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
                    if first_cases_only and self.ledger.is_given_up(cell):
                        continue
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

    def _limits(self, cell: Cell, estimate: bool) -> CallLimits:
        most = CallLimits(self.plan.profile(cell).deadline, self.plan.options.memory)
        if estimate and most.deadline > _ESTIMATE_SECONDS:
            return replace(most, deadline=_ESTIMATE_SECONDS, warm_up=_ESTIMATE_SECONDS)
        return most

    def _measure(self, cell: Cell, case: Case, repeat: int, limits: CallLimits) -> Row:
        arrays, truth = self._truth(cell.task, case)
        reply = self.observe(
            cell.method,
            wanted_inputs(arrays, cell.method),
            limits,
            settings=case.settled(),
            observer=observer_of(cell.task),
            seed=repeat,
        )
        facts = self._facts(cell, case, repeat) | {"wall_seconds": reply.wall_seconds}
        facts |= {"replaces": self.ledger.replaced(cell, case, repeat)}
        if reply.status != "ok":
            raw = {FAULT: "machine"} if reply.machine else {}
            return Row(**facts, status=reply.status, message=reply.message, raw=raw)  # type: ignore[arg-type]
        answer = Answer(reply.value["arrays"], info=reply.value.get("info") or {})
        try:
            scored = cell.task.score(case, arrays, answer, truth, cell.method)
        except Exception as error:  # an answer that the task cannot read costs its own row only
            held = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in answer.arrays.items())
            text = (
                f"the answer cannot be scored: {type(error).__name__}: {error}; the answer holds {held or 'no array'}"
            )
            scored = Scored(status="invalid", message=text[:500])
        facts |= {"status": scored.status, "message": scored.message, "raw": scored.raw, "info": answer.info}
        if scored.status == "ok":
            facts |= {"scores": dict(scored.scores), "arrays": self._keep(cell, case, repeat, scored)}
            facts |= timings(reply.value)
        return Row(**facts)

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
        truth = task.truth(case, arrays, lambda problem: self.optima.get(problem, self.observe.exact))
        self._truths[key] = (arrays, truth)
        while len(self._truths) > _KEPT_TRUTHS:
            self._truths.popitem(last=False)
        self.ledger.observe_truth(task.name, case, time.monotonic() - start)
        return arrays, truth


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
