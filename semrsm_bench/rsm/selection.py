"""Exact medians of more numbers than should be in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

_DIGIT = 16
_BITS = 64


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
        middle = np.full(2, prefix, dtype=np.uint64).view(np.float64)
    else:
        parts = held or [_starting_with(part, prefix, known).view(np.float64) for part in walk()]
        found = np.concatenate(parts)
        places = [rank, min(rank + 1, inside - 1)]
        middle = np.partition(found, places)[places]
    lower, upper = middle.tolist()
    if total % 2:
        return lower, lower
    if rank + 1 == inside:
        upper = min(float(part[part > lower].min(initial=np.inf)) for part in walk())
    return lower, upper


def _starting_with(part: NDArray[np.float64], prefix: int, known: int) -> NDArray[np.uint64]:
    """Bits of the numbers whose first ``known`` bits are ``prefix``."""
    bits = part.view(np.uint64)
    return bits if known == 0 else bits[bits >> np.uint64(_BITS - known) == np.uint64(prefix)]
