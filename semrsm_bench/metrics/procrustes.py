"""Alignment of two feature matrices: Procrustes distances, rotations, permutations, and unit matching."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from semrsm_bench.metrics.arrays import (
    FloatArray,
    as_feature_pair,
    as_float64,
    balanced,
    between,
    centred,
    in_range,
    one_of,
    require_same_stimuli,
    require_stimuli,
    unit_rows,
)
from semrsm_bench.metrics.registry import FORMS, REORDERED, ROTATIONS, SHAPES, WILLIAMS, register_metric

GROUPS = ("orthogonal", "permutation")
MATCHED_ON = ("correlation", "covariance")
VARIANTS = ("raw", "centred", "centred_unit", "angular", "angular_raw")

_CANCELLATION = 1e-4


class Procrustes:
    """`procrustes_distance` in two parts."""

    def __init__(self, variant: str = "centred") -> None:
        self.variant = one_of(variant, VARIANTS, "variant")

    def prepare(self, X: Any, name: str = "the features") -> tuple[FloatArray, int]:
        """What the variant compares, (n, min(n, p)), divided by a power of two; and its exponent."""
        x, exponent = balanced(as_float64(X, name))
        if self.variant not in ("raw", "angular_raw"):
            x = centred(x)
        if self.variant not in ("raw", "centred"):
            x, exponent = unit_norm(x, name), 0
        return within_stimuli(x), exponent

    def compare(self, a: tuple[FloatArray, int], b: tuple[FloatArray, int]) -> float:
        """Distance of two sides."""
        (x, exponent), (y, other) = a, b
        require_same_stimuli(len(x), len(y))
        if exponent != other:
            larger = max(exponent, other)
            x, y, exponent = np.ldexp(x, exponent - larger), np.ldexp(y, other - larger), larger
        distance = _orthogonal_distance(x, y)
        if self.variant.startswith("angular"):
            # The arccos of a cosine near 1 loses half the digits; the chord does not.
            return float(2 * np.arcsin(min(distance / 2, np.sqrt(0.5))))
        return float(in_range(distance, "the distance", exponent))


_distance = partial(
    register_metric,
    takes="features",
    best="min",
    complexity="O(n p min(n, p)); O(n min(n, p)^2)",
    reference=WILLIAMS,
    pair=Procrustes,
)
_lengths = partial(_distance, range=(0, math.inf), measured_in="features")
_angles = partial(_distance, range=(0, math.pi / 2), measured_in="rad")


@_angles("procrustes_angular_raw", invariant_to=(*ROTATIONS, "isotropic_scaling"), variant="angular_raw")
@_angles("procrustes_angular", invariant_to=FORMS, variant="angular")
@_distance("procrustes_centred_unit", range=(0, math.sqrt(2)), invariant_to=FORMS, variant="centred_unit")
@_lengths("procrustes_centred", invariant_to=SHAPES, variant="centred")
@_lengths("procrustes_raw", invariant_to=ROTATIONS, variant="raw", reference="Schoenemann, Psychometrika 31, 1966")
def procrustes_distance(X: Any, Y: Any, variant: str = "centred") -> float:
    """Distance of two feature matrices after the best rotation or reflection of the units.

    d^2 = |X|^2 + |Y|^2 - 2 |X'Y|_*, the minimum over Q in O(d) of |X Q - Y|_F^2 with the narrower side zero-padded
    (Schoenemann 1966; as a metric between representations: Williams et al. 2021). Where the three terms cancel, d is
    taken from the residual X Q - Y instead, so that equal shapes come out at rounding level and not at its square root.
    It is d, not d^2: in [0, inf), centred_unit [0, sqrt 2], angles [0, pi / 2]; ValueError where a norm that divides is 0.

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
        Features of the same stimuli.
    variant : {"raw", "centred", "centred_unit", "angular", "angular_raw"}
        What is compared: the features as they are; minus their column means; those divided by their Frobenius norm; or
        the angle arccos(|X'Y|_* / (|X| |Y|)) in radians, of the centred features or of the features as they are.
    """
    return float(between(Procrustes(variant), X, Y))


def align(X: Any, Y: Any, group: str = "orthogonal") -> FloatArray:
    """Matrix W of the group, (p, q), that brings X closest to Y: the minimum of |X W - Y|_F.

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
        Nothing is centred here. q >= p: a wider X is aligned by zero-padding Y first.
    group : {"orthogonal", "permutation"}
        Rotations and reflections (orthonormal rows), or reorderings of the units (a single 1 in every row).
    """
    one_of(group, GROUPS, "group")
    x, y = as_feature_pair(X, Y, min_n=1)
    if x.shape[1] > y.shape[1]:
        raise ValueError(f"Y needs the {x.shape[1]} units of X, but has {y.shape[1]}; pad it with zero columns")
    return best_map(balanced(x)[0].T @ balanced(y)[0], group)


def best_map(affinity: FloatArray, group: str) -> FloatArray:
    """The matrix W of the group, as `align` returns it, that maximises <affinity, W>; for rotations the polar factor."""
    if group == "permutation":
        return np.asarray(np.eye(affinity.shape[1])[linear_sum_assignment(affinity, maximize=True)[1]])
    u, _, vt = np.linalg.svd(affinity, full_matrices=False)
    return np.asarray(u @ vt)


@dataclass(frozen=True)
class UnitMatch:
    """Unit ``x_units[i]`` of X, ascending, is matched with ``y_units[i]`` of Y at ``scores[i]``; all of shape (min(p, q),)."""

    x_units: NDArray[np.intp]
    y_units: NDArray[np.intp]
    scores: FloatArray


def match_units(X: Any, Y: Any, on: str = "correlation") -> UnitMatch:
    """One-to-one matching of units that maximises the total correlation or covariance (Li et al. 2015).

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
        Features of the same stimuli. With p != q the narrower side is matched completely.
    on : {"correlation", "covariance"}
        Score of a pair: Pearson correlation (ValueError for constant units; drop them first), or the entry of
        c(X)' c(Y) / (n - 1).
    """
    one_of(on, MATCHED_ON, "on")
    x, y = as_feature_pair(X, Y)
    x, y = centred(x), centred(y)
    if on == "correlation":
        scores = unit_rows(x.T, "X", "constant units") @ unit_rows(y.T, "Y", "constant units").T
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            scores = in_range(x.T @ y / (len(x) - 1), "the covariance")
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return UnitMatch(rows.astype(np.intp), columns.astype(np.intp), np.asarray(scores[rows, columns]))


class UnitMatching:
    """`unit_matching` in two parts."""

    def __init__(self, on: str = "correlation") -> None:
        self.on = one_of(on, MATCHED_ON, "on")

    def prepare(self, X: Any, name: str = "the features") -> FloatArray:
        """Centred units (n, p), each of norm 1; for the covariance of norm 1 together."""
        x = as_float64(X, name)
        require_stimuli(len(x), 2)
        if self.on == "correlation":
            return unit_rows(centred(x).T, name, "constant units").T
        return unit_form(x, name)

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Mean correlation of matched units, or the sum of the scores of covariance."""
        require_same_stimuli(len(a), len(b))
        affinity = a.T @ b
        matched = affinity[linear_sum_assignment(affinity, maximize=True)]
        return float(matched.mean() if self.on == "correlation" else matched.sum())


_matched = partial(
    register_metric,
    takes="features",
    best="max",
    range=(-1, 1),
    complexity="O(n p); O(n p^2 + p^3)",
    reference="Li et al., ICLR 2016",
    pair=UnitMatching,
)


@_matched("unit_matching_covariance", invariant_to=REORDERED, on="covariance")
@_matched("unit_matching", invariant_to=(*REORDERED, "unit_scaling"))
def unit_matching(X: Any, Y: Any, on: str = "correlation") -> float:
    """Similarity of two feature matrices under the best one-to-one matching of units, in [-1, 1].

    ``correlation``: mean correlation of the matched units. ``covariance``: their total covariance divided by the
    Frobenius norms of c(X) and c(Y), which is the cosine between them after the best permutation.

    Parameters and errors as for `match_units`; with ``covariance`` also ValueError where a side is constant.
    """
    return float(between(UnitMatching(on), X, Y))


def within_stimuli(x: FloatArray) -> FloatArray:
    """A side that is wider than n rotated into the n dimensions that its stimuli span, (n, min(n, p))."""
    return np.asarray(np.linalg.qr(x.T)[1].T) if x.shape[1] > len(x) else x


def _orthogonal_distance(x: FloatArray, y: FloatArray) -> float:
    if x.shape[1] > y.shape[1]:
        x, y = y, x
    cross = x.T @ y
    total = float(np.vdot(x, x) + np.vdot(y, y))
    squared = total - 2 * float(np.linalg.svd(cross, compute_uv=False).sum())
    if squared > _CANCELLATION * total:
        return float(np.sqrt(squared))
    return float(np.linalg.norm(x @ best_map(cross, "orthogonal") - y))


def unit_form(x: FloatArray, name: str) -> FloatArray:
    """Features centred and of norm 1, as `unit_norm`."""
    return unit_norm(centred(balanced(x)[0]), name)


def unit_norm(x: FloatArray, name: str) -> FloatArray:
    """Features of norm 1; ValueError where they are all 0."""
    norm = np.linalg.norm(x)
    if norm == 0.0:
        raise ValueError(f"{name} has norm 0 (all stimuli are the same), so it cannot be scaled to norm 1")
    return np.asarray(x / norm)
