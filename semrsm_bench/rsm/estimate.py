"""What an RSM will cost, from a measured sample, before anything starts."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from semrsm_bench.core.stats import mean_interval
from semrsm_bench.rsm.blocks import block_length, one_thread
from semrsm_bench.rsm.comparison import BySolver, Comparison
from semrsm_bench.rsm.registry import choose_comparison
from semrsm_bench.rsm.run import Images
from semrsm_bench.rsm.scheduling import worker_count
from semrsm_bench.rsm.sources import Centring, ClassToken, Floats, Grid, Layout, as_source
from semrsm_bench.rsm.survey import centred

_SAMPLE_IMAGES = 16
_WARM_POSITIONS = 8
# How finely the sampling time is cut, and the least that is timed however long a pair takes.
_CHUNKS = 12
_FEWEST_CHUNKS = 3


@dataclass(frozen=True)
class Estimate:
    """Cost of an RSM.

    Attributes
    ----------
    rows, columns, positions, channels : int
        N, M, S, C.
    pairs : int
        Matchings to make.
    workers : int
        Tiles computed at the same time.
    block : int
        Images on each side of a tile.
    sampled_chunks : int
        Groups of pairs timed, on all workers at once.
    seconds_per_pair : float
        Mean on one worker, affinity and scoring included: the sum over many pairs is what counts.
    seconds_per_pair_low, seconds_per_pair_high : float
        90 % interval of that mean, by bootstrap over the timed groups (seeded).
    seconds, seconds_low, seconds_high : float
        Wall-clock time of the whole matrix.
    seconds_per_tile : float
        What a lost worker costs.
    worker_bytes : int
        Memory of one worker beyond the interpreter: both sides of a tile, and what affinities and solver added on the
        sample.
    result_bytes : int
        Disk of the .npy file (memory, if it is not streamed to a file).
    input_bytes : int
        Disk of the activations of all images in float16.
    """

    rows: int
    columns: int
    positions: int
    channels: int
    pairs: int
    workers: int
    block: int
    sampled_chunks: int
    seconds_per_pair: float
    seconds_per_pair_low: float
    seconds_per_pair_high: float
    seconds: float
    seconds_low: float
    seconds_high: float
    seconds_per_tile: float
    worker_bytes: int
    result_bytes: int
    input_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """All figures by name."""
        return asdict(self)


def estimate_rsm(
    z: Any,
    z2: Any = None,
    *,
    matching: str = "ortools",
    centring: Centring = "none",
    layout: Layout = "channels_first",
    grid: Grid | None = None,
    n_jobs: int = 1,
    class_token: ClassToken = "keep",
    options: Mapping[str, Any] | None = None,
    block: int | None = None,
    count: int | None = None,
    count2: int | None = None,
    seconds: float = 5.0,
) -> Estimate:
    """Time, memory and disk of an RSM, from pairs of the given images timed on all workers at once.

    Parameters
    ----------
    z, z2, matching, centring, layout, grid, n_jobs, class_token, options, block
        As for `compute_rsm`.
    count, count2 : int, optional
        Numbers of images to plan for, by default those of z and z2. With ``count2`` the plan is a query x database RSM even
        where z2 is not given: a few images are enough to plan for thousands.
    seconds : float
        How long to sample (at least three groups of pairs, after one pair to warm up).

    Raises
    ------
    ValueError
        As `compute_rsm`; a single image and no z2 leave no pair to time.
    """
    if not seconds > 0 or (count is not None and count < 1) or (count2 is not None and count2 < 1):
        raise ValueError("count, count2 and the seconds to sample must be positive")
    first = as_source(z, "z", layout=layout, class_token=class_token, grid=grid)
    second = None if z2 is None else as_source(z2, "z2", layout=layout, class_token=class_token, grid=grid)
    chosen = choose_comparison(matching, first.grid, options or {})
    mirrored = second is None and count2 is None
    n = count or first.count
    m = n if mirrored else count2 or (first.count if second is None else second.count)
    sample = Images.look(
        first.portion(0, min(first.count, _SAMPLE_IMAGES)),
        None if second is None else second.portion(0, min(second.count, _SAMPLE_IMAGES)),
        centring,
    )
    if sample.pairs == 0:
        raise ValueError(f"{first.name} holds a single image: there is no pair to time")
    workers = worker_count(n_jobs, None)
    length = block or block_length(first.size, first.channels, sample.dtype.itemsize, n, m, mirrored, workers)
    x = centred(sample.rows.read(0, sample.rows.count), sample.mean, sample.dtype)
    y = x if second is None else centred(sample.columns.read(0, sample.columns.count), sample.mean, sample.dtype)
    x.flags.writeable = y.flags.writeable = False
    runs = Parallel(n_jobs=workers)(
        delayed(_time_pairs)(x, y, second is None, chosen, worker, seconds) for worker in range(workers)
    )
    timed = np.concatenate([per_pair for per_pair, _ in runs])
    mean, low, high = mean_interval(timed, resamples=2000, level=0.9)
    pairs = n * (n - 1) // 2 if mirrored else n * m
    # A solver holds one pair at a time; the other matchings transform the whole tile at once.
    growth = 1.0 if isinstance(chosen, BySolver) else max(1.0, length / min(len(x), len(y)))
    image_bytes = first.size * first.channels * sample.dtype.itemsize
    return Estimate(
        rows=n,
        columns=m,
        positions=first.size,
        channels=first.channels,
        pairs=pairs,
        workers=workers,
        block=length,
        sampled_chunks=len(timed),
        seconds_per_pair=mean,
        seconds_per_pair_low=low,
        seconds_per_pair_high=high,
        seconds=mean * pairs / workers,
        seconds_low=low * pairs / workers,
        seconds_high=high * pairs / workers,
        seconds_per_tile=mean * length**2,
        # While one side is read, its raw form and the converted one exist side by side.
        worker_bytes=3 * length * image_bytes + int(growth * max(peak for _, peak in runs)),
        result_bytes=8 * n * m,
        input_bytes=2 * (n if mirrored else n + m) * first.size * first.channels,
    )


def _time_pairs(
    x: Floats, y: Floats, same: bool, matching: Comparison, worker: int, seconds: float
) -> tuple[list[float], int]:
    """Seconds per pair of every timed chunk, for about ``seconds``; and the memory that matching added at its peak."""
    with one_thread():
        few = min(_WARM_POSITIONS, x.shape[1])
        if isinstance(matching, BySolver):
            # Compiles the kernels, so that neither time nor memory of that is counted below.
            _match(np.ascontiguousarray(x[:1, :few]), np.ascontiguousarray(y[-1:, :few]), False, matching)
        gc.collect()  # what is thrown away only later would hide as much of what matching takes
        resting = _reset_peak()
        rng = np.random.default_rng(worker)
        begun = time.perf_counter()
        i = int(rng.integers(len(x)))
        j = (i + 1 + int(rng.integers(max(1, len(y) - 1)))) % len(y)
        _match(x[i : i + 1], y[j : j + 1], False, matching)
        # A chunk is one row of pairs, so that what a tile sets up once is not counted for every pair.
        first = time.perf_counter() - begun
        width = max(1, min(len(y), int(seconds / _CHUNKS / max(first, 1e-9))))
        timed: list[float] = []
        deadline = time.perf_counter() + seconds
        while len(timed) < _FEWEST_CHUNKS or time.perf_counter() < deadline:
            if isinstance(matching, BySolver):
                i = int(rng.integers(len(x)))
                columns = rng.permutation([j for j in range(len(y)) if not (same and i == j)])[:width]
                timed.append(_match(x[i : i + 1], y[np.sort(columns)], False, matching))
            else:
                timed.append(_match(x, y, same, matching))
    return timed, max(0, _status("VmHWM") - resting)


def _match(x: Floats, y: Floats, same: bool, matching: Comparison) -> float:
    """Seconds per pair of one block."""
    shape = (len(x), len(y))
    wanted = ~np.eye(*shape, dtype=bool) if same else np.ones(shape, dtype=bool)
    begun = time.perf_counter()
    matching.fill(x, y, wanted, np.ones(shape, dtype=bool), np.empty(shape), None)
    return (time.perf_counter() - begun) / int(wanted.sum())


def _reset_peak() -> int:
    """Start the kernel's count of peak memory anew; returns what is held now (0 where the system does not say)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    return 0


def _status(field: str) -> int:
    """Bytes that the system reports of this process; 0 where it does not."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(field):
                return 1024 * int(line.split()[1])
    return 0
