"""What an RSM will cost, from a measured sample, before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from joblib import delayed

from semrsm_bench.activations.cache import Floats
from semrsm_bench.core.clock import Clock
from semrsm_bench.core.stats import mean_interval
from semrsm_bench.rsm.comparison import BySolver, ByVectors, Comparison, PairBlock
from semrsm_bench.rsm.images import Images, all_centred
from semrsm_bench.rsm.options import RsmOptions, takes_rsm_options
from semrsm_bench.rsm.registry import choose_comparisons
from semrsm_bench.rsm.sources import as_source
from semrsm_bench.rsm.tiles import Schedule, block_length, one_thread, processes

_SAMPLE_IMAGES = 16
_WARM_POSITIONS = 8
# How finely the sampling time is cut, and the least that is timed however long a pair takes.
_GROUPS = 12
_FEWEST_GROUPS = 3
# Vectors on each side of the product that is timed.
_PANEL = 64


@dataclass(frozen=True)
class Estimate:
    """Cost of an RSM; intervals are of 90 %, by bootstrap over the timed groups of pairs (seeded)."""

    rows: int  #: N
    columns: int  #: M
    positions: int  #: S
    channels: int  #: C
    pairs: int  #: matchings to make
    workers: int  #: tiles computed at the same time
    block: int  #: images on each side of a tile
    sampled_chunks: int  #: groups of pairs timed, on all workers at once
    seconds_per_pair: float  #: mean on one worker, affinity and scoring included
    seconds_per_pair_low: float
    seconds_per_pair_high: float
    seconds: float  #: time of the whole matrix, by the clock on the wall
    seconds_low: float
    seconds_high: float
    seconds_per_tile: float  #: what a lost worker costs
    worker_bytes: int  #: beyond the interpreter: both sides of a tile, what affinities and solver added on the sample
    result_bytes: int  #: size of the .npy file (memory, if it is not streamed to a file)
    input_bytes: int  #: size of the activations of all images in float16

    def as_dict(self) -> dict[str, Any]:
        """All figures by name."""
        return asdict(self)


@takes_rsm_options
def estimate_rsm(
    z: Any,
    z2: Any = None,
    *,
    count: int | None = None,
    count2: int | None = None,
    seconds: float = 5.0,
    **keywords: Any,
) -> Estimate:
    """Time, memory and disk of an RSM, from pairs of the given images timed on all workers at once.

    Parameters
    ----------
    z, z2
        As for `compute_rsm`.
    count, count2 : int, optional
        Numbers of images to plan for, by default those of z and z2. With ``count2`` the plan is a query x database RSM even
        where z2 is not given: a few images are enough to plan for thousands.
    seconds : float
        How long to sample (at least three groups of pairs, after one pair to warm up).
    **keywords
        Of `compute_rsm`; one matching at a time. The kernel, its bandwidth and ``out`` change no figure.

    Raises
    ------
    ValueError
        As `compute_rsm`; a single image and no z2 leave no pair to time.
    """
    if not min([seconds, *(number for number in (count, count2) if number is not None)]) > 0:
        raise ValueError("count, count2 and the seconds to sample must be positive")
    o = RsmOptions.of(keywords)
    if len(o.matching) > 1:
        raise ValueError("an estimate is for one matching at a time")
    sides = [as_source(side, name, **o.layouts) for name, side in (("z", z), ("z2", z2)) if side is not None]
    first, second = sides[0], sides[1] if len(sides) > 1 else None
    (chosen,) = choose_comparisons(o, first.grid).values()
    mirrored = second is None and count2 is None
    n = count or first.count
    m = n if mirrored else count2 or sides[-1].count
    few = [side.portion(0, min(side.count, _SAMPLE_IMAGES)) for side in sides]
    sample = Images.of(few[0], few[1] if second else None, o.centring)
    if sample.pairs == 0:
        raise ValueError(f"{first.name} holds a single image: there is no pair to time")
    workers = Schedule(o.n_jobs).workers
    length = o.block or block_length(sample, n, m, mirrored, workers)
    images = [all_centred(side, sample.mean, sample.dtype) for side in sample.sides]
    pairs = n * (n - 1) // 2 if mirrored else n * m
    if isinstance(chosen, ByVectors):
        timing = delayed(_time_vectors)
        runs = processes(workers)(
            timing(chosen, images, (n if mirrored else n + m) / pairs, seconds) for _ in range(workers)
        )
    else:
        runs = processes(workers)(delayed(_time_pairs)(chosen, images, worker, seconds) for worker in range(workers))
    timed = np.concatenate([per_pair for per_pair, _ in runs])
    mean, low, high = mean_interval(timed, resamples=2000, level=0.9)
    # A solver holds one pair at a time; the other matchings transform the whole tile at once.
    growth = 1.0 if isinstance(chosen, BySolver) else max(1.0, length / min(map(len, images)))
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


def _time_vectors(
    matching: ByVectors, images: Sequence[Floats], makes: float, seconds: float
) -> tuple[list[float], int]:
    """As `_time_pairs`: ``makes`` vectors a pair, each made once, and a share of the product of two panels."""
    x = images[-1]
    width = len(next(matching.vectors(x[:1].swapaxes(1, 2))))
    panel = np.ones((_PANEL, width))
    with one_thread():
        making, product = Clock(seen={None}), Clock(seen={None})
        some: dict[str, Any] = {"fewest": _FEWEST_GROUPS, "most": 2**31, "lasting": seconds / 2}
        making.run(lambda i: x[i % len(x)][None].swapaxes(1, 2), lambda image: list(matching.vectors(image)), **some)
        product.run(lambda i: panel, lambda rows: np.matmul(rows, panel[::-1].T), **some)
    pair = float(np.mean(product.seconds)) / _PANEL**2
    return [spent * makes + pair for spent in making.seconds], (making.peak_bytes or 0) + 2 * panel.nbytes


def _time_pairs(matching: Comparison, images: Sequence[Floats], worker: int, seconds: float) -> tuple[list[float], int]:
    """Seconds per pair of every timed group, for about ``seconds``; and the memory that matching added at its peak.

    A group is a row of pairs of different images, so that what a tile sets up once is not counted for every pair; without a
    solver it is all pairs, as in a tile.
    """
    x, y, alone = images[0], images[-1], len(images) == 1
    rng = np.random.default_rng(worker)
    pairs: list[int] = []

    def group(width: int) -> PairBlock:
        if isinstance(matching, BySolver):
            i = int(rng.integers(len(x)))
            columns = rng.permutation([j for j in range(len(y)) if not (alone and i == j)])[:width]
            block = PairBlock.of(x[i : i + 1], y[np.sort(columns)])
        else:
            block = PairBlock.of(x, y, ~np.eye(len(x), len(y), dtype=bool) if alone else None)
        pairs.append(int(block.wanted.sum()))
        return block

    def compile_and_import() -> None:
        if isinstance(matching, BySolver):
            a, b = (np.ascontiguousarray(image[:, :_WARM_POSITIONS]) for image in (x[:1], y[-1:]))
            matching.fill(PairBlock.of(a, b))

    with one_thread():
        one = Clock()
        one.run(lambda i: group(1), matching.fill, warm=compile_and_import, most=1)
        width = max(1, min(len(y), int(seconds / _GROUPS / max(one.seconds[0], 1e-9))))
        pairs.clear()
        clock = Clock(seen={None})
        clock.run(lambda i: group(width), matching.fill, fewest=_FEWEST_GROUPS, most=2**31, lasting=seconds)
    peak = max(one.peak_bytes or 0, clock.peak_bytes or 0)
    return [spent / pairs[i] for spent, i in zip(clock.seconds, clock.calls, strict=True)], peak
