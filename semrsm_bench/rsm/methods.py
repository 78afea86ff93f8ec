"""The RSM methods of the package that are no solvers: identity, translation, pooled, and the baseline random."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from semrsm_bench.core.method import OWN_DISTRIBUTION
from semrsm_bench.rsm.comparison import Comparison, PairBlock
from semrsm_bench.rsm.registry import RSMS, MatchingRsm, RsmMethod
from semrsm_bench.rsm.sources import Floats, Grid

# Values closer than this, relative to the norms of the two images, differ by rounding only: the lowest shift wins.
_TIE = 1e-13


@dataclass(frozen=True)
class SamePosition(Comparison):
    """Position s with position s: the spatio-semantic RSM, a plain matrix product."""

    grid: Grid | None = None
    name = "identity"

    def fill(self, block: PairBlock) -> None:
        """See `Comparison.fill`."""
        x, y = (a.reshape(len(a), -1).astype(np.float64, copy=False) for a in (block.x, block.y))
        block.values[block.wanted] = (x @ y.T)[block.wanted]
        if block.permutations is not None:
            block.permutations[block.wanted] = np.arange(block.x.shape[1])


@dataclass(frozen=True)
class BestShift(Comparison):
    """The circular shift of the grid (H, W) with the largest inner product, by FFT.

    ``max over (a, b) of sum_hw <x[h, w], y[h + a, w + b]>``, indices modulo H and W; the lowest shift of equals.
    """

    grid: Grid
    name = "translation"
    needs_grid = True

    def __post_init__(self) -> None:
        if self.grid is None:
            raise ValueError("translation shifts a grid: give (N, C, H, W), or grid=(H, W) for flat positions")

    def fill(self, block: PairBlock) -> None:
        """See `Comparison.fill`; all pairs at once."""
        norms = [np.sqrt(np.einsum("nsc,nsc->n", a, a, dtype=np.float64)) for a in (block.x, block.y)]
        cross = np.matmul(self._spectra(block.y), self._spectra(block.x).conj().swapaxes(-1, -2))
        correlation = fft.irfft2(cross.transpose(3, 2, 0, 1), s=self.grid, axes=(2, 3))
        correlation = correlation.reshape(*block.wanted.shape, -1)
        values = correlation.max(axis=-1)
        block.values[block.wanted] = values[block.wanted]
        if block.permutations is not None:
            slack = _TIE * np.multiply.outer(*norms)
            shifts = np.argmax(correlation >= (values - slack)[..., None], axis=-1)
            for i, j in np.argwhere(block.wanted):
                block.permutations[i, j] = shift_permutation(int(shifts[i, j]), self.grid)

    def _spectra(self, images: Floats) -> NDArray[np.complex128]:
        """Fourier transforms (H, W // 2 + 1, n, C): frequencies first, so that all pairs are one product per frequency."""
        planes = images.reshape(len(images), *self.grid, -1).astype(np.float64, copy=False)
        return np.ascontiguousarray(fft.rfft2(planes, axes=(1, 2)).transpose(1, 2, 0, 3))

    def identity(self) -> dict[str, Any]:
        """See `Comparison.identity`."""
        return {"matching": self.name, "grid": list(self.grid)}


def shift_permutation(shift: int, grid: Grid) -> NDArray[np.intp]:
    """Permutation (S,) that matches position (h, w) with (h + a, w + b), where ``shift = a * W + b``."""
    height, width = grid
    positions = np.arange(height * width, dtype=np.intp).reshape(grid)
    return np.roll(positions, (-(shift // width), -(shift % width)), axis=(0, 1)).ravel()


def image_digest(image: NDArray[Any]) -> bytes:
    """Digest of an image's activations (C, S)."""
    return hashlib.blake2b(np.ascontiguousarray(image, dtype=np.float64).data, digest_size=8).digest()


def random_similarity(a: bytes, b: bytes, *, seed: int = 0) -> float:
    """A random number for each pair of images, in [-1, 1), and 1 for an image with itself.

    It depends on the two images and the seed alone, and not on their order.
    """
    if a == b:
        return 1.0
    mixed = hashlib.blake2b(b"".join(sorted((a, b))), digest_size=8, salt=seed.to_bytes(8, "little"))
    return int.from_bytes(mixed.digest(), "little") / 2.0**63 - 1.0


def pooled(z: NDArray[Any], z2: NDArray[Any]) -> NDArray[np.float64]:
    """Inner product of the images' mean position vectors, times S: what a random matching gives on average.

    ``<sum_s x_s, sum_s y_s> / S``, for z (N, C, S) and z2 (M, C, S); (N, M) float64.
    """
    sums = [images.sum(axis=2, dtype=np.float64) for images in (z, z2)]
    return np.asarray(sums[0] @ sums[1].T / z.shape[2])


_LINEAR: dict[str, Any] = {"complexity": "O(SC)", "distribution": OWN_DISTRIBUTION}
_SHIFTS: dict[str, Any] = {**_LINEAR, "complexity": "O(SC log S)", "invariant_to": ("translation",)}
RSMS.add(
    [
        MatchingRsm("identity", SamePosition, reference="Wald et al., NeurIPS 2024", **_LINEAR),
        MatchingRsm("translation", BestShift, reference="Williams et al., NeurIPS 2021", **_SHIFTS),
        RsmMethod("pooled", pooled, invariant_to=("permutation", "translation"), **_LINEAR),
        RsmMethod("random", random_similarity, prepare=image_digest, category="baseline", **_LINEAR),
    ]
)
