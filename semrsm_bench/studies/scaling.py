"""What a second core is worth: `solve_many` and `compute_rsm` with one worker and with two, in turns.

Run ``python -m semrsm_bench.studies.scaling [--data FOLDER] [--workers 2] [--rounds 5]``. Every round measures one worker and
many, one right after the other, and their ratio is taken within the round; the table shows the median of the ratios and how
far they lie apart. Wall clock: on a machine that others use at the same time the figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from semrsm_bench.activations.locate import find_data, list_caches
from semrsm_bench.activations.store import Cache, open_cache
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.solvers import MatchingProblem, solve_many

SOLVERS = ("exact-auction", "auction-fine", "auction-coarse")
# Pairs of solve_many and images of compute_rsm for each number of positions.
LOAD = {256: (600, 96), 1024: (120, 24), 4096: (40, 12)}

Row = dict[str, Any]


def in_turns(one: Callable[[], object], many: Callable[[], object], rounds: int) -> list[tuple[float, float]]:
    """Seconds of both calls in every round, after one round that does not count."""
    seconds = []
    for _ in range(rounds + 1):
        pair = []
        for call in (one, many):
            begun = time.perf_counter()
            call()
            pair.append(time.perf_counter() - begun)
        seconds.append((pair[0], pair[1]))
    return seconds[1:]


def reordered_copies(cache: Cache, layer: str, images: int) -> NDArray[np.float32]:
    """Activations (images, C, S); beyond those of the cache, copies whose positions stand in another, seeded order."""
    source = cache.activations(layer, slice(0, min(images, len(cache)))).astype(np.float32)
    rng = np.random.default_rng(0)
    copies = [source[k % len(source)][:, rng.permutation(source.shape[2])] for k in range(len(source), images)]
    return np.concatenate([source, np.array(copies, np.float32).reshape(-1, *source.shape[1:])])


def measure(
    cache: Cache, sizes: Sequence[int], solvers: Sequence[str], workers: int, rounds: int, load: float = 1.0
) -> list[Row]:
    """Rows of the first layer of every size; ``load`` scales the number of pairs and images."""
    rows: list[Row] = []
    for size in sizes:
        layer = next((name for name in cache.layers if cache.shape(name)[2] == size), None)
        if layer is None:
            continue
        pairs, images = (max(2, round(load * number)) for number in LOAD[size])
        z = reordered_copies(cache, layer, images)
        kept = [np.ascontiguousarray(image.T) for image in z]
        draw = np.random.default_rng(0)
        # Without affinities: a pair is matched from activations to permutation, as in an RSM.
        drawn = [tuple(draw.choice(images, 2, replace=False)) for _ in range(pairs)]

        def problems(drawn: Any = drawn, kept: Any = kept) -> Any:
            return (MatchingProblem.trusted(kept[i], kept[j]) for i, j in drawn)

        for solver in solvers:
            calls: dict[str, Callable[[int], object]] = {
                "solve_many": lambda n, solver=solver: solve_many(problems(), solver, n_jobs=n),  # type: ignore[misc]
                "compute_rsm": lambda n, solver=solver, z=z: compute_rsm(z, matching=solver, n_jobs=n),  # type: ignore[misc]
            }
            for name, call in calls.items():
                for seconds in in_turns(lambda call=call: call(1), lambda call=call: call(workers), rounds):  # type: ignore[misc]
                    rows.append({"call": name, "size": size, "solver": solver, "one": seconds[0], "many": seconds[1]})
    return rows


def summary(rows: Sequence[Row], workers: int) -> str:
    """The table: seconds of one worker and of many, and their ratio, median and lowest to highest."""
    lines = [f"{'':12}{'S':>6}  {'solver':16}{'1 worker, s':>13}{f'{workers} workers, s':>14}{'times faster':>14}"]
    for key in dict.fromkeys((row["call"], row["size"], row["solver"]) for row in rows):
        mine = [row for row in rows if (row["call"], row["size"], row["solver"]) == key]
        one, many = (np.array([row[name] for row in mine]) for name in ("one", "many"))
        ratios = one / many
        lines.append(
            f"{key[0]:12}{key[1]:6}  {key[2]:16}{np.median(one):13.3f}{np.median(many):14.3f}{np.median(ratios):14.2f}"
            f"  ({ratios.min():.2f} to {ratios.max():.2f}, {len(mine)} rounds)"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", help="folder or file of activations; default: where the package looks for data")
    parser.add_argument("--sizes", type=int, nargs="*", default=sorted(LOAD), help="numbers of positions")
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS), help="names of solvers")
    parser.add_argument("--workers", type=int, default=2, help="how many, against one")
    parser.add_argument("--rounds", type=int, default=5, help="how often, in turns")
    parser.add_argument("--load", type=float, default=1.0, help="factor on the number of pairs and images")
    parser.add_argument("--out", type=Path, help="write the rows here, as JSON")
    options = parser.parse_args(arguments)
    data = find_data(options.data)
    cache = open_cache(data if data.is_file() else list_caches(data)[0])
    with threadpool_limits(1):
        rows = measure(cache, options.sizes, options.solvers, options.workers, options.rounds, options.load)
    print(summary(rows, options.workers))
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
