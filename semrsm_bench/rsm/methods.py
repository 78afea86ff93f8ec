"""The RSM methods of the package that match positions without a solver: identity and translation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from semrsm_bench.activations.cache import Floats
from semrsm_bench.activations.layouts import Grid
from semrsm_bench.core.method import OWN_DISTRIBUTION
from semrsm_bench.rsm.comparison import Comparison, PairBlock
from semrsm_bench.rsm.registry import RSMS, MatchingRsm

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


_WALD, _WILLIAMS = "Wald et al., NeurIPS 2024", "Williams et al., NeurIPS 2021"
_OWN: dict[str, Any] = {"distribution": OWN_DISTRIBUTION}
RSMS.add([MatchingRsm("identity", SamePosition, reference=_WALD, complexity="O(SC)", **_OWN)])
_SHIFTS: dict[str, Any] = {"invariant_to": ("translation",), "complexity": "O(SC log S)", **_OWN}
RSMS.add([MatchingRsm("translation", BestShift, reference=_WILLIAMS, **_SHIFTS)])
