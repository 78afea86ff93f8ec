"""Baselines: metrics and scores of single stimuli that ignore what networks represent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.arrays import to_numpy
from semrsm_bench.metrics.arrays import (
    FloatArray,
    as_float64,
    balanced,
    centred,
    require_same_stimuli,
    require_stimuli,
)
from semrsm_bench.metrics.instances import register_instance
from semrsm_bench.metrics.registry import FORMS, ROTATIONS, register_metric

# Change of luma from one pixel to the next, on the scale 0..1, from which a pixel counts as lying on an edge.
EDGE_THRESHOLD = 0.1
_LUMA = (0.299, 0.587, 0.114)

_metric = partial(register_metric, takes="features", best="max", range=(0, 1), category="baseline")
_of_pictures = partial(register_instance, takes="pixels", category="baseline")
_OF_WIDTH = (*(name for name in FORMS if name != "zero_units"), "unit_scaling", "invertible_linear", "row_scaling")


@_metric("spectrum", invariant_to=FORMS, complexity="O(n p min(n, p)); O(p)")
class Spectrum:
    """Cosine between the singular values of two centred feature matrices, (n, p) and (n, q): nothing of which stimulus is which.

    In [0, 1]; NaN where a side is constant.
    """

    def prepare(self, x: Any, name: str = "the features") -> tuple[FloatArray, int]:
        """Singular values, of norm 1, and the number of stimuli."""
        x = centred(balanced(as_float64(x, name))[0])
        require_stimuli(len(x), 2)
        values = np.linalg.svd(x, compute_uv=False)
        with np.errstate(invalid="ignore"):
            return values / np.linalg.norm(values), len(x)

    def compare(self, a: tuple[FloatArray, int], b: tuple[FloatArray, int]) -> float:
        """Cosine of two sides."""
        require_same_stimuli(a[1], b[1])
        length = min(len(a[0]), len(b[0]))
        # Rounding may leave the cosine of equal spectra just above 1.
        return float(np.minimum(a[0][:length] @ b[0][:length], 1.0))


@_metric("width", invariant_to=_OF_WIDTH, complexity="O(n p); O(1)")
class Width:
    """Ratio of the smaller number of units to the larger, in (0, 1]: nothing of the data at all. Features (n, p) and (n, q)."""

    def prepare(self, x: Any, name: str = "the features") -> tuple[int, int]:
        """Numbers of stimuli and of units."""
        n, p = as_float64(x, name).shape
        return n, p

    def compare(self, a: tuple[int, int], b: tuple[int, int]) -> float:
        """Ratio of the numbers of units."""
        require_same_stimuli(a[0], b[0])
        return min(a[1], b[1]) / max(a[1], b[1])


@_metric("norms", invariant_to=ROTATIONS, complexity="O(n p + n log n); O(n)")
class Norms:
    """How alike the lengths of the stimuli of (n, p) and (n, q) are, without which is whose; in [0, 1].

    sum_i min(a_i, b_i) / sum_i max(a_i, b_i) of the norms of both sides, each sorted: their ratio, where all of a side are equal.
    NaN where all stimuli of both sides are zero.
    """

    def prepare(self, x: Any, name: str = "the features") -> tuple[FloatArray, int]:
        """Sorted norms (n,), divided by a power of two; and its exponent."""
        x, exponent = balanced(as_float64(x, name))
        return np.sort(np.linalg.norm(x, axis=1)), exponent

    def compare(self, a: tuple[FloatArray, int], b: tuple[FloatArray, int]) -> float:
        """Ratio of two sides."""
        require_same_stimuli(len(a[0]), len(b[0]))
        larger = max(a[1], b[1])
        u, v = (np.ldexp(norms, exponent - larger) for norms, exponent in (a, b))
        with np.errstate(invalid="ignore"):
            return float(np.minimum(u, v).sum() / np.maximum(u, v).sum())


@_metric("random", complexity="O(n p); O(1)")
class Random:
    """A number drawn from [0, 1), seeded by both sides, (n, p) and (n, q): the same for the same two, however they are ordered."""

    def prepare(self, x: Any, name: str = "the features") -> tuple[int, int]:
        """Sum of the checksums of the stimuli, which does not depend on their order; and their number."""
        x = as_float64(x, name) + 0.0  # of two zeros one
        return sum(crc32(np.ascontiguousarray(row).data) for row in x), len(x)

    def compare(self, a: tuple[int, int], b: tuple[int, int]) -> float:
        """The number drawn."""
        require_same_stimuli(a[1], b[1])
        return float(np.random.default_rng(sorted((a[0], b[0]))).random())


def _of_each(statistic: Callable[[NDArray[np.uint8]], float]) -> Callable[[Any], FloatArray]:
    """The statistic of each picture of an array (n, H, W, 3), uint8; ValueError for other arrays."""

    @wraps(statistic)
    def of_each(pixels: Any) -> FloatArray:
        array = to_numpy(pixels, "pixels")
        if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or not array.size:
            raise ValueError(f"pixels must be (N, H, W, 3) uint8 with N, H, W >= 1, got {array.shape} {array.dtype}")
        return np.array([statistic(picture) for picture in array])

    return of_each


def _luma(picture: NDArray[np.uint8]) -> FloatArray:
    return np.asarray(picture.astype(np.float64) @ np.array(_LUMA) / 255)


@_of_pictures("brightness", best="max", range=(0, 1))
@_of_each
def brightness(picture: NDArray[np.uint8]) -> float:
    """Mean of luma (ITU-R BT.601) of each picture, in [0, 1]."""
    return float(_luma(picture).mean())


@_of_pictures("contrast", best="max", range=(0, 0.5))
@_of_each
def contrast(picture: NDArray[np.uint8]) -> float:
    """Standard deviation of luma of each picture, in [0, 0.5]."""
    return float(_luma(picture).std())


@_of_pictures("colourfulness", best="max", range=(0, np.inf))
@_of_each
def colourfulness(picture: NDArray[np.uint8]) -> float:
    """Colourfulness of each picture (Hasler and Suesstrunk 2003), 0 for grey ones.

    sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2) with rg = R - G, yb = (R + G)/2 - B on the scale 0..255.
    """
    red, green, blue = np.moveaxis(picture.astype(np.float64), 2, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


@_of_pictures("edge_density", best="min", range=(0, 1))
@_of_each
def edge_density(picture: NDArray[np.uint8]) -> float:
    """Share of pixels on an edge: Sobel gradient of luma above `EDGE_THRESHOLD` per pixel; in [0, 1]."""
    from scipy.ndimage import sobel

    luma = _luma(picture)
    # Sobel's weights add up to 4 over a distance of 2 pixels.
    return float(np.mean(np.hypot(sobel(luma, axis=0), sobel(luma, axis=1)) / 8 > EDGE_THRESHOLD))


STATISTICS = {f.__name__: f for f in (brightness, contrast, colourfulness, edge_density)}
"""What a picture is like, by name, each a function of pixels (n, H, W, 3)."""
