"""The clock of all benchmarks, and the fixed kernel that stands for the machine's speed.

Standard library and NumPy only: the same file measures every commit, whatever its package looks like inside.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any

import numpy as np

# A short call is repeated until its sample takes this long.
SAMPLE_SECONDS = 0.002


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its wall-clock seconds without those in which another process had this thread's core."""
    waited = waited_nanoseconds()
    start = perf_counter_ns()
    answer = call()
    elapsed = perf_counter_ns() - start
    waited = waited_nanoseconds() - waited
    # A longer wait than the call was before it or after it.
    return answer, (elapsed - (waited if waited < elapsed else 0)) / 1e9


def waited_nanoseconds() -> int:
    """How long this thread was ready to run while another process had its core; 0 where the system does not count it."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def looped(call: Callable[[], object]) -> Callable[[], float]:
    """A sampler for `alternating`: seconds of one call, the mean over as many as a sample needs."""
    _, once = timed(call)
    times = max(1, round(SAMPLE_SECONDS / max(once, 1e-7)))

    def sample() -> float:
        return timed(lambda: [call() for _ in range(times)])[1] / times

    return sample


def alternating(samplers: Mapping[Any, Callable[[], float]], rounds: int) -> dict[Any, list[float]]:
    """Seconds that each sampler gives in every round; they alternate, so that the machine's speed is the same for all."""
    found = [{name: sample() for name, sample in samplers.items()} for _ in range(rounds)]
    return {name: [seconds[name] for seconds in found] for name in samplers}


def ratio_of_least(samples: Mapping[str, list[float]], name: str) -> float:
    """Least time of one call over that of the fastest other."""
    least = {other: min(values) for other, values in samples.items()}
    return float(least.pop(name) / min(least.values()))


class ReferenceKernel:
    """Fixed work, about a millisecond: a small product, row maxima and a sort, for arithmetic, memory and branches."""

    def __init__(self) -> None:
        rng = np.random.default_rng(20240501)
        self._square = rng.standard_normal((128, 128), dtype=np.float32)
        self._wide = rng.standard_normal((256, 1024), dtype=np.float32)
        self._line = rng.standard_normal(8192, dtype=np.float32)

    def __call__(self) -> float:
        """Do the work once; the number returned depends on all of it."""
        product = self._square @ self._square
        return float(product[0, 0] + self._wide.max(axis=1)[-1] + self._wide.argmax(axis=1)[0] + np.sort(self._line)[0])

    def seconds(self, times: int = 5) -> float:
        """Fastest of a few calls: what disturbs one of them is not the machine's speed."""
        return min(timed(self)[1] for _ in range(times))


def peak_bytes(call: Callable[[], object]) -> int | None:
    """Memory that a call takes beyond what is resident when it starts; None where the kernel does not report it."""
    gc.collect()
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:  # freed heap would hide what the call takes
        release(0)
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts anew
        before = _status_bytes("VmRSS")
        call()
        return max(0, _status_bytes("VmHWM") - before)
    except OSError:
        return None


def _status_bytes(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
