"""The value of a matching straight from the position vectors, checked on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def matched_value(x: Any, y: Any, perm: Any, seen: Any) -> float:
    """``sum_s x_s . y_perm(s)`` in float64, of finite x and y (S, C); NaN where ``perm`` (intp) is not a permutation.

    ``seen`` (S,) uint8 is workspace.
    """
    size, channels = x.shape
    if len(perm) != size:
        return np.nan
    seen[:] = 0
    for s in range(size):
        if perm[s] < 0 or perm[s] >= size or seen[perm[s]]:
            return np.nan
        seen[perm[s]] = 1
    total = 0.0
    for s in range(size):
        row = perm[s]
        part = 0.0
        for c in range(channels):
            part += np.float64(x[s, c]) * np.float64(y[row, c])
        total += part
    return total
