"""One pass over the images before anything is matched: are they sound, how long are they, what is their mean."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.rsm.sources import Centring, Floats, ImageSource
from semrsm_bench.solvers.problem import fits_float32

# Inner products, and sums of a few of them, must stay finite in float64, and must not underflow.
_LARGEST = 1e150
_SMALLEST = 1e-145


@dataclass(frozen=True)
class Survey:
    """What is measured of a set of images before anything is matched.

    Attributes
    ----------
    squared_norms : ndarray of float64, (N,)
        Of the centred images.
    lowest, highest : float
        Of the largest absolute entries of the centred images; images of zeros do not count.
    digest : str
        Of the raw images; "" where none was asked for.
    """

    squared_norms: NDArray[np.float64]
    lowest: float
    highest: float
    digest: str = ""


def common_mean(source: ImageSource, centring: Centring) -> Floats | None:
    """What centring subtracts from every image of a call: (C,), (S, C), or None for no centring.

    A cache brings its mean (taken over more images than it holds); of an array it is computed in float64. With a database the
    source is that.
    """
    if centring == "none":
        return None
    stored = source.stored_mean()
    if stored is not None:
        mean = stored.astype(np.float64)
    else:
        mean = np.zeros((source.size, source.channels))
        for start, images in source.chunks():
            _require_finite(images, start, source)
            mean += images.sum(axis=0, dtype=np.float64)
        mean /= source.count
    return np.asarray(mean if centring == "position" else mean.mean(axis=0), dtype=source.dtype)


def survey(source: ImageSource, mean: Floats | None, dtype: np.dtype[Any], *, digest: bool = False) -> Survey:
    """Check all images and measure them; a ValueError names the image that is not finite, or too large for float64."""
    squared_norms, largest = np.empty(source.count), np.empty(source.count)
    hasher = hashlib.blake2b(digest_size=16) if digest and source.stored_digest() is None else None
    for start, images in source.chunks():
        if hasher is not None:
            hasher.update(images.data)
        images = centred(images, mean, dtype)
        for i, image in enumerate(images, start):
            flat = image.ravel().astype(np.float64, copy=False)
            with np.errstate(over="ignore", invalid="ignore"):
                squared_norms[i] = flat @ flat
            if not np.isfinite(squared_norms[i]):
                _require_finite(image[None], i, source)
            largest[i] = max(abs(float(image.max())), abs(float(image.min())))
            if largest[i] > _LARGEST:
                raise ValueError(f"image {i} of {source.name} reaches {largest[i]:.3g}: scale it below {_LARGEST:g}")
            if 0.0 < largest[i] < _SMALLEST:
                raise ValueError(
                    f"image {i} of {source.name} reaches {largest[i]:.3g} only: scale it above {_SMALLEST:g}"
                )
    text = source.stored_digest() or (hasher.hexdigest() if hasher else "")
    positive = largest[largest > 0]
    return Survey(squared_norms, float(positive.min()) if positive.size else 0.0, float(largest.max()), text)


def centred(images: Floats, mean: Floats | None, dtype: np.dtype[Any]) -> Floats:
    """Images minus what `common_mean` gave, in the precision of the call."""
    images = images.astype(dtype, copy=False)
    if mean is not None:
        images -= mean
    return images


def all_centred(source: ImageSource, mean: Floats | None, dtype: np.dtype[Any]) -> Floats:
    """All images of a source, centred, in memory."""
    return centred(source.read(0, source.count), mean, dtype)


def fit_float32(x: Survey, y: Survey, channels: int) -> bool:
    """Whether float32 holds the inner products of all pairs of images."""
    return fits_float32(x.lowest, y.lowest, channels) and fits_float32(x.highest, y.highest, channels)


def _require_finite(images: Floats, start: int, source: ImageSource) -> None:
    if np.isfinite(images).all():
        return
    image, position, channel = (int(k) for k in np.argwhere(~np.isfinite(images))[0])
    raise ValueError(
        f"{source.name} is not finite: {images[image, position, channel]} in image {start + image}, position {position}, "
        f"channel {channel}; clean the activations first"
    )
