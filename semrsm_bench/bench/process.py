"""The parent's side of a worker: a process that is held to deadlines and a memory limit, and replaced when it dies."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.environment import THREAD_VARIABLES
from semrsm_bench.core.method import joined_code

WORKER = Path(__file__).with_name("worker.py")
PROTOCOL = 3
CODE_CHANGED = "its code changed after the run began; run the same command again to measure it"
# Imports of a numerical stack; only a process that outgrows this before its first case is stopped for it.
_START_BYTES = 2 << 30
_START_SECONDS = 300.0
_SHORTEST_WATCH, _LONGEST_WATCH = 0.002, 0.03
_LONGEST_MESSAGE = 8 << 20
_STATUSES = ("ok", "memory", "invalid", "error")
_STAGE_WORDS = {"": " (start)", "prepared": " (warm-up)"}
# CPU time is counted in hundredths of a second. This process may look late at its clock, where others keep it waiting.
_MOST_CORES, _CPU_NOISE, _LATE_SECONDS = 1.25, 0.1, 5.0
_CGROUPS = Path("/sys/fs/cgroup")
# A child that a method has told to end needs so long to be gone.
_ENDING_SECONDS = 0.5


@dataclass(frozen=True)
class CallLimits:
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
class WorkerSetup:
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
        Folders that come first in its module search path, in place of this process's path; what is installed there registers its
        entry points.
    folder : Path or None
        Where it runs.
    show_output : bool
        Let through what methods print, on standard error.
    parts : tuple of (str, str)
        Kind and name of the method it serves, or of all parts of a composite.
    code : str
        Their code: a process that finds other code, because a file changed, is not used. "": it is not compared.
    """

    plugins: tuple[str, ...] = ()
    core: int | None = None
    python: str = sys.executable
    search: tuple[Path, ...] | None = None
    folder: Path | None = None
    show_output: bool = False
    parts: tuple[tuple[str, str], ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Reply:
    """What came of a command.

    Attributes
    ----------
    status : str
        "ok", "timeout", "memory", "crashed", "invalid" or "error".
    message : str
    value : mapping
        The worker's answer; its arrays are loaded.
    wall_seconds : float
        As this process saw it; of an observation without the start of the process and a warm-up that came to its end.
    machine : bool
        It is the machine's fault and not the method's: worth another try.
    """

    status: str
    message: str = ""
    value: Mapping[str, Any] = field(default_factory=dict)
    wall_seconds: float = 0.0
    machine: bool = False


class WorkerLostError(RuntimeError):
    """The process did not start, died, or had to be killed; ``status`` and ``machine`` are those of the reply."""

    def __init__(self, status: str, message: str, machine: bool = False) -> None:
        super().__init__(message)
        self.status, self.machine = status, machine


class _Running(NamedTuple):
    """A process that was started, the socket to it, and the file that takes its output."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    log: IO[bytes]


class WorkerProcess:
    """One worker process; use it as a context manager. Between two commands it is stopped: its threads take no time from others.

    Parameters
    ----------
    setup : WorkerSetup

    Attributes
    ----------
    timed_out : bool
        A method ran into its deadline: the next one gets no more time for a warm-up.
    package : str
        File of the package that the process imported.
    """

    def __init__(self, setup: WorkerSetup = WorkerSetup()) -> None:
        self.setup = setup
        self.timed_out = False
        self.package = ""
        self._alive: _Running | None = None
        self._unread = b""
        self._number = 0
        # Kills for want of memory that the system had counted when the process was last heard of
        self._memory_kills = 0
        # Stage -> this process's clock, and the CPU time of the worker and all that it started
        self._noted: dict[str, tuple[float, float]] = {}

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._alive.process.pid if self._alive else None

    def observe(self, command: Mapping[str, Any], limits: CallLimits, input_bytes: int) -> Reply:
        """Have a method observed on a case; whatever the method does, a `Reply` comes back."""
        started = time.monotonic()
        once = limits.deadline + limits.warm_up
        deadlines = {"": once, "prepared": once, "warm": limits.deadline, "probed": once}
        if self.timed_out:
            deadlines["prepared"] = limits.deadline
        self._noted.clear()
        command = {"do": "observe", "memory": limits.memory, **command}
        reply = self._reply(command, deadlines, _START_BYTES + 8 * input_bytes + limits.memory)
        if reply.status == "ok":
            reply = self._judged(reply)
        elif self._alive is not None:
            self._left_running()
        noted = {stage: at for stage, (at, _) in self._noted.items()}
        # Starting a process, its imports and compilation belong to no case.
        wall = time.monotonic() - noted.get("started", started)
        if "warm" in noted:
            wall -= noted["warm"] - noted["prepared"]
        return replace(reply, wall_seconds=wall)

    def ask(self, command: Mapping[str, Any], seconds: float, memory: int = sys.maxsize) -> Reply:
        """Have a command carried out within so many seconds, by a process of no more than so many bytes."""
        return self._reply(command, {"": seconds}, memory)

    def start(self, seconds: float = _START_SECONDS) -> None:
        """Start the process, unless there is one, and load the package and its plugins.

        Raises
        ------
        WorkerLostError
            They do not import, take too long, or hold other code than was expected.
        """
        if self._alive is not None:
            return
        self._memory_kills = memory_kills()
        self._alive, self._unread, self._number = _spawn(self.setup), b"", 0
        command: dict[str, Any] = {
            "do": "load",
            "plugins": self.setup.plugins,
            "entry_points": self.setup.search is not None,
        }
        command["methods"] = self.setup.parts if self.setup.code else ()
        reply = self._ask(command, {"": seconds}, _START_BYTES)
        if reply.status != "ok":
            raise self._lost(reply.status, reply.message)
        protocol = reply.value.get("protocol")
        if protocol != PROTOCOL:
            raise self._lost("error", f"the worker speaks protocol {protocol}, this process {PROTOCOL}")
        if self.setup.code and joined_code(reply.value.get("codes") or [""]) != self.setup.code:
            raise self._lost("error", CODE_CHANGED)
        self.package = str(reply.value.get("package"))

    def close(self) -> int:
        """Kill the process and whatever it started; the next command starts a new one. The exit code, 0 without a process."""
        if self._alive is None:
            return 0
        process = self._alive.process
        started = descendants(process.pid)  # also those that left its group
        for kill, pid in ((os.killpg, process.pid), *((os.kill, pid) for pid in started)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
        process.kill()
        code = process.wait()
        self._alive.socket.close()
        self._alive.log.close()
        self._alive = None
        return code

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _judged(self, reply: Reply) -> Reply:
        """An observation that is complete, and whose times agree with this process's clock; else why it is not."""
        times = reply.value.get("seconds"), reply.value.get("shared_seconds")
        complete = isinstance(reply.value.get("info", {}), dict) and all(
            isinstance(each, list) and all(isinstance(t, (int, float)) and 0 <= t < math.inf for t in each)
            for each in times
        )
        if not complete:
            self.close()
            return Reply("crashed", "its answer lacks times or arrays")
        doubt = self._doubt(reply.value["seconds"]) or self._left_running()
        return Reply("invalid", doubt) if doubt else reply

    def _left_running(self) -> str:
        """That a method left processes behind, which are killed with the worker; or "". Those that are ending get a moment."""
        assert self._alive is not None
        end = time.monotonic() + _ENDING_SECONDS
        while names := running_names(descendants(self._alive.process.pid)):
            if time.monotonic() > end:
                self.close()
                return f"it left {', '.join(names)} running after the call; killed"
            time.sleep(0.01)
        return ""

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

    def _reply(self, command: Mapping[str, Any], deadlines: Mapping[str, float], most: int) -> Reply:
        """What came of a command; a process that is lost on the way is a reply, too."""
        try:
            self.start()
            self._noted["started"] = time.monotonic(), 0.0
            if self._alive and not self.setup.show_output:
                # The offset is shared with the process: its output about earlier cases is dropped.
                self._alive.log.seek(0)
                self._alive.log.truncate()
            return self._ask(command, deadlines, most)
        except WorkerLostError as error:
            return Reply(error.status, str(error), machine=error.machine)
        except BaseException:
            self.close()
            raise

    def _ask(self, command: Mapping[str, Any], deadlines: Mapping[str, float], most: int) -> Reply:
        """Send a command and wait for its answer. Each stage that the process reports begins a deadline of its own."""
        assert self._alive is not None
        memory = int(command.get("memory", most))
        self._signal(signal.SIGCONT)
        try:
            self._number += 1
            line = json.dumps({"id": self._number, **command}, default=str).encode() + b"\n"
            self._alive.socket.sendall(line)
            stage, ahead = "", list(deadlines)[1:]
            while True:
                message = self._message(stage, deadlines[stage], most, memory)
                if "done" in message:
                    self._memory_kills = memory_kills()
                    self._signal(signal.SIGSTOP)
                    return self._answer(message["done"], str(command.get("out", "")))
                stage, size = str(message.get("stage")), message.get("bytes")
                if stage not in ahead or not isinstance(size, int):
                    raise self._foreign()
                ahead = ahead[ahead.index(stage) + 1 :]
                self._noted[stage] = time.monotonic(), tree_cpu_seconds(self._alive.process.pid)
                self._alive.socket.sendall(b"{}\n")
                if stage == "prepared":
                    most = size + memory
        except (EOFError, ConnectionError):
            raise self._death() from None

    def _signal(self, number: signal.Signals) -> None:
        """Stop the process or let it go on, where it dies with this one even when it is stopped."""
        assert self._alive is not None
        if sys.platform == "linux":
            os.kill(self._alive.process.pid, number)  # it is not reaped: there is such a process

    def _message(self, stage: str, seconds: float, most: int, memory: int) -> dict[str, Any]:
        """The next message. A process that is past the stage's deadline or holds more than ``most`` bytes is killed."""
        assert self._alive is not None
        process, pipe, _ = self._alive
        end, step = time.monotonic() + seconds, _SHORTEST_WATCH
        while b"\n" not in self._unread:
            gone = _exited(process)
            ready, _, _ = select.select([pipe], [], [], max(0.0, min(step, end - time.monotonic())))
            if ready:
                part = pipe.recv(1 << 20)
                self._unread += part
                if not part:
                    raise EOFError
                if len(self._unread) > _LONGEST_MESSAGE:
                    raise self._foreign()
                continue
            if gone:  # a child that it forked may still hold the socket
                raise EOFError
            step = min(2 * step, _LONGEST_WATCH)
            if tree_bytes(process.pid) > most:
                raise self._lost("memory", f"stopped beyond the memory limit of {memory / 2**20:.0f} MiB")
            if time.monotonic() >= end:
                self.timed_out = True
                raise self._lost("timeout", f"stopped after {seconds:g} s{_STAGE_WORDS.get(stage, '')}")
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or message.get("id") != self._number or len(message) < 2:
            raise self._foreign()
        return message

    def _answer(self, done: Any, out: str) -> Reply:
        """What the worker said in the end, with its arrays; only files that it was asked for are taken."""
        if not isinstance(done, dict) or done.get("status") not in _STATUSES:
            raise self._foreign()
        value = {k: v for k, v in done.items() if k not in ("status", "message", "arrays", "machine")}
        paths = done.get("arrays") or {}
        if not isinstance(paths, dict) or any(not out or path != f"{out}-{name}.npy" for name, path in paths.items()):
            raise self._lost("crashed", "it names files that are not its answer")
        try:
            value["arrays"] = {name: _take(path) for name, path in paths.items()}
        except (OSError, ValueError, EOFError, MemoryError) as error:
            return Reply("invalid", f"its answer cannot be read: {error}"[:500])
        return Reply(done["status"], str(done.get("message", "")), value, machine=done.get("machine") is True)

    def _lost(self, status: str, message: str) -> WorkerLostError:
        """Kill what cannot be used any longer; the error to raise."""
        self.close()
        return WorkerLostError(status, message)

    def _foreign(self) -> WorkerLostError:
        return self._lost("crashed", "something else than the worker wrote to its socket")

    def _death(self) -> WorkerLostError:
        """Why the process ended on its own."""
        assert self._alive is not None
        end = time.monotonic() + 5
        while not _exited(self._alive.process):
            if time.monotonic() > end:
                return self._lost("crashed", "it closed the connection to its parent")
            time.sleep(0.01)
        said = _last_line(self._alive.log)
        code = self.close()
        if code == -signal.SIGKILL and memory_kills() > self._memory_kills:
            return WorkerLostError("memory", "killed by the system for want of memory", machine=True)
        if "bad_alloc" in said or "MemoryError" in said:
            return WorkerLostError("memory", f"out of memory: {said}")
        names = {int(s): s.name for s in signal.Signals}
        how = f"killed by {names.get(-code, f'signal {-code}')}" if code < 0 else f"exited with code {code}"
        return WorkerLostError("crashed", f"{how}: {said}" if said else how)


def _spawn(setup: WorkerSetup) -> _Running:
    ours, theirs = socket.socketpair()
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
    log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
    output = sys.stderr.fileno() if setup.show_output else log
    with theirs:
        process = subprocess.Popen(
            [setup.python, "-P", str(WORKER), json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=setup.folder,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    return _Running(process, ours, log)


def _exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended. It is not reaped: its id stays taken until `WorkerProcess.close` has killed its group."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _take(path: str) -> NDArray[Any]:
    """An array that a worker wrote; its file goes."""
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    finally:
        Path(path).unlink(missing_ok=True)
    return array


def _last_line(log: IO[bytes]) -> str:
    """The last line that a dead process wrote, leaving out the interpreter's own crash report."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 8192))
    text = log.read().decode(errors="replace").partition("Fatal Python error")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


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


def running_names(pids: Iterable[int]) -> list[str]:
    """Name and id of each of these processes that still runs."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
            if rest.split()[0] not in "ZX":
                found.append(f"{name} (process {pid})")
    return found


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and of those that it started; pages that they share count once, or nearly."""
    total = resident_bytes(pid)
    for child in descendants(pid):
        with contextlib.suppress(OSError, ValueError):
            text = Path(f"/proc/{child}/smaps_rollup").read_text()
            total += int(text.partition("Pss:")[2].split(maxsplit=1)[0]) * 1024
    return total


def memory_kills() -> int:
    """How many processes the system has killed for want of memory: in this process's control group, or else in all; 0 where
    it does not count them.
    """
    counters = []
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers in ("", "memory"):
                folder = _CGROUPS / controllers / group.lstrip("/")
                counters.append(folder / ("memory.oom_control" if controllers else "memory.events"))
    for path in (*counters, Path("/proc/vmstat")):
        with contextlib.suppress(OSError, ValueError):
            if found := re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE):
                return int(found[1])
    return 0


def tree_cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all that it started; 0 where the system does not tell."""
    ticks = 0
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
