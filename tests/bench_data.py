"""A small cache of activations, rows, and calls of the engine, for the tests of the bench room."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from semrsm_bench.activations.store import write_cache
from semrsm_bench.bench import engine, methods, pool
from semrsm_bench.bench.methods import describe, sort_plugins
from semrsm_bench.bench.plan import RunOptions
from semrsm_bench.bench.process import WorkerProcess, setup_for
from semrsm_bench.bench.results import SessionOptions, load_rows
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.row import Row

HOSTILE = Path(__file__).resolve().parent / "hostile_solvers.py"


def small_cache(
    folder: Path, images: int = 5, sizes: tuple[int, ...] = (16, 36), channels: int = 6, name: str = "tiny"
) -> Path:
    """A cache with one layer for each S, its activations smooth enough for matchings to differ."""
    rng = np.random.default_rng(7)
    layers, means = {}, {}
    for i, size in enumerate(sizes):
        base = rng.standard_normal((1, channels, size))
        values = (np.abs(base + 0.7 * rng.standard_normal((images, channels, size)))).astype(np.float16)
        layers[f"layer{len(sizes) - i}"] = values
        means[f"layer{len(sizes) - i}"] = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    path = folder / f"{name}.safetensors"
    write_cache(path, layers, means, images=[f"image-{i}" for i in range(images)])
    return path


class Session:
    """A session of the engine: the attributes of its `Finished`, its ledger, and the rows that count after it."""

    def __init__(self, finished: Any, ledger: Any) -> None:
        self.finished, self.ledger, self.rows = finished, ledger, load_rows(finished.folder)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finished, name)

    def of(self, method: str) -> list[dict[str, Any]]:
        """The rows of a method."""
        return [row for row in self.rows if row["method"] == method]

    @property
    def by_method(self) -> dict[str, Counter[str]]:
        """How many rows there are of each status."""
        return {name: Counter(row["status"] for row in self.of(name)) for name in {r["method"] for r in self.rows}}


class Bench:
    """Runs of the engine on a small cache, into a folder of their own."""

    def __init__(self, folder: Path, **cache: Any) -> None:
        self.cache, self.results = small_cache(folder / "data", **cache), folder / "results"

    def __call__(self, *methods: str, **changes: Any) -> Session:
        """A session; keywords of the engine, of `RunOptions`, of `SessionOptions`, of the task matching."""
        from semrsm_bench.tasks.matching import MatchingOptions

        how = {k: changes.pop(k) for k in ("report", "tasks") if k in changes}
        session = {k: changes.pop(k) for k in ("run_id", "fresh", "estimate") if k in changes}
        matching = {k: changes.pop(k) for k in MatchingOptions.__dataclass_fields__ if k in changes}
        options = RunOptions(methods=methods or None, **changes)
        if not sort_plugins(options.plugins)[1]:
            how.setdefault("tasks", {"matching": None})
        if "matching" in how.get("tasks", ()):
            chosen = {"data": self.cache, "pairs": {"": 3}, "centring": ("none",), **matching}
            how["tasks"] = {**how["tasks"], "matching": MatchingOptions(**chosen)}
        return Session(*engine.run(options, SessionOptions(self.results, **session), quiet=True, **how))


def solver_file(
    folder: Path, name: str, body: str = "return np.arange(problem.size)", before: str = "", **declared: Any
) -> Path:
    """A plugin with one solver; ``before`` is what else runs when it is imported."""
    given = "".join(f", {key}={value!r}" for key, value in {"kind": "approximate", **declared}.items())
    inner = body.replace("\n", "\n    ")
    path = folder / f"{name.replace('-', '_')}.py"
    path.write_text(
        f"import os, time\nimport numpy as np\nimport semrsm_bench as sb\n{before}\n\n"
        f"@sb.register_solver({name!r}{given})\ndef f(problem):\n    {inner}\n"
    )
    return path


def distribution(folder: Path, name: str, **files: str) -> None:
    """Make a folder look like one into which pip has installed a distribution; ``files`` lie beside its metadata."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    for file, text in {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", **files}.items():
        (info / file).write_text(text)


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> bool:
    """Whether a condition comes true."""
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return met


def is_gone(pid: int) -> bool:
    """Whether a process has ended, though it may not have been reaped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def make_row(**changes: Any) -> Row:
    """A good row of the task matching; ``changes`` override its fields, or entries of its cell, scores or raw values."""
    fields: dict[str, Any] = {
        "run_id": "run-1",
        "task": "matching",
        "kind": "solver",
        "category": "exact",
        "method": "scipy",
        "options": {},
        "version": "1",
        "code": "c0de",
        "case": "tiny/layer1/none/0-1",
        "cell": {"model": "tiny", "layer": "layer1", "size": 16, "channels": 6, "centring": "none"},
        "units": {"pair": ["0-1"], "image": ["0", "1"]},
        "repeat": 0,
        "status": "ok",
        "seconds": 1e-3,
        "shared_seconds": 1e-4,
        "scores": {"c": 5 / 6, "quality": 0.9},
        "raw": {"k": 9.0, "k_opt": 10.0, "k_rand": 4.0, "k_upper": 10.0},
        "data_sha256": "ab" * 32,
        "samples": 5,
    }
    for name in ("cell", "scores", "raw"):
        fields[name] |= {k: changes.pop(k) for k in list(changes) if k in fields[name]}
    if (pair := changes.pop("pair", None)) is not None:
        cell = fields["cell"]
        fields["units"] = {"pair": [pair], "image": pair.split("-")} if pair else {}
        fields["case"] = f"{cell['model']}/{cell['layer']}/{cell['centring']}/{pair}" if pair else ""
    return Row(**{**fields, **changes})


# A line of a run's file as schema 1 wrote it.
OLD_LINE = """
{"schema": 1, "run_id": "20260101-000000-quick-abcd", "solver": "scipy", "options": {}, "kind": "exact",
"solver_version": "1.15.0", "problem": "tiny/layer1/none/0-1", "model": "tiny", "layer": "layer1", "size": 16,
"channels": 6, "centring": "none", "pair": "0-1", "repeat": 0, "status": "ok", "seconds": 0.002,
"affinity_seconds": 0.0001, "k": 9.0, "k_opt": 10.0, "k_rand": 4.0, "k_upper": 10.0, "quality": 0.9,
"chance_corrected": 0.8333333333333334, "peak_bytes": 4096, "message": "", "matrix_free": false, "samples": 5,
"data_sha256": "abababababababababababababababababababababababababababababababab", "seconds_min": 0.001,
"seconds_max": 0.003, "wall_seconds": 0.1, "optimum_solver": "scipy", "optimum_certificate": 0.0,
"info": {"fallback": "none"}}
"""


def old_line(**changes: Any) -> str:
    """A line of schema 1; ``changes`` override its fields."""
    return json.dumps({**json.loads(OLD_LINE), **changes})


class KeptWorkers(contextlib.AbstractContextManager["KeptWorkers"]):
    """Worker processes for the runs of many tests, because starting one takes a second; those used last stay alive."""

    def __init__(self, most: int = 12) -> None:
        self._most, self._workers = most, OrderedDict[Any, WorkerProcess]()
        self._describe = functools.lru_cache(describe)

    def __exit__(self, *error: object) -> None:
        for worker in self._workers.values():
            worker.close()

    def _of(self, method: Declaration) -> WorkerProcess:
        key = method.kind, method.name, method.code, method.plugins
        worker = self._workers.setdefault(key, WorkerProcess(setup_for(method)))
        self._workers.move_to_end(key)
        alive = [each for each in self._workers.values() if each.pid is not None and each is not worker]
        for old in alive[: max(0, len(alive) + 1 - self._most)]:
            old.close()
        worker.timed_out = False
        return worker

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Until the block ends, runs in this process use these workers, pinned to no core; the checkout is described once."""
        of = pool.Workers.of

        def lend(workers: pool.Workers, method: Declaration) -> WorkerProcess:
            if (key := (method.kind, method.name)) not in workers._workers:
                workers._workers[key] = self._of(method)
            return of(workers, method)

        def declared(plugins: tuple[str, ...] = (), kinds: Sequence[str] | None = None) -> list[Declaration]:
            stays = all(HOSTILE.parents[1] in Path(plugin).parents for plugin in plugins)
            return (self._describe if stays else describe)(plugins, kinds and tuple(kinds))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pool.Workers, "of", lend)
            patch.setattr(pool.Workers, "__exit__", lambda workers, *error: None)
            patch.setattr(engine, "claimed_core", lambda: contextlib.nullcontext())
            patch.setattr(methods, "describe", declared)
            yield
