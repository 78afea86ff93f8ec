"""From the linear RSM to the other kernels: one matching serves all of them.

With ``P_ij = <V_i, V_j[perm]>`` and the norms of the images every kernel is a formula of P, because a permutation of
positions changes no norm: ``|V_i - V_j[perm]|^2 = |V_i|^2 + |V_j|^2 - 2 P_ij``. For an RSM method without a matching,
its values P_ii and P_jj stand for the squared norms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# A distance this small beside the norms it was computed from is rounding: the two images are equal.
_ROUNDING = 1e-13
_DIGIT, _BITS = 16, 64


def cosine(products: Matrix, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Matrix:
    """``P_ij / sqrt(P_ii P_jj)``, clipped to [-1, 1]; ``rows`` (N,) and ``columns`` (M,) are P_ii and P_jj, all positive."""
    return np.clip(products / np.sqrt(rows)[:, None] / np.sqrt(columns), -1.0, 1.0)


def squared_distances(products: Matrix, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Matrix:
    """``P_ii + P_jj - 2 P_ij``, (N, M), at least 0, and 0 where it is rounding beside ``rows`` P_ii and ``columns`` P_jj."""
    scale = rows[:, None] + columns
    distances: Matrix = scale - 2.0 * products
    distances[distances <= _ROUNDING * scale] = 0.0
    return distances


def rbf(distances: Matrix, sigma: float) -> Matrix:
    """``exp(-D / (2 sigma^2))``, in [0, 1], of squared distances D and a bandwidth in units of distance."""
    return np.asarray(np.exp(distances * (-0.5 / sigma) / sigma))


def distances_that_count(distances: Matrix, rule: str, first: int | None) -> NDArray[np.float64]:
    """Those squared distances of some rows (n, M) whose median a rule of `bandwidth` takes, as a 1-d array.

    Row 0 is row ``first`` of a matrix with a diagonal; None for query x database.
    """
    if rule == "wald_code":
        return np.asarray(distances[distances != 0.0])
    if rule == "kornblith" or first is None:
        return distances.ravel()
    off_diagonal = np.ones(distances.shape, dtype=bool)
    np.fill_diagonal(off_diagonal[:, first:], False)
    return np.asarray(distances[off_diagonal])


def middle_values(walk: Callable[[], Iterator[NDArray[np.float64]]], room: int) -> tuple[float, float] | None:
    """Lower and upper median of numbers that come in parts, by a few passes over them; None where there are none.

    The bits of a float that is not negative, read as an integer, are in the order of the floats. Each pass counts the
    next 16 bits of what is left, until the numbers around the median are few enough to be sorted. ``walk`` gives all parts again
    each time: contiguous 1-d arrays of finite numbers, none negative. At most ``room`` are held at once, a longer part excepted.
    """
    total, held = 0, list[NDArray[np.float64]]()
    for part in walk():
        total += part.size
        held = [*held, part] if total <= room else []
    if total == 0:
        return None
    rank, prefix, known, inside = (total - 1) // 2, 0, 0, total
    while inside > room and known < _BITS:
        counts = np.zeros(2**_DIGIT, dtype=np.int64)
        for part in walk():
            digits = _starting_with(part, prefix, known) >> np.uint64(_BITS - known - _DIGIT)
            counts += np.bincount((digits & np.uint64(2**_DIGIT - 1)).astype(np.intp), minlength=len(counts))
        upto = np.cumsum(counts)
        digit = int(np.searchsorted(upto, rank, side="right"))
        inside = int(counts[digit])
        rank -= int(upto[digit]) - inside
        prefix, known = prefix << _DIGIT | digit, known + _DIGIT
    if known == _BITS:
        lower = upper = float(np.uint64(prefix).view(np.float64))
    else:
        parts = held or [_starting_with(part, prefix, known).view(np.float64) for part in walk()]
        places = [rank, min(rank + 1, inside - 1)]
        lower, upper = np.partition(np.concatenate(parts), places)[places].tolist()
    if total % 2:
        return lower, lower
    if rank + 1 == inside:
        upper = min(float(part[part > lower].min(initial=np.inf)) for part in walk())
    return lower, upper


def _starting_with(part: NDArray[np.float64], prefix: int, known: int) -> NDArray[np.uint64]:
    """Bits of the numbers whose first ``known`` bits are ``prefix``."""
    bits = part.view(np.uint64)
    return bits if known == 0 else bits[bits >> np.uint64(_BITS - known) == np.uint64(prefix)]
