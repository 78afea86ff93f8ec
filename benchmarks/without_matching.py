"""RSM methods without a matching beside the linear algebra that they cannot do without, alternately.

Run ``python -m benchmarks.without_matching [--rounds 7]``. The vectors of the second moments against one dsfrk an image and one
product of the triangles; methods of affinities against the affinities alone, in float32. CPU time of one thread, so that other
programs matter little; the ratio is taken within a round, and the table shows its median and how far the rounds lie apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import process_time

import numpy as np
from scipy.linalg.lapack import dsfrk
from threadpoolctl import threadpool_limits

import semrsm_bench as sb

from .clock import alternating

# N, C and S of the second moments, and of affinities.
VECTORS = ((240, 512, 16), (240, 256, 64), (240, 128, 256), (240, 64, 1024), (64, 256, 64), (64, 128, 256))
AFFINITIES = ((48, 512, 64), (24, 256, 256), (6, 128, 1024))
PAIRED = ("chamfer", "set-rbf", "set-polynomial", "sinkhorn", "bures", "exact-auction")


def activations(images: int, channels: int, size: int) -> np.ndarray:
    """Activations (N, C, S) whose channels vary together and that are not negative, float32."""
    rng = np.random.default_rng([images, channels, size])
    mixing, fields = rng.standard_normal((channels, 24)), rng.standard_normal((images, 24, size))
    return np.maximum(mixing @ fields / 5 + 0.3 * rng.standard_normal((images, channels, size)), 0).astype(np.float32)


def second_moments(z: np.ndarray) -> np.ndarray:
    """The RSM by one symmetric product an image (LAPACK's dsfrk, into packed triangles) and one of the triangles, nothing else."""
    images, channels, size = z.shape
    moments = np.empty((images, channels * (channels + 1) // 2))
    for image, moment in zip(z, moments):
        dsfrk(channels, size, 1.0, image.astype(np.float64).T, 0.0, moment, trans="T", overwrite_c=True)
    return moments @ moments.T


def affinities(z: np.ndarray) -> None:
    """All affinities x'y of different images, into one place."""
    x = np.ascontiguousarray(z.swapaxes(1, 2))
    room = np.empty((x.shape[1], x.shape[1]), x.dtype)
    for i in range(len(x)):
        for j in range(i):
            np.matmul(x[i], x[j].T, out=room)


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU time of a call on one thread."""
    with threadpool_limits(1):
        start = process_time()
        call()
        return process_time() - start


def compare(z: np.ndarray, methods: tuple[str, ...], floor: Callable[[np.ndarray], object], rounds: int) -> None:
    """Print a line for each method: microseconds of a pair, and how many times the floor it takes."""
    images, channels, size = z.shape
    calls = {"": lambda: floor(z)} | {m: lambda m=m: sb.compute_rsm(z, matching=m) for m in methods}
    samplers = {name: lambda call=call: cpu_seconds(call) for name, call in calls.items()}
    found = {name: np.array(seconds[1:]) for name, seconds in alternating(samplers, rounds + 1).items()}
    for method in methods:
        pair = 1e6 * float(np.median(found[method])) / (images * (images - 1) / 2)
        times = np.sort(found[method] / found[""])
        spread = f"({times[0]:.2f} to {times[-1]:.2f}, {rounds} rounds)"
        print(
            f"{size:5} {channels:5} {images:5}  {method:20}{pair:10.1f}{np.median(times):10.2f}  {spread}", flush=True
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print("    S     C     N  method                us/pair  times the linear algebra alone")
    for images, channels, size in VECTORS:
        compare(activations(images, channels, size), ("second-moment",), second_moments, rounds)
    for images, channels, size in AFFINITIES:
        compare(activations(images, channels, size), PAIRED, affinities, rounds)


if __name__ == "__main__":
    main()
