"""The images of one call, read once before anything is matched: are they sound, how long are they, what is their mean."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.cache import Centring, Floats
from semrsm_bench.core.compiled import njit
from semrsm_bench.rsm.comparison import Comparison
from semrsm_bench.rsm.sources import ArraySource, ImageSource
from semrsm_bench.solvers.problem import fits_float32

# Activations one worker holds at a time, both sides of a tile together.
BLOCK_BYTES = 128 * 2**20
# Inner products, and sums of a few of them, must stay finite in float64, and must not underflow.
_LARGEST, _SMALLEST = 1e150, 1e-145

Norms = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Squared norms of the images in the rows (N,) and in the columns (M,), or the similarities with themselves that stand for them."""


@dataclass(frozen=True)
class Survey:
    """Facts of a set of images: squared norms (N,) once centred, least and largest of their largest entries, digest if wanted.

    Images of zeros do not count for ``lowest``.
    """

    squared_norms: NDArray[np.float64]
    lowest: float
    highest: float
    digest: str


@dataclass(frozen=True)
class Images:
    """Both sides of an RSM, checked against each other and surveyed.

    For z alone ``rows`` and ``columns`` are the same object and ``mirrored`` holds: only pairs above the diagonal are matched.
    ``mean``, (C,) or (S, C), is what centring subtracts.
    """

    rows: ImageSource
    columns: ImageSource
    mirrored: bool
    centring: Centring
    mean: Floats | None
    dtype: np.dtype[Any]
    row_survey: Survey
    column_survey: Survey

    @classmethod
    def of(cls, z: ImageSource, z2: ImageSource | None, centring: Centring, *, digest: bool = False) -> Images:
        """Check and survey; the mean is that of the database (z2).

        Images of float32 whose inner products leave its range are computed in float64.
        """
        sides = (z,) if z2 is None else (z, z2)
        for what, here, there in (("positions", z.size, sides[-1].size), ("channels", z.channels, sides[-1].channels)):
            if here != there:
                both = f"{z.name} has {here} {what} and {sides[-1].name} has {there}"
                raise ValueError(f"{both}: extract both from one layer, at one resolution")
        if len({side.grid for side in sides} - {None}) > 1:
            raise ValueError(f"{z.name} and {sides[-1].name} lie on the grids {z.grid} and {sides[-1].grid}")
        mean = _common_mean(sides[-1], centring)
        dtype = np.dtype(np.result_type(*(side.dtype for side in sides)))
        found = [_survey(side, mean, dtype, digest) for side in sides]
        x, y = found[0], found[-1]
        ends = ((x.lowest, y.lowest), (x.highest, y.highest))
        if dtype == np.float32 and not all(fits_float32(*end, z.channels) for end in ends):
            dtype = np.dtype(np.float64)
            found = [_survey(side, mean, dtype, digest) for side in sides]
        return cls(z, sides[-1], z2 is None, centring, mean, dtype, found[0], found[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return self.rows.count, self.columns.count

    @property
    def pairs(self) -> int:
        """Number of pairs to match."""
        n, m = self.shape
        return n * (n - 1) // 2 if self.mirrored else n * m

    @property
    def sides(self) -> tuple[ImageSource, ...]:
        """The rows, and the columns where they are other images."""
        return (self.rows,) if self.mirrored else (self.rows, self.columns)

    def held(self) -> Images:
        """The same with all images read and centred in memory, where they are few enough; else as it is."""
        total = sum(side.count * side.size * side.channels for side in self.sides) * self.dtype.itemsize
        if total > BLOCK_BYTES:
            return self
        read = ((all_centred(side, self.mean, self.dtype), side) for side in self.sides)
        kept = [ArraySource(array, side.name, "channels_last", grid=side.grid) for array, side in read]
        return replace(self, rows=kept[0], columns=kept[-1], mean=None)

    def squared_norms(self, matching: Comparison) -> Norms:
        """What kernels are derived from, beside the pairs; of a method without a matching the similarities with themselves."""
        if matching.matches:
            return self.row_survey.squared_norms, self.column_survey.squared_norms
        found = [
            np.concatenate([matching.with_itself(_centred(part, self.mean, self.dtype)) for _, part in side.chunks()])
            for side in self.sides
        ]
        return found[0], found[-1]

    def fingerprint(self, matching: Comparison) -> dict[str, Any]:
        """Everything that decides the values."""
        return {
            "inputs": [found.digest for found in (self.row_survey, self.column_survey)[: len(self.sides)]],
            "images": list(self.shape),
            "positions": self.rows.size,
            "channels": self.rows.channels,
            "precision": str(self.dtype),
            "centring": self.centring,
            **matching.identity(),
        }


def all_centred(source: ImageSource, mean: Floats | None, dtype: np.dtype[Any]) -> Floats:
    """All images of a source in memory, minus the mean of the call and in its precision."""
    return _centred(source.read(0, source.count), mean, dtype)


def centred_planes(source: ImageSource, mean: Floats | None, dtype: np.dtype[Any]) -> Floats:
    """As `all_centred`, but (n, C, S) and in any order of memory."""
    return _centred(source.planes(0, source.count), mean, dtype, planes=True)


def _centred(images: Floats, mean: Floats | None, dtype: np.dtype[Any], planes: bool = False) -> Floats:
    images = images.astype(dtype, copy=False)
    if mean is None:
        return images
    if planes:
        mean = mean[:, None] if mean.ndim == 1 else mean.T
    return images - mean


def _common_mean(source: ImageSource, centring: Centring) -> Floats | None:
    """What centring subtracts from every image of a call: (C,), (S, C), or None for no centring.

    A cache brings its mean (taken over more images than it holds); of an array it is computed in float64.
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


def _survey(source: ImageSource, mean: Floats | None, dtype: np.dtype[Any], digest: bool) -> Survey:
    """Check all images and measure them; a ValueError names the image that is not finite, or too large for float64."""
    squared_norms, largest = np.empty(source.count), np.empty(source.count)
    hasher = hashlib.blake2b(digest_size=16) if digest and source.stored_digest() is None else None
    for start, planes in source.chunks(planes=True):
        if hasher is not None:
            hasher.update(np.ascontiguousarray(planes.swapaxes(1, 2)).data)
        centred = _centred(planes, mean, dtype, planes=True)
        centred = centred if centred.flags.c_contiguous else centred.swapaxes(1, 2)
        flat, part = centred.reshape(len(planes), -1), slice(start, start + len(planes))
        squared_norms[part], largest[part] = _measured(flat)
        sound = (largest[part] == 0.0) | (largest[part] >= _SMALLEST) & (largest[part] <= _LARGEST)
        for i in (start + np.flatnonzero(~sound)).tolist():
            _require_finite(source.read(i, i + 1), i, source)
            limits = f"{_SMALLEST:g} to {_LARGEST:g}"
            raise ValueError(f"image {i} of {source.name} reaches {largest[i]:.3g}: scale it to {limits}")
    text = source.stored_digest() or (hasher.hexdigest() if hasher else "")
    return Survey(squared_norms, float(min(largest[largest > 0], default=0.0)), float(largest.max()), text)


def _measured(flat: Floats) -> tuple[NDArray[np.float64], Floats]:
    """Squared norms of the rows (n,), and their largest magnitudes: inf or NaN where a row is not finite."""
    squares, bits = np.empty(len(flat)), flat.view(f"u{flat.itemsize}")
    largest = np.empty(len(flat), dtype=bits.dtype)
    _measure(flat, bits, bits.dtype.type(np.iinfo(bits.dtype).max >> 1), squares, largest)
    return squares, largest.view(flat.dtype)


@njit(fastmath={"reassoc", "nsz", "contract"})
def _measure(flat: Floats, bits: Any, magnitude: Any, squares: NDArray[np.float64], largest: Any) -> None:
    """One pass. Floats without their signs are in the order of their bits read as integers, NaN last."""
    for i in range(len(flat)):
        total, most = 0.0, bits[i, 0] & magnitude
        for j in range(flat.shape[1]):
            total += np.float64(flat[i, j]) * np.float64(flat[i, j])
            most = max(most, bits[i, j] & magnitude)
        squares[i], largest[i] = total, most


def _require_finite(images: Floats, start: int, source: ImageSource) -> None:
    if np.isfinite(images).all():
        return
    image, position, channel = (int(k) for k in np.argwhere(~np.isfinite(images))[0])
    entry = f"{images[image, position, channel]} in image {start + image}, position {position}, channel {channel}"
    raise ValueError(f"{source.name} is not finite: {entry}; clean the activations first")
