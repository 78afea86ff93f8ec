"""The clock: the one loop that times calls. Standard library alone, because workers load this file by its path.

A worker times methods with it for rows of results; `semrsm_bench.rsm.estimate_rsm` times pairs of images with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys
from collections.abc import Callable, Iterator

# Taken before any method's file is imported, which might put another clock in its place.
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import Any

MOST_CALLS = 20
# Calls of one observation whose time is left out because numba compiled in them.
MOST_COMPILING = 3
SAMPLE_SECONDS = 0.02
_AS_SLACK = 1 << 30


class Clock:
    """Times the calls of one observation, and reports each stage.

    ``report(stage, bytes)`` returns when the parent has received it; the stages are "prepared", "warm", "again" after each call in
    which numba compiled, and "probed". Each starts a new deadline, and between the last two is a timed call and
    nothing else. ``memory`` is how many bytes a call may take beyond what is there when it starts (None: no limit, in a process
    that others use too), ``seen`` what this process has warmed up already. Not ``timed``: one call, no warm-up.
    """

    def __init__(
        self,
        report: Callable[[str, int], None] = lambda stage, size: None,
        memory: int | None = None,
        timed: bool = True,
        seen: set[Any] | None = None,
    ) -> None:
        self._report, self._memory, self.timed = report, memory, timed
        self._seen = set() if seen is None else seen
        self.seconds: list[float] = []  # one for each timed call
        self.calls: list[int] = []  # which calls these are, of all that were made
        self.shared_seconds: list[float] = []  # time of what it shares with other methods (the affinity)
        self.waited_seconds: list[float] = []  # how long it waited for a core that other programs had
        self.peak_bytes: int | None = None  # memory that the first timed call took
        self._process = os.getpid()
        # How many of the shared seconds belong to timed calls
        self._shared = 0

    def run(
        self,
        fresh: Callable[[int], Any],
        call: Callable[[Any], Any],
        *,
        warm: Callable[[], Any] | None = None,
        shape: Any = None,
        fewest: int = 1,
        most: int = MOST_CALLS,
        lasting: float = SAMPLE_SECONDS,
    ) -> list[Any]:
        """Answers of ``call(fresh(i))`` for i = 0, 1, ...; each input is made just before its call and outside of its time.

        No two inputs are equal, so that a method cannot reuse what it remembers; the result of a call is complete, not lazy.
        ``warm``, by default the call itself on ``fresh(-1)``, runs once, untimed, for each ``shape`` in this process: compilation
        and lazy imports count for no case. Where numba still had to compile in a call, which went another way than the warm-up,
        its time is left out, its answer is not, and another call is made. Between ``fewest`` and ``most`` timed calls it stops
        once they have lasted ``lasting`` seconds together.
        """
        if self.seconds:
            raise RuntimeError("one observation has one run of the clock")
        cold = self.timed and shape not in self._seen
        given = fresh(-1 if cold and warm is None else 0)
        # Freed heap goes back to the system, so that it does not hide what the next call takes.
        if release := getattr(ctypes.CDLL(None), "malloc_trim", None):
            release(0)
        self._report("prepared", status_bytes("VmRSS"))
        ceiling, collected = resource.getrlimit(resource.RLIMIT_AS), gc.isenabled()
        try:
            if self._memory is not None:
                most_mapped = status_bytes("VmSize") + 2 * self._memory + _AS_SLACK
                bounded = most_mapped if ceiling[1] == resource.RLIM_INFINITY else min(most_mapped, ceiling[1])
                resource.setrlimit(resource.RLIMIT_AS, (bounded, ceiling[1]))
            if cold:
                if warm is not None:
                    warm()
                else:
                    call(given)
                    self.shared_seconds.clear()
                    given = None
                    given = fresh(0)
                self._seen.add(shape)
            gc.collect()
            if self._memory is not None:
                gc.freeze()  # libraries and compiled code need no second look in the next collection
            gc.disable()
            answers: list[Any] = []
            lasted = 0.0
            before = reset_peak()
            self._report("warm", 0)
            with _compilation() as compiled:
                while not self.seconds:
                    if answers:
                        given = fresh(len(answers))
                        before = reset_peak()
                        self._report("again", 0)
                    lasted += self._timed(call, given, answers, compiled)
                self._report("probed", 0)
                self.peak_bytes = max(0, status_bytes("VmHWM") - before) if before else None
                while self.timed and len(self.seconds) < most and (len(self.seconds) < fewest or lasted < lasting):
                    given = fresh(len(answers))
                    lasted += self._timed(call, given, answers, compiled)
        finally:
            if collected:
                gc.enable()
            if self._memory is not None:
                resource.setrlimit(resource.RLIMIT_AS, ceiling)
        return answers

    def _timed(self, call: Callable[[Any], Any], given: Any, answers: list[Any], compiled: list[Any]) -> float:
        """Make a call, and keep its time unless something was ``compiled`` meanwhile; that time, or 0."""
        compiled.clear()
        waited = waited_nanoseconds() - helpers_nanoseconds()
        start = perf_counter_ns()
        answer = call(given)
        elapsed = perf_counter_ns() - start
        waited = max(0, waited_nanoseconds() - helpers_nanoseconds() - waited)
        leave_if_copied(self._process)
        answers.append(answer)
        if compiled and self.timed and len(answers) - len(self.seconds) <= MOST_COMPILING:
            del self.shared_seconds[self._shared :]
            return 0.0
        self._shared = len(self.shared_seconds)
        self.calls.append(len(answers) - 1)
        self.seconds.append(elapsed / 1e9)
        # A longer wait than the call was before it or after it.
        self.waited_seconds.append(waited / 1e9 if waited < elapsed else 0.0)
        return self.seconds[-1]

    def shared(self, call: Callable[[], Any]) -> Any:
        """Result of a call whose time is counted apart, because other methods need the same."""
        start = perf_counter_ns()
        result = call()
        self.shared_seconds.append((perf_counter_ns() - start) / 1e9)
        return result


@contextlib.contextmanager
def _compilation() -> Iterator[list[Any]]:
    """What is given fills when numba compiles something, or reads what it has compiled before."""
    seen: list[Any] = []
    if (events := sys.modules.get("numba.core.event")) is None:
        yield seen
        return

    class Watch(events.Listener):  # type: ignore[misc, name-defined]
        # From whatever thread compiles.
        def on_start(self, event: Any) -> None:
            seen.append(event)

        def on_end(self, event: Any) -> None:
            pass

    with events.install_listener("numba:compiler_lock", Watch()):
        yield seen


def waited_nanoseconds() -> int:
    """How long this thread was ready to run while another one had its core; 0 where the system does not count it."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def helpers_nanoseconds() -> int:
    """CPU time of this process's other threads, and of processes that it started and that have ended."""
    children = getrusage(RUSAGE_CHILDREN)
    return process_time_ns() - thread_time_ns() + round(1e9 * (children.ru_utime + children.ru_stime))


def status_bytes(name: str) -> int:
    """A memory figure of this process from /proc; 0 where there is none."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(name.encode()):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def reset_peak() -> int:
    """Set the peak of resident memory back to what is resident now and return that; 0 where the kernel cannot."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return 0
    return status_bytes("VmRSS")


def leave_if_copied(process: int) -> None:
    """End this process unless it is the one with that id: a method forked, and its copy came back."""
    if os.getpid() != process:
        os._exit(1)
