"""RSMs of feature matrices (linear, cosine, RBF) and the bandwidth rules of the RBF kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from semrsm_bench.core.compiled import njit
from semrsm_bench.core.identity import between_ids
from semrsm_bench.metrics.arrays import ROUNDING, FloatArray, as_float64, in_range, one_of, unit_rows, upper_triangle

KERNELS = ("linear", "cosine", "rbf")
BANDWIDTH_RULES = ("offdiag_median", "kornblith", "wald_code", "wald_paper")

_CANCELLATION = 1e-6


def linear_rsm(X: Any, X2: Any = None) -> FloatArray:
    """Inner products of all stimuli: ``X X'``, (n, n), or ``X X2'``, (n, m), for a query x database RSM.

    Parameters
    ----------
    X, X2 : array_like, shape (n, p) and (m, p)
        One row per stimulus; without X2 every stimulus with every other.
    """
    x, x2 = _pair(X, X2)
    with np.errstate(over="ignore", invalid="ignore"):
        return between_ids(np.asarray(in_range(x @ x2.T, "the linear RSM")), X, X2)


def cosine_rsm(X: Any, X2: Any = None) -> FloatArray:
    """Cosine similarity of all stimuli, in [-1, 1] up to rounding.

    Parameters and shapes as for `linear_rsm`; also ValueError if a row is the zero vector, whose direction is undefined.
    """
    x, x2 = _pair(X, X2)
    u = unit_rows(x, "X")
    return between_ids(np.asarray(u @ (u if x2 is x else unit_rows(x2, "X2")).T), X, X2)


def rbf_rsm(X: Any, X2: Any = None, *, sigma: str | float = "offdiag_median", t: float = 1.0) -> FloatArray:
    """RBF kernel ``exp(-D / (2 sigma^2))`` of the squared Euclidean distances D, in (0, 1].

    Parameters
    ----------
    X, X2 : array_like
        Shapes and errors as for `linear_rsm`.
    sigma : str or float
        A rule of `bandwidth`, whose errors it raises, or the bandwidth itself in units of distance. With a rule (other than
        ``wald_code``, which adds a constant, and ``wald_paper``, which mixes units) the RSM is invariant to scaling.
    t : float
        Factor on the bandwidth, see `bandwidth`.
    """
    distances = squared_distances(X, X2)
    rule = one_of(sigma, BANDWIDTH_RULES, "sigma") if isinstance(sigma, str) else ""
    if X2 is None and rule not in ("", "kornblith"):
        # One triangle has the same medians as both.
        width = _by_rule(upper_triangle(distances), rule, t)
    else:
        width = bandwidth(distances, sigma, t=t, query_database=True)
    distances *= -0.5 / width / width
    return between_ids(np.exp(distances, out=distances), X, X2)


def squared_distances(X: Any, X2: Any = None) -> FloatArray:
    """Squared Euclidean distances of all stimuli, exactly 0 between equal rows and never negative.

    By |x|^2 + |y|^2 - 2 x.y of centred rows, but for the few pairs so close that this cancels. Parameters as for `linear_rsm`.
    """
    x, x2 = _pair(X, X2)
    same = x2 is x
    # Distances do not see a translation, and without the common offset much less cancels.
    offset = x.mean(axis=0)
    near = x - offset
    near2 = near if same else x2 - offset
    square, square2 = (np.einsum("ij,ij->i", side, side) for side in (near, near2))
    with np.errstate(over="ignore", invalid="ignore"):
        distances = near @ near2.T
        total = _expand(distances, square, square2, np.ascontiguousarray(x), np.ascontiguousarray(x2))
    in_range(total, "the squared distances")
    return np.asarray(distances)


def bandwidth(
    D: Any | Sequence[Any], rule: str | float = "offdiag_median", *, t: float = 1.0, query_database: bool | None = None
) -> float:
    """Bandwidth sigma of the RBF kernel ``exp(-D / (2 sigma^2))`` from squared distances, in units of distance (not squared).

    ValueError where it is no positive finite number, as when more than half of the stimuli are equal.

    Parameters
    ----------
    D : array_like, shape (n, m), or list of such matrices
        Squared distances. A list gives one sigma from all of them pooled: the semantic and the spatio-semantic RSM
        have to share it, or K_semantic >= K no longer holds.
    rule : str or float
        ``offdiag_median``: sigma^2 = median of D off the diagonal (by index: equal stimuli count).
        ``kornblith``: sigma^2 = t^2 * median of all of D, the zero diagonal included (Kornblith et al. 2019, section 4).
        ``wald_code``: sigma = sqrt(lower median of the non-zero D) + 1e-3, as the code of Wald et al. (2024) has it.
        ``wald_paper``: sigma^2 = median of sqrt(D) off the diagonal, the paper's sentence read literally.
        A positive number is returned (times t) as it is.
    t : float
        Factor on sigma, for every rule. Kornblith's notebook calls it threshold.
    query_database : bool, optional
        True where rows and columns are different stimuli, so that there is no diagonal to leave out. By default that
        is taken to be so exactly if D is not square.
    """
    if not isinstance(rule, str):
        return _positive(float(rule), t, "the bandwidth given")
    one_of(rule, BANDWIDTH_RULES, "rule")
    several = isinstance(D, list | tuple) and len(D) > 0 and np.ndim(D[0]) == 2
    pooled = []
    for item in D if several else [D]:
        distances = as_float64(item, "D")
        if (distances < 0).any():
            raise ValueError(f"D must hold squared distances, but its smallest entry is {distances.min():.6g}")
        square = distances.shape[0] == distances.shape[1]
        has_diagonal = square if query_database is None else not query_database
        if has_diagonal and not square:
            raise ValueError(
                f"D of shape {distances.shape} has no diagonal; set query_database to True, or leave it out"
            )
        if rule in ("kornblith", "wald_code") or not has_diagonal:
            pooled.append(distances.ravel())
        else:
            pooled.append(distances[~np.eye(len(distances), dtype=bool)])
    return _by_rule(np.concatenate(pooled), rule, t)


def _pair(X: Any, X2: Any) -> tuple[FloatArray, FloatArray]:
    x = as_float64(X, "X")
    if X2 is None:
        return x, x
    x2 = as_float64(X2, "X2")
    if x.shape[1] != x2.shape[1]:
        raise ValueError(f"X and X2 must have the same units, but X has {x.shape[1]} and X2 has {x2.shape[1]}")
    return x, x2


@njit()
def _expand(
    products: FloatArray, square: FloatArray, square2: FloatArray, x: FloatArray, x2: FloatArray
) -> float:  # pragma: no cover
    """Turn inner products into the squared distances of x and x2, in place, unit by unit where they cancel; the sum of all."""
    total = 0.0
    for i in range(len(x)):
        for j in range(len(x2)):
            # Both norms in one sum, which is the same on either side of the diagonal.
            both = square[i] + square2[j]
            distance = both - 2.0 * products[i, j]
            if distance < _CANCELLATION * both:
                distance = 0.0
                for unit in range(x.shape[1]):
                    distance += (x[i, unit] - x2[j, unit]) ** 2
            products[i, j] = distance
            total += distance
    return total


def _by_rule(values: FloatArray, rule: str, t: float) -> float:
    """Bandwidth from the distances that count, (m,)."""
    if rule == "wald_code":
        # Distances of equal stimuli are left out, also those that an expansion left at rounding.
        values = values[values > ROUNDING * values.max(initial=0.0)]
    if values.size == 0:
        raise ValueError(f"no distances are left for rule {rule!r}: there is a single stimulus, or all are equal")
    if rule == "wald_code":
        middle = (len(values) - 1) // 2
        sigma = np.sqrt(np.partition(values, middle)[middle]) + 1e-3
    else:
        sigma = np.sqrt(_median(np.sqrt(values) if rule == "wald_paper" else values))
    return _positive(sigma, t, f"the bandwidth by rule {rule!r}")


def _median(values: FloatArray) -> float:
    """As numpy's, (m,) of no NaN, in a fraction of its time: it partitions at two places at once."""
    middle = len(values) // 2
    parted = np.partition(values, middle)
    return float(parted[middle] if len(values) % 2 else (parted[:middle].max() + parted[middle]) / 2)


def _positive(sigma: float, t: float, what: str) -> float:
    if not (np.isfinite(t) and t > 0):
        raise ValueError(f"t must be a positive number; got {t}")
    if not (np.isfinite(sigma) and sigma > 0):
        raise ValueError(f"{what} is {sigma}, but an RBF kernel needs a positive finite one; pass a number as sigma")
    return float(sigma * t)
