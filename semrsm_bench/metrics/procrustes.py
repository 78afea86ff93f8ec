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
    balanced,
    centred,
    centred_pair,
    in_range,
    one_of,
    unit_rows,
)
from semrsm_bench.metrics.registry import FORMS, ROTATIONS, SHAPES, register_metric

GROUPS = ("orthogonal", "permutation")
WILLIAMS = "Williams et al., NeurIPS 2021"
MATCHED_ON = ("correlation", "covariance")
VARIANTS = ("raw", "centred", "centred_unit", "angular", "angular_raw")

_CANCELLATION = 1e-4

_distance = partial(register_metric, takes="features", best="min")
_lengths = partial(_distance, range=(0, math.inf))
_angles = partial(_distance, range=(0, math.pi / 2))


@_angles("procrustes_angular_raw", invariant_to=(*ROTATIONS, "isotropic_scaling"), variant="angular_raw")
@_angles("procrustes_angular", invariant_to=FORMS, reference=WILLIAMS, variant="angular")
@_distance("procrustes_centred_unit", range=(0, math.sqrt(2)), invariant_to=FORMS, variant="centred_unit")
@_lengths("procrustes_centred", invariant_to=SHAPES, reference=WILLIAMS, variant="centred")
@_lengths("procrustes_raw", invariant_to=ROTATIONS, variant="raw")
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
    one_of(variant, VARIANTS, "variant")
    x, y, exponent = balanced(*as_feature_pair(X, Y, min_n=1))
    if variant not in ("raw", "angular_raw"):
        x, y = centred(x), centred(y)
    if variant in ("raw", "centred"):
        return float(in_range(_orthogonal_distance(x, y), "the distance", exponent))
    chord = _orthogonal_distance(_unit_norm(x, "X"), _unit_norm(y, "Y"))
    # The arccos of a cosine near 1 loses half the digits; the chord does not.
    return chord if variant == "centred_unit" else float(2 * np.arcsin(min(chord / 2, np.sqrt(0.5))))


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


_matched = partial(register_metric, takes="features", best="max", range=(-1, 1))
_REORDERED = ("unit_permutation", "translation", "isotropic_scaling")


@_matched("unit_matching_covariance", invariant_to=_REORDERED, on="covariance")
@_matched("unit_matching", invariant_to=(*_REORDERED, "unit_scaling"), reference="Li et al., ICLR 2016")
def unit_matching(X: Any, Y: Any, on: str = "correlation") -> float:
    """Similarity of two feature matrices under the best one-to-one matching of units, in [-1, 1].

    ``correlation``: mean correlation of the matched units. ``covariance``: their total covariance divided by the
    Frobenius norms of c(X) and c(Y), which is the cosine between them after the best permutation.

    Parameters and errors as for `match_units`; with ``covariance`` also ValueError where a side is constant.
    """
    if one_of(on, MATCHED_ON, "on") == "correlation":
        return float(match_units(X, Y, on).scores.mean())
    x, y = centred_pair(X, Y)
    affinity = _unit_norm(x, "X").T @ _unit_norm(y, "Y")
    return float(affinity[linear_sum_assignment(affinity, maximize=True)].sum())


def _orthogonal_distance(x: FloatArray, y: FloatArray) -> float:
    if x.shape[1] > y.shape[1]:
        x, y = y, x
    n = len(x)
    if x.shape[1] > n:
        # Both sides are wider than n: rotate each into the n dimensions that its stimuli span.
        x, y = np.linalg.qr(x.T)[1].T, np.linalg.qr(y.T)[1].T
    cross = x.T @ y
    total = float(np.vdot(x, x) + np.vdot(y, y))
    squared = total - 2 * float(np.linalg.svd(cross, compute_uv=False).sum())
    if squared > _CANCELLATION * total:
        return float(np.sqrt(squared))
    return float(np.linalg.norm(x @ best_map(cross, "orthogonal") - y))


def _unit_norm(x: FloatArray, name: str) -> FloatArray:
    norm = np.linalg.norm(x)
    if norm == 0.0:
        raise ValueError(f"{name} has norm 0 (all stimuli are the same), so it cannot be scaled to norm 1")
    return np.asarray(x / norm)
