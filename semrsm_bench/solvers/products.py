"""Inner products of position vectors: on the processor's tile unit where there is one, otherwise by BLAS."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.kernels import Floats, read_only

# Multiplications below which packing costs more than the unit gains.
_LEAST_WORK = 1 << 22

# Vectors as the unit reads them.
Words = NDArray[np.uint16]


def inner_products(x: Floats, y: Floats) -> Floats:
    """``x @ y.T``, (n, m), of vectors (n, C) and (m, C) of one float dtype.

    Those of the tile unit are as near to the exact ones as those of float32 are, in another order of summation.
    """
    if packed := packed_both(x, y):
        unit, *words = packed
        result = np.empty((len(x), len(y)), np.float32)
        unit.multiply(*words, x.shape[1], result)
        return result
    return x @ y.T


class Affinities:
    """Inner products of images x (a, S, C) with images y (b, S, C), each of which is packed for the unit once."""

    def __init__(self, x: Floats, y: Floats) -> None:
        self._x, self._y = read_only(x, y)
        self._unit = unit_for(x, y, x.shape[1] * y.shape[1] * y.shape[2])
        self._left: tuple[int, Words | None] = (-1, None)
        self._right: dict[int, Words | None] = {}

    def fill(self, i: int, js: NDArray[np.intp], out: Floats) -> Floats:
        """``x[i] @ y[j].T`` for every j into ``out`` (len(js), S, S)."""
        if self._unit and self._left[0] != i:
            self._left = i, _packed(self._unit, self._x[i], False)
        left, rights = self._left[1], [self._right_of(j) for j in js.tolist()]
        if self._unit is None or left is None or any(right is None for right in rights):
            with np.errstate(under="ignore"):
                return np.matmul(self._x[i], self._y[js].swapaxes(1, 2), out=out)
        for right, target in zip(rights, out):
            self._unit.multiply(left, right, self._x.shape[2], target)
        return out

    def _right_of(self, j: int) -> Words | None:
        if self._unit and j not in self._right:
            self._right[j] = _packed(self._unit, self._y[j], True)
        return self._right.get(j)


def packed_both(x: Floats, y: Floats) -> tuple[ModuleType, Words, Words] | None:
    """The compiled products of the unit, and x (n, C) and y (m, C) packed for it; None where BLAS is to multiply them."""
    unit = unit_for(x, y, len(x) * y.size)
    if unit is None:
        return None
    left, right = (_packed(unit, z, is_right) for z, is_right in ((x, False), (y, True)))
    return None if left is None or right is None else (unit, left, right)


def _packed(unit: ModuleType, vectors: Floats, is_right: bool) -> Words | None:
    """None where the numbers do not suit the unit."""
    words, suits = unit.pack(*read_only(np.ascontiguousarray(vectors)), is_right)
    return words if suits else None


def unit_for(x: Floats, y: Floats, work: int) -> ModuleType | None:
    """The compiled products of the unit, where there is one that so many multiplications of these vectors gain by."""
    return _unit() if x.dtype == y.dtype == np.float32 and work >= _LEAST_WORK else None


@cache
def _unit() -> ModuleType | None:
    try:
        from semrsm_bench.solvers.kernels import amx
    except ImportError:  # an opponent's environment has no numba
        return None
    return amx if amx.has_tiles() else None
