"""Does a solver do what every solver must? Each case runs in a child process under a deadline."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from semrsm_bench.solvers.check_cases import CASES
from semrsm_bench.solvers.registry import get_solver, load_plugin
from semrsm_bench.solvers.solver import SolverUnavailableError

# Imports alone, on a busy machine; the first calls, which may compile, get a multiple of a case's deadline.
_IMPORT_SECONDS = 300.0
_WARM_UP_DEADLINES = 5
# A solver that hangs everywhere should not cost a deadline for each case.
_LOST_CHILDREN = 3


@dataclass(frozen=True)
class CaseResult:
    """How one case went: its name, "passed", "failed" or "not run", the reason, and the seconds it took."""

    case: str
    status: Literal["passed", "failed", "not run"]
    reason: str = ""
    seconds: float = 0.0


def check_solver(
    name: str,
    plugins: Sequence[str | Path] = (),
    *,
    timeout: float = 60.0,
    cases: Sequence[str] | None = None,
    report: Callable[[CaseResult], None] | None = None,
    show_output: bool = False,
) -> list[CaseResult]:
    """Run every robustness case on a registered solver.

    Parameters
    ----------
    name : str
        Of a solver that is built in, installed, or in one of the plugins. The child process looks it up anew, so a solver
        registered only in this process is unknown to it.
    plugins : sequence of path
        Files that the child loads first, in this order.
    timeout : float
        Seconds that one case may take. A solver that exceeds it, or kills its process, three times is not run further.
    cases : sequence of str, optional
        Names from `CASES`; all of them by default.
    report : callable, optional
        Called with each result as it comes.
    show_output : bool
        Let through what the solver prints, with full tracebacks; on standard error.

    Raises
    ------
    SolverUnavailableError
        A library is missing.
    ValueError
        Unknown case or solver, or a timeout that is not positive.
    """
    wanted = list(CASES if cases is None else cases)
    if unknown := [case for case in wanted if case not in CASES]:
        raise ValueError(f"unknown case {unknown[0]!r}; known are {', '.join(CASES)}")
    if not timeout > 0:
        raise ValueError(f"timeout must be positive, got {timeout}")
    for plugin in plugins:
        load_plugin(plugin)
    if reason := get_solver(name).reason:
        raise SolverUnavailableError(f"solver {name!r} is not available: {reason}")
    results = []
    command = [name, *(str(Path(p).resolve()) for p in plugins)]
    for result in _run(command, wanted, timeout, show_output):
        results.append(result)
        if report is not None:
            report(result)
    return results


def _run(command: list[str], wanted: list[str], timeout: float, show_output: bool) -> Iterator[CaseResult]:
    lost, hopeless = 0, ""
    child: _Child | None = None
    try:
        for case in wanted:
            if hopeless:
                yield CaseResult(case, "not run", hopeless)
                continue
            try:
                if child is None:
                    child = _Child(command, timeout, show_output)
                answer = child.ask(case, timeout)
                status: Literal["passed", "failed"] = "failed" if answer["reason"] else "passed"
                yield CaseResult(case, status, answer["reason"], answer["seconds"])
            except _LostChildError as error:
                if child is None:
                    hopeless = "the solver did not start"
                else:
                    child.close()
                    child = None
                    lost += 1
                    hopeless = f"the solver hung or died {lost} times before" if lost == _LOST_CHILDREN else ""
                yield CaseResult(case, "failed", str(error), error.seconds)
    finally:
        if child is not None:
            child.close()


class _LostChildError(Exception):
    """The child hung, died, or never came up."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class _Child:
    """A process that has the solver loaded and warm, and runs one case at a time."""

    def __init__(self, command: list[str], timeout: float, show_output: bool) -> None:
        # The child sees the same packages as this process, however they came onto the path.
        paths = os.pathsep.join(p for p in sys.path if p)
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "semrsm_bench.solvers.check_worker", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if show_output else subprocess.DEVNULL,
            env={**one_thread, **os.environ, "PYTHONPATH": paths},
            start_new_session=True,
        )
        self._unread = b""
        try:
            loaded = self._answer(_IMPORT_SECONDS)
            if loaded["reason"]:
                raise _LostChildError(loaded["reason"], loaded["seconds"])
            # Failures of the first calls show in the cases; here only hanging and dying matter.
            self.ask("warm up", _WARM_UP_DEADLINES * timeout)
        except _LostChildError as error:
            self.close()
            raise _LostChildError(f"at the start: {error}", error.seconds) from None
        except BaseException:
            self.close()
            raise

    def ask(self, case: str, timeout: float) -> dict[str, Any]:
        """Run a case; `_LostChildError` when it does not answer in time."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # a dead child shows when its answer does not come
            self._process.stdin.write(f"{case}\n".encode())
            self._process.stdin.flush()
        return self._answer(timeout)

    def _answer(self, timeout: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        started = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                left = started + timeout - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise _LostChildError(f"no answer within {timeout:g} s", timeout)
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    raise _LostChildError(f"the process {self._cause_of_death()}", time.monotonic() - started)
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _cause_of_death(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "closed its output"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def close(self) -> None:
        """End the child and whatever it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
