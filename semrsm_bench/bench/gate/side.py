"""The parent's handle on one side of the gate: a process with a deadline that is started again when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from semrsm_bench.bench.environment import THREAD_VARIABLES

_WORKER = Path(__file__).with_name("worker.py")
# Imports and compilation of whatever a package does when it is loaded.
START_SECONDS = 300.0


@dataclass(frozen=True)
class Source:
    """Where one side's package and interpreter are.

    Attributes
    ----------
    label : str
        "base" or "head", for messages.
    revision, commit : str
        What the user called it, and the full hash.
    tree : Path
        The exported files.
    python : str
    search : tuple of Path
        Folders that come first in the module search path.
    plugins : tuple of Path
        Files that register solvers, as this side has them.
    """

    label: str
    revision: str
    commit: str
    tree: Path
    python: str
    search: tuple[Path, ...]
    plugins: tuple[Path, ...] = ()


class SideError(RuntimeError):
    """The side cannot be measured at all: its package does not import."""


@dataclass(frozen=True)
class Answer:
    """What became of one command.

    Attributes
    ----------
    status : str
        "ok", "timeout", "crashed", "memory" or "error".
    value : mapping
    message : str
    """

    status: str
    value: Mapping[str, Any]
    message: str = ""


class Side:
    """One side's process; use it as a context manager."""

    def __init__(self, source: Source, core: int | None = None) -> None:
        self.source, self.core = source, core
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._buffer = b""

    def hello(self) -> dict[str, dict[str, Any]]:
        """The side's solvers by name.

        Raises
        ------
        SideError
            The package does not import, or is not the one of this side.
        """
        answer = self._ask({"do": "hello", "plugins": [str(p) for p in self.source.plugins]}, START_SECONDS)
        if answer.status != "ok":
            raise SideError(answer.message)
        package = Path(answer.value["package"])
        expected = [p.resolve() for p in self.source.search if (p / "semrsm_bench").is_dir()]
        if expected and not package.is_relative_to(expected[0]):
            raise SideError(f"semrsm_bench was imported from {package} and not from {expected[0]}")
        return {entry["name"]: entry for entry in answer.value["solvers"]}

    def ask(self, command: Mapping[str, Any], seconds: float) -> Answer:
        """Send a command; past the deadline the process is killed. A dead process is started anew for the next command."""
        if self._process is None:
            try:
                self.hello()
            except SideError as error:
                return Answer("crashed", {}, str(error))
        return self._ask(command, seconds)

    def _ask(self, command: Mapping[str, Any], seconds: float) -> Answer:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((json.dumps(dict(command)) + "\n").encode())
            self._process.stdin.flush()
            line = self._read_line(seconds)
        except BrokenPipeError:
            line = b""
        except TimeoutError:
            self.close()
            return Answer("timeout", {}, f"stopped after {seconds:g} s")
        if not line:
            return self._died()
        value = json.loads(line)
        if "error" in value:
            return Answer("memory" if value.get("memory") else "error", {}, value["error"])
        return Answer("ok", value)

    def _start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= dict.fromkeys(THREAD_VARIABLES, "1")
        environment |= {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(map(str, self.source.search))}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._buffer = b""
        self._process = subprocess.Popen(
            [self.source.python, "-P", str(_WORKER), *([str(self.core)] if self.core is not None else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            cwd=self.source.tree,
            start_new_session=True,
        )

    def _read_line(self, seconds: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor, end = self._process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(descriptor, 1 << 20)
            if not part:
                return b""
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _died(self) -> Answer:
        assert self._process is not None
        assert self._log is not None
        code = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 4096))
        words = [w.strip() for w in self._log.read().decode(errors="replace").splitlines() if w.strip()]
        self.close()
        if code == -signal.SIGKILL:
            return Answer("memory", {}, "killed by the system, most likely for want of memory")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        return Answer("crashed", {}, f"{how}: {words[-1][:300]}" if words else how)

    def close(self) -> None:
        """Kill the process and whatever it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def solver_union(base: Mapping[str, Any], head: Mapping[str, Any]) -> Sequence[str]:
    """Names of both sides by name, head's order first; a place in a list means nothing here."""
    return [*head, *(name for name in base if name not in head)]
