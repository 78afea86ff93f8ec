"""From the linear RSM to the other kernels: one matching serves all of them.

With ``P_ij = <V_i, V_j[perm]>`` and the norms of the images every kernel is a formula of P, because a permutation of
positions changes no norm: ``|V_i - V_j[perm]|^2 = |V_i|^2 + |V_j|^2 - 2 P_ij``. For an RSM method without a matching its own
P_ii and P_jj stand for the squared norms.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.metrics.kernels import BANDWIDTH_RULES, bandwidth

__all__ = ["BANDWIDTH_RULES", "KERNELS", "Kernel", "bandwidth", "check_sigma", "cosine", "rbf", "squared_distances"]

Kernel = Literal["linear", "cosine", "rbf"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
Matrix = NDArray[np.float64]

# A distance this small beside the norms it was computed from is rounding: the two images are equal.
_ROUNDING = 1e-13


def check_sigma(sigma: str | float) -> None:
    """Raise ValueError for an unknown bandwidth rule, or a number that is none, before anything is matched."""
    if isinstance(sigma, str):
        if sigma not in BANDWIDTH_RULES:
            raise ValueError(f"sigma must be a positive number or one of {', '.join(BANDWIDTH_RULES)}; got {sigma!r}")
    elif not (np.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be a positive finite number, got {sigma}")


def require_positive(own: NDArray[np.float64], name: str, matching: str = "") -> None:
    """Raise ValueError where an image's similarity ``own`` (N,) with itself leaves its cosine undefined.

    ``matching`` names a method without a matching; for others ``own`` are squared norms.
    """
    bad = np.flatnonzero(own <= 0.0)
    if bad.size:
        what = f"have no positive similarity with themselves by {matching!r}" if matching else "are all zeros"
        raise ValueError(
            f"{bad.size} of the images of {name} {what}, the first is image {bad[0]}: their cosine is undefined; "
            "leave them out or use another kernel"
        )


def cosine(products: Matrix, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Matrix:
    """``P_ij / sqrt(P_ii P_jj)``, clipped to [-1, 1]; ``rows`` (N,) and ``columns`` (M,) are P_ii and P_jj, all positive."""
    return np.clip(products / np.sqrt(rows)[:, None] / np.sqrt(columns), -1.0, 1.0)


def squared_distances(products: Matrix, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Matrix:
    """``P_ii + P_jj - 2 P_ij``, (N, M), at least 0, and 0 where it is rounding beside ``rows`` P_ii and ``columns`` P_jj."""
    scale = rows[:, None] + columns
    distances: Matrix = scale - 2.0 * products
    distances[distances <= _ROUNDING * scale] = 0.0
    return distances


def distances_that_count(distances: Matrix, rule: str, first: int | None) -> NDArray[np.float64]:
    """Those of some rows (n, M) of squared distances from which a rule of `bandwidth` takes its median, as a 1-d array.

    Row 0 is row ``first`` of a matrix with a diagonal; None for query x database.
    """
    if rule == "wald_code":
        return np.asarray(distances[distances != 0.0])
    if rule == "kornblith" or first is None:
        return distances.ravel()
    off_diagonal = np.ones(distances.shape, dtype=bool)
    rows = np.arange(len(distances))
    off_diagonal[rows, rows + first] = False
    return np.asarray(distances[off_diagonal])


def rbf(distances: Matrix, sigma: float) -> Matrix:
    """``exp(-D / (2 sigma^2))``, in [0, 1], of squared distances D and a bandwidth in units of distance."""
    return np.asarray(np.exp(distances * (-0.5 / sigma) / sigma))
