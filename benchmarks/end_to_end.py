"""From x and y to the certified permutation, in units of numpy's ``x @ y.T``, and the affinity and the solve by themselves.

Run ``python -m benchmarks.end_to_end [--sizes 256 1024 4096] [--pairs 30]``, pinned to one core, with one thread. For every pair of
the shipped activations numpy's product, `MatchingProblem.affinity` and `exact-auction` follow each other, several times, and ratios
are taken within a pair; the table shows their median and how far they lie apart.
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import combinations

import numpy as np

import semrsm_bench as sb

from .clock import timed
from .problems import images_of


def measure(images: np.ndarray, pairs: int, rounds: int = 5, solver: str = "exact-auction") -> np.ndarray:
    """Seconds of numpy's product, of the affinity and of the solve, medians of the rounds: (pairs, 3).

    Parameters
    ----------
    images : ndarray, (N, C, H, W)
    """
    vectors = [np.ascontiguousarray(z.reshape(len(z), -1).T, dtype=np.float32) for z in images]
    chosen, found = sb.get_solver(solver), []
    for x, y in list(combinations(vectors, 2))[:pairs]:
        seconds = []
        for _ in range(rounds + 1):  # the first compiles
            problem = sb.MatchingProblem(x, y)
            calls = partial(np.matmul, x, y.T), partial(getattr, problem, "affinity"), partial(chosen.run, problem)
            seconds.append([timed(call)[1] for call in calls])
        found.append(np.median(seconds[1:], axis=0))
    return np.array(found)


def summary(found: dict[int, np.ndarray]) -> str:
    """A line for each S: ms of the product, then affinity, solve and both in its units, median and lowest to highest."""
    lines = [
        f"{'S':>6} {'pairs':>6} {'x @ y.T, ms':>12}" + "".join(f"{name:>24}" for name in ("affinity", "solve", "both"))
    ]
    for size, seconds in found.items():
        product, affinity, solve = seconds.T
        cells = "".join(
            f"{np.median(ratio):12.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
            for ratio in (affinity / product, solve / product, (affinity + solve) / product)
        )
        lines.append(f"{size:6} {len(seconds):6} {1e3 * np.median(product):12.3f}{cells}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 1024, 4096], help="numbers of positions")
    parser.add_argument("--pairs", type=int, default=30, help="of each size")
    parser.add_argument("--solver", default="exact-auction", help="name of the solver")
    options = parser.parse_args(arguments)
    sources = images_of(options.sizes, 12)
    print(summary({s: measure(sources[s], options.pairs, solver=options.solver) for s in options.sizes}))


if __name__ == "__main__":
    main()
