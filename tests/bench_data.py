"""A small cache of activations, and rows, for the tests of the bench room."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semrsm_bench.activations.store import write_cache
from semrsm_bench.bench.results import Row

HOSTILE = Path(__file__).resolve().parent / "hostile_solvers.py"


def small_cache(folder: Path, images: int = 5, sizes: tuple[int, ...] = (16, 36), name: str = "tiny") -> Path:
    """A cache with one layer for each S, its activations smooth enough for matchings to differ."""
    rng = np.random.default_rng(7)
    layers, means = {}, {}
    for i, size in enumerate(sizes):
        base = rng.standard_normal((1, 6, size))
        values = (np.abs(base + 0.7 * rng.standard_normal((images, 6, size)))).astype(np.float16)
        layers[f"layer{len(sizes) - i}"] = values
        means[f"layer{len(sizes) - i}"] = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    path = folder / f"{name}.safetensors"
    write_cache(path, layers, means, images=[f"image-{i}" for i in range(images)])
    return path


def make_row(**changes) -> Row:
    """A good row; ``changes`` override its fields."""
    fields = {
        "run_id": "run-1",
        "solver": "scipy",
        "options": {},
        "kind": "exact",
        "solver_version": "1",
        "problem": "tiny/layer1/none/0-1",
        "model": "tiny",
        "layer": "layer1",
        "size": 16,
        "channels": 6,
        "centring": "none",
        "pair": "0-1",
        "repeat": 0,
        "status": "ok",
        "seconds": 1e-3,
        "affinity_seconds": 1e-4,
        "k": 9.0,
        "k_opt": 10.0,
        "k_rand": 4.0,
        "k_upper": 10.0,
        "quality": 0.9,
        "chance_corrected": 5 / 6,
        "data_sha256": "ab" * 32,
        "samples": 5,
    }
    return Row(**{**fields, **changes})
