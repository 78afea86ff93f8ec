"""The best circular shift of one image over another, for whole blocks of pairs at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from semrsm_bench.rsm.sources import Floats, Grid

Spectra = NDArray[np.complex128]

# Values closer than this, relative to the norms of the two images, differ by rounding only: the lowest shift wins.
_TIE = 1e-13


def spectra(images: Floats, grid: Grid) -> Spectra:
    """Fourier transforms (H, W // 2 + 1, n, C) of images (n, S, C) on a grid (H, W).

    Frequencies come first, so that all pairs of a block are one matrix product per frequency.
    """
    n, _, channels = images.shape
    planes = images.reshape(n, *grid, channels).astype(np.float64, copy=False)
    return np.ascontiguousarray(fft.rfft2(planes, axes=(1, 2)).transpose(1, 2, 0, 3))


def best_shifts(x: Spectra, y: Spectra, grid: Grid, scale: NDArray[np.float64]) -> tuple[Any, Any]:
    """Largest circular cross-correlation (n, m) of every pair of spectra, and the shift ``a * W + b`` where it lies.

    ``max over (a, b) of sum_hw <x[h, w], y[h + a, w + b]>``, indices modulo H and W; the lowest shift of equals. ``scale``
    (n, m) holds the products of the images' norms, against which ties are judged.
    """
    cross = np.matmul(y, x.conj().swapaxes(-1, -2))
    correlation = fft.irfft2(cross.transpose(3, 2, 0, 1), s=grid, axes=(2, 3)).reshape(*scale.shape, -1)
    values = correlation.max(axis=-1)
    shifts = np.argmax(correlation >= (values - _TIE * scale)[..., None], axis=-1)
    return values, shifts


def shift_permutation(shift: int, grid: Grid) -> NDArray[np.intp]:
    """Permutation (S,) that matches position (h, w) with (h + a, w + b), where ``shift = a * W + b``."""
    height, width = grid
    positions = np.arange(height * width, dtype=np.intp).reshape(grid)
    return np.roll(positions, (-(shift // width), -(shift % width)), axis=(0, 1)).ravel()
