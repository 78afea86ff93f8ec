"""The run itself: every cell of a plan measured in workers, scored here, written down row by row."""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from semrsm_bench.activations.store import Centring
from semrsm_bench.bench.cases import Cell, Options, Plan, make_plan, pair_name
from semrsm_bench.bench.cores import claimed_core
from semrsm_bench.bench.environment import describe_environment
from semrsm_bench.bench.ledger import Ledger
from semrsm_bench.bench.measure import Outcome, Task
from semrsm_bench.bench.optimum import Optimum, OptimumCache
from semrsm_bench.bench.results import FAULTS, Row, read_rows
from semrsm_bench.bench.runs import open_run
from semrsm_bench.bench.worker import Limits, WorkerPool
from semrsm_bench.bench.writer import RunWriter
from semrsm_bench.progress import progress_bar
from semrsm_bench.solvers import (
    MatchingProblem,
    chance_corrected,
    check_permutation,
    get_solver,
    load_plugin,
    matching_value,
    quality,
    random_value,
)

# Pairs of a cell measured in a row, before the next solver's turn: short enough that a drift of the clock hits all alike.
_CHUNK = 5
_KEPT_PROBLEMS = 12
_WORKER_BYTES = 400 << 20
_OPTIMUM_LIMITS = Limits(deadline=900.0, memory=16 << 30, warm_up=120.0)


@dataclass(frozen=True)
class Finished:
    """What a sitting left behind.

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
        """0 fine, 3 a solver failed, 4 nothing was measured."""
        if any(self.counts.get(status) for status in FAULTS):
            return 3
        return 0 if self.counts.get("ok") else 4


@dataclass(frozen=True)
class _Scored:
    """A problem with all that its rows are scored against."""

    problem: MatchingProblem
    k_rand: float
    optimum: Optimum


def run(
    options: Options,
    results: Path,
    *,
    run_id: str | None = None,
    fresh: bool = False,
    quiet: bool = False,
    first_pairs_only: bool = False,
    optima: OptimumCache | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[Finished, Ledger]:
    """Measure what the options ask for, or what is left of it.

    Parameters
    ----------
    options : Options
    results : Path
        Folder of all runs.
    run_id, fresh
        As in `semrsm_bench.bench.runs.open_run`.
    quiet : bool
        No progress bar.
    first_pairs_only : bool
        Stop after one pair of every cell, which is what an estimate is made of.
    optima : OptimumCache, optional
        Where k_opt is kept; default: the user's cache folder.
    tell : callable
        Called with one line when the folder is known.

    Returns
    -------
    Finished, Ledger
    """
    for plugin in options.plugins:
        load_plugin(plugin)
    plan = make_plan(options)
    solvers = list(dict.fromkeys(cell.solver for cell in plan.cells))
    data = [(name, cache.sha256) for name, cache in plan.caches.items()]
    environment = describe_environment(data, options.plugins, solvers)
    opened = open_run(results, plan.describe(), environment, run_id=run_id, fresh=fresh)
    with opened.writer as writer:
        ledger = Ledger(plan)
        old = read_rows(opened.folder)
        for row in old:
            ledger.observe(row)
        tell(f"{'going on with' if opened.resumed else 'new'} run {opened.folder} ({len(old)} rows are there)")
        kept = int(psutil.virtual_memory().available // _WORKER_BYTES)
        with claimed_core() as core, WorkerPool([p.resolve() for p in options.plugins], core, kept) as pool:
            runner = _Runner(plan, ledger, writer, pool, opened.folder.name, optima or OptimumCache())
            runner.measure_all(quiet, first_pairs_only)
        complete = not first_pairs_only
        if complete:
            opened.finish()
    rows = read_rows(opened.folder)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    return Finished(opened.folder, len(rows) - len(old), len(old), counts, complete), ledger


class _Runner:
    """One sitting."""

    def __init__(
        self, plan: Plan, ledger: Ledger, writer: RunWriter, pool: WorkerPool, run_id: str, optima: OptimumCache
    ) -> None:
        self.plan, self.ledger, self.writer, self.pool, self.run_id, self.optima = (
            plan,
            ledger,
            writer,
            pool,
            run_id,
            optima,
        )
        self.limits = Limits(deadline=plan.profile.deadline, memory=plan.options.memory)
        self._scored: OrderedDict[str, _Scored] = OrderedDict()
        self._vectors: OrderedDict[tuple[str, str, str, int], NDArray[np.float32]] = OrderedDict()

    def measure_all(self, quiet: bool, first_pairs_only: bool) -> None:
        """Go through the plan in rounds: one pair of every cell, then a few pairs of every cell at a time."""
        begun = time.monotonic()
        shown = begun - 1.0
        with progress_bar(1, "measuring", unit="s", quiet=quiet) as bar:
            # Counted in seconds of work, measured and expected, because cells differ by a factor of 10,000.
            bar.smoothing = 0
            bar.bar_format = "{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}{postfix}"
            for cell, pair, repeat in self._steps(first_pairs_only):
                now = time.monotonic()
                if now - shown > 0.25:
                    shown = now
                    bar.set_postfix_str(f"{cell.solver} S={cell.size} {cell.centring}", refresh=False)
                    bar.total = now - begun + self.ledger.remaining_seconds()
                    bar.update(now - begun - bar.n)
                row = self._measure(cell, pair, repeat)
                self.writer.append(row)
                self.ledger.observe(asdict(row))
            bar.total = max(time.monotonic() - begun, 1e-9)
            bar.update(bar.total - bar.n)

    def _steps(self, first_pairs_only: bool) -> Iterator[tuple[Cell, tuple[int, int], int]]:
        most = max((len(cell.pairs) for cell in self.plan.cells), default=0)
        postponed: dict[Cell, None] = {}
        for start in itertools.chain([0], range(1, most, _CHUNK)):
            stop = 1 if start == 0 else start + _CHUNK
            for cell in self.plan.cells:
                if self.ledger.is_doubtful(cell):
                    postponed[cell] = None
                else:
                    yield from self._steps_of(cell, 0 if cell in postponed else start, stop)
            if first_pairs_only:
                return
        for cell in postponed:
            yield from self._steps_of(cell, 0, most)

    def _steps_of(self, cell: Cell, start: int, stop: int) -> Iterator[tuple[Cell, tuple[int, int], int]]:
        for pair, repeat in itertools.product(cell.pairs[start:stop], range(self.plan.options.repeats)):
            if self.ledger.is_closed(cell):
                return
            if self.ledger.is_done(cell, pair, repeat):
                continue
            reason = self.ledger.reason_to_close(cell)
            if reason:
                self._close(cell, reason)
                return
            yield cell, pair, repeat

    def _close(self, cell: Cell, reason: str) -> None:
        row = Row(**self._facts(cell), problem=cell.name, pair="", repeat=0, status="skipped", message=reason)
        self.writer.append(row)
        self.ledger.observe(asdict(row))

    def _facts(self, cell: Cell) -> dict[str, Any]:
        solver = get_solver(cell.solver)
        return {
            "run_id": self.run_id,
            "solver": cell.solver,
            "options": dict(solver.options),
            "kind": solver.kind,
            "solver_version": solver.version,
            "model": cell.cache,
            "layer": cell.layer,
            "size": cell.size,
            "channels": cell.channels,
            "centring": cell.centring,
            "matrix_free": solver.matrix_free,
            "data_sha256": self.plan.caches[cell.cache].sha256,
        }

    def _measure(self, cell: Cell, pair: tuple[int, int], repeat: int) -> Row:
        scored = self._score(cell, pair)
        start = time.monotonic()
        task = Task(scored.problem.x, scored.problem.y, {}, self.limits.memory)
        outcome = self.pool.solve(cell.solver, task, self.limits)
        facts = self._facts(cell) | {
            "problem": cell.problem(pair),
            "pair": pair_name(pair),
            "repeat": repeat,
            "wall_seconds": time.monotonic() - start,
            "k_opt": scored.optimum.k_opt,
            "k_rand": scored.k_rand,
            "k_upper": scored.optimum.k_upper,
            "optimum_solver": scored.optimum.solver,
            "optimum_certificate": scored.optimum.certificate,
        }
        return _row(facts, outcome, scored)

    def _score(self, cell: Cell, pair: tuple[int, int]) -> _Scored:
        name = cell.problem(pair)
        if name in self._scored:
            self._scored.move_to_end(name)
            return self._scored[name]
        start = time.monotonic()
        problem = MatchingProblem(*(self._positions(cell, image) for image in pair))
        optimum = self.optima.get(problem, lambda solver, task: self.pool.solve(solver, task, _OPTIMUM_LIMITS))
        scored = self._scored[name] = _Scored(problem, random_value(problem), optimum)
        while len(self._scored) > _KEPT_PROBLEMS:
            self._scored.popitem(last=False)
        self.ledger.observe_optimum(name, cell.size, time.monotonic() - start)
        return scored

    def _positions(self, cell: Cell, image: int) -> NDArray[np.float32]:
        key = (cell.cache, cell.layer, cell.centring, image)
        if key not in self._vectors:
            centring: Centring = cell.centring  # type: ignore[assignment]  # Options has checked it
            self._vectors[key] = self.plan.caches[cell.cache].positions(cell.layer, image, centring)
            while len(self._vectors) > 2 * _KEPT_PROBLEMS:
                self._vectors.popitem(last=False)
        return self._vectors[key]


def _row(facts: dict[str, Any], outcome: Outcome, scored: _Scored) -> Row:
    """A row from what the worker sent: validated and scored here, in float64."""
    if outcome.status != "ok" or outcome.perm is None:
        return Row(**facts, status=outcome.status, message=outcome.message, info=outcome.info)  # type: ignore[arg-type]
    try:
        perm = check_permutation(outcome.perm, scored.problem.size)
    except ValueError as error:
        return Row(**facts, status="invalid", message=str(error))
    k, k_opt = matching_value(scored.problem, perm), scored.optimum.k_opt
    return Row(
        **facts,
        status="ok",
        seconds=float(np.median(outcome.seconds)),
        seconds_min=min(outcome.seconds),
        seconds_max=max(outcome.seconds),
        samples=len(outcome.seconds),
        affinity_seconds=float(np.median(outcome.affinity_seconds)) if outcome.affinity_seconds else None,
        k=k,
        quality=None if k_opt is None else quality(k, k_opt),
        chance_corrected=None if k_opt is None else chance_corrected(k, k_opt, scored.k_rand),
        peak_bytes=outcome.peak_bytes,
        info=outcome.info,
    )
