"""Does a method do what every method of its kind must? Each case runs in a worker, under a deadline."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import psutil

from semrsm_bench.bench.observe import CASES
from semrsm_bench.bench.process import WorkerProcess, setup_for
from semrsm_bench.core.method import Declaration

# The first calls, which may compile, get a multiple of a case's deadline.
_WARM_UP_DEADLINES = 5
# A method that hangs everywhere should not cost a deadline for each case.
_LOST_WORKERS = 3


@dataclass(frozen=True)
class CaseResult:
    """How one case went: name, "passed", "failed" or "not run", the reason (a note, or "", if passed), and the seconds it took."""

    case: str
    status: Literal["passed", "failed", "not run"]
    reason: str = ""
    seconds: float = 0.0


def cases_of(kind: str) -> Mapping[str, Callable[..., None]]:
    """The cases for one kind of method; the first line of a docstring says what a case tries."""
    module, name = CASES[kind]
    found: Mapping[str, Callable[..., None]] = getattr(importlib.import_module(module), name)
    return found


def check_method(
    method: Declaration,
    *,
    timeout: float = 60.0,
    cases: Sequence[str] | None = None,
    report: Callable[[CaseResult], None] = lambda result: None,
    show_output: bool = False,
) -> list[CaseResult]:
    """Run the cases of its kind on a method: all, or those named by `cases_of`; its files are imported in the worker alone.

    A method that takes longer than ``timeout`` seconds for a case, or kills its process, three times is not run further.
    ``show_output`` lets through what it prints, with full tracebacks, on standard error.
    """
    known = cases_of(method.kind)
    wanted = list(known if cases is None else cases)
    if unknown := [case for case in wanted if case not in known]:
        raise ValueError(f"unknown case {unknown[0]!r} of a {method.kind}; known are {', '.join(known)}")
    if not timeout > 0:
        raise ValueError(f"timeout must be positive, got {timeout}")
    results: list[CaseResult] = []
    lost, hopeless = 0, ""
    command: dict[str, Any] = {"do": "check", "kind": method.kind, "name": method.name, "verbose": show_output}
    with WorkerProcess(setup_for(method, show_output=show_output)) as worker:

        def ask(case: str, seconds: float) -> CaseResult:
            begun = time.monotonic()
            reply = worker.ask({**command, "case": case}, seconds, psutil.virtual_memory().total)
            passed, reason = reply.status == "ok" and reply.value["passed"], reply.message or reply.status
            if reply.status in ("ok", "timeout"):
                reason = str(reply.value.get("reason", f"no answer within {seconds:g} s"))
            return CaseResult(case, "passed" if passed else "failed", reason, time.monotonic() - begun)

        for case in wanted:
            result = CaseResult(case, "not run", hopeless)
            if not hopeless and worker.pid is None:
                # Failures of the first calls show in the cases; here only hanging and dying matter.
                start = ask("warm up", _WARM_UP_DEADLINES * timeout)
                if worker.pid is None:
                    hopeless = "the method did not start"
                    result = replace(start, case=case, status="failed", reason=f"at the start: {start.reason}")
            if not hopeless:
                result = ask(case, timeout)
                lost += worker.pid is None
                hopeless = f"the method hung or died {lost} times before" if lost == _LOST_WORKERS else ""
            results.append(result)
            report(result)
    return results
