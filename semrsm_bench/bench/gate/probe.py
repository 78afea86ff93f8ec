"""How a solver's time is put in proportion: one definition for the gate, asv and pytest-benchmark.

This file imports nothing of the package, so that it can be loaded by its path beside the package of any commit: the solvers
are then those of that commit and the yardstick stays the same.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# Shorter samples measure the clock and the interpreter.
SAMPLE_SECONDS = 0.002
# Below this, inverse quality would be a number nobody compares.
LEAST_QUALITY = 1e-3


class ReferenceKernel:
    """Fixed work that no commit can change: a small product, row maxima and a sort, about a millisecond together.

    The three stand for what solvers spend their time on: arithmetic, memory and branches.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(20240501)
        self._square = rng.standard_normal((128, 128), dtype=np.float32)
        self._wide = rng.standard_normal((256, 1024), dtype=np.float32)
        self._line = rng.standard_normal(8192, dtype=np.float32)

    def __call__(self) -> float:
        """Do the work once; the number returned depends on all of it."""
        product = self._square @ self._square
        return float(product[0, 0] + self._wide.max(axis=1)[-1] + self._wide.argmax(axis=1)[0] + np.sort(self._line)[0])


def _clock() -> int:
    """Nanoseconds, less those in which this thread was ready to run and another process had its core.

    Sleeping counts, a neighbour's work does not: on a busy machine this is the difference between a measurement and none.
    Without Linux's scheduler statistics it is plain time.
    """
    waited = _waited()
    while True:
        now = time.perf_counter_ns()
        again = _waited()
        # Interrupted between the two readings, they would belong to different moments.
        if again == waited:
            return now - waited
        waited = again


def _waited() -> int:
    """Nanoseconds that this thread has spent waiting for a core; 0 where the system does not tell."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def seconds_per_call(call: Callable[[], Any]) -> float:
    """Time of one call, in a sample of at least `SAMPLE_SECONDS`, without what other processes took.

    The number of calls grows in steps, so that a solver whose calls differ wildly in length is not called a thousand times too
    often.
    """
    loops = 1
    enabled = gc.isenabled()
    gc.disable()
    try:
        while True:
            start = _clock()
            for _ in range(loops):
                call()
            elapsed = (_clock() - start) / 1e9
            if elapsed >= SAMPLE_SECONDS:
                return elapsed / loops
            loops = max(loops + 1, math.ceil(loops * min(10.0, 1.2 * SAMPLE_SECONDS / max(elapsed, 1e-9))))
    finally:
        if enabled:
            gc.enable()


def paired_sample(call: Callable[[], Any], reference: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of one call of the solver and of the reference kernel, which runs right before and right after it.

    The faster of the two kernel samples counts: what disturbs a kernel for a moment is not the machine's speed.
    """
    before = seconds_per_call(reference)
    seconds = seconds_per_call(call)
    return seconds, min(before, seconds_per_call(reference))


def relative_time(call: Callable[[], Any], reference: Callable[[], Any], rounds: int = 5) -> float:
    """Least time of the solver over least time of the reference kernel, from interleaved samples.

    Parameters
    ----------
    call, reference : callable
    rounds : int
        Samples of each; solvers that take over half a second get two.
    """
    samples = [paired_sample(call, reference)]
    wanted = rounds if samples[0][0] < 0.5 else 2
    while len(samples) < wanted:
        samples.append(paired_sample(call, reference))
    return min(s for s, _ in samples) / min(r for _, r in samples)


def inverse_quality(chance_corrected: float) -> float:
    """1 / c, at least 1 for an exact solver and larger the worse: asv takes every increase for a regression."""
    return 1.0 / max(chance_corrected, LEAST_QUALITY)
