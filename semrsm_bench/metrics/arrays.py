"""Input of every metric: float64, finite, of the right shape, or a clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.arrays import to_numpy

FloatArray = NDArray[np.float64]

ROUNDING = 16 * np.finfo(np.float64).eps
"""Relative size below which what is left after centring is rounding, not signal."""

_SYMMETRY_TOLERANCE = 1e-6
_SAFE_EXPONENT = 40
_STRIP = 128


def as_float64(value: Any, name: str, *, ndim: int = 2) -> FloatArray:
    """Return ``value`` as a finite float64 array with ``ndim`` axes; float64 input is not copied.

    NumPy arrays of any real dtype, nested lists and torch tensors (on any device, with or without gradient, bfloat16
    too) are accepted; torch itself is never imported.

    Raises
    ------
    ValueError
        For complex, masked, non-numeric, empty, non-finite or misshapen input.
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
    if not np.isfinite(_quiet_norm(array)):
        # The sum of squares also overflows for finite numbers beyond 1e154, which are fine.
        bad = ~np.isfinite(array)
        if bad.any():
            where = tuple(int(index) for index in np.argwhere(bad)[0])
            raise ValueError(f"{name} has {int(bad.sum())} non-finite entries, the first ({array[where]}) at {where}")
    return array


def as_features(value: Any, name: str) -> FloatArray:
    """Feature matrix of shape (n stimuli, p units) as finite float64."""
    return as_float64(value, name)


def as_feature_pair(X: Any, Y: Any, *, min_n: int = 2) -> tuple[FloatArray, FloatArray]:
    """Two feature matrices with the same stimuli in their rows, at least ``min_n`` of them."""
    x, y = as_features(X, "X"), as_features(Y, "Y")
    if len(x) != len(y):
        raise ValueError(f"X and Y must hold the same stimuli in their rows, but X has {len(x)} and Y has {len(y)}")
    require_stimuli(len(x), min_n)
    return x, y


def as_rsm(value: Any, name: str) -> FloatArray:
    """Square symmetric RSM of shape (n, n) as finite float64; asymmetry beyond 1e-6 of the largest entry raises."""
    array = as_float64(value, name)
    if array.shape[0] != array.shape[1]:
        raise ValueError(f"{name} must be a square RSM, but its shape is {array.shape}; features go through linear_rsm")
    _require_symmetric(array, name)
    return array


def as_rsm_pair(K: Any, L: Any, *, min_n: int = 2) -> tuple[FloatArray, FloatArray]:
    """Two RSMs over the same stimuli, at least ``min_n`` of them."""
    k = as_rsm(K, "K")
    l = k if L is K else as_rsm(L, "L")  # noqa: E741
    if k.shape != l.shape:
        raise ValueError(f"K and L must be RSMs of the same stimuli, but their shapes are {k.shape} and {l.shape}")
    require_stimuli(len(k), min_n)
    return k, l


def as_rsm_stacks(K: Any, L: Any, *, min_n: int = 2) -> tuple[FloatArray, FloatArray]:
    """Two stacks of RSMs of shape (batches, n, n), each as `as_rsm` wants it."""
    stacks = as_float64(K, "K", ndim=3), as_float64(L, "L", ndim=3)
    for stack, name in zip(stacks, ("K", "L"), strict=True):
        if stack.shape[1] != stack.shape[2]:
            raise ValueError(f"{name} must be a stack of square RSMs, but its shape is {stack.shape}")
        if not np.array_equal(stack, stack.transpose(0, 2, 1)):
            for index, rsm in enumerate(stack):
                _require_symmetric(rsm, f"{name}[{index}]")
    if stacks[0].shape != stacks[1].shape:
        raise ValueError(f"K and L must have the same shape, but they are {stacks[0].shape} and {stacks[1].shape}")
    require_stimuli(stacks[0].shape[1], min_n)
    return stacks


def require_stimuli(n: int, least: int) -> None:
    """Raise unless there are at least ``least`` stimuli."""
    if n < least:
        raise ValueError(f"at least {least} stimuli are needed here, but there are {n}")


def one_of(value: str, allowed: tuple[str, ...], name: str) -> str:
    """Return ``value`` if it is one of ``allowed``, else raise with the list of them."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    return value


def balanced(array: FloatArray) -> tuple[FloatArray, int]:
    """``array / 2**exponent`` and the exponent, where squares and fourth powers could leave float64's range.

    In the ordinary case the very same array, uncopied, and 0. Scaling by a power of two is exact.
    """
    mean_square = _quiet_norm(array) / array.size
    low, high = 4.0**-_SAFE_EXPONENT, 4.0**_SAFE_EXPONENT
    if low < mean_square < high:
        return array, 0
    largest = float(np.abs(array).max())
    if largest == 0.0:
        return array, 0
    exponent = int(np.frexp(largest)[1])
    return np.ldexp(array, -exponent), exponent


def centred(array: FloatArray) -> FloatArray:
    """Columns minus their means; a column that is constant up to rounding becomes exactly zero.

    The first row is taken off before the mean, which makes constant columns zero at once (the mean of many 0.1 is not
    0.1, and a division by the norm of what is left would blow it up into a direction) and spares a large common offset.
    """
    first = array[0]
    result = np.asarray(array - first)
    constant = np.abs(result).max(axis=0) <= ROUNDING * np.abs(first)
    result -= result.mean(axis=0)
    result[:, constant] = 0.0
    return result


def upper_triangle(matrix: FloatArray) -> FloatArray:
    """Entries above the diagonal (i < j), row by row; shape (n (n - 1) / 2,)."""
    places = np.arange(len(matrix))
    return np.asarray(matrix[np.less.outer(places, places)])


def square_norm(array: FloatArray) -> float:
    """Sum of the squared entries."""
    flat = array.ravel(order="K")
    return float(flat @ flat)


@np.errstate(over="ignore", invalid="ignore")
def _quiet_norm(array: FloatArray) -> float:
    return square_norm(array)


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
                f"{name} is not symmetric: [{i}, {j}] is {array[i, j]:.6g} but [{j}, {i}] is {array[j, i]:.6g}; "
                "these metrics compare symmetric RSMs (mirror one triangle if a row-driven matching made it)"
            )
