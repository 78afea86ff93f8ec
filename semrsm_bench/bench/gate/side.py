"""One side of the gate: a commit's package in a worker process of its own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semrsm_bench.bench.pool import Observer, Scratch
from semrsm_bench.bench.process import CallLimits, Reply, WorkerLostError, WorkerProcess, WorkerSetup
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Arrays

_REFERENCE_SECONDS, _DESCRIBE_SECONDS = 60.0, 120.0


class SideError(RuntimeError):
    """The side cannot be measured at all, as when its package does not import."""


@dataclass(frozen=True)
class Sample:
    """One observation, and the seconds of the reference kernel around it: the smaller of right before and right after."""

    reply: Reply
    reference: float = math.nan

    @property
    def perms(self) -> Any:
        """The answers, (calls, S)."""
        return self.reply.value["arrays"]["perms"]

    @property
    def seconds(self) -> float:
        """Median of the calls, without what they waited for a core that another process had."""
        value = self.reply.value
        both = zip(value["seconds"], value["waited_seconds"], strict=True)
        return float(statistics.median(s - w for s, w in both))


class GateSide:
    """One side's worker, started; use it as a context manager.

    Parameters
    ----------
    setup : WorkerSetup
        Interpreter, search path and plugins of the commit; see `semrsm_bench.bench.gate.revisions.prepare`.
    scratch : Scratch

    Attributes
    ----------
    known : dict of str to dict
        Declarations of the side's solvers by name; ``own`` says that the package brings a solver.

    Raises
    ------
    SideError
        The package does not import, or is not the one of this side.
    """

    def __init__(self, setup: WorkerSetup, scratch: Scratch) -> None:
        self._worker = WorkerProcess(setup)
        self._observe = Observer(lambda method: self._worker, scratch)
        try:
            self.known = self._start(setup.search or ())
        except BaseException:
            self._worker.close()
            raise

    def _start(self, search: Sequence[Path]) -> dict[str, dict[str, Any]]:
        try:
            self._worker.start()
        except WorkerLostError as error:
            raise SideError(str(error)) from None
        package = Path(self._worker.package)
        expected = next((p.resolve() for p in search if (p / "semrsm_bench").is_dir()), None)
        if expected is not None and not package.is_relative_to(expected):
            raise SideError(f"semrsm_bench was imported from {package} and not from {expected}")
        answer = self._worker.ask({"do": "describe", "kinds": ["solver"]}, _DESCRIBE_SECONDS)
        if answer.status != "ok":
            raise SideError(answer.message)
        return {entry["name"]: entry for entry in answer.value["declared"]}

    def measure(self, solver: str, arrays: Arrays, limits: CallLimits, seed: int) -> Sample:
        """A solver on a pair, between two runs of the reference kernel; a process that died is started again first."""
        self._worker.timed_out = False  # that was another solver
        before = self._worker.ask({"do": "reference"}, _REFERENCE_SECONDS)
        if before.status != "ok":
            return Sample(before)
        reply = self._observe(Declaration("solver", solver), arrays, limits, seed=seed)
        if reply.status != "ok":
            return Sample(reply)
        after = self._worker.ask({"do": "reference"}, _REFERENCE_SECONDS)
        return Sample(reply, min(a.value["seconds"] for a in (before, after) if a.status == "ok"))

    def __enter__(self) -> GateSide:
        return self

    def __exit__(self, *error: object) -> None:
        self._worker.close()
