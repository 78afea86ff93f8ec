"""The parent's side of a worker: a process that is held to deadlines and a memory limit, and replaced when it dies."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.environment import THREAD_VARIABLES

WORKER = Path(__file__).with_name("worker.py")
PROTOCOL = 1
# Imports of a numerical stack; only a process that outgrows this before its first case is stopped for it.
_START_BYTES = 2 << 30
_SHORTEST_WATCH, _LONGEST_WATCH = 0.002, 0.03


@dataclass(frozen=True)
class Limits:
    """What one observation may cost.

    Attributes
    ----------
    deadline : float
        Seconds for one call of the method.
    memory : int
        Bytes beyond the inputs.
    warm_up : float
        Seconds more for the first call on a new shape: compilation and imports.
    """

    deadline: float = 60.0
    memory: int = 4 << 30
    warm_up: float = 60.0

    def __post_init__(self) -> None:
        if self.deadline <= 0 or self.memory <= 0 or self.warm_up < 0:
            raise ValueError(
                f"a deadline and a memory limit are positive, got {self.deadline} s and {self.memory} bytes"
            )


@dataclass(frozen=True)
class Setup:
    """How a worker process is started.

    Attributes
    ----------
    plugins : tuple of str
        Files that it imports first.
    core : int or None
        The core it is pinned to.
    python : str
        Its interpreter.
    search : tuple of Path or None
        Folders that come first in its module search path, in place of this process's path.
    folder : Path or None
        Where it runs.
    show_output : bool
        Let through what methods print, on standard error.
    """

    plugins: tuple[str, ...] = ()
    core: int | None = None
    python: str = sys.executable
    search: tuple[Path, ...] | None = None
    folder: Path | None = None
    show_output: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    Attributes
    ----------
    status : str
        "ok", "timeout", "memory", "crashed", "invalid" or "error".
    message : str
    value : mapping
        The worker's answer; its arrays are loaded.
    wall_seconds : float
        As this process saw it.
    """

    status: str
    message: str = ""
    value: Mapping[str, Any] = field(default_factory=dict)
    wall_seconds: float = 0.0


class WorkerLostError(RuntimeError):
    """The worker did not start: its package or a plugin does not import."""


class Worker:
    """One worker process; use it as a context manager.

    Parameters
    ----------
    setup : Setup
    """

    def __init__(self, setup: Setup = Setup()) -> None:
        self.setup = setup
        self.timed_out = False
        self.package = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._log: IO[bytes] | None = None
        self._unread = b""

    def observe(self, command: Mapping[str, Any], limits: Limits, input_bytes: int) -> Outcome:
        """Have a method observed on a case; whatever the method does, an `Outcome` comes back."""
        started = time.monotonic()
        warm_up = 0.0 if self.timed_out else limits.warm_up
        stages = {
            "": (limits.deadline + limits.warm_up, "", _START_BYTES + 8 * input_bytes),
            "prepared": (limits.deadline + warm_up, " (warm-up)", 0),
            "warm": (limits.deadline, "", 0),
            "probed": (limits.deadline + limits.warm_up, "", 0),
        }
        outcome = self._converse({"do": "observe", "memory": limits.memory, **command}, stages, limits)
        return Outcome(outcome.status, outcome.message, outcome.value, time.monotonic() - started)

    def ask(self, command: Mapping[str, Any], seconds: float, limits: Limits = Limits()) -> Outcome:
        """Have a command carried out within so many seconds."""
        return self._converse(command, {"": (seconds, "", sys.maxsize)}, limits)

    def start(self, seconds: float = 300.0) -> None:
        """Start the process and load the package and its plugins.

        Raises
        ------
        WorkerLostError
            They do not import, or take too long.
        """
        failed = self._ready(seconds)
        if failed is not None:
            raise WorkerLostError(failed.message)

    def _ready(self, seconds: float) -> Outcome | None:
        """Start the process where there is none; why it failed, or None."""
        if self._process is not None:
            return None
        try:
            self._start()
            first = self._wait({"": (seconds, " (start)", _START_BYTES)}, Limits(), seconds)
            if first.status == "ok":
                self._send({"do": "load", "plugins": list(self.setup.plugins)})
                first = self._wait({"": (seconds, " (start)", _START_BYTES)}, Limits(), seconds)
        except (EOFError, ConnectionError):
            first = self._died()
        if first.status != "ok":
            self.close()
            return first
        self.package = str(first.value["package"])
        if first.value["protocol"] != PROTOCOL:
            self.close()
            return Outcome("error", f"the worker speaks protocol {first.value['protocol']}, this process {PROTOCOL}")
        return None

    def _converse(
        self, command: Mapping[str, Any], stages: Mapping[str, tuple[float, str, int]], limits: Limits
    ) -> Outcome:
        try:
            failed = self._ready(limits.deadline + limits.warm_up)
            if failed is not None:
                return failed
            assert self._log is not None
            if not self.setup.show_output:
                self._log.seek(0)  # the offset is shared with the process: what it wrote about earlier cases is dropped
                self._log.truncate()
            self._send(command)
            return self._wait(stages, limits, limits.deadline)
        except (EOFError, ConnectionError):
            return self._died()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        setup = self.setup
        settings = {
            "parent": os.getpid(),
            "core": setup.core,
            "pipe": theirs.fileno(),
            "path": ([p for p in sys.path if p] or [""]) if setup.search is None else None,
        }
        environment = {k: v for k, v in os.environ.items() if setup.search is None or k != "PYTHONPATH"}
        environment |= {**dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONHASHSEED": "0"}
        if setup.search is not None:
            environment["PYTHONPATH"] = os.pathsep.join(map(str, setup.search))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._unread = b""
        output = sys.stderr.fileno() if setup.show_output else self._log
        with theirs:
            self._process = subprocess.Popen(
                [setup.python, "-P", str(WORKER), json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=setup.folder,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._socket = ours

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._socket is not None
        self._socket.sendall(json.dumps(message, default=str).encode() + b"\n")

    def _wait(self, stages: Mapping[str, tuple[float, str, int]], limits: Limits, deadline: float) -> Outcome:
        """The answer; past a stage's deadline or the memory limit the process is killed, and that is the outcome."""
        assert self._process is not None
        stage, most = "", stages[""][2]
        while True:
            seconds, where, _ = stages.get(stage, (deadline, "", 0))
            message = self._read(time.monotonic() + seconds, most)
            if message is None:
                return Outcome("memory", f"stopped beyond the memory limit of {limits.memory / 2**20:.0f} MiB")
            if not message:
                self.timed_out = True
                return Outcome("timeout", f"stopped after {seconds:g} s{where or (' (start)' if not stage else '')}")
            if "done" in message:
                answer = dict(message["done"])
                loaded = {name: _take(path) for name, path in answer.get("arrays", {}).items()}
                status, text = str(answer.pop("status")), str(answer.pop("message", ""))
                return Outcome(status, text, {**answer, "arrays": loaded})
            stage = str(message["stage"])
            if stage == "prepared":
                most = int(message["bytes"]) + limits.memory

    def _read(self, end: float, most: int) -> dict[str, Any] | None:
        """The next message; {} past ``end`` and None beyond ``most`` bytes, with the process killed."""
        assert self._process is not None
        assert self._socket is not None
        step = _SHORTEST_WATCH
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._socket], [], [], max(0.0, min(step, end - time.monotonic())))
            if ready:
                part = self._socket.recv(1 << 20)
                if not part:
                    raise EOFError
                self._unread += part
                continue
            step = min(2 * step, _LONGEST_WATCH)
            if resident_bytes(self._process.pid) > most:
                self.close()
                return None
            if time.monotonic() >= end:
                self.close()
                return {}
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            message: dict[str, Any] = json.loads(line)
        except ValueError:
            raise ConnectionError("something else than the worker wrote to its socket") from None
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
                return Outcome("crashed", "it closed the connection to its parent")
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
        """Kill the process and whatever it started; the next command starts a new one. The exit code, 0 without a process."""
        code = 0
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._process.kill()
            code = self._process.wait()
            self._process = None
        for thing in (self._socket, self._log):
            if thing is not None:
                thing.close()
        self._socket = self._log = None
        return code

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Scratch:
    """A temporary folder through which arrays reach workers, each written once; use it as a context manager.

    Parameters
    ----------
    kept : int
        Arrays that stay on disk; the oldest are removed beyond that many bytes.
    """

    def __init__(self, kept_bytes: int = 4 << 30) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="semrsm-bench-")
        self.path = Path(self._folder.name)
        self._kept_bytes = kept_bytes
        self._numbers = itertools.count()
        # By identity: the array is kept alive, so that its id stays its own.
        self._written: dict[int, tuple[NDArray[Any], Path]] = {}

    def write(self, array: NDArray[Any]) -> Path:
        """File with the array."""
        known = self._written.get(id(array))
        if known is not None:
            self._written[id(array)] = self._written.pop(id(array))
            return known[1]
        path = self.path / f"{next(self._numbers)}.npy"
        np.save(path, array, allow_pickle=False)
        self._written[id(array)] = (array, path)
        while len(self._written) > 1 and sum(a.nbytes for a, _ in self._written.values()) > self._kept_bytes:
            oldest = next(iter(self._written))
            self._written.pop(oldest)[1].unlink(missing_ok=True)
        return path

    def answer(self) -> Path:
        """Beginning of the names of files that a worker writes its answer to."""
        return self.path / f"answer-{next(self._numbers)}"

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _take(path: str) -> NDArray[Any]:
    """An array that a worker wrote; its file goes."""
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    os.unlink(path)
    return array


def _last_words(log: IO[bytes]) -> str:
    """The last line a dead process wrote, leaving out the interpreter's own crash report."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 8192))
    text = log.read().decode(errors="replace").partition("Fatal Python error")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def describe(plugins: Sequence[Path] = (), kinds: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Declarations of all methods, read in a worker of their own; each says which plugin file brings it.

    Raises
    ------
    ValueError
        A plugin does not load; the message is the plugin's.
    """
    files = tuple(str(Path(plugin).resolve()) for plugin in plugins)
    with Worker(Setup(plugins=files)) as worker:
        try:
            worker.start()
        except WorkerLostError as error:
            raise ValueError(str(error).partition(": ")[2] or str(error)) from None
        outcome = worker.ask({"do": "describe", "kinds": list(kinds) if kinds else None}, 120.0)
    if outcome.status != "ok":
        raise ValueError(f"the methods cannot be listed: {outcome.message}")
    declared: list[dict[str, Any]] = outcome.value["declared"]
    return declared
