"""What does an RSM method cost, for a pair of images, as positions, channels and images grow?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from semrsm_bench.core.clock import Clock
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import check, option
from semrsm_bench.core.task import Answer, Arrays, Case, Profile, Score, Scored, Task
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.rsm.tiles import one_thread
from semrsm_bench.tasks.registry import register_task
from semrsm_bench.tasks.rsms import OPTIMUM, TIME_PER, answered_rsm, image_pairs

# One of S, C and N varies at a time, around 64 x 128 x 12.
QUICK = ("16x128x12", "64x128x12", "256x128x12", "1024x128x12", "64x32x12", "64x512x12", "64x128x48", "64x128x192")
PAPER = (*QUICK, "4096x128x12", "64x2048x12", "64x128x768")
# How many things vary together in the activations, how smooth each is over positions, and the share of noise.
_LATENTS, _SMOOTHNESS, _NOISE = 24, 0.12, 0.3
_PRODUCTS, _PRODUCT_SECONDS = 5, 0.02


@dataclass(frozen=True)
class RsmCostOptions:
    """Which sizes."""

    cells: tuple[str, ...] | None = option(
        None,
        help="Positions, channels and images of each cell. Default: the profile's.",
        metavar="SxCxN",
        aliases=("cell",),
    )
    sets: int | None = option(
        None, help="Sets of images in each cell, the units of the intervals; default: the profile's.", minimum=1
    )
    seed: int = option(0, help="Seed of the activations.", minimum=0)

    def __post_init__(self) -> None:
        check(self)
        for cell in self.cells or ():
            _sizes(cell)


@register_task
class RsmCost(Task):
    """Time and memory of RSM methods on activations that are made up."""

    name = "rsm-cost"
    question = "What does an RSM method cost, for a pair of images, as positions, channels and images grow?"
    kind = "rsm"
    scores = (
        Score("pair", "us/pair", "min", high=math.inf, meaning="time of the whole RSM over its N (N - 1) / 2 pairs"),
        Score("product", "x'y, us", "min", high=math.inf, meaning="time of one affinity alone, by one matrix product"),
        Score("times", "times x'y", "min", high=math.inf, meaning="time of a pair over that of its affinity"),
        Score("memory", "MB", "min", high=math.inf, meaning="memory that the call took at its peak"),
    )
    unit = "set"
    time_per = TIME_PER
    across = ("size", "channels", "images")
    options = RsmCostOptions
    methods = (
        *(
            "identity",
            "translation",
            "pooled",
            "second-moment",
            "second-moment-unit",
            "sliced",
            "set-rbf",
            "set-polynomial",
        ),
        *("chamfer", "bures", "sinkhorn", "auction-coarse", "auction-fine", OPTIMUM),
    )
    observe = "timed_rsm"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile("S to 1024, C to 512, N to 192", {"cells": QUICK, "sets": 2}, 30.0, 30.0, patience=10.0),
        "paper": Profile("S to 4096, C to 2048, N to 768", {"cells": PAPER, "sets": 5}, 120.0, 600.0),
    }

    def cases(self, options: RsmCostOptions) -> Iterator[Case]:
        """Sets of images of each size."""
        for cell in options.cells or QUICK:
            size, channels, images = _sizes(cell)
            for draw in range(options.sets or 2):
                yield Case(
                    f"{cell}/{options.seed}-{draw}",
                    {"size": size, "channels": channels, "images": images},
                    partial(_inputs, options.seed, draw, images, channels, size),
                    {"set": (str(draw),)},
                    size=size,
                    channels=channels,
                )

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """Times of the calls, each an RSM of the images in another order; their median counts."""
        images = len(arrays["z"])
        answered_rsm(answer, images)
        seconds, product, memory = (np.median(answer.arrays[name]) for name in ("seconds", "product", "memory"))
        pair = float(seconds) / image_pairs(images)
        scores = {"pair": 1e6 * pair, "product": 1e6 * float(product), "times": pair / float(product)}
        return Scored(scores | {"memory": float(memory) / 1e6}, {"pairs": image_pairs(images)})


def timed_rsm(command: Mapping[str, Any], inputs: Arrays, clock: Any, memory: Any) -> dict[str, Any]:
    """Runs in the worker: the RSM of the images, again and again for a moment, and the matrix product of two of them alone."""
    z = np.asarray(inputs["z"])
    name, seed = command["name"], command.get("seed", (0, 0, 1))[:2]
    orders: dict[int, NDArray[np.intp]] = {}

    def fresh(i: int) -> NDArray[Any]:
        orders[i] = np.random.default_rng([*seed, i + 1]).permutation(len(z))
        return z[orders[i]]

    def compute(images: NDArray[Any]) -> Any:
        return compute_rsm(images, matching=name, layout="channels_first")

    found = clock.run(
        fresh, compute, warm=lambda: compute(z[:2]), shape=("rsm-cost", name, z.shape[1:], str(z.dtype)), most=5
    )
    back = np.argsort(orders[0])
    rsm = np.asarray(found[0])[np.ix_(back, back)]
    seconds, peak = np.array(clock.seconds), np.array([clock.peak_bytes or 0])
    return {"arrays": {"rsm": rsm, "seconds": seconds, "memory": peak, "product": _product_seconds(z)}}


def _product_seconds(z: NDArray[Any]) -> NDArray[np.float64]:
    """Median time of one affinity (S, S), (1,)."""
    x = np.ascontiguousarray(z.reshape(*z.shape[:2], -1).swapaxes(1, 2))
    out, timer = np.empty((x.shape[1], x.shape[1]), x.dtype), Clock()
    with one_thread():
        timer.run(
            lambda i: (x[i % len(x)], x[(i + 1) % len(x)].T),
            lambda pair: np.matmul(pair[0], pair[1], out=out),
            fewest=_PRODUCTS,
            most=2**31,
            lasting=_PRODUCT_SECONDS,
        )
    return np.array([np.median(timer.seconds)])


def _inputs(seed: int, draw: int, images: int, channels: int, size: int) -> Arrays:
    return {"z": activations([seed, draw], images, channels, size)}


def activations(seed: Any, images: int, channels: int, size: int) -> NDArray[np.float32]:
    """Activations (N, C, H, W) with H * W = size as a network with ReLUs has them, of nothing.

    A few latent fields that are smooth over positions, mixed into channels of different sizes, with noise, and cut off below 0.
    """
    rng = np.random.default_rng(seed)
    height = max(h for h in range(1, math.isqrt(size) + 1) if size % h == 0)
    grid = (height, size // height)
    width = [_SMOOTHNESS * side for side in grid]
    fields = gaussian_filter(rng.standard_normal((images, _LATENTS, *grid)), (0, 0, *width), mode="wrap")
    fields /= fields.std() or 1.0
    mixing = rng.standard_normal((channels, _LATENTS)) / math.sqrt(_LATENTS)
    scale = np.exp(0.5 * rng.standard_normal(channels))[:, None, None]
    z = np.einsum("cl,nlhw->nchw", mixing, fields, optimize=True)
    z += _NOISE * rng.standard_normal(z.shape) + 0.3 * rng.standard_normal((channels, 1, 1))
    return np.asarray(np.maximum(scale * z, 0), dtype=np.float32)


def _sizes(cell: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)", cell)
    if not found or min(sizes := [int(number) for number in found.groups()]) < 1 or sizes[2] < 2:
        raise ValueError(f"cells: an entry is SxCxN, positions, channels and at least 2 images, got {cell!r}")
    return sizes[0], sizes[1], sizes[2]
