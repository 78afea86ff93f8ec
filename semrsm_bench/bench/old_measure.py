"""What runs inside a worker process: form the affinity, warm up, time, hand back."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import math
import os
import resource
import signal
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers import MatchingProblem, Solution, Solver, get_solver, load_plugin

SAMPLE_NS = 1_000_000
# A probe this long is its own only sample: the spread between pairs is larger than that between repeats.
LONG_SECONDS = 0.02
MOST_SAMPLES = 5
_AFFINITY_SAMPLES = 3
_AS_SLACK = 1 << 30
_PR_SET_PDEATHSIG = 1
_LARGEST_FILE = 1 << 30


@dataclass(frozen=True)
class Task:
    """One problem for a worker.

    Attributes
    ----------
    x, y : ndarray, (S, C)
    options : mapping
        On top of those bound to the solver's name.
    memory : int
        Bytes that the solve may take beyond its inputs and the affinity.
    timed : bool
        False: one call, no samples (used for the optimum).
    """

    x: NDArray[Any]
    y: NDArray[Any]
    options: Mapping[str, Any]
    memory: int
    timed: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of a task. ``perm`` is what the solver returned, not validated yet.

    Attributes
    ----------
    status : str
        "ok", "timeout", "memory", "crashed", "invalid" or "error".
    message : str
    perm : ndarray, optional
    duals : (ndarray, ndarray), optional
    seconds, affinity_seconds : list of float
        Samples; empty where nothing was timed or no affinity was made.
    peak_bytes : int, optional
    info : mapping
    """

    status: str
    message: str = ""
    perm: NDArray[Any] | None = None
    duals: tuple[NDArray[Any], NDArray[Any]] | None = None
    seconds: list[float] = field(default_factory=list)
    affinity_seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


Report = Callable[[str, Any], None]


def sample(call: Callable[[], Any], probe: float, most: int = MOST_SAMPLES) -> list[float]:
    """Seconds per call, in samples of at least a millisecond each; ``probe`` is how long one call lasted."""
    if probe >= LONG_SECONDS:
        return [probe]
    loops = max(1, math.ceil(SAMPLE_NS / max(probe * 1e9, 1.0)))
    samples = min(most, max(1, math.ceil(LONG_SECONDS / max(probe * loops, 1e-9))))
    seconds: list[float] = []
    while len(seconds) < samples:
        start = time.perf_counter_ns()
        for _ in range(loops):
            call()
        elapsed = time.perf_counter_ns() - start
        if elapsed < SAMPLE_NS:
            # The probe was slower than the rest, being cold: lengthen the loop and start over.
            loops = max(loops + 1, math.ceil(loops * 1.2 * SAMPLE_NS / max(elapsed, 1)))
            seconds.clear()
            continue
        seconds.append(elapsed / loops / 1e9)
    return seconds


def measure(solver: Solver, task: Task, seen: set[tuple[int, ...]], report: Report) -> Outcome:
    """Solve a task as often as it takes, reporting each stage so that the parent can hold it to a deadline.

    Parameters
    ----------
    solver : Solver
    task : Task
    seen : set of shapes
        Problem shapes this process has solved before; the first of each shape is solved once untimed, because compilation,
        lazy imports and index arrays belong to no problem.
    report : callable
        Called as ``report(stage, bytes)`` with stages "prepared", "warm" and "probed".
    """
    for array in (task.x, task.y):
        array.flags.writeable = False
    problem = MatchingProblem(task.x, task.y)
    options = {**solver.options, **task.options}
    solver.check_options(options)

    def call() -> Any:
        return solver.function(problem, **options)

    first = problem.x.shape not in seen
    affinity_seconds: list[float] = [] if solver.matrix_free else _time_affinity(problem, first, task.timed)
    marks = _marks(problem)
    _trim()
    report("prepared", _status_bytes("VmRSS"))
    ceiling = resource.getrlimit(resource.RLIMIT_AS)
    try:
        _limit_address_space(_status_bytes("VmSize") + 2 * task.memory + _AS_SLACK, ceiling[1])
        if first and task.timed:
            call()
        seen.add(problem.x.shape)
        report("warm", 0)
        gc.collect()
        gc.freeze()  # libraries and compiled code need no second look in the next collection
        gc.disable()
        before = _reset_peak()
        start = time.perf_counter_ns()
        result = call()
        probe = (time.perf_counter_ns() - start) / 1e9
        peak = max(0, _status_bytes("VmHWM") - before) if before else None
        report("probed", 0)
        seconds = sample(call, probe) if task.timed else [probe]
    finally:
        gc.enable()
        resource.setrlimit(resource.RLIMIT_AS, ceiling)
    if solver.matrix_free and problem.has_affinity:
        return Outcome("invalid", "it is registered as matrix_free but used problem.affinity")
    if _marks(problem) != marks:
        return Outcome("invalid", "it changed its inputs")
    return _packed(result, seconds, affinity_seconds, peak)


def _time_affinity(problem: MatchingProblem, first: bool, timed: bool) -> list[float]:
    if first and timed:
        problem.x @ problem.y.T
    start = time.perf_counter_ns()
    _ = problem.affinity
    probe = (time.perf_counter_ns() - start) / 1e9
    return sample(lambda: problem.x @ problem.y.T, probe, _AFFINITY_SAMPLES) if timed else [probe]


def _packed(result: Any, seconds: list[float], affinity_seconds: list[float], peak: int | None) -> Outcome:
    """The outcome with a permutation fit for the pipe; the parent judges whether it is one."""
    solution = result if isinstance(result, Solution) else Solution(result)
    perm = np.asarray(solution.perm)
    if perm.dtype.kind not in "biuf":
        return Outcome(
            "invalid", f"it returned {type(solution.perm).__name__} of dtype {perm.dtype}, not a permutation"
        )
    duals = None
    if solution.duals is not None:
        duals = (np.asarray(solution.duals[0], dtype=np.float64), np.asarray(solution.duals[1], dtype=np.float64))
    info = {str(k): v if isinstance(v, (bool, int, float, str)) else str(v) for k, v in solution.info.items()}
    return Outcome("ok", "", np.array(perm), duals, seconds, affinity_seconds, peak, info)


def _marks(problem: MatchingProblem) -> tuple[int, ...]:
    """Checksums of everything the solver can reach."""
    arrays = [problem.x, problem.y, *([problem.affinity] if problem.has_affinity else [])]
    return tuple(zlib.crc32(np.ascontiguousarray(array).data) for array in arrays)


def _status_bytes(name: str) -> int:
    """A memory figure of this process from /proc; 0 where there is none."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(name.encode()):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _reset_peak() -> int:
    """Set the peak of resident memory back to what is resident now and return that; 0 where the kernel cannot."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return 0
    return _status_bytes("VmRSS")


def _trim() -> None:
    """Hand freed heap back to the system, so that it does not hide what the next solve takes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _limit_address_space(limit: int, hard: int) -> None:
    bounded = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bounded, hard))


def _settle(parent: int, core: int | None) -> None:
    """Die with the parent, leave no core dumps, say where a crash happened, stay on one core."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Its output goes to a file: a solver that never stops printing must not fill the disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    faulthandler.enable()
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def main(text: str) -> None:
    """Entry of the worker process: settings as JSON, then tasks over the pipe until it closes."""
    settings = json.loads(text)
    _settle(settings["parent"], settings["core"])
    pipe = Connection(settings["pipe"])
    seen: set[tuple[int, ...]] = set()
    try:
        for plugin in settings["plugins"]:
            load_plugin(Path(plugin))
        solver = get_solver(settings["solver"])
    except Exception as error:
        pipe.send(("done", Outcome("error", f"{type(error).__name__}: {error}")))
        return
    pipe.send(("started", 0))
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            outcome = measure(solver, task, seen, lambda stage, size: pipe.send((stage, size)))
        except MemoryError as error:
            outcome = Outcome("memory", f"out of memory: {error}")
        except BaseException as error:  # a solver may raise SystemExit or KeyboardInterrupt: its row, not our end
            outcome = Outcome("error", f"{type(error).__name__}: {error}"[:500])
        del task
        pipe.send(("done", outcome))
