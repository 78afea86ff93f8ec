"""Baselines: metrics and scores of single stimuli that ignore what networks represent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.arrays import to_numpy
from semrsm_bench.metrics.arrays import FloatArray, as_feature_pair, centred_pair
from semrsm_bench.metrics.instances import register_instance
from semrsm_bench.metrics.registry import FORMS, register_metric

# Change of luma from one pixel to the next, on the scale 0..1, from which a pixel counts as lying on an edge.
EDGE_THRESHOLD = 0.1
_LUMA = (0.299, 0.587, 0.114)

_metric = partial(register_metric, takes="features", best="max", range=(0, 1), category="baseline")
_of_pictures = partial(register_instance, takes="pixels", category="baseline")
_OF_WIDTH = (*(name for name in FORMS if name != "zero_units"), "unit_scaling", "invertible_linear", "row_scaling")


@_metric("spectrum", invariant_to=FORMS)
def spectrum_similarity(X: Any, Y: Any) -> float:
    """Cosine between the singular values of two centred feature matrices, (n, p) and (n, q): nothing of which stimulus is which.

    In [0, 1]; NaN where a side is constant. Errors as for `semrsm_bench.metrics.linear_cka`.
    """
    a, b = (np.linalg.svd(side, compute_uv=False) for side in centred_pair(X, Y))
    length = min(len(a), len(b))
    with np.errstate(invalid="ignore"):
        # Rounding may leave the cosine of equal spectra just above 1.
        return float(np.minimum(a[:length] @ b[:length] / (np.linalg.norm(a) * np.linalg.norm(b)), 1.0))


@_metric("width", invariant_to=_OF_WIDTH)
def width_similarity(X: Any, Y: Any) -> float:
    """Ratio of the smaller number of units to the larger, in (0, 1]: nothing of the data at all."""
    p, q = (side.shape[1] for side in as_feature_pair(X, Y))
    return float(min(p, q) / max(p, q))


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
