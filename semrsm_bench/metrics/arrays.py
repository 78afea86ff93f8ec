"""Input of every metric: float64, finite, of the right shape, or a clear error; and what keeps tiny and huge numbers safe."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.arrays import to_numpy
from semrsm_bench.core.identity import ids_of, require_equal_ids, require_same_ids

FloatArray = NDArray[np.float64]

ROUNDING = 16 * np.finfo(np.float64).eps
"""Relative size below which what is left after centring is rounding, not signal."""

_SYMMETRY_TOLERANCE = 1e-6
_SAFE_EXPONENT = 40
_STRIP = 128


def as_float64(value: Any, name: str, *, ndim: int = 2) -> FloatArray:
    """``value``, an array of any real dtype, nested lists or a torch tensor, as finite float64 with ``ndim`` axes.

    float64 is not copied. ValueError for complex, masked, non-numeric, empty, non-finite or misshapen input.
    """
    array = to_numpy(value, name)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, but its dtype is {array.dtype}")
    if array.ndim != ndim:
        hint = f"; flatten each stimulus with {name}.reshape(len({name}), -1)" if ndim == 2 and array.ndim > 2 else ""
        raise ValueError(f"{name} must have {ndim} axes, but its shape is {array.shape}{hint}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    array = np.asarray(array, dtype=np.float64)
    if not np.isfinite(square_norm(array)):
        # The sum of squares also overflows for finite numbers beyond 1e154, which are fine.
        bad = ~np.isfinite(array)
        if bad.any():
            where = tuple(int(index) for index in np.argwhere(bad)[0])
            raise ValueError(f"{name} has {int(bad.sum())} non-finite entries, the first ({array[where]}) at {where}")
    return array


def as_feature_pair(X: Any, Y: Any, *, min_n: int = 2) -> tuple[FloatArray, FloatArray]:
    """Two feature matrices, (n, p) and (n, q), with the same stimuli in their rows, at least ``min_n`` of them."""
    require_same_ids(X, Y, "XY")
    x, y = as_float64(X, "X"), as_float64(Y, "Y")
    require_same_stimuli(len(x), len(y))
    require_stimuli(len(x), min_n)
    return x, y


def as_rsm(value: Any, name: str, *, stacked: bool = False) -> FloatArray:
    """Symmetric RSM (n, n), or stack of them (batches, n, n); asymmetry beyond 1e-6 of the largest entry raises."""
    array = as_float64(value, name, ndim=3 if stacked else 2)
    if array.shape[-1] != array.shape[-2]:
        what = "a stack of square RSMs" if stacked else "a square RSM"
        raise ValueError(f"{name} must be {what}, but its shape is {array.shape}; features go through linear_rsm")
    if not stacked:
        require_equal_ids(ids_of(value), getattr(value, "column_ids", None), (f"the rows of {name}", "its columns"))
        _require_symmetric(array, name)
    elif not np.array_equal(array, array.transpose(0, 2, 1)):
        for index, rsm in enumerate(array):
            _require_symmetric(rsm, f"{name}[{index}]")
    return array


def as_rsm_pair(K: Any, L: Any, *, min_n: int = 2, stacked: bool = False) -> tuple[FloatArray, FloatArray]:
    """Two RSMs, or stacks of RSMs, over the same stimuli, at least ``min_n`` of them."""
    require_same_ids(K, L, "KL")
    k = as_rsm(K, "K", stacked=stacked)
    l = k if L is K else as_rsm(L, "L", stacked=stacked)  # noqa: E741
    if k.shape != l.shape:
        raise ValueError(f"K and L must be RSMs of the same stimuli, but their shapes are {k.shape} and {l.shape}")
    require_stimuli(k.shape[-1], min_n)
    return k, l


def between(parts: Any, X: Any, Y: Any, names: str = "XY") -> Any:
    """Value of a metric of two parts; errors call the sides by their ``names``."""
    require_same_ids(X, Y, names)
    return parts.compare(*(parts.prepare(side, name) for side, name in zip((X, Y), names, strict=True)))


def require_same_stimuli(n: int, m: int) -> None:
    """Raise unless two sides have as many stimuli."""
    if n != m:
        raise ValueError(f"both sides must hold the same stimuli, but the first has {n} and the second {m}")


def require_stimuli(n: int, least: int) -> None:
    """Raise unless there are at least ``least`` stimuli."""
    if n < least:
        raise ValueError(f"at least {least} stimuli are needed here, but there are {n}")


def one_of(value: str, allowed: tuple[str, ...], name: str) -> str:
    """Return ``value`` if it is one of ``allowed``, else raise with the list of them."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    return value


def balanced(*arrays: FloatArray) -> tuple[Any, ...]:
    """The arrays divided by one ``2**exponent``, where squares and fourth powers could leave float64's range; and the exponent.

    In the ordinary case the very same arrays, uncopied, and 0. Scaling by a power of two is exact.
    """
    low, high = 4.0**-_SAFE_EXPONENT, 4.0**_SAFE_EXPONENT
    if all(low < square_norm(array) / array.size < high for array in arrays):
        return *arrays, 0
    exponent = int(np.frexp(max(float(np.abs(array).max()) for array in arrays))[1])
    return *(np.ldexp(array, -exponent) for array in arrays), exponent


def centred(array: FloatArray) -> FloatArray:
    """Columns minus their means; a column that is constant up to rounding becomes exactly zero.

    The first row is taken off before the mean: the mean of many 0.1 is not 0.1, and a large common offset costs digits.
    """
    first = array[0]
    result = np.asarray(array - first)
    constant = np.maximum(result.max(axis=0), -result.min(axis=0)) <= ROUNDING * np.abs(first)
    result -= result.mean(axis=0)
    result[:, constant] = 0.0
    return result


def unit_rows(x: FloatArray, name: str, zero_rows: str = "zero rows") -> FloatArray:
    """Rows divided by their Euclidean norm; a row of zeros raises, and the error calls it ``zero_rows`` of ``name``."""
    largest = np.abs(x).max(axis=1, keepdims=True)
    zero = np.flatnonzero(largest[:, 0] == 0.0)
    if zero.size:
        raise ValueError(f"{name} has {zero.size} {zero_rows}, the first at {int(zero[0])}: they have no direction")
    scaled = x / largest
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True))


def upper_triangle(matrix: FloatArray) -> FloatArray:
    """Entries above the diagonal (i < j), row by row; shape (n (n - 1) / 2,)."""
    return np.concatenate([row[i:] for i, row in enumerate(matrix, 1)])


def triangle_side(length: int) -> int:
    """The n of n (n - 1) / 2, the length of an upper triangle."""
    return (1 + math.isqrt(1 + 8 * length)) // 2


@np.errstate(over="ignore", invalid="ignore")
def in_range(values: Any, what: str, exponent: int = 0) -> Any:
    """``values * 2**exponent``, one number or an array; ValueError where that leaves the range of float64."""
    values = np.ldexp(values, exponent) if exponent else values
    # A sum is not finite if an entry is not; a finite matrix whose sum overflows could not be used either.
    if not np.isfinite(np.sum(values)):
        raise ValueError(f"{what} leaves the range of float64; divide the input by its largest entry first")
    return values


@np.errstate(over="ignore", invalid="ignore")
def square_norm(array: FloatArray) -> float:
    """Sum of the squared entries, infinite where it leaves the range of float64."""
    flat = array.ravel(order="K")
    return float(flat @ flat)


def _require_symmetric(array: FloatArray, name: str) -> None:
    # A strip at a time, which stays in the cache.
    for top in range(0, len(array), _STRIP):
        strip, mirror = array[top : top + _STRIP, top:], array[top:, top : top + _STRIP].T
        if np.array_equal(strip, mirror):
            continue
        difference = np.abs(strip * 0.5 - mirror * 0.5)
        row, column = divmod(int(difference.argmax()), difference.shape[1])
        if difference[row, column] > 0.5 * _SYMMETRY_TOLERANCE * float(np.abs(array).max()):
            i, j = row + top, column + top
            raise ValueError(
                f"{name} is not symmetric: [{i}, {j}] is {array[i, j]:.6g} but [{j}, {i}] is {array[j, i]:.6g}; mirror one "
                "triangle if a row-driven matching made it"
            )
