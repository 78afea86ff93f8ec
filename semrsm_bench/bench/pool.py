"""The engine's workers: one for each method; arrays reach them through files, one command gets one reply."""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.methods import parts_of
from semrsm_bench.bench.process import CODE_CHANGED, CallLimits, Reply, WorkerProcess, WorkerSetup
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Arrays

_OPTIMUM_LIMITS = CallLimits(deadline=900.0, memory=16 << 30, warm_up=120.0)


class Scratch:
    """A temporary folder through which arrays reach workers, each written once; use it as a context manager.

    Parameters
    ----------
    kept_bytes : int
        Of arrays that stay there when others come, beside those in use.
    """

    def __init__(self, kept_bytes: int = 1 << 30) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="semrsm-bench-")
        self.path = Path(self._folder.name)
        self._kept_bytes = kept_bytes
        self._numbers = itertools.count()
        # By identity: the array is kept alive, so that its id stays its own.
        self._written: dict[int, tuple[NDArray[Any], Path]] = {}

    def write(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
        """Files with the arrays, by name. They stay until the next call at least."""
        for array in arrays.values():
            known = self._written.pop(id(array), None)
            if known is None:
                known = array, self.path / f"{next(self._numbers)}.npy"
                np.save(known[1], array, allow_pickle=False)
            self._written[id(array)] = known
        total = sum(array.nbytes for array, _ in self._written.values())
        for key in list(self._written)[: -len(arrays) or None]:
            if total <= self._kept_bytes:
                break
            array, path = self._written.pop(key)
            total -= array.nbytes
            path.unlink(missing_ok=True)
        return {name: str(self._written[id(array)][1]) for name, array in arrays.items()}

    def answer(self) -> Path:
        """Beginning of the names of files that a worker writes its answer to."""
        return self.path / f"answer-{next(self._numbers)}"

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()


class Workers:
    """One worker for each method, at most ``kept`` processes alive; use it as a context manager."""

    def __init__(self, core: int | None = None, kept: int = 32) -> None:
        self._core, self._kept = core, max(1, kept)
        self._workers: OrderedDict[tuple[str, str], WorkerProcess] = OrderedDict()

    def of(self, method: Declaration) -> WorkerProcess:
        """The worker of a method; only the files that bring it are imported there."""
        key = (method.kind, method.name)
        if key not in self._workers:
            code = method.code if method.plugins else ""  # a plugin may change while the run lasts
            parts = parts_of(method.name) or (key,)
            setup = WorkerSetup(plugins=method.plugins, core=self._core, parts=parts, code=code)
            self._workers[key] = WorkerProcess(setup)
        worker = self._workers[key]
        self._workers.move_to_end(key)
        alive = [w for w in self._workers.values() if w.pid is not None and w is not worker]
        for old in alive[: max(0, len(alive) + 1 - self._kept)]:
            old.close()
        return worker

    def close(self) -> None:
        """Kill all workers."""
        for worker in self._workers.values():
            worker.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Observer:
    """Has methods observed: arrays go to files, commands to workers, replies come back.

    Parameters
    ----------
    worker_of : callable
        The worker of a method, such as `Workers.of`.
    scratch : Scratch
    """

    def __init__(self, worker_of: Callable[[Declaration], WorkerProcess], scratch: Scratch) -> None:
        self.worker_of, self.scratch = worker_of, scratch
        # Path -> what the system says of a file, and its SHA-256
        self._digests: dict[str, tuple[tuple[int, ...], str]] = {}

    def __call__(
        self,
        method: Declaration,
        arrays: Arrays,
        limits: CallLimits,
        *,
        settings: Mapping[str, Any] | None = None,
        observer: str = "",
        timed: bool = True,
        seed: int = 0,
    ) -> Reply:
        """One observation."""
        command = {
            "kind": method.kind,
            "name": method.name,
            "inputs": self.scratch.write(arrays),
            "settings": dict(settings or {}),
            "observer": observer,
            "timed": timed,
            "seed": seed,
            "out": str(self.scratch.answer()),
        }
        worker = self.worker_of(method)
        reply = Reply("ok")
        if self._unchanged(method):
            reply = worker.observe(command, limits, sum(a.nbytes for a in arrays.values()))
            if self._unchanged(method):
                return reply
        worker.close()  # it may hold new code beside old
        return Reply("error", CODE_CHANGED, wall_seconds=reply.wall_seconds)

    def _unchanged(self, method: Declaration) -> bool:
        """Whether a method's files are those that it was declared with; one is read again only where its state has changed."""
        return all(self._digest(path) == digest for path, digest in method.files.items())

    def _digest(self, path: str) -> str:
        try:
            found = os.stat(path)
            state = found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
            if path not in self._digests or self._digests[path][0] != state:
                self._digests[path] = state, hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except OSError:
            return ""
        return self._digests[path][1]

    def exact(self, name: str, x: NDArray[Any], y: NDArray[Any]) -> Reply:
        """An exact solver on two images, once and untimed; see `semrsm_bench.bench.optimum.Exact`."""
        return self(Declaration("solver", name), {"x": x, "y": y}, _OPTIMUM_LIMITS, timed=False)
