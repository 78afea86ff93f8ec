"""The auctions beside OR-Tools and Batch-Optimal on the shipped activations: times, and what the matchings are worth.

Run ``python -m semrsm_bench.studies.solver_targets [--data FOLDER] [--out FILE.json]``. Every pair is solved by every
solver in turn, on one thread, after a warm-up on other pairs, so that whatever else the machine does falls on all alike.
``--large FILE`` adds the matrix-free solvers on activations of large images (``semrsm-bench data large``).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from semrsm_bench.activations.locate import find_data, list_caches
from semrsm_bench.activations.store import Cache, Centring, open_cache
from semrsm_bench.solvers import MatchingProblem, chance_corrected, get_solver, matching_value, quality, random_value
from semrsm_bench.solvers.bounds import upper_bound

SOLVERS = (
    "ortools",
    "batch-optimal-128",
    "auction-coarse",
    "auction-fine",
    "auction-certified",
    "list-auction-coarse",
    "list-auction-fine",
    "matrix-free-coarse",
    "exact-auction",
)
LARGE_SOLVERS = ("matrix-free-coarse", "matrix-free-fine")
LARGE_EXACT = 16384
CENTRINGS: tuple[Centring, ...] = ("none", "channel")
# Pairs for each number of positions.
PAIRS = {256: 24, 1024: 20, 4096: 6}
AFFINITY, ROW_MAXIMA = "affinity (x @ y.T)", "row maxima of A (numpy)"
CLOCKS: dict[str, Callable[[], int]] = {"wall": time.perf_counter_ns, "cpu": time.thread_time_ns}

Row = dict[str, Any]


def timed(repeats: int, function: Callable[..., Any], *arguments: Any) -> tuple[Any, dict[str, float]]:
    """Result and least milliseconds of a few calls, by the wall's clock and by the thread's."""
    best = dict.fromkeys(CLOCKS, float("inf"))
    result = None
    for _ in range(repeats):
        starts = {name: clock() for name, clock in CLOCKS.items()}
        result = function(*arguments)
        for name, clock in CLOCKS.items():
            best[name] = min(best[name], (clock() - starts[name]) / 1e6)
    return result, best


def pairs_of(number: int, images: int, seed: int = 0) -> list[tuple[int, int]]:
    """Distinct ordered pairs of different images."""
    draw = np.random.default_rng(seed)
    every = [(i, j) for i in range(images) for j in range(images) if i != j]
    return [every[k] for k in draw.permutation(len(every))[:number]]


def measure_pair(problem: MatchingProblem, solvers: Sequence[str], repeats: int) -> list[Row]:
    """Rows of one pair: every solver, the affinity, and one pass over it."""
    affinity, seconds = timed(repeats, np.matmul, problem.x, problem.y.T)
    rows: list[Row] = [{"solver": AFFINITY, **seconds}]
    _, seconds = timed(repeats, np.max, affinity, 1)
    rows.append({"solver": ROW_MAXIMA, **seconds})
    solved = MatchingProblem.trusted(problem.x, problem.y, affinity)
    values: dict[str, float] = {}
    for name in solvers:
        solution, seconds = timed(repeats, get_solver(name).run, solved)
        values[name] = matching_value(problem, solution.perm)
        rows.append({"solver": name, "k": values[name], "fallback": solution.info.get("fallback", ""), **seconds})
    optimum, chance = max(values.values()), random_value(problem)
    for row in rows:
        if "k" in row:
            row |= {"quality": quality(row["k"], optimum), "c": chance_corrected(row["k"], optimum, chance)}
    return rows


def measure(cache: Cache, sizes: Sequence[int], solvers: Sequence[str] = SOLVERS, repeats: int = 3) -> list[Row]:
    """Rows for all layers of one cache that have one of these sizes."""
    rows: list[Row] = []
    for layer in cache.layers:
        size = cache.shape(layer)[2]
        if size not in sizes:
            continue
        for centring in CENTRINGS:
            warm_up = True
            for i, j in pairs_of(PAIRS[size], len(cache)):
                vectors = (cache.positions(layer, k, centring) for k in (i, j))
                problem = MatchingProblem(*vectors)
                if warm_up:
                    measure_pair(problem, solvers, 1)
                    warm_up = False
                for row in measure_pair(problem, solvers, repeats if size < 4096 else 1):
                    rows.append({"size": size, "centring": centring, "pair": f"{i}-{j}", **row})
    return rows


def measure_large(path: Path, pairs: int = 2) -> list[Row]:
    """Rows of the matrix-free solvers on raw features, and what their scores are measured against, with its own time.

    That is the optimum up to S = 16,384 and a certified upper bound beyond: then quality and c are lower bounds.
    """
    cache = open_cache(path)
    layer = cache.layers[0]
    small = MatchingProblem(*(cache.positions(layer, k)[::8] for k in (0, 1)))
    for name in LARGE_SOLVERS:
        get_solver(name).run(small, sample=512)
    get_solver("exact-auction").run(small)
    rows: list[Row] = []
    for i, j in pairs_of(pairs, len(cache)):
        problem = MatchingProblem(*(cache.positions(layer, k) for k in (i, j)))
        chance = random_value(problem)
        pair = {"size": problem.size, "centring": "none", "pair": f"{i}-{j}"}
        if problem.size <= LARGE_EXACT:
            whole = MatchingProblem.trusted(problem.x, problem.y, problem.affinity)
            solution, seconds = timed(1, get_solver("exact-auction").run, whole)
            upper = matching_value(problem, solution.perm)
            rows.append({**pair, "solver": "exact-auction", "k": upper, "quality": 1.0, "c": 1.0, **seconds})
            del whole
        else:
            upper, seconds = timed(1, upper_bound, problem, "tight")
            rows.append({**pair, "solver": "upper_bound, tight", **seconds})
        for name in LARGE_SOLVERS:
            solution, seconds = timed(1, get_solver(name).run, problem)
            k = matching_value(problem, solution.perm)
            scores = {"quality": quality(k, upper), "c": chance_corrected(k, upper, chance)}
            rows.append({**pair, "solver": name, "k": k, **scores, **seconds})
    return rows


def summary(rows: Sequence[Row], clock: str = "wall") -> str:
    """The table: median milliseconds, times faster than OR-Tools, share of Batch-Optimal-128's time, c mean and worst."""
    lines = []
    for size, centring in sorted({(row["size"], row["centring"]) for row in rows}):
        here = [row for row in rows if (row["size"], row["centring"]) == (size, centring)]
        names = list(dict.fromkeys(row["solver"] for row in here))
        medians = {n: float(np.median([r[clock] for r in here if r["solver"] == n])) for n in names}
        count = len({row["pair"] for row in here})
        lines += ["", f"S={size}, centring {centring}, {count} pairs, median ms ({clock} clock)"]
        lines.append(f"{'':26}{'ms':>10}{'x ortools':>11}{'/ b-o-128':>11}{'c mean':>10}{'c worst':>10}{'k/k_opt':>10}")
        for name in names:
            mine = [row for row in here if row["solver"] == name and "c" in row]
            line = f"{name:26}{medians[name]:10.3f}"
            line += f"{medians['ortools'] / medians[name]:11.1f}" if "ortools" in medians else " " * 11
            baseline = medians.get("batch-optimal-128")
            line += f"{medians[name] / baseline:11.3f}" if baseline else " " * 11
            if mine:
                c = [row["c"] for row in mine]
                line += f"{np.mean(c):10.5f}{min(c):10.5f}{np.mean([row['quality'] for row in mine]):10.5f}"
            if fallbacks := sum(bool(row.get("fallback")) for row in mine):
                line += f"  {fallbacks} fallbacks"
            lines.append(line)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", help="folder or file of activations; default: where the package looks for data")
    parser.add_argument("--large", type=Path, nargs="*", default=[], help="caches of large images")
    parser.add_argument("--sizes", type=int, nargs="*", default=sorted(PAIRS), help="numbers of positions")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu: on a machine shared with others")
    parser.add_argument("--out", type=Path, help="write the rows here, as JSON")
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    with threadpool_limits(1):
        if options.sizes:
            data = find_data(options.data)
            rows += measure(open_cache(data if data.is_file() else list_caches(data)[0]), options.sizes)
        for path in options.large:
            rows += measure_large(path)
    print(summary(rows, options.clock))
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
