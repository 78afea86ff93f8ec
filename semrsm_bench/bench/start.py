"""How a worker process begins: as a copy of a process that has all imports behind it, or anew where that cannot be.

Imports take most of a second, and a run has a process for every method. So one process of this package, the template, imports
what all of them need and waits; a copy of it takes milliseconds, and shares the memory of what was imported.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from semrsm_bench.bench.environment import THREAD_VARIABLES, package_folder

_PR_SET_CHILD_SUBREAPER = 36
_LONGEST_ANSWER = 64
# Changes with every test of those who use pytest, and changes no import.
_UNREAD = "PYTEST_CURRENT_TEST"
_WORKER = Path(__file__).with_name("worker.py")


class Copied:
    """The part of `subprocess.Popen` that is used of a worker, for a child that the template has made."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def kill(self) -> None:
        """End it at once; the number is its own until `wait` has returned."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The exit code once it has ended, -N where signal N ended it."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code


def start_worker(
    pipe: socket.socket,
    output: IO[Any] | int,
    *,
    core: int | None,
    folder: Path | None = None,
    python: str = sys.executable,
    search: tuple[Path, ...] | None = None,
    alone: bool = False,
) -> Any:
    """A child of this process that runs ``worker.py`` with one end of a pair of sockets; `subprocess.Popen` or `Copied`.

    It is a copy of the template where it shares this process's interpreter and module path (``search`` is None, not ``alone``).
    """
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONHASHSEED": "0"}
    cores = [core] if core is not None else sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    settings = {"parent": os.getpid(), "cores": cores, "pipe": pipe.fileno(), "path": None, "folder": str(folder or "")}
    if alone:
        settings["alone"] = True
        environment = {k: v for k, v in environment.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    elif search is None:
        settings |= {"path": [p or os.getcwd() for p in sys.path], "folder": str(folder or Path.cwd())}
        if sys.platform == "linux" and python == sys.executable:
            with contextlib.suppress(OSError, EOFError):
                return _copy(settings, environment, pipe, output if isinstance(output, int) else output.fileno())
    else:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, search))
    return _anew(python, settings, environment, pipe, output)


def _anew(
    python: str, settings: Mapping[str, Any], environment: dict[str, str], pipe: socket.socket, output: Any
) -> Any:
    return subprocess.Popen(
        [python, "-P", str(_WORKER), json.dumps(settings)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        cwd=settings["folder"] or None,
        pass_fds=(pipe.fileno(),),
        start_new_session=True,
    )


class _Template:
    """The process that is copied; it ends with this one."""

    def __init__(self, key: Any, path: list[str], environment: dict[str, str]) -> None:
        self.key = key
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            settings = {
                "parent": os.getpid(),
                "cores": [],
                "pipe": theirs.fileno(),
                "path": path,
                "template": True,
                "folder": "",
            }
            self._process = _anew(sys.executable, settings, environment, theirs, subprocess.DEVNULL)

    def copy(self, settings: Mapping[str, Any], pipe: int, output: int) -> Copied:
        """A copy, as a child of this process and not of the template: those who lose their parent come to whom claims them."""
        claim = ctypes.CDLL(None).prctl
        claim(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            socket.send_fds(self._requests, [json.dumps(settings).encode()], [pipe, output])
            answer = self._requests.recv(_LONGEST_ANSWER)
        finally:
            claim(_PR_SET_CHILD_SUBREAPER, 0)
        if not answer:
            raise EOFError
        return Copied(int(answer))

    def has_ended(self) -> bool:
        """Whether it is no longer there, as when the thread that started it has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        self._requests.close()
        self._process.kill()
        self._process.wait()


_template: _Template | None = None
_one_at_a_time = threading.Lock()


def _copy(settings: Mapping[str, Any], environment: dict[str, str], pipe: socket.socket, output: int) -> Copied:
    """A copy of a template that was made under the same conditions as hold now."""
    global _template
    files = sorted((str(path), path.stat().st_mtime_ns) for path in package_folder().rglob("*.py"))
    read = {name: value for name, value in environment.items() if name != _UNREAD}
    key = settings["parent"], settings["path"], read, files
    with _one_at_a_time:
        if _template is not None and (_template.key != key or _template.has_ended()):
            close_template()
        if _template is None:
            _template = _Template(key, settings["path"], environment)
        try:
            return _template.copy(settings, pipe.fileno(), output)
        except (OSError, EOFError):
            close_template()
            raise


@atexit.register
def close_template() -> None:
    """End the template, if there is one of this process; the next worker starts another."""
    global _template
    if _template is not None and _template.key[0] == os.getpid():
        _template.close()
    _template = None
