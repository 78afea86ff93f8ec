"""One pair of images as an assignment problem, and how a matching of it is scored."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semrsm_bench.core.arrays import to_numpy
from semrsm_bench.solvers.products import inner_products

Floats = NDArray[np.floating[Any]]
Permutation = NDArray[np.intp]

# Entries of a matrix: larger ones leave float64 where they are squared and summed, smaller ones where they are squared.
_LARGEST_ENTRY, _SMALLEST_ENTRY = 1e140, 1e-140
# Beyond it not every integer is a float64.
_LARGEST_INTEGER = 2**53

# Rows of a block when something is summed over positions: bounds the memory of scoring at S = 65,536.
_BLOCK = 4096


def as_float_array(values: Any, name: str, advice: str = "replace such entries before matching") -> Floats:
    """Array of float32 or float64 from whatever holds numbers: numpy, nested lists, or a torch tensor on any device.

    float16, bfloat16 and integers become float32 (integers too large for it float64); float32 and float64 stay. ValueError where
    ``values`` is not numeric or not finite; the message names the first bad position, and of what is not finite ``advice``.
    """
    array = to_numpy(values, name)
    if array.dtype.kind in "iub":
        array = array.astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
    elif array.dtype.kind != "f":
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
    elif array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32 if array.dtype.itemsize <= 4 else np.float64)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} is not finite: {array[where]} at {where}; {advice}")
    return array


class MatchingProblem:
    """Two sets of S position vectors whose rows are to be matched one to one.

    Parameters
    ----------
    x, y : array_like, (S, C)
        Position vectors of the two images, numpy or torch; they are copied. The wider of the two precisions is used for both.

    Attributes
    ----------
    x, y : ndarray, (S, C), float32 or float64, read-only
    size, channels : int
        S and C.
    affinity : ndarray, (S, S), read-only, C-contiguous
        ``x @ y.T``, made on first use, in the dtype of x and y: float32, or float64 where any input was, or where float32 would
        overflow or lose everything to underflow.
    is_matrix : bool
        The problem is a matrix (`from_affinity`, `from_costs`): x is the affinity and y the identity.

    Raises
    ------
    ValueError
        Shapes differ or are not (S, C), or a value is not finite, or so large or small that sums or inner products leave
        float64.
    """

    __slots__ = ("_affinity", "is_matrix", "x", "y")

    x: Floats
    y: Floats
    is_matrix: bool
    _affinity: Floats | None

    def __init__(self, x: ArrayLike | Any, y: ArrayLike | Any) -> None:
        arrays = as_float_array(x, "x"), as_float_array(y, "y")
        for name, array in zip("xy", arrays):
            if array.ndim != 2:
                raise ValueError(f"{name} must have shape (positions, channels), got {array.shape}")
        for what, ours, theirs in zip(("positions", "channels"), arrays[0].shape, arrays[1].shape):
            if ours != theirs:
                raise ValueError(f"x has {ours} {what} and y has {theirs}: a matching needs as many on both sides")
        dtype = _common_dtype(*arrays)
        for name, array in zip("xy", arrays):
            object.__setattr__(self, name, _locked(np.array(array, dtype=dtype, order="C")))
        object.__setattr__(self, "_affinity", None)
        object.__setattr__(self, "is_matrix", False)

    @classmethod
    def from_affinity(cls, affinity: ArrayLike | Any) -> MatchingProblem:
        """A plain assignment problem: which permutation has the largest ``sum_i affinity[i, perm(i)]``?

        k, k_rand and bounds hold for it as for any problem, because x is the matrix and y the identity. Solvers that look at the
        position vectors themselves, such as their norms, do not apply to it (see ``takes_vectors`` of `register_solver`).

        Parameters
        ----------
        affinity : array_like, (S, S)
            Copied; float16 and small integers become float32, other integers float64.

        Raises
        ------
        ValueError
            It is not square, or empty; it holds something that is no real number or not finite, integers beyond 2^53, which
            float64 rounds, or entries so large or small that float64 cannot square them.
        """
        return cls._of_matrix(_square(affinity, "affinity"))

    @classmethod
    def from_costs(cls, costs: ArrayLike | Any) -> MatchingProblem:
        """A plain assignment problem: which permutation has the smallest ``sum_i costs[i, perm(i)]``?

        The affinity is ``-costs``; all else as in `from_affinity`.
        """
        return cls._of_matrix(-_square(costs, "costs"))

    @classmethod
    def _of_matrix(cls, matrix: Floats) -> MatchingProblem:
        affinity = _locked(np.array(matrix, order="C"))
        problem = cls.trusted(affinity, np.eye(len(affinity), dtype=affinity.dtype), affinity)
        object.__setattr__(problem, "is_matrix", True)
        return problem

    @classmethod
    def trusted(cls, x: Floats, y: Floats, affinity: Floats | None = None) -> MatchingProblem:
        """Problem from arrays that were checked before: nothing is copied, tested or converted.

        For loops over many pairs, where the checks of every pair would repeat those of every image. The caller answers for
        finite C-contiguous arrays (S, C) of one float dtype, and for an affinity (S, S) that is ``x @ y.T``.
        """
        problem = object.__new__(cls)
        for name, array in (("x", x), ("y", y), ("_affinity", affinity)):
            view = None if array is None else array.view()
            if view is not None:
                view.flags.writeable = False
            object.__setattr__(problem, name, view)
        object.__setattr__(problem, "is_matrix", False)
        return problem

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a MatchingProblem is frozen; make a new one to change {name!r}")

    def __reduce__(self) -> tuple[Any, tuple[Floats, ...]]:
        return (type(self).from_affinity, (self.affinity,)) if self.is_matrix else (type(self), (self.x, self.y))

    def __repr__(self) -> str:
        if self.is_matrix:
            return f"MatchingProblem(S={self.size}, a matrix, {self.x.dtype})"
        return f"MatchingProblem(S={self.size}, C={self.channels}, {self.x.dtype})"

    @property
    def size(self) -> int:
        """Number of positions S."""
        return int(self.x.shape[0])

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return int(self.x.shape[1])

    @property
    def affinity(self) -> Floats:
        """``x @ y.T``, (S, S), read-only; computed once."""
        affinity = self._affinity
        if affinity is None:
            affinity = _locked(inner_products(self.x, self.y))
            object.__setattr__(self, "_affinity", affinity)
        return affinity

    @property
    def has_affinity(self) -> bool:
        """Whether the affinity has been made already."""
        return self._affinity is not None

    def block(self, rows: Permutation, columns: Permutation) -> MatchingProblem:
        """The smaller problem of some rows of x and as many rows of y.

        Its affinity is cut out of this one's if that has been made, and otherwise computed on first use. ``rows`` and
        ``columns`` are (n,) integers.
        """
        if np.shape(rows) != np.shape(columns) or np.ndim(rows) != 1:
            raise ValueError(f"a block has as many rows as columns, got {np.shape(rows)} and {np.shape(columns)}")
        affinity = None if self._affinity is None else self._affinity[rows[:, None], columns]
        if self.is_matrix and affinity is not None:
            return MatchingProblem._of_matrix(affinity)
        return MatchingProblem.trusted(self.x[rows], self.y[columns], affinity)


def _locked(array: Floats) -> Floats:
    """Read-only view of an array that becomes read-only itself, so that the view cannot be made writeable again."""
    array.flags.writeable = False
    return array.view()


def _square(values: Any, name: str) -> Floats:
    """A matrix as float32 or float64, checked; see `MatchingProblem.from_affinity`."""
    array = to_numpy(values, name)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"{name} must be a square matrix (S, S), got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: there is nothing to match")
    if array.dtype.kind in "iu" and max(int(array.max()), -int(array.min())) > _LARGEST_INTEGER:
        raise ValueError(f"{name} holds integers beyond 2^53, which float64 rounds: subtract or divide before matching")
    floats = as_float_array(
        array,
        name,
        f"forbid a pair by a finite number {'above' if name == 'costs' else 'below'} all others by S times their range",
    )
    largest = max(float(floats.max()), -float(floats.min()))
    if largest > _LARGEST_ENTRY or 0.0 < largest < _SMALLEST_ENTRY:
        raise ValueError(
            f"{name} reaches {largest:.3g}: multiply it by a constant that brings it near 1, which changes no matching"
        )
    return floats if fits_float32(largest, 1.0, len(floats)) else floats.astype(np.float64)


def _common_dtype(x: Floats, y: Floats) -> np.dtype[Any]:
    """Wider of the two types; float64 where products in float32 would overflow or underflow; ValueError where float64 would."""
    dtype = np.result_type(x, y)
    if x.size == 0:
        return dtype
    largest_x, largest_y = (max(float(a.max()), -float(a.min())) for a in (x, y))
    product = largest_x * largest_y
    if (
        product * x.size >= 1e300
        or max(largest_x, largest_y) * len(x) >= 1e307
        or (min(largest_x, largest_y) > 0.0 and product < 1e-290)
    ):
        raise ValueError(
            f"x reaches {largest_x:.3g} and y {largest_y:.3g}: their sums or inner products leave float64; "
            "multiply each by a constant that brings it near 1, which changes no matching"
        )
    return dtype if dtype == np.float64 or fits_float32(largest_x, largest_y, x.shape[1]) else np.dtype(np.float64)


def fits_float32(largest_x: float, largest_y: float, channels: int) -> bool:
    """Whether inner products of vectors with these largest entries neither overflow float32 nor drown in denormals."""
    product = largest_x * largest_y
    return product * channels < 1e37 and (product == 0.0 or product >= 1e-30)


def check_permutation(perm: ArrayLike, size: int) -> Permutation:
    """The permutation as intp, or a ValueError that says what is wrong with it.

    Parameters
    ----------
    perm : array_like, (S,)
        ``perm[i]`` is the row of y matched with row i of x.
    size : int
        S.
    """
    try:
        array = np.asarray(perm)
    except ValueError:
        raise ValueError(f"a permutation of {size} positions has shape ({size},), got a ragged list") from None
    if array.shape != (size,):
        raise ValueError(f"a permutation of {size} positions has shape ({size},), got {array.shape}")
    if size == 0:
        return array.astype(np.intp)
    if array.dtype.kind not in "iu":
        raise ValueError(f"a permutation holds integers, got dtype {array.dtype}")
    result = array.astype(np.intp)
    if result.min() < 0 or result.max() >= size:
        raise ValueError(f"a permutation of {size} positions holds 0..{size - 1}, got {result.min()}..{result.max()}")
    counts = np.bincount(result, minlength=size)
    if (counts != 1).any():
        column = int(np.argmax(counts > 1))
        raise ValueError(f"not a permutation: position {column} is matched {counts[column]} times")
    return result


def matching_value(problem: MatchingProblem, perm: ArrayLike) -> float:
    """Value k of a matching: ``sum_i x_i . y_perm(i)``, in float64 and without the affinity.

    Parameters
    ----------
    problem : MatchingProblem
    perm : array_like, (S,)
        A valid permutation; anything else raises ValueError.

    Returns
    -------
    float
        Unbounded; larger is better.
    """
    order = check_permutation(perm, problem.size)
    if problem.is_matrix:
        return math.fsum(problem.affinity[np.arange(problem.size), order].tolist())
    parts: list[float] = []
    for i in range(0, problem.size, _BLOCK):
        rows = problem.x[i : i + _BLOCK].astype(np.float64)
        columns = problem.y[order[i : i + _BLOCK]].astype(np.float64)
        parts.extend(np.einsum("sc,sc->s", rows, columns).tolist())
    return math.fsum(parts)


def random_value(problem: MatchingProblem) -> float:
    """k_rand: the mean of k over all permutations, ``(sum x) . (sum y) / S``, in float64 (0 for S = 0)."""
    if problem.size == 0:
        return 0.0
    sums = [a.sum(axis=0, dtype=np.float64) for a in (problem.x, problem.y)]
    return float(sums[0] @ sums[1]) / problem.size


def quality(k: float, k_opt: float) -> float:
    """The paper's ratio k / k_opt; NaN where k_opt <= 0, because there the ratio means nothing.

    Source: Wald et al., "Decoupling Semantic Similarity from Spatial Alignment for Neural Networks", NeurIPS 2024.
    """
    return k / k_opt if k_opt > 0 else math.nan


def chance_corrected(k: float, k_opt: float, k_rand: float) -> float:
    """(k - k_rand) / (k_opt - k_rand): 0 is a random matching, 1 the optimum; 1 where the two coincide.

    It does not change when constants are added to rows or columns of the affinity, so centring by channel leaves it as it is.
    """
    span = k_opt - k_rand
    scale = max(abs(k_opt), abs(k_rand), abs(k))
    if span <= 1e-12 * scale:
        return 1.0
    return (k - k_rand) / span
