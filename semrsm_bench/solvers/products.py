"""Inner products of position vectors: on the processor's tile unit where there is one, otherwise by BLAS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType

import numpy as np

from semrsm_bench.solvers.kernels import Floats, Words, read_only

# Multiplications below which packing costs more than the unit gains, and channels from which on strips leave the first cache.
_LEAST_WORK, _MOST_CHANNELS = 1 << 22, 512


def inner_products(x: Floats, y: Floats) -> Floats:
    """``x @ y.T``, (n, m), of vectors (n, C) and (m, C) of one float dtype.

    Those of the tile unit are as near to the exact ones as those of float32 are, in another order of summation.
    """
    if packed := pack_for_unit(x, y):
        unit, right = packed
        result = np.empty((len(x), len(y)), np.float32)
        if unit.multiply(*read_only(np.ascontiguousarray(x)), right, result):
            return result
    return x @ y.T


class Affinities:
    """Inner products of one image after the other with many that come again, each of which is packed for the unit once."""

    def __init__(self) -> None:
        self._packed: dict[int, tuple[ModuleType, Words] | None] = {}

    def fill(self, x: Floats, numbers: Sequence[int], ys: Floats, out: Floats) -> Floats:
        """``x @ y.T`` for every y of ys (b, S, C), which have these numbers, into ``out`` (b, S, S)."""
        (left,) = read_only(np.ascontiguousarray(x))
        for number, y, target in zip(numbers, ys, out):
            if number not in self._packed:
                self._packed[number] = pack_for_unit(left, y)
            packed = self._packed[number]
            if packed is None or not packed[0].multiply(left, packed[1], target):
                with np.errstate(under="ignore"):
                    return np.matmul(left, ys.swapaxes(1, 2), out=out)
        return out


def pack_for_unit(x: Floats, y: Floats) -> tuple[ModuleType, Words] | None:
    """The compiled products of the unit, and y (m, C) packed to be multiplied by x (n, C); None where BLAS is to do it."""
    if (unit := unit_for(x, y)) is None:
        return None
    right, suits = unit.pack(*read_only(np.ascontiguousarray(y)))
    return (unit, right) if suits else None


def unit_for(x: Floats, y: Floats) -> ModuleType | None:
    """The compiled products of the unit, where there is one and vectors (n, C) and (m, C) are so many that they gain by it."""
    gains = len(x) * y.size >= _LEAST_WORK and x.shape[1] <= _MOST_CHANNELS
    return _unit() if gains and x.dtype == y.dtype == np.float32 else None


@cache
def _unit() -> ModuleType | None:
    try:
        from semrsm_bench.solvers.kernels import amx
    except ImportError:  # an opponent's environment has no numba
        return None
    return amx if amx.has_tiles() else None
