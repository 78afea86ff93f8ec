"""The parent's side of a worker: a process that is held to deadlines and a memory limit, and replaced when it dies."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
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
_START_SECONDS = 300.0
_SHORTEST_WATCH, _LONGEST_WATCH = 0.002, 0.03
_LONGEST_MESSAGE = 8 << 20
_STATUSES = ("ok", "memory", "invalid", "error")
# CPU time is counted in hundredths of a second. This process may look late at its clock, where others keep it waiting.
_MOST_CORES, _CPU_NOISE, _LATE_SECONDS = 1.25, 0.1, 5.0


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
        Files, or entry points, that it imports first.
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
    expected : (str, str, str) or None
        Kind, name and code digest of a method: a process that finds other code, because a file changed meanwhile, is not used.
    """

    plugins: tuple[str, ...] = ()
    core: int | None = None
    python: str = sys.executable
    search: tuple[Path, ...] | None = None
    folder: Path | None = None
    show_output: bool = False
    expected: tuple[str, str, str] | None = None


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


class _ForeignMessageError(Exception):
    """What came over the socket was not written by the worker."""


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
        self._asked = 0
        # Stage -> this process's clock, and the CPU time of the worker and all that it started
        self._noted: dict[str, tuple[float, float]] = {}

    def observe(self, command: Mapping[str, Any], limits: Limits, input_bytes: int) -> Outcome:
        """Have a method observed on a case; whatever the method does, an `Outcome` comes back."""
        started = time.monotonic()
        warm_up = 0.0 if self.timed_out else limits.warm_up
        stages = {
            "": (limits.deadline + limits.warm_up, "", _START_BYTES + 8 * input_bytes + limits.memory),
            "prepared": (limits.deadline + warm_up, " (warm-up)", 0),
            "warm": (limits.deadline, "", 0),
            "probed": (limits.deadline + limits.warm_up, "", 0),
        }
        self._noted.clear()
        outcome = self._converse({"do": "observe", "memory": limits.memory, **command}, stages, limits)
        if outcome.status == "ok" and not _is_complete(outcome.value):
            outcome = self._refuse("its answer lacks times or arrays")
        doubt = self._doubt(outcome.value["seconds"]) if outcome.status == "ok" else ""
        if doubt:
            outcome = Outcome("invalid", doubt)
        return Outcome(outcome.status, outcome.message, outcome.value, time.monotonic() - started)

    def _doubt(self, claimed: Sequence[float]) -> str:
        """Why the time of the first call cannot be what the process says, by this one's clock and by the CPU time; or ""."""
        if not claimed or not {"warm", "probed"} <= self._noted.keys():
            return ""
        wall, used = (end - start for start, end in zip(self._noted["warm"], self._noted["probed"]))
        if used > _MOST_CORES * wall + _CPU_NOISE:
            return f"it used {used / wall:.1f} cores; one is allowed"
        if used > _MOST_CORES * claimed[0] + _CPU_NOISE:
            return f"a call that is said to have lasted {claimed[0]:.3g} s took {used:.3g} s of CPU time"
        if wall > 2 * claimed[0] + _LATE_SECONDS:
            return f"a call that is said to have lasted {claimed[0]:.3g} s took {wall:.3g} s"
        return ""

    def ask(self, command: Mapping[str, Any], seconds: float, memory: int = sys.maxsize) -> Outcome:
        """Have a command carried out within so many seconds, by a process of no more than so many bytes."""
        return self._converse(command, {"": (seconds, "", memory)}, Limits(memory=memory))

    def start(self, seconds: float = _START_SECONDS) -> None:
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
        stages = {"": (seconds, " (start)", _START_BYTES)}
        try:
            self._start()
            first = self._wait(stages, Limits())
            if first.status == "ok":
                self._send({"do": "load", "plugins": list(self.setup.plugins)})
                first = self._wait(stages, Limits())
            if first.status == "ok":
                self.package = str(first.value["package"])
                first = self._check(first.value["protocol"], stages)
        except (EOFError, ConnectionError):
            first = self._died()
        except _ForeignMessageError as error:
            first = self._refuse(str(error))
        if first.status != "ok":
            self.close()
            return first
        return None

    def _check(self, protocol: object, stages: Mapping[str, tuple[float, str, int]]) -> Outcome:
        if protocol != PROTOCOL:
            return Outcome("error", f"the worker speaks protocol {protocol}, this process {PROTOCOL}")
        if self.setup.expected is None:
            return Outcome("ok")
        kind, name, code = self.setup.expected
        self._send({"do": "code", "kind": kind, "name": name})
        found = self._wait(stages, Limits())
        if found.status == "ok" and found.value["code"] != code:
            return Outcome("error", "its code changed after the run began; run the same command again to measure it")
        return found

    def _converse(
        self, command: Mapping[str, Any], stages: Mapping[str, tuple[float, str, int]], limits: Limits
    ) -> Outcome:
        try:
            failed = self._ready(_START_SECONDS)
            if failed is not None:
                return failed
            assert self._log is not None
            if not self.setup.show_output:
                self._log.seek(0)  # the offset is shared with the process: what it wrote about earlier cases is dropped
                self._log.truncate()
            self._send(command)
            return self._wait(stages, limits, str(command.get("out", "")))
        except (EOFError, ConnectionError):
            return self._died()
        except _ForeignMessageError as error:
            return self._refuse(str(error))
        except BaseException:
            self.close()
            raise

    def _refuse(self, why: str) -> Outcome:
        """The outcome of a process that cannot be trusted any longer."""
        self.close()
        return Outcome("crashed", why)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        setup = self.setup
        settings = {
            "parent": os.getpid(),
            "core": setup.core,
            "pipe": theirs.fileno(),
            "path": [p or os.getcwd() for p in sys.path] if setup.search is None else None,
        }
        environment = {k: v for k, v in os.environ.items() if setup.search is None or k != "PYTHONPATH"}
        environment |= {**dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONHASHSEED": "0"}
        if setup.search is not None:
            environment["PYTHONPATH"] = os.pathsep.join(map(str, setup.search))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._unread, self._asked = b"", 0
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
        self._asked += 1
        self._socket.sendall(json.dumps({"id": self._asked, **message}, default=str).encode() + b"\n")

    def _wait(self, stages: Mapping[str, tuple[float, str, int]], limits: Limits, out: str = "") -> Outcome:
        """The answer; past a stage's deadline or the memory limit the process is killed, and that is the outcome."""
        stage, most, ahead = "", stages[""][2], list(stages)[1:]
        while True:
            seconds, where, _ = stages[stage]
            message = self._read(time.monotonic() + seconds, most)
            if message is None:
                return Outcome("memory", f"stopped beyond the memory limit of {limits.memory / 2**20:.0f} MiB")
            if not message:
                self.timed_out = True
                return Outcome("timeout", f"stopped after {seconds:g} s{where or (' (start)' if not stage else '')}")
            if "done" in message:
                return _answer(message["done"], out)
            stage, size = str(message.get("stage")), message.get("bytes")
            if stage not in ahead or not isinstance(size, int):
                raise _ForeignMessageError("something else than the worker wrote to its socket")
            ahead = ahead[ahead.index(stage) + 1 :]
            assert self._process is not None
            assert self._socket is not None
            self._noted[stage] = time.monotonic(), tree_cpu_seconds(self._process.pid)
            self._socket.sendall(b"{}\n")
            if stage == "prepared":
                most = size + limits.memory

    def _read(self, end: float, most: int) -> dict[str, Any] | None:
        """The next message; {} past ``end`` and None beyond ``most`` bytes, with the process killed."""
        assert self._process is not None
        assert self._socket is not None
        step = _SHORTEST_WATCH
        while b"\n" not in self._unread:
            gone = self._exited()
            ready, _, _ = select.select([self._socket], [], [], max(0.0, min(step, end - time.monotonic())))
            if ready:
                part = self._socket.recv(1 << 20)
                self._unread += part
                if not part:
                    raise EOFError
                if len(self._unread) > _LONGEST_MESSAGE:
                    raise _ForeignMessageError("something else than the worker wrote to its socket")
                continue
            if gone:  # a child that it forked may still hold the socket
                raise EOFError
            step = min(2 * step, _LONGEST_WATCH)
            if tree_bytes(self._process.pid) > most:
                self.close()
                return None
            if time.monotonic() >= end:
                self.close()
                return {}
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or message.get("id") != self._asked or len(message) < 2:
            raise _ForeignMessageError("something else than the worker wrote to its socket")
        return message

    def _exited(self) -> bool:
        """Whether the process has ended. It is not reaped: its id must stay ours until `close` has killed its group."""
        assert self._process is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _died(self) -> Outcome:
        """Why the process ended on its own."""
        assert self._process is not None
        assert self._log is not None
        end = time.monotonic() + 5
        while not self._exited():
            if time.monotonic() > end:
                return self._refuse("it closed the connection to its parent")
            time.sleep(0.01)
        said = _last_words(self._log)
        code = self.close()
        if code == -signal.SIGKILL:
            return Outcome("memory", "killed by the system, most likely for want of memory")
        if "bad_alloc" in said or "MemoryError" in said:
            return Outcome("memory", f"out of memory: {said}")
        names = {int(s): s.name for s in signal.Signals}
        how = f"killed by {names.get(-code, f'signal {-code}')}" if code < 0 else f"exited with code {code}"
        return Outcome("crashed", f"{how}: {said}" if said else how)

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process else None

    def close(self) -> int:
        """Kill the process and whatever it started; the next command starts a new one. The exit code, 0 without a process."""
        code = 0
        if self._process is not None:
            started = descendants(self._process.pid)  # also those that left its group
            for kill, pid in ((os.killpg, self._process.pid), *((os.kill, pid) for pid in started)):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(pid, signal.SIGKILL)
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
    kept_bytes : int
        Of arrays that stay there when others come, beside those in use.
    """

    def __init__(self, kept_bytes: int = 1 << 30) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="semrsm-bench-")
        self.path = Path(self._folder.name)
        self._kept_bytes = kept_bytes
        self._numbers = itertools.count()
        # By identity: the array is kept alive, so that its id stays its own.
        self._written: dict[int, tuple[NDArray[Any], Path]] = {}

    def write(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
        """Files with the arrays, by name. They stay until the next call at least."""
        for array in arrays.values():
            known = self._written.pop(id(array), None)
            if known is None:
                known = array, self.path / f"{next(self._numbers)}.npy"
                np.save(known[1], array, allow_pickle=False)
            self._written[id(array)] = known
        total = sum(array.nbytes for array, _ in self._written.values())
        for key in list(self._written)[: -len(arrays) or None]:
            if total <= self._kept_bytes:
                break
            array, path = self._written.pop(key)
            total -= array.nbytes
            path.unlink(missing_ok=True)
        return {name: str(self._written[id(array)][1]) for name, array in arrays.items()}

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


def descendants(pid: int) -> list[int]:
    """Ids of all processes that a process started and that are still there."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in path.read_text().split()]
    return [*found, *(further for child in found for further in descendants(child))]


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and of those that it started; pages that they share count once, or nearly."""
    total = resident_bytes(pid)
    for child in descendants(pid):
        with contextlib.suppress(OSError, ValueError):
            text = Path(f"/proc/{child}/smaps_rollup").read_text()
            total += int(text.partition("Pss:")[2].split(maxsplit=1)[0]) * 1024
    return total


def tree_cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all that it started; 0 where the system does not tell."""
    ticks = 0
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _answer(done: Any, out: str) -> Outcome:
    """What the worker said in the end, with its arrays; only files that it was asked for are taken."""
    if not isinstance(done, dict) or done.get("status") not in _STATUSES:
        raise _ForeignMessageError("something else than the worker wrote to its socket")
    value = {k: v for k, v in done.items() if k not in ("status", "message", "arrays")}
    paths = done.get("arrays") or {}
    if not isinstance(paths, dict) or any(not out or path != f"{out}-{name}.npy" for name, path in paths.items()):
        raise _ForeignMessageError("it names files that are not its answer")
    try:
        value["arrays"] = {name: _take(path) for name, path in paths.items()}
    except (OSError, ValueError, EOFError, MemoryError) as error:
        return Outcome("invalid", f"its answer cannot be read: {error}"[:500])
    return Outcome(done["status"], str(done.get("message", "")), value)


def _is_complete(value: Mapping[str, Any]) -> bool:
    """Whether an observation has all that a row needs."""
    times = value.get("seconds"), value.get("shared_seconds")
    return isinstance(value.get("info", {}), dict) and all(
        isinstance(each, list) and all(isinstance(t, (int, float)) and 0 <= t < math.inf for t in each)
        for each in times
    )


def _take(path: str) -> NDArray[Any]:
    """An array that a worker wrote; its file goes."""
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    finally:
        Path(path).unlink(missing_ok=True)
    return array


def _last_words(log: IO[bytes]) -> str:
    """The last line a dead process wrote, leaving out the interpreter's own crash report."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 8192))
    text = log.read().decode(errors="replace").partition("Fatal Python error")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def describe(plugins: Sequence[str | Path] = (), kinds: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Declarations of all methods, read in a worker of their own; each says which plugin, a file or an entry point, brings it.

    Raises
    ------
    ValueError
        A plugin does not load; the message is the plugin's.
    """
    with Worker(Setup(plugins=tuple(map(str, plugins)))) as worker:
        try:
            worker.start()
        except WorkerLostError as error:
            raise ValueError(str(error).partition(": ")[2] or str(error)) from None
        outcome = worker.ask({"do": "describe", "kinds": list(kinds) if kinds else None}, 120.0)
    if outcome.status != "ok":
        raise ValueError(f"the methods cannot be listed: {outcome.message}")
    declared: list[dict[str, Any]] = outcome.value["declared"]
    return declared
