"""Rows as a run writes them, with figures that are known beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from semrsm_bench.core.row import Row
from semrsm_bench.report.results import TaskResults, collect

# name -> (kind, options, c, seconds at S = 256, exponent of the time)
SOLVERS: dict[str, tuple[str, dict[str, Any], float, float, float]] = {
    "ortools": ("exact", {}, 1.0, 5e-3, 2.3),
    "scipy": ("exact", {}, 1.0, 3.8e-3, 3.0),
    "lapjv": ("exact", {}, 1.0, 17.5e-3, 2.5),
    "identity": ("baseline", {}, 0.1, 1.5e-6, 0.5),
    "greedy": ("approximate", {}, 0.6, 0.05e-3, 2.0),
    "topk-greedy-128": ("approximate", {"k": 128}, 0.7, 1.1e-3, 1.0),
    "batch-optimal-128": ("approximate", {"b": 128}, 0.82, 3.0e-3, 1.1),
    "batch-optimal-512": ("approximate", {"b": 512}, 0.93, 5.0e-3, 1.3),
    "auction": ("approximate", {"eps": 0.05}, 0.9931, 0.44e-3, 1.9),
    "auction-fine": ("approximate", {"eps": [0.1, 0.01]}, 0.99986, 0.67e-3, 2.0),
}
LAYERS = {64: ("layer4", 512), 256: ("layer3", 256), 1024: ("layer2", 128), 4096: ("layer1", 64)}
ENVIRONMENT: dict[str, Any] = {
    "schema": 2,
    "started": "2026-01-02T03:04:05.000+00:00",
    "cpu": {"model": "Example CPU_9 & Co @ 3.0 GHz", "cores": 2, "logical": 4, "governor": "performance"},
    "threads": 1,
    "os": "Linux 6.1 x86_64",
    "python": "3.11.9",
    "packages": {"semrsm-bench": "0.1.0", "numpy": "2.0.0", "ortools": "9.11"},
    "blas": [{"api": "openblas", "version": "0.3.27", "architecture": "Haswell"}],
    "commit": "0123456789abcdef",
    "dirty": True,
    "data": [{"name": "resnet18-tiny-imagenet", "sha256": "ab" * 32}],
    "methods": {
        f"solver:{name}": {
            "category": kind,
            "complexity": "O(S^3)" if kind == "exact" else "O(S^2)",
            "options": options,
        }
        for name, (kind, options, *_) in SOLVERS.items()
    },
}


# What a row that is not ok has of figures.
NO_FIGURES: dict[str, Any] = {"seconds": None, "k": None, "k_opt": None, "k_rand": None, "k_upper": None}


def make_row(solver: str = "ortools", **changes: Any) -> dict[str, Any]:
    """One good row of the task matching; ``changes`` override what it is made of.

    k follows from c, k_rand and k_opt unless given, and the scores from k.
    """
    kind, options, c, seconds, _ = SOLVERS.get(solver, ("approximate", {}, 0.9, 1e-3, 1.0))
    made: dict[str, Any] = {
        "run_id": "run-1",
        "options": options,
        "kind": kind,
        "model": "resnet18-tiny-imagenet",
        "layer": "layer3",
        "size": 256,
        "channels": 256,
        "centring": "none",
        # A cell is skipped as a whole.
        "pair": "" if changes.get("status") == "skipped" else "0-1",
        "repeat": 0,
        "status": "ok",
        "seconds": seconds,
        "affinity_seconds": None if solver == "identity" else 1e-4,
        "k_opt": 100.0,
        "k_rand": 40.0,
        "k_upper": 100.0,
        "peak_bytes": 1000,
        "message": "",
        "c": c,
    }
    made |= changes
    ok, k_opt, k_rand = made["status"] == "ok", made["k_opt"], made["k_rand"]
    bound = k_opt if k_opt is not None else made["k_upper"]
    k = made.get("k", k_rand + made["c"] * (bound - k_rand) if ok and bound is not None else None)
    known = ok and k_opt is not None and k is not None
    scores = {
        "c": ((k - k_rand) / (k_opt - k_rand) if k_opt != k_rand else 1.0) if known else None,
        "quality": k / k_opt if known and k_opt > 0 else None,
    }
    cell = {name: made[name] for name in ("model", "layer", "size", "channels", "centring")}
    pair = made["pair"]
    raw = {"k": k, **{name: made[name] for name in ("k_opt", "k_rand", "k_upper")}}
    row = Row(
        run_id=made["run_id"],
        task="matching",
        kind="solver",
        category=made["kind"],
        method=solver,
        options=made["options"],
        version="1.0",
        case=f"{'/'.join(map(str, (made['model'], made['layer'], made['centring'])))}/{pair}" if pair else "",
        cell=cell,
        units={"pair": (pair,), "image": tuple(pair.split("-"))} if pair else {},
        repeat=made["repeat"],
        status=made["status"],
        message=made["message"],
        seconds=made["seconds"],
        shared_seconds=made["affinity_seconds"] if ok else None,
        peak_bytes=made["peak_bytes"],
        scores=scores if ok else {},
        raw={name: value for name, value in raw.items() if value is not None} if ok else {},
    )
    return row.as_dict()


def make_pairs(solver: str, count: int, **changes: Any) -> list[dict[str, Any]]:
    """A good row for each of so many pairs."""
    return [make_row(solver, pair=f"0-{i + 1}", **changes) for i in range(count)]


def matching(rows: Iterable[dict[str, Any]], environment: dict[str, Any] = ENVIRONMENT, **chosen: Any) -> TaskResults:
    """What tables and figures are made of."""
    (results,) = collect(list(rows), environment, **chosen)
    return results


def make_run(
    sizes: tuple[int, ...] = (64, 256, 1024, 4096),
    centrings: tuple[str, ...] = ("none", "channel"),
    solvers: tuple[str, ...] = tuple(SOLVERS),
    pairs: int = 12,
    slow: tuple[tuple[str, int], ...] = (("scipy", 4096), ("lapjv", 4096)),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A whole run with noise on every figure; ``slow`` cells are skipped, as the quick profile does."""
    rng = np.random.default_rng(seed)
    rows = []
    for size, centring, solver in itertools.product(sizes, centrings, solvers):
        layer, channels = LAYERS[size]
        place = {"size": size, "layer": layer, "channels": channels, "centring": centring}
        if (solver, size) in slow:
            empty = {"pair": "", "status": "skipped", "seconds": None, "k_opt": None, "k_rand": None, "k_upper": None}
            rows.append(
                make_row(solver, **place, **empty, peak_bytes=None, message="too slow for quick: about 17 s a pair")
            )
            continue
        _, _, c, seconds, exponent = SOLVERS[solver]
        for i in range(3 if size == 4096 else pairs):
            optimum, spread = rng.uniform(80, 120), rng.uniform(30, 50)
            if centring == "channel":
                optimum, spread = spread, spread
            gap = (1 - c) * rng.lognormal(0, 0.3) * (256 / size) ** -0.1
            rows.append(
                make_row(
                    solver,
                    **place,
                    pair=f"0-{i + 1}",
                    k_opt=optimum,
                    k_rand=optimum - spread,
                    k_upper=optimum,
                    c=1 - gap,
                    seconds=seconds * (size / 256) ** exponent * rng.lognormal(0, 0.1),
                    affinity_seconds=None
                    if solver == "identity"
                    else 1e-4 * (size / 256) ** 2 * rng.lognormal(0, 0.05),
                )
            )
    return rows
