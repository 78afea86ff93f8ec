"""From x and y to the certified permutation, in units of the time of ``x @ y.T`` alone.

Run ``python -m benchmarks.end_to_end [--sizes 256 1024 4096] [--pairs 30] [--solver NAME] [--cache FILE]``, pinned to one core,
with one thread. For every pair of images numpy's product, `MatchingProblem.affinity` (where the solver takes one) and the
solver follow each other, several times, and ratios are taken within a pair; the table shows their median and how far they lie
apart. Of a product that would not fit the memory blocks are made that stay in the cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import combinations, islice
from pathlib import Path

import numpy as np

import semrsm_bench as sb

from .clock import timed
from .problems import first_layer, images_of, positions

# Positions from which on a product is made in blocks, and rows and columns of a block.
LARGE, BLOCK = 20_000, (512, 4096)


def product(x: np.ndarray, y: np.ndarray) -> None:
    """``x @ y.T``, whole or block by block."""
    if len(x) < LARGE:
        np.matmul(x, y.T)
        return
    room = np.empty(BLOCK, x.dtype)
    for i in range(0, len(x), BLOCK[0]):
        for j in range(0, len(y), BLOCK[1]):
            rows, columns = x[i : i + BLOCK[0]], y[j : j + BLOCK[1]].T
            np.matmul(rows, columns, out=room[: len(rows), : columns.shape[1]])


def measure(
    images: Sequence[np.ndarray], pairs: int, rounds: int = 5, solver: str = "exact-auction"
) -> tuple[np.ndarray, list[float]]:
    """Seconds of numpy's product, of the affinity and of the solve, medians of the rounds, (pairs, 3); and the c that is proved.

    Parameters
    ----------
    images : sequence of ndarray, (S, C) float32
    """
    chosen, found, proved = sb.get_solver(solver), [], []
    for x, y in islice(combinations(images, 2), pairs):
        seconds = []
        for _ in range(rounds + 1):  # the first compiles
            problem = sb.MatchingProblem(x, y)
            affinity = () if chosen.matrix_free else (partial(getattr, problem, "affinity"),)
            taken = [timed(call) for call in (partial(product, x, y), *affinity, partial(chosen.run, problem))]
            times = [one for _, one in taken]
            seconds.append([times[0], sum(times[1:-1]), times[-1]])
        found.append(np.median(seconds[1:], axis=0))
        solution, chance = taken[-1][0], float(x.sum(0, dtype=np.float64) @ y.sum(0, dtype=np.float64)) / len(x)
        upper = solution.info.get("k_upper") or (sum(map(np.sum, solution.duals)) if solution.duals else np.nan)
        proved.append((sb.matching_value(problem, solution.perm) - chance) / (upper - chance))
    return np.array(found), proved


def summary(size: int, seconds: np.ndarray, proved: Sequence[float]) -> str:
    """A line: S, pairs, ms of the product, then affinity, solve and both in its units, median and lowest to highest, and c."""
    alone, affinity, solve = seconds.T
    cells = "".join(
        f"{np.median(ratio):12.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        for ratio in (affinity / alone, solve / alone, (affinity + solve) / alone)
    )
    return f"{size:6} {len(seconds):6} {1e3 * np.median(alone):12.3f}{cells}   {min(proved):.5f}"


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 1024, 4096], help="numbers of positions")
    parser.add_argument("--pairs", type=int, default=30, help="of each size")
    parser.add_argument("--rounds", type=int, default=5, help="measured of each pair")
    parser.add_argument("--solver", default="exact-auction", help="name of the solver")
    parser.add_argument("--cache", type=Path, help="activations whose first layer is taken instead of the shipped ones")
    options = parser.parse_args(arguments)
    if options.cache:
        layer, count = first_layer(options.cache)
        sources = [[positions(options.cache, layer, i, "none") for i in range(min(count, options.pairs + 1))]]
    else:
        shipped = images_of(options.sizes, 12)
        sources = [
            [np.ascontiguousarray(z.reshape(len(z), -1).T, dtype=np.float32) for z in shipped[size]]
            for size in options.sizes
        ]
    names = "".join(f"{name:>24}" for name in ("affinity", "solve", "both"))
    print(f"{'S':>6} {'pairs':>6} {'x @ y.T, ms':>12}{names}   proved c >=")
    for images in sources:
        print(summary(len(images[0]), *measure(images, options.pairs, options.rounds, options.solver)), flush=True)


if __name__ == "__main__":
    main()
