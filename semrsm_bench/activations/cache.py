"""What activations on disk offer to those who read them: layers of N images, one image or one slice at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Centring = Literal["none", "channel", "position"]
CENTRINGS: tuple[Centring, ...] = ("none", "channel", "position")
Floats = NDArray[np.floating[Any]]


class Cache(ABC):
    """Open activations of N images; nothing is read that is not asked for.

    ``metadata`` says where they are from, ``model`` at least. ``images`` are ids in order; ``has_ids`` is False where the file
    names no images and the ids are numbers from 0. ``labels`` (N,) int64 are -1 where there is none; ``logits`` (N, classes)
    float32 are of width 0 where there are none. ``sha256`` is of all that decides the values.
    """

    path: Path
    name: str
    sha256: str
    metadata: dict[str, Any]
    layers: list[str]
    images: list[str]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    has_ids = True
    _shapes: dict[str, tuple[int, int, int]]

    def __repr__(self) -> str:
        return f"Cache({self.name!r}, {len(self)} images, {', '.join(self.layers)})"

    def __len__(self) -> int:
        return len(self.images)

    @abstractmethod
    def __reduce__(self) -> tuple[Any, ...]:
        """What opens the same file again, in any process: a function and its arguments."""

    def shape(self, layer: str) -> tuple[int, int, int]:
        """(N, C, S) of a layer."""
        if layer not in self._shapes:
            raise ValueError(f"{self.name} has no layer {layer!r}; it has {', '.join(self.layers)}")
        return self._shapes[layer]

    @abstractmethod
    def grid(self, layer: str) -> tuple[int, int] | None:
        """(H, W) of a layer's positions, or None where they do not form a grid."""

    @abstractmethod
    def dtype(self, layer: str) -> np.dtype[Any]:
        """Precision to compute in: float32, or float64 where the activations are stored in it."""

    @abstractmethod
    def mean(self, layer: str) -> Floats:
        """Mean activation (C, S): the stored one, or that of the images here."""

    @abstractmethod
    def stored_mean(self, layer: str) -> Floats | None:
        """Mean activation (C, S) that came with the images, or None."""

    @abstractmethod
    def _planes(self, layer: str, start: int, stop: int) -> NDArray[Any]:
        """Images ``start:stop`` as (n, C, S), as stored."""

    def activations(self, layer: str, index: int | slice) -> NDArray[Any]:
        """Raw activations of one image, (C, S), or of a slice of images, (n, C, S), as stored."""
        n, _, _ = self.shape(layer)
        if isinstance(index, slice):
            wanted = range(n)[index]
            first = min(wanted, default=0)
            part = self._planes(layer, first, max(wanted, default=-1) + 1)
            return part[[i - first for i in wanted]]
        if not -n <= index < n:
            raise IndexError(f"{self.name} has images 0..{n - 1}, asked for {index}")
        return np.asarray(self.activations(layer, slice(index % n, index % n + 1))[0])

    def positions(self, layer: str, index: int, centring: Centring = "none") -> Floats:
        """Position vectors of one image, (S, C), read-only, in the precision of `dtype`; centring as `compute_rsm`."""
        if centring not in CENTRINGS:
            raise ValueError(f"centring must be one of {', '.join(CENTRINGS)}, got {centring!r}")
        dtype = self.dtype(layer)
        values = self.activations(layer, index).astype(dtype)
        if centring != "none":
            mean = self.mean(layer)
            if centring == "channel":
                mean = mean.mean(axis=1, dtype=np.float64, keepdims=True).astype(dtype)
            values -= mean
        positions = np.ascontiguousarray(values.T)
        positions.flags.writeable = False
        return positions
