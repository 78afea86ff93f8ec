"""What a second core is worth: `solve_many` and `compute_rsm` with one worker and with two, alternately.

Run ``python -m benchmarks.scaling [--workers 2] [--rounds 5]``. Every round measures one worker and many, one right after the
other, and their ratio is taken within the round; the table shows the median of the ratios and how far they lie apart. Wall clock:
on a machine that others use at the same time the figures mean nothing.
"""

from __future__ import annotations

import argparse

import numpy as np

import semrsm_bench as sb

from .clock import alternating, timed
from .problems import images_of

SOLVERS = ("exact-auction", "auction-fine", "auction-coarse")
# Pairs of solve_many and images of compute_rsm for each number of positions.
LOAD = {256: (600, 96), 1024: (120, 24), 4096: (40, 12)}


def reordered_copies(source: np.ndarray, images: int) -> np.ndarray:
    """Activations (images, C, S); beyond those of the source, copies whose positions stand in another, seeded order."""
    source = source[:images].astype(np.float32).reshape(*source[:images].shape[:2], -1)
    rng = np.random.default_rng(0)
    copies = [source[k % len(source)][:, rng.permutation(source.shape[2])] for k in range(len(source), images)]
    return np.stack([*source, *copies])


def measure(sources, solvers, workers: int, rounds: int, load: float = 1.0) -> dict[tuple, list[tuple[float, float]]]:
    """Seconds of one worker and of many in every round, by (call, S, solver).

    Parameters
    ----------
    sources : mapping of int to ndarray
        Activations (N, C, H, W) by S.
    load : float
        Factor on the number of pairs and images.
    """
    found = {}
    for size, source in sources.items():
        pairs, images = (max(2, round(load * number)) for number in LOAD[size])
        z = reordered_copies(source, images)
        kept = [np.ascontiguousarray(image.T) for image in z]
        draw = np.random.default_rng(0)
        # Without affinities: a pair is matched from activations to permutation, as in an RSM.
        drawn = [tuple(draw.choice(images, 2, replace=False)) for _ in range(pairs)]
        for solver in solvers:
            calls = {
                "solve_many": lambda n, solver=solver, kept=kept, drawn=drawn: sb.solve_many(
                    (sb.MatchingProblem(kept[i], kept[j]) for i, j in drawn), solver, n_jobs=n
                ),
                "compute_rsm": lambda n, solver=solver, z=z: sb.compute_rsm(z, matching=solver, n_jobs=n),
            }
            for name, call in calls.items():
                samplers = {n: lambda call=call, n=n: timed(lambda: call(n))[1] for n in (1, workers)}
                seconds = alternating(samplers, rounds + 1)  # the first round starts processes and does not count
                found[name, size, solver] = list(zip(*seconds.values()))[1:]
    return found


def summary(found, workers: int) -> str:
    """The table: seconds of one worker and of many, and their ratio, median and lowest to highest."""
    lines = [f"{'':12}{'S':>6}  {'solver':16}{'1 worker, s':>13}{f'{workers} workers, s':>14}{'times faster':>14}"]
    for (call, size, solver), seconds in found.items():
        one, many = np.array(seconds).T
        ratios = one / many
        lines.append(
            f"{call:12}{size:6}  {solver:16}{np.median(one):13.3f}{np.median(many):14.3f}{np.median(ratios):14.2f}"
            f"  ({ratios.min():.2f} to {ratios.max():.2f}, {len(seconds)} rounds)"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=sorted(LOAD), help="numbers of positions")
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS), help="names of solvers")
    parser.add_argument("--workers", type=int, default=2, help="how many, against one")
    parser.add_argument("--rounds", type=int, default=5, help="how often, alternately")
    parser.add_argument("--load", type=float, default=1.0, help="factor on the number of pairs and images")
    options = parser.parse_args(arguments)
    sources = images_of(options.sizes, max(images for _, images in LOAD.values()))
    print(summary(measure(sources, options.solvers, options.workers, options.rounds, options.load), options.workers))


if __name__ == "__main__":
    main()
