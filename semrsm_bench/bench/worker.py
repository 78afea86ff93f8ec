"""The parent's side of a worker: one process per solver, kept warm, held to a deadline and a memory limit, replaced when killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import UnpicklingError
from types import TracebackType
from typing import IO, Any

from semrsm_bench.bench.environment import THREAD_VARIABLES
from semrsm_bench.bench.measure import Outcome, Task

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from semrsm_bench.bench.measure import main; main(sys.argv[2])"
# Imports of a numerical stack; only a process that outgrows this before its first problem is stopped for it.
_START_BYTES = 2 << 30
_SHORTEST_WATCH, _LONGEST_WATCH = 0.002, 0.03


@dataclass(frozen=True)
class Limits:
    """What one solve may cost.

    Attributes
    ----------
    deadline : float
        Seconds for one call of the solver.
    memory : int
        Bytes beyond the inputs and the affinity.
    warm_up : float
        Seconds more for the first call on a new problem size: compilation and imports.
    """

    deadline: float = 60.0
    memory: int = 4 << 30
    warm_up: float = 60.0

    def __post_init__(self) -> None:
        if self.deadline <= 0 or self.memory <= 0 or self.warm_up < 0:
            raise ValueError(
                f"a deadline and a memory limit are positive, got {self.deadline} s and {self.memory} bytes"
            )


class Worker:
    """One solver in a process of its own.

    Parameters
    ----------
    solver : str
    plugins : sequence of Path
        Loaded in the process before the solver is looked up.
    core : int, optional
        The core it is pinned to.
    """

    def __init__(self, solver: str, plugins: Sequence[Path] = (), core: int | None = None) -> None:
        self.solver = solver
        self.plugins = plugins
        self.core = core
        self.timed_out = False
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._log: IO[bytes] | None = None

    def solve(self, task: Task, limits: Limits) -> Outcome:
        """Hand a task over and wait; whatever the solver does, an `Outcome` comes back."""
        try:
            if self._process is None:
                failed = self._start(limits)
                if failed:
                    return failed
            assert self._pipe is not None
            assert self._log is not None
            self._log.seek(0)  # the offset is shared with the process: what it wrote about earlier tasks is dropped
            self._log.truncate()
            self._pipe.send(task)
            allowance = 0.0 if self.timed_out else limits.warm_up
            inputs = task.x.nbytes + task.y.nbytes
            for stage, seconds in (
                ("prepared", limits.deadline + limits.warm_up),
                ("warm", limits.deadline + allowance),
                ("probed", limits.deadline),
                ("done", limits.deadline + limits.warm_up),
            ):
                if stage == "prepared":
                    size = task.x.shape[0]
                    most = _START_BYTES + 4 * inputs + 3 * size * size * task.x.itemsize
                got, value = self._wait(stage, seconds, most, limits)
                if got == "done":
                    outcome: Outcome = value
                    return outcome
                if stage == "prepared":
                    most = value + limits.memory
        except (EOFError, ConnectionError, UnpicklingError):
            return self._died()
        except BaseException:
            self.close()
            raise
        raise AssertionError("a worker reports done at the end")

    def _start(self, limits: Limits) -> Outcome | None:
        ours, theirs = socket.socketpair()
        settings = {
            "solver": self.solver,
            "plugins": [str(p) for p in self.plugins],
            "core": self.core,
            "parent": os.getpid(),
            "pipe": theirs.fileno(),
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps([p for p in sys.path if p] or [""]), json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONHASHSEED": "0"},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._pipe = Connection(ours.detach())
        got, value = self._wait("started", limits.deadline + limits.warm_up, _START_BYTES, limits)
        if got == "done":
            self.close()
            failed: Outcome = value
            return failed
        return None

    def _wait(self, stage: str, seconds: float, most: int, limits: Limits) -> tuple[str, Any]:
        """The next message; past the deadline or the memory limit the process is killed and the message is its outcome."""
        assert self._pipe is not None
        assert self._process is not None
        end = time.monotonic() + seconds
        step = _SHORTEST_WATCH
        while not self._pipe.poll(max(0.0, min(step, end - time.monotonic()))):
            step = min(2 * step, _LONGEST_WATCH)
            if resident_bytes(self._process.pid) > most:
                self.close()
                return "done", Outcome("memory", f"stopped beyond the memory limit of {limits.memory / 2**20:.0f} MiB")
            if time.monotonic() >= end:
                self.timed_out = True
                self.close()
                where = "" if stage in ("probed", "done") else {"warm": " (warm-up)"}.get(stage, " (start)")
                return "done", Outcome("timeout", f"stopped after {seconds:g} s{where}")
        message: tuple[str, Any] = self._pipe.recv()
        return message

    def _died(self) -> Outcome:
        """Why the process ended on its own."""
        assert self._process is not None
        assert self._log is not None
        end = time.monotonic() + 5
        # Waited for without reaping: the process id must stay ours until `close` has killed its group.
        while os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > end:
                self.close()
                return Outcome("crashed", "it closed the pipe to its parent")
            time.sleep(0.01)
        said = _last_words(self._log)
        code = self.close()
        if code == -signal.SIGKILL:
            return Outcome("memory", "killed by the system, most likely for want of memory")
        if "bad_alloc" in said or "MemoryError" in said:
            return Outcome("memory", f"out of memory: {said}")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        return Outcome("crashed", f"{how}: {said}" if said else how)

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process else None

    def close(self) -> int:
        """Kill the process and whatever it started; the next `solve` starts a new one. Returns the exit code, 0 without one."""
        code = 0
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._process.kill()
            code = self._process.wait()
            self._process = None
        for thing in (self._pipe, self._log):
            if thing is not None:
                thing.close()
        self._pipe = self._log = None
        return code


class WorkerPool:
    """Workers by solver, at most ``kept`` processes alive; use it as a context manager."""

    def __init__(self, plugins: Sequence[Path] = (), core: int | None = None, kept: int = 32) -> None:
        self._plugins, self._core, self._kept = plugins, core, max(1, kept)
        self._workers: OrderedDict[str, Worker] = OrderedDict()

    def solve(self, solver: str, task: Task, limits: Limits) -> Outcome:
        """`Worker.solve` of the solver's worker."""
        worker = self._workers.setdefault(solver, Worker(solver, self._plugins, self._core))
        self._workers.move_to_end(solver)
        alive = [w for w in self._workers.values() if w.pid is not None and w is not worker]
        for old in alive[: max(0, len(alive) + 1 - self._kept)]:
            old.close()
        return worker.solve(task, limits)

    def close(self) -> None:
        """Kill all workers."""
        for worker in self._workers.values():
            worker.close()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _last_words(log: IO[bytes]) -> str:
    """The last line a dead process wrote, leaving out the interpreter's own crash report."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 8192))
    text = log.read().decode(errors="replace").partition("Fatal Python error")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
