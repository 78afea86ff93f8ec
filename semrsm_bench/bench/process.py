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
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil

from semrsm_bench.bench.start import start_worker
from semrsm_bench.core.clock import MOST_COMPILING
from semrsm_bench.core.ending import LONGEST_SAID, how_it_ended
from semrsm_bench.core.environments import Environment
from semrsm_bench.core.files import explain, of_the_machine
from semrsm_bench.core.method import Declaration

T = TypeVar("T")

# Imports of a numerical stack; only a process that outgrows this before its first case is stopped for it.
_START_BYTES = 2 << 30
_START_SECONDS = 300.0
_SHORTEST_WATCH, _LONGEST_WATCH = 0.002, 0.03
_LONGEST_MESSAGE = 8 << 20
# What a worker reports, in this order; see `semrsm_bench.core.clock.Clock`.
_STAGES = ("prepared", "warm", *["again"] * MOST_COMPILING, "probed")
# CPU time is counted in hundredths of a second. This process may look late at its clock, where others keep it waiting.
_MOST_CORES, _CPU_NOISE, _LATE_SECONDS = 1.25, 0.1, 5.0
_CGROUPS = Path("/sys/fs/cgroup")
# A child that a method has told to end needs so long to be gone.
_ENDING_SECONDS = 0.5


@dataclass(frozen=True)
class CallLimits:
    """What one observation may cost: seconds for a call, bytes beyond its inputs, and seconds more where it warms up."""

    deadline: float = 60.0
    memory: int = 4 << 30
    warm_up: float = 60.0


@dataclass(frozen=True)
class WorkerSetup:
    """How a worker process is started.

    It imports ``plugins`` (files or entry points) first. With ``search``, folders take the place of this process's module path,
    and what is installed there registers its entry points. ``method``, a kind and a name, is imported at the start, too.
    ``alone``: ``python`` is that of another environment, whose libraries are beside this package, and none of this process's.
    ``program``: the method runs one, "once" for each call, or "persistent": it stays between two commands, stopped.
    """

    plugins: tuple[str, ...] = ()
    core: int | None = None
    python: str = sys.executable
    search: tuple[Path, ...] | None = None
    folder: Path | None = None
    show_output: bool = False
    method: tuple[str, str] | None = None
    alone: bool = False
    program: str = ""


def setup_for(method: Declaration, core: int | None = None, *, show_output: bool = False) -> WorkerSetup:
    """How the worker of a method is started: with the files that bring it, under the interpreter that it needs."""
    return WorkerSetup(
        method.plugins,
        core,
        str(Environment(method.environment).python) if method.environment else sys.executable,
        show_output=show_output,
        method=(method.kind, method.name),
        alone=bool(method.environment),
        program=str(method.facts.get("program", "")),
    )


@dataclass(frozen=True)
class Reply:
    """What came of a command: a status ("ok", "timeout", "memory", "crashed", "invalid", "error"), why, and the answer.

    ``wall_seconds`` of an observation leave out the start of the process and a warm-up that came to its end. ``machine`` says
    that the machine failed and not the method: worth another try.
    """

    status: str
    message: str = ""
    value: Mapping[str, Any] = field(default_factory=dict)
    wall_seconds: float = 0.0
    machine: bool = False

    @classmethod
    def of_the_machine(cls, error: OSError) -> Reply:
        """The reply for an error that is the machine's fault; any other is raised again."""
        if not of_the_machine(error):
            raise error
        return cls("error", explain(error), machine=True)


class _LostError(Exception):
    """The process did not start, died, or was killed."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class WorkerProcess(contextlib.AbstractContextManager["WorkerProcess"]):
    """One worker process; use it as a context manager. Between two commands it is stopped: its threads take no time from others.

    ``on_compiling`` is called before the first function of this package is compiled in it.
    """

    def __init__(self, setup: WorkerSetup = WorkerSetup(), on_compiling: Callable[[], None] = lambda: None) -> None:
        self.setup, self._on_compiling = setup, on_compiling
        # A method ran into its deadline: the next one gets no more time for a warm-up.
        self.timed_out = False
        # File of the package that the process imported
        self.package = ""
        self._process: Any = None
        self._unread = b""
        self._number = 0
        # It has said that it compiles.
        self._compiles = False
        # Kills for want of memory that the system had counted when the process was last heard of
        self._memory_kills = 0
        # Stage -> this process's clock, and the CPU time of the worker and all that it started
        self._noted: dict[str, tuple[float, float]] = {}

    @property
    def pid(self) -> int | None:
        """The process's number, while there is one."""
        return self._process.pid if self._process else None

    def observe(self, command: Mapping[str, Any], limits: CallLimits, input_bytes: int) -> Reply:
        """Have a method observed on a case; whatever the method does, a `Reply` comes back."""
        started = time.monotonic()
        once = limits.deadline + limits.warm_up
        deadlines = {"": once, "prepared": once, "warm": limits.deadline, "again": limits.deadline, "probed": once}
        if self.timed_out:
            deadlines["prepared"] = limits.deadline
        self._noted.clear()
        command = {"do": "observe", "memory": limits.memory, **command}
        reply = self.ask(command, deadlines, _START_BYTES + 8 * input_bytes + limits.memory)
        if reply.status == "ok":
            times = [reply.value.get("seconds"), reply.value.get("shared_seconds")]
            claimed = [t for each in times if isinstance(each, list) for t in each]
            sound = all(isinstance(t, (int, float)) and 0 <= t < math.inf for t in claimed)
            if not sound or not all(isinstance(each, list) for each in times):
                self.close()
                reply = Reply("crashed", "its answer lacks times or arrays")
            elif doubt := self._doubt(reply.value["seconds"]) or self._left_running():
                reply = Reply("invalid", doubt)
        elif self._process:
            self._left_running()
        # Starting a process, its imports and compilation belong to no case.
        noted = {stage: at for stage, (at, _) in self._noted.items()}
        warmed = noted.get("again", noted["warm"]) - noted["prepared"] if "warm" in noted else 0.0
        return replace(reply, wall_seconds=time.monotonic() - noted.get("started", started) - warmed)

    def close(self) -> int:
        """Kill the process and whatever it started; the next command starts a new one. The exit code, 0 without a process."""
        if not self._process:
            return 0
        pid = self._process.pid
        started = descendants(pid)  # also those that left its group
        for kill, each in ((os.killpg, pid), *((os.kill, child) for child in started)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(each, signal.SIGKILL)
        self._process.kill()
        code = int(self._process.wait())
        self._socket.close()
        self._log.close()
        if self._files:
            self._files.cleanup()
        self._process = None
        return code

    def __exit__(self, *error: object) -> None:
        self.close()

    def _left_running(self) -> str:
        """Which processes a method left behind, or ""; they are killed with the worker. Those that are ending get a moment."""
        if self.setup.program == "persistent":
            return ""
        end, gone = time.monotonic() + _ENDING_SECONDS, (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        while True:
            found = _asked(lambda p: (p.status(), f"{p.name()} (process {p.pid})"), *descendants(self._process.pid))
            names = [name for status, name in found if status not in gone]
            if not names or time.monotonic() > end:
                break
            time.sleep(0.01)
        if names:
            self.close()
        return f"it left {', '.join(names)} running after the call; killed" if names else ""

    def _doubt(self, claimed: list[float]) -> str:
        """Why the time of the first call cannot be what the process says, by this one's clock and by the CPU time; or ""."""
        if not claimed or not {"warm", "probed"} <= self._noted.keys():
            return ""
        if min(claimed) <= 0:
            return "its clock stood still during a call"
        began = self._noted.get("again", self._noted["warm"])
        wall, used = (end - start for start, end in zip(began, self._noted["probed"]))
        if used > _MOST_CORES * wall + _CPU_NOISE:
            return f"it used {used / wall:.1f} cores; one is allowed"
        said = f"a call that is said to have lasted {claimed[0]:.3g} s took"
        if used > _MOST_CORES * claimed[0] + _CPU_NOISE:
            return f"{said} {used:.3g} s of CPU time"
        return f"{said} {wall:.3g} s" if wall > 2 * claimed[0] + _LATE_SECONDS else ""

    def ask(self, command: Mapping[str, Any], seconds: float | Mapping[str, float], memory: int = sys.maxsize) -> Reply:
        """Have a command carried out within so many seconds (by stage), by a process of no more than so many bytes."""
        try:
            if not self._process:
                self._start()
            self._noted["started"] = time.monotonic(), 0.0
            if not self.setup.show_output:
                # The offset is shared with the process: its output about earlier cases is dropped.
                self._log.seek(0)
                self._log.truncate()
            return self._ask(command, seconds if isinstance(seconds, Mapping) else {"": seconds}, memory)
        except _LostError as error:
            return error.reply
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        """Start the process, and have it load the package and its plugins."""
        setup = self.setup
        self._socket, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        # Files of a program go with the process, however that ends.
        self._files = tempfile.TemporaryDirectory(prefix="semrsm-bench-") if setup.program else None
        output = sys.stderr.fileno() if setup.show_output else self._log
        self._memory_kills, self._unread, self._number, self._compiles = memory_kills(), b"", 0, False
        with theirs:
            self._process = start_worker(
                theirs,
                output,
                core=setup.core,
                folder=setup.folder,
                python=setup.python,
                search=setup.search,
                alone=setup.alone,
            )
        command = {
            "do": "load",
            "plugins": setup.plugins,
            "entry_points": setup.search is not None,
            "method": setup.method,
            "scratch": self._files.name if self._files else "",
        }
        reply = self._ask(command, {"": _START_SECONDS}, _START_BYTES)
        if reply.status != "ok":
            raise self._lost(reply.status, reply.message, reply.machine)
        self.package = str(reply.value.get("package"))

    def _ask(self, command: Mapping[str, Any], deadlines: Mapping[str, float], most: int) -> Reply:
        """Send a command and wait for its answer. Each stage that the process reports begins another deadline."""
        memory = int(command.get("memory", most))
        self._signal(signal.SIGCONT)
        try:
            self._number += 1
            self._socket.sendall(json.dumps({"id": self._number, **command}, default=str).encode() + b"\n")
            stage, ahead = "", [stage for stage in _STAGES if stage in deadlines]
            while "done" not in (message := self._message(stage, deadlines[stage], most, memory)):
                # Once: it begins the stage's deadline anew.
                if message.get("stage") == "compiling" and not self._compiles:
                    self._compiles = True
                    self._on_compiling()
                    self._socket.sendall(b"{}\n")
                    continue
                stage, size = str(message.get("stage")), message.get("bytes")
                if stage not in ahead or not isinstance(size, int):
                    raise self._foreign()
                ahead = ahead[ahead.index(stage) + 1 :]
                self._noted[stage] = time.monotonic(), tree_cpu_seconds(self._process.pid)
                self._socket.sendall(b"{}\n")
                if stage == "prepared":
                    most = size + memory
            self._memory_kills = memory_kills()
            self._signal(signal.SIGSTOP)
            return self._answer(message["done"], str(command.get("out", "")))
        except (EOFError, ConnectionError):
            raise self._death() from None

    def _signal(self, number: signal.Signals) -> None:
        """Stop the process or let it go on, where it dies with this one even when it is stopped."""
        if sys.platform == "linux":
            os.kill(self._process.pid, number)  # it is not reaped: there is such a process
            for child in descendants(self._process.pid) if self.setup.program == "persistent" else ():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, number)

    def _message(self, stage: str, seconds: float, most: int, memory: int) -> dict[str, Any]:
        """The next message. A process that is past the stage's deadline or holds more than ``most`` bytes is killed."""
        end, step = time.monotonic() + seconds, _SHORTEST_WATCH
        while b"\n" not in self._unread:
            gone = self._exited()
            ready, _, _ = select.select([self._socket], [], [], max(0.0, min(step, end - time.monotonic())))
            if ready:
                part = self._socket.recv(1 << 20)
                self._unread += part
                if not part:
                    raise EOFError
                if len(self._unread) > _LONGEST_MESSAGE:
                    raise self._foreign()
                continue
            if gone:  # a child that it forked may still hold the socket
                raise EOFError
            step = min(2 * step, _LONGEST_WATCH)
            if _tree_bytes(self._process.pid) > most:
                raise self._lost("memory", f"stopped beyond the memory limit of {memory / 2**20:.0f} MiB")
            if time.monotonic() >= end:
                self.timed_out = True
                when = {"": " (start)", "prepared": " (warm-up)"}.get(stage, "")
                raise self._lost("timeout", f"stopped after {seconds:g} s{when}")
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
        if not isinstance(done, dict) or done.get("status") not in ("ok", "memory", "crashed", "invalid", "error"):
            raise self._foreign()
        value = {k: v for k, v in done.items() if k not in ("status", "message", "machine")}
        paths, value["arrays"] = done.get("arrays") or {}, {}
        if not isinstance(paths, dict) or any(not out or path != f"{out}-{name}.npy" for name, path in paths.items()):
            raise self._lost("crashed", "it names files that are not its answer")
        try:
            for name, path in paths.items():
                with open(path, "rb") as file:
                    os.unlink(path)
                    value["arrays"][name] = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError) as error:
            return Reply("invalid", f"its answer cannot be read: {error}"[:500], machine=isinstance(error, OSError))
        return Reply(done["status"], str(done.get("message", "")), value, machine=done.get("machine") is True)

    def _exited(self) -> bool:
        """Whether the process has ended. It is not reaped: its id stays taken until `close` has killed its group."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _lost(self, status: str, message: str, machine: bool = False) -> _LostError:
        """Kill what cannot be used any longer; the error to raise."""
        self.close()
        return _LostError(Reply(status, message, machine=machine))

    def _foreign(self) -> _LostError:
        return self._lost("crashed", "something else than the worker wrote to its socket")

    def _death(self) -> _LostError:
        """Why the process ended by itself, with the last line that it wrote before the interpreter's report of the crash."""
        end = time.monotonic() + 5
        while not self._exited():
            if time.monotonic() > end:
                return self._lost("crashed", "it closed the connection to its parent")
            time.sleep(0.01)
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - LONGEST_SAID))
        text = self._log.read().decode(errors="replace").partition("Fatal Python error")[0]
        code = self.close()
        if code == -signal.SIGKILL and memory_kills() > self._memory_kills:
            return self._lost("memory", "killed by the system for want of memory", machine=True)
        status, how = how_it_ended(code, text)
        return self._lost(status, how, machine=status == "crashed" and of_the_machine(how))


def descendants(pid: int) -> list[int]:
    """Ids of all processes that a process started and that are still there."""
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(child) for child in file.read().split()]
    return [*found, *(further for child in found for further in descendants(child))]


def _asked(ask: Callable[[psutil.Process], T], *pids: int) -> list[T]:
    """What each of these processes answers that is still there."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.append(ask(psutil.Process(pid)))
    return found


def tree_cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all that it started."""
    return sum(_asked(lambda p: sum(p.cpu_times()[:4]), pid, *descendants(pid)))


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, 0 when it has ended."""
    return sum(_asked(lambda p: p.memory_info().rss, pid))


def _tree_bytes(pid: int) -> int:
    """Resident memory of a process and of those that it started; pages that they share count once, or nearly."""
    shared = _asked(lambda p: p.memory_full_info().pss, *descendants(pid))
    return sum(shared) + resident_bytes(pid)


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
        with contextlib.suppress(OSError):
            if found := re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE):
                return int(found[1])
    return 0
