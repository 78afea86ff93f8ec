"""A small cache of activations, rows, and calls of the engine, for the tests of the bench room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from semrsm_bench.activations.store import write_cache
from semrsm_bench.bench import methods, pool
from semrsm_bench.bench.engine import run
from semrsm_bench.bench.methods import describe, sort_plugins
from semrsm_bench.bench.plan import RunOptions
from semrsm_bench.bench.process import WorkerProcess, WorkerSetup
from semrsm_bench.bench.results import SessionOptions
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


class Bench:
    """Runs of the engine on a small cache, into a folder of their own.

    Attributes
    ----------
    cache, results : Path
    """

    def __init__(self, folder: Path, **cache: Any) -> None:
        self.cache, self.results = small_cache(folder / "data", **cache), folder / "results"

    def __call__(self, *methods: str, **changes: Any) -> Any:
        """A session: (Finished, Ledger). Keywords of the engine, of `RunOptions`, of `SessionOptions`, of the task matching."""
        from semrsm_bench.tasks.matching import MatchingOptions

        how = {k: changes.pop(k) for k in ("report", "tasks") if k in changes}
        session = {k: changes.pop(k) for k in ("run_id", "fresh", "estimate") if k in changes}
        own = {k: changes.pop(k) for k in MatchingOptions.__dataclass_fields__ if k in changes}
        options = RunOptions(methods=methods or None, **changes)
        if not sort_plugins(options.plugins)[1]:
            how.setdefault("tasks", {"matching": None})
        if "matching" in how.get("tasks", ()):
            chosen = {"data": self.cache, "pairs": {"": 3}, "centring": ("none",), **own}
            how["tasks"] = {**how["tasks"], "matching": MatchingOptions(**chosen)}
        return run(options, SessionOptions(self.results, **session), quiet=True, **how)


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


def old_line(**changes: Any) -> str:
    """A line of a run's file as schema 1 wrote it; ``changes`` override its fields."""
    fields = {
        "schema": 1,
        "run_id": "20260101-000000-quick-abcd",
        "solver": "scipy",
        "options": {},
        "kind": "exact",
        "solver_version": "1.15.0",
        "problem": "tiny/layer1/none/0-1",
        "model": "tiny",
        "layer": "layer1",
        "size": 16,
        "channels": 6,
        "centring": "none",
        "pair": "0-1",
        "repeat": 0,
        "status": "ok",
        "seconds": 0.002,
        "affinity_seconds": 1e-4,
        "k": 9.0,
        "k_opt": 10.0,
        "k_rand": 4.0,
        "k_upper": 10.0,
        "quality": 0.9,
        "chance_corrected": 5 / 6,
        "peak_bytes": 4096,
        "message": "",
        "matrix_free": False,
        "data_sha256": "ab" * 32,
        "samples": 5,
        "seconds_min": 0.001,
        "seconds_max": 0.003,
        "wall_seconds": 0.1,
        "optimum_solver": "scipy",
        "optimum_certificate": 0.0,
        "info": {"fallback": "none"},
    }
    return json.dumps({**fields, **changes})


class KeptWorkers:
    """Workers and declarations that several runs of a test module share, because starting a process takes a second."""

    def __init__(self, patch: Any) -> None:
        self._workers: dict[tuple[str, ...], WorkerProcess] = {}
        self._declared: dict[tuple[str, ...], Any] = {}
        own = pool.Workers.of

        def of(workers: Any, method: Any) -> WorkerProcess:
            key = method.kind, method.name
            if key not in workers._workers:
                setup = WorkerSetup(plugins=method.plugins, core=workers._core)
                worker = self._workers.setdefault((*key, method.code), WorkerProcess(setup))
                worker.timed_out = False
                workers._workers[key] = worker
            return own(workers, method)

        patch.setattr(pool.Workers, "of", of)
        patch.setattr(pool.Workers, "__exit__", lambda workers, *error: None)
        patch.setattr(methods, "describe", self._describe)

    def _describe(self, plugin: Any, kinds: Any) -> Any:
        if plugin:
            return describe(plugin, kinds)
        if tuple(kinds) not in self._declared:
            self._declared[tuple(kinds)] = describe(None, kinds)
        return self._declared[tuple(kinds)]

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
