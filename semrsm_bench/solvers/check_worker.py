"""Child process of `semrsm_bench.solvers.check`: loads one solver, then answers a case's name with how it went."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve cases from standard input until it closes; answers are JSON lines on what was standard output."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever the solver prints must not mix with the answers.
    os.dup2(2, 1)
    _die_with_parent()
    _limit_memory()

    def answer(task: Callable[[], None]) -> None:
        started = time.perf_counter()
        reason = ""
        try:
            task()
        except BaseException as error:  # SystemExit of a solver is a failure like any other
            traceback.print_exc()
            reason = str(error) if type(error).__name__ == "CheckFailedError" else f"{type(error).__name__}: {error}"
        answers.write(json.dumps({"reason": reason, "seconds": time.perf_counter() - started}) + "\n")
        answers.flush()

    name, *plugins = sys.argv[1:]
    answer(lambda: _load(name, plugins))
    for line in sys.stdin:
        answer(functools.partial(_task(line.strip()), name))


def _load(name: str, plugins: list[str]) -> None:
    from semrsm_bench.solvers import check_cases  # noqa: F401 - its import is not the first case's time
    from semrsm_bench.solvers.registry import get_solver, load_plugin

    for plugin in plugins:
        load_plugin(plugin)
    get_solver(name)


def _task(case: str) -> Callable[[str], None]:
    from semrsm_bench.solvers.check_cases import CASES
    from semrsm_bench.solvers.registry import get_solver
    from semrsm_bench.solvers.solving import warm_up

    def warm_up_both(name: str) -> None:
        for dtype in ("float32", "float64"):
            warm_up(name, dtype)

    return warm_up_both if case == "warm up" else lambda name: CASES[case](get_solver(name))


def _die_with_parent() -> None:
    """Leave no orphan behind when the checking process is killed (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_memory() -> None:
    """No more address space than the machine has memory: a solver that eats it all gets a MemoryError of its own."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or total <= hard:
        resource.setrlimit(resource.RLIMIT_AS, (total, hard))


if __name__ == "__main__":
    main()
