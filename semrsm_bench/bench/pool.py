"""The engine's workers: one for each method; arrays reach them through files, one command gets one reply."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from semrsm_bench.bench.process import CallLimits, Reply, WorkerProcess, resident_bytes, setup_for
from semrsm_bench.core.files import lock, of_the_machine, user_cache_folder, writing
from semrsm_bench.core.method import Declaration, own_sources
from semrsm_bench.core.registry import PLACES
from semrsm_bench.core.task import Arrays

_OPTIMUM_LIMITS = CallLimits(deadline=900.0, memory=16 << 30, warm_up=120.0)


@contextlib.contextmanager
def claimed_core(folder: Path | None = None) -> Iterator[int | None]:
    """Core for timed work, held until the block ends; this process itself moves to the other cores meanwhile.

    The last allowed core that no other run of this user holds is taken, or the last one where all are held. None where the
    system cannot pin processes.
    """
    if not hasattr(os, "sched_getaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    place = folder or user_cache_folder() / "cores"
    core, held = max(allowed), -1
    with contextlib.suppress(OSError):  # a cache folder that cannot be written: nothing is claimed
        place.mkdir(parents=True, exist_ok=True)
        for candidate in sorted(allowed, reverse=True):
            path = place / f"core-{candidate}.lock"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if lock(descriptor, path):
                core, held = candidate, descriptor
                break
            os.close(descriptor)
    os.sched_setaffinity(0, allowed - {core} or allowed)
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)
        if held >= 0:
            os.close(held)


class Scratch(tempfile.TemporaryDirectory[str]):
    """A temporary folder through which arrays reach workers, each written once; use it as a context manager.

    Of arrays that are no longer in use, ``kept_bytes`` stay there.
    """

    def __init__(self, kept_bytes: int = 1 << 30) -> None:
        super().__init__(prefix="semrsm-bench-")
        self._kept_bytes = kept_bytes
        self._numbers = itertools.count()
        # Arrays and files by id: the array is kept alive, so that no other array gets its id.
        self._written: dict[int, tuple[NDArray[Any], str]] = {}

    def __enter__(self) -> Scratch:  # type: ignore[override]
        return self

    def write(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
        """Files with the arrays, by name. They stay until the next call at least."""
        for array in arrays.values():
            known = self._written.pop(id(array), None) or (array, f"{self.name}/{next(self._numbers)}.npy")
            if not os.path.exists(known[1]):  # it is new, or was removed
                with writing(Path(known[1])) as partial, partial.open("wb") as file:
                    np.save(file, array, allow_pickle=False)
            self._written[id(array)] = known
        total = sum(array.nbytes for array, _ in self._written.values())
        for key in list(self._written)[: -len(arrays) or None]:
            if total <= self._kept_bytes:
                break
            array, path = self._written.pop(key)
            total -= array.nbytes
            Path(path).unlink(missing_ok=True)
        return {name: self._written[id(array)][1] for name, array in arrays.items()}

    def answer(self) -> Path:
        """Beginning of the names of files that a worker writes its answer to."""
        return Path(self.name, f"answer-{next(self._numbers)}")


class Workers(contextlib.AbstractContextManager["Workers"]):
    """One worker for each method, as long as the others hold no more than ``most`` bytes; use it as a context manager.

    By default half of the memory that is free at the start. Beyond that the processes that were not used for the longest end; they
    start anew when they are asked for. ``report`` gets a line when the first method waits for compilation.
    """

    def __init__(
        self, core: int | None = None, most: int | None = None, report: Callable[[str], None] = lambda text: None
    ) -> None:
        self._core, self._report = core, report
        self._most = psutil.virtual_memory().available // 2 if most is None else most
        self._workers: OrderedDict[tuple[str, str], WorkerProcess] = OrderedDict()
        # What each held when it was last in use: between its observations a worker is stopped.
        self._held: dict[tuple[str, str], int] = {}

    def of(self, method: Declaration) -> WorkerProcess:
        """The worker of a method; only the files that bring it are imported there."""
        key = (method.kind, method.name)
        last = next(reversed(self._workers), None)
        if key == last:
            return self._workers[key]
        if last and (pid := self._workers[last].pid):
            self._held[last] = resident_bytes(pid)
        if key not in self._workers:
            self._workers[key] = WorkerProcess(setup_for(method, self._core), self._tell_once)
        self._workers.move_to_end(key)
        (_, worker), *others = reversed(self._workers.items())
        held = 0
        for name, other in others:
            held += self._held.get(name, 0) if other.pid else 0
            if held > self._most:
                other.close()
        return worker

    def _tell_once(self) -> None:
        self._report(
            "compiling what this package needs, method by method, once for this installation; no method's time counts it"
        )
        self._report = lambda text: None

    def __exit__(self, *error: object) -> None:
        for worker in self._workers.values():
            worker.close()


class Observer:
    """Has methods observed by the worker that ``worker_of`` gives: arrays go to files, commands to workers, replies come back."""

    def __init__(self, worker_of: Callable[[Declaration], WorkerProcess], scratch: Scratch) -> None:
        self.worker_of, self.scratch = worker_of, scratch
        # Path -> what the system says of a file, and its SHA-256
        self._digests: dict[str, tuple[tuple[int, ...], str]] = {}
        # Kind -> this package's files that its methods run, with their SHA-256 when the first was observed
        self._own: dict[str, dict[str, str]] = {}

    def __call__(self, method: Declaration, arrays: Arrays, limits: CallLimits, **given: Any) -> Reply:
        """One observation; ``given`` may say settings, observer, timed, seed, and options of the method."""
        command = {
            "kind": method.kind,
            "name": method.name,
            "inputs": self.scratch.write(arrays),
            "settings": {},
            "out": str(self.scratch.answer()),
            **given,
        }
        worker = self.worker_of(method)
        reply = Reply("ok")
        if self._unchanged(method):
            reply = worker.observe(command, limits, sum(a.nbytes for a in arrays.values()))
            if self._unchanged(method):
                return reply
        worker.close()  # it may hold new code beside old
        message = "its code changed after the run began; run the same command again to measure it"
        return Reply("error", message, wall_seconds=reply.wall_seconds)

    def _unchanged(self, method: Declaration) -> bool:
        """Whether a method's files are those that it was declared with; one is read again only where its state has changed."""
        if method.kind not in self._own:
            paths = own_sources(PLACES[method.kind].split(".")[1])
            self._own[method.kind] = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        try:
            for path, digest in {**self._own[method.kind], **method.files}.items():
                found = os.stat(path)
                state = found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
                if path not in self._digests or self._digests[path][0] != state:
                    self._digests[path] = state, hashlib.sha256(Path(path).read_bytes()).hexdigest()
                if self._digests[path][1] != digest:
                    return False
        except OSError as error:
            if of_the_machine(error):
                raise
            return False
        return True

    def exact(self, name: str, x: NDArray[Any], y: NDArray[Any]) -> Reply:
        """An exact solver on two images, once and untimed; see `semrsm_bench.bench.optimum.Exact`."""
        return self(Declaration("solver", name), {"x": x, "y": y}, _OPTIMUM_LIMITS, timed=False)
