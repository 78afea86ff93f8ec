"""The engine: every cell of a plan observed in workers, scored here, written down row by row. It knows no task and no method."""

from __future__ import annotations

import hashlib
import itertools
import math
import sys
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semrsm_bench.bench import drift
from semrsm_bench.bench.environment import describe_environment
from semrsm_bench.bench.ledger import Ledger
from semrsm_bench.bench.methods import command_keys, declarations, lacks_environment, plugin_keys, sort_plugins
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.bench.plan import Cell, Plan, RunOptions, make_plan
from semrsm_bench.bench.pool import Observer, Scratch, Workers, claimed_core
from semrsm_bench.bench.process import CallLimits, Reply
from semrsm_bench.bench.results import ARRAYS_FOLDER, RunWriter, SessionOptions, load_rows, open_run, read_rows
from semrsm_bench.core.files import writing
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.registry import PLUGIN_MODULE, entry_points_limited_to
from semrsm_bench.core.row import FAULT_BY, METHOD_FAULTS, Row, resume_key
from semrsm_bench.core.task import Answer, Arrays, Case, Scored, Task
from semrsm_bench.progress import progress_bar
from semrsm_bench.tasks.registry import default_tasks, get_task

_KEPT_TRUTHS = 12
# What an estimate measures, seconds, without what starts and compiles methods; and all that it waits for one case, whose warm-up
# may take as long again.
_ESTIMATE_SECONDS, _ESTIMATE_CASE_SECONDS = 60.0, 15.0
# Methods that an estimate measures in one place before it goes on to the next task, because they share the inputs; and with how
# many cases a cell gives it two: the first alone prepares what the others find.
_ESTIMATE_IN_A_ROW, _ESTIMATE_MANY = 4, 10
# Whose worker times the reference kernel, on the core of all others, and how long that may take
_REFERENCE, _REFERENCE_SECONDS = Declaration("reference", ""), 10.0


@dataclass(frozen=True)
class Finished:
    """What a session left: rows written now and before, by status, rows that the machine spoiled."""

    folder: Path
    measured: int
    resumed: int
    counts: dict[str, int]
    spoiled: int = 0

    @property
    def exit_code(self) -> int:
        """0 fine, 1 the machine failed, 3 a method failed, 4 nothing was measured."""
        if self.spoiled:
            return 1
        if any(self.counts.get(status) for status in METHOD_FAULTS):
            return 3
        return 0 if self.counts.get("ok") else 4


@entry_points_limited_to("tasks")
def run(
    options: RunOptions,
    session: SessionOptions,
    tasks: Mapping[str, Any] | None = None,
    *,
    leave_out: bool = False,
    quiet: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[Finished, Ledger]:
    """Measure what the options ask for, or what is left of it.

    ``tasks`` are names of tasks and their options, None for the defaults; without any, those that plugins bring, or else all that
    are measured by default. ``leave_out`` those that lack something here, as where none is named. ``report`` is called with
    a line for each of them, and with one when the folder is known.
    """
    files, brought = sort_plugins(options.plugins)
    method_files = [*plugin_keys(files), *command_keys(options.commands)]
    wanted = tasks or dict.fromkeys(brought or default_tasks())
    leave_out = leave_out or not (tasks or brought)
    chosen = [get_task(name) for name in wanted]
    kinds = sorted({kind for task in chosen for kind in (("metric", "rsm") if task.kind == "metric" else (task.kind,))})
    declared = declarations(method_files, kinds)
    for key in method_files:
        if all(key not in method.plugins for method in declared):
            raise ValueError(
                f"plugin {key} brings no {' or '.join(kinds)} for {', '.join(wanted)}; "
                "name a task that judges what it brings"
            )
    plan = make_plan(options, chosen, wanted, declared, report if leave_out else None)
    if options.methods is None and (lacking := lacks_environment(m for m in declared if m.kind in kinds)):
        report(f"left out, for want of an environment (semrsm-bench env create --all): {', '.join(lacking)}")
    for name, (filled, _) in plan.tasks.items():
        for line in get_task(name).notices(filled):
            report(f"notice: {line}")
    if seedless := dict.fromkeys(c.method.name for c in plan.cells if options.seeds > c.seeds):
        report(f"notice: measured once, since they have no option seed: {', '.join(seedless)}")
    methods = {(c.method.kind, c.method.name): c.method for c in plan.cells}
    data = dict.fromkeys(
        (str(c.place.get("model") or c.task.name), case.data_sha256) for c in plan.cells for case in c.cases
    )
    environment = describe_environment([one for one in data if one[1]], options.plugins, methods.values())
    with open_run(session, plan.describe(), environment, plan.commands) as writer:
        writer.note_codes(plan.codes)
        ledger = Ledger(plan)
        old = read_rows(writer.folder)
        for row in old:
            ledger.observe(row)
        report(f"{'resuming' if writer.resumed else 'new'} run {writer.folder} ({len(old)} rows are there)")

        def beside_the_bar(line: str) -> None:
            with tqdm.external_write_mode(file=sys.stderr):
                report(line)

        with claimed_core() as core, Scratch() as scratch, Workers(core, report=beside_the_bar) as workers:
            engine = _Engine(plan, ledger, writer, Observer(workers.of, scratch), session.estimate)
            engine.measure_all(quiet)
        if not session.estimate and ledger.is_finished:
            writer.finish()
    counts = Counter(row["status"] for row in load_rows(writer.folder))
    measured = len(read_rows(writer.folder)) - len(old)
    spoiled = len(ledger.spoiled)
    return Finished(writer.folder, measured, len(old), dict(counts), spoiled), ledger


class _Engine:
    """One session; an estimate takes cells as `spread` has them, as far as it comes in its time."""

    def __init__(self, plan: Plan, ledger: Ledger, writer: RunWriter, observe: Observer, estimate: bool) -> None:
        self.plan, self.ledger, self.writer, self.observe, self.estimate = plan, ledger, writer, observe, estimate
        self._optima = OptimumCache()
        self._seed = writer.seed
        self._speed = drift.Speedometer(self._reference_seconds)
        # Why the observation at hand, by its key, is made once more
        self._again: dict[str, str] = {}
        # Arrays and truths of cases, kept for the methods that meet them next
        self._truths: OrderedDict[tuple[str, str, str], tuple[Arrays, Any]] = OrderedDict()

    def measure_all(self, quiet: bool) -> None:
        """Go through the plan: one case of every cell first, from which follows how long the rest takes."""
        begun = time.monotonic()
        shown, pause, spent = begun, 0.0, 0.0
        with progress_bar(1, "measuring", unit="s", quiet=quiet) as bar:
            # Counted in seconds of work, measured and expected, because cells differ by a factor of 10,000.
            bar.smoothing = 0
            bar.bar_format = "{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}{postfix}"
            for cell, case, repeat in self._steps():
                now = time.monotonic()
                if not quiet and now - shown > pause:
                    place = " ".join(map(str, cell.place.values()))
                    bar.set_postfix_str(f"{cell.task.name} {cell.method.name} {place}", refresh=False)
                    bar.total = now - begun
                    bar.total += _ESTIMATE_SECONDS - spent if self.estimate else self.ledger.remaining_seconds()
                    bar.update(now - begun - bar.n)
                    # What is left takes long to add up in a plan of many cells: one part in fifty of the time at most.
                    shown = time.monotonic()
                    pause = max(1.0, 50 * (shown - now))
                limits = CallLimits(cell.profile.deadline, self.plan.options.memory)
                if self.estimate and limits.deadline > _ESTIMATE_CASE_SECONDS:
                    limits = replace(limits, deadline=_ESTIMATE_CASE_SECONDS, warm_up=_ESTIMATE_CASE_SECONDS)
                before = self._speed.read()
                row = self._measure(cell, case, repeat, limits)
                row = replace(row, reference_seconds=max(filter(None, (before, self._speed.read())), default=None))
                if row.replaces.startswith(drift.REASON) and row.raw.get(FAULT_BY) == "machine":
                    continue  # what was there is worth more
                if row.status == "timeout" and limits.deadline < cell.profile.deadline:
                    self.ledger.give_up(cell, limits.deadline)
                else:
                    self._write(row)
                spent += row.wall_seconds or 0.0
                if self.estimate and spent > _ESTIMATE_SECONDS:
                    break
            bar.total = max(time.monotonic() - begun, 1e-9)
            bar.update(bar.total - bar.n)

    def _write(self, row: Row) -> None:
        self.writer.append(row)
        self.ledger.observe(vars(row))

    def _steps(self) -> Iterator[tuple[Cell, Case, int]]:
        if self.estimate:
            yield from self._left(spread(self.plan.cells))
            return
        for name in self.plan.tasks:
            cells = [cell for cell in self.plan.cells if cell.task.name == name]
            yield from self._left(_turns(cells))
            yield from self._drifted_steps(cells)

    def _left(self, turns: Iterable[tuple[Cell, Sequence[Case]]]) -> Iterator[tuple[Cell, Case, int]]:
        """Of some cases of cells those that have no row; a cell that is not worth it is closed."""
        ledger = self.ledger
        for cell, cases in turns:
            for case, repeat in itertools.product(cases, range(cell.observations)):
                if ledger.is_closed(cell) or (self.estimate and ledger.given_up(cell) is not None):
                    break
                if resume_key(cell.identity(case, repeat)) in ledger.done:
                    continue
                if reason := ledger.reason_to_close(cell):
                    self._write(Row(**self._facts(cell, None, 0), status="skipped", message=reason))
                    break
                yield cell, case, repeat

    def _drifted_steps(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Case, int]]:
        """What was measured while the machine was off its level, where it is back there."""
        for _ in range(drift.TRIES):
            wanted = self.ledger.drifted()
            steps = ((c, case, r) for c in cells for case in c.cases for r in range(c.observations) if wanted)
            for cell, case, repeat in steps:
                key = resume_key(cell.identity(case, repeat))
                if (
                    key in wanted
                    and self.ledger.drifted([key])
                    and not drift.is_off(self._speed.read(), self.ledger.level)
                ):
                    self._again = {key: wanted[key]}
                    yield cell, case, repeat
        self._again = {}

    def _reference_seconds(self) -> float | None:
        try:
            reply = self.observe.worker_of(_REFERENCE).ask({"do": "reference"}, _REFERENCE_SECONDS)
        except OSError as error:
            reply = Reply.of_the_machine(error)
        return float(reply.value["seconds"]) if reply.status == "ok" else None

    def _facts(self, cell: Cell, case: Case | None, repeat: int) -> dict[str, Any]:
        return {
            **cell.identity(case, repeat),
            "run_id": self.writer.folder.name,
            "kind": cell.method.kind,
            "category": cell.method.category,
            "version": cell.method.version,
            "environment": "; ".join(cell.method.environment),
            "cell": dict(cell.place),
            "units": case.units if case else {},
            "seed": repeat // cell.repeats,
        }

    def _measure(self, cell: Cell, case: Case, repeat: int, limits: CallLimits) -> Row:
        try:
            arrays, truth = self._truth(cell.task, case)
            reply = self.observe(
                cell.method,
                wanted_inputs(arrays, cell.method),
                limits,
                settings=case.settled(),
                observer=_observer_of(cell.task),
                seed=(self._seed, repeat, cell.observations),
                **({"options": {"seed": repeat // cell.repeats}} if cell.seeds > 1 else {}),
            )
        except OSError as error:
            reply = Reply.of_the_machine(error)
        key = resume_key(cell.identity(case, repeat))
        facts = self._facts(cell, case, repeat) | {"wall_seconds": reply.wall_seconds}
        facts |= {"replaces": self._again.get(key) or self.ledger.machine_faults.get(key, "")}
        if reply.status != "ok":
            raw = {FAULT_BY: "machine"} if reply.machine else {}
            return Row(**facts, status=reply.status, message=reply.message, raw=raw)  # type: ignore[arg-type]
        value, answer = reply.value, Answer(reply.value["arrays"], info=reply.value.get("info") or {})
        try:
            scored = cell.task.score(case, arrays, answer, truth, cell.method)
        except Exception as error:  # an answer that the task cannot read costs this row alone
            held = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in answer.arrays.items())
            text = (
                f"the answer cannot be scored: {type(error).__name__}: {error}; the answer holds {held or 'no array'}"
            )
            scored = Scored(status="invalid", message=text[:500])
        facts |= {"status": scored.status, "message": scored.message, "raw": scored.raw, "info": answer.info}
        if scored.status == "ok":
            facts |= {"scores": dict(scored.scores)}
            if scored.arrays:
                facts["arrays"] = f"{ARRAYS_FOLDER}/{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
                path = self.writer.folder / facts["arrays"]
                with writing(path) as partial, partial.open("wb") as file:
                    np.savez_compressed(file, **scored.arrays)  # type: ignore[arg-type]
            if seconds := value["seconds"]:
                facts |= {
                    "seconds": float(np.median(seconds)),
                    "seconds_min": min(seconds),
                    "seconds_max": max(seconds),
                    "samples": len(seconds),
                    "shared_seconds": float(np.median(value["shared_seconds"])) if value["shared_seconds"] else None,
                    "peak_bytes": value["peak_bytes"],
                    "program_seconds": _median_said(value.get("program_seconds")),
                }
        return Row(**facts)

    def _truth(self, task: Task, case: Case) -> tuple[Arrays, Any]:
        key = (task.name, case.name, case.data_sha256)
        if key not in self._truths:
            arrays = case.inputs()
            truth = task.truth(case, arrays, lambda problem: self._optima.get(problem, self.observe.exact))
            self._truths[key] = (arrays, truth)
            if len(self._truths) > _KEPT_TRUTHS:
                self._truths.popitem(last=False)
        self._truths.move_to_end(key)
        return self._truths[key]


def _turns(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Sequence[Case]]]:
    """One case of every cell of a task, then the rest in the order that the task asks for."""
    yield from ((cell, cell.cases[:1]) for cell in cells)
    most = max((len(cell.cases) for cell in cells), default=1)
    step = cells[0].task.in_a_row if cells else None
    if step is None:
        # Whatever a method prepared is used before its worker has to make room for another one.
        order = list(dict.fromkeys(cell.method.name for cell in cells))
        cells, step = sorted(cells, key=lambda cell: order.index(cell.method.name)), most
    for start, cell in itertools.product(range(1, most, step), cells):
        yield cell, cell.cases[start : start + step]


def spread(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Sequence[Case]]]:
    """The first case of every cell, or two, in an order whose beginning, however short, is spread over tasks, methods and places.

    Of a method in a task the smallest S comes first: what takes too long there need not be tried at larger ones.
    """
    tasks: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        tasks[cell.task.name][cell.method.name].append(cell)
    turns: dict[Cell, tuple[int, float]] = {}
    for t, methods in enumerate(tasks.values()):
        for m, own in enumerate(methods.values()):
            few = m // _ESTIMATE_IN_A_ROW
            first = few % len(own)
            for turn, cell in enumerate(sorted(own[first:] + own[:first], key=lambda cell: cell.extent)):
                turns[cell] = turn, (few * _ESTIMATE_IN_A_ROW / len(methods) + t / len(tasks)) % 1
    order = sorted(cells, key=turns.__getitem__)
    return ((cell, cell.cases[: 2 if len(cell.cases) >= _ESTIMATE_MANY else 1]) for cell in order)


def _median_said(said: Any) -> float | None:
    """Median of what a program says of its own time, where it says something sensible each time."""
    sound = isinstance(said, list) and said and all(isinstance(s, (int, float)) and 0 <= s < math.inf for s in said)
    return float(np.median(said)) if sound else None


def wanted_inputs(arrays: Mapping[str, Any], method: Declaration) -> dict[str, NDArray[Any]]:
    """The inputs that a method gets: those that it names, or all that are there; one that is made only for it is made now."""
    named = method.facts.get("inputs")
    chosen = {k: v for k, v in arrays.items() if (k in named if named else not callable(v))}
    return {name: value() if callable(value) else value for name, value in chosen.items()}


def _observer_of(task: Task) -> tuple[str, str, str | None] | None:
    """The observer that a task brings, as a worker finds it: its module, its name, and the file of the plugin that holds it."""
    if not task.observe:
        return None
    place, _, name = task.observe.rpartition(":")
    module = place or task.module
    return module, name, sys.modules[module].__file__ if module.startswith(PLUGIN_MODULE) else None
