"""Metrics of the distances between stimuli, and of single numbers that describe where stimuli lie."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from scipy.special import logsumexp

from semrsm_bench.metrics.arrays import (
    ROUNDING,
    FloatArray,
    as_feature_pair,
    as_float64,
    as_rsm_pair,
    balanced,
    centred,
    in_range,
    one_of,
    require_stimuli,
    unit_rows,
)
from semrsm_bench.metrics.kernels import squared_distances
from semrsm_bench.metrics.registry import CENTRED, FORMS, ROTATIONS, SHAPES, register_metric

ESTIMATORS = ("biased", "unbiased")
KLABUNDE = "Klabunde et al., ICLR 2025 (ReSi)"

_features = partial(register_metric, takes="features")
# They do not look at which stimulus is which, and so must lose where that is asked for.
_difference = partial(_features, best="min", range=(0, math.inf), reference=KLABUNDE, category="baseline")


@_features(
    "distance_correlation_unbiased",
    best="max",
    range=(-1, 1),
    invariant_to=FORMS,
    estimator="unbiased",
    reference="Szekely & Rizzo, Annals of Statistics 42, 2014",
)
@_features(
    "distance_correlation",
    best="max",
    range=(0, 1),
    invariant_to=FORMS,
    reference="Szekely, Rizzo & Bakirov, Annals of Statistics 35, 2007",
)
class DistanceCorrelation:
    """Distance correlation of two feature matrices (n, p) and (n, q): of their Euclidean distances, not of their entries.

    Parameters
    ----------
    estimator : {"biased", "unbiased"}
        ``biased``: the distances doubly centred, and sqrt(dCov^2 / sqrt(dVar_x^2 dVar_y^2)), in [0, 1]. ``unbiased``: U-centred,
        and the ratio without the root, which may be negative and is about 0 for unrelated sides of any width (n >= 4).
    """

    def __init__(self, estimator: str = "biased") -> None:
        self.estimator = one_of(estimator, ESTIMATORS, "estimator")

    def prepare(self, x: Any) -> FloatArray:
        """Centred distances of one side, (n, n), with norm 1; ValueError where all stimuli are the same."""
        x = as_float64(x, "the features")
        n = len(x)
        require_stimuli(n, 2 if self.estimator == "biased" else 4)
        distances = np.sqrt(squared_distances(balanced(x)[0]))
        sums = distances.sum(axis=0)
        if self.estimator == "biased":
            distances += sums.sum() / n**2 - sums / n - sums[:, None] / n
        else:
            distances += sums.sum() / ((n - 1) * (n - 2)) - sums / (n - 2) - sums[:, None] / (n - 2)
            np.fill_diagonal(distances, 0.0)
        norm = float(np.linalg.norm(distances))
        if norm == 0.0:
            raise ValueError("all stimuli of one side are the same, or equally far apart: no distance correlation")
        return np.asarray(distances / norm)

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Distance correlation."""
        if a.shape != b.shape:
            raise ValueError(f"both sides must hold the same stimuli, but one has {len(a)}, the other {len(b)}")
        value = float(np.vdot(a, b))
        return math.sqrt(min(max(value, 0.0), 1.0)) if self.estimator == "biased" else value


@register_metric("rsm_norm_difference", takes="rsms", best="min", range=(0, math.inf), reference=KLABUNDE)
def rsm_norm_difference(K: Any, L: Any) -> float:
    """Frobenius norm of the difference of two RSMs (n, n), diagonal included; in the unit of their entries, [0, inf).

    No normalisation: RSMs of networks of another scale or width are far apart. ValueError for misshapen or non-finite input.
    """
    k, l = as_rsm_pair(K, L)  # noqa: E741
    scaled, exponent = balanced(k - l)
    return float(in_range(np.linalg.norm(scaled), "the norm of the difference", exponent))


@register_metric(
    "rsa_whitened",
    takes="rsms",
    best="max",
    range=(-1, 1),
    invariant_to=("positive_scaling", *CENTRED),
    reference="Diedrichsen et al., 2021, arXiv 2007.02789",
)
def whitened_rsa(K: Any, L: Any) -> float:
    """Correlation of the squared distances that two RSMs (n, n) stand for, whitened by their covariance; in [-1, 1].

    Estimated distances that share a stimulus vary together. Under independent noise of equal variance, whitening them gives the
    cosine between the doubly centred RSMs, each without its multiple of the centring matrix (equal distances of all stimuli).
    Without that last step it is `cka`.

    Raises
    ------
    ValueError
        Where all distances of a side are equal, for fewer than 3 stimuli, and for misshapen or non-finite input.
    """
    sides = []
    for side, name in zip(as_rsm_pair(K, L, min_n=3), ("K", "L"), strict=True):
        n = len(side)
        gram = centred(centred(balanced(side)[0]).T)
        size = float(np.linalg.norm(gram))
        gram -= np.trace(gram) / (n - 1) * (np.eye(n) - 1.0 / n)
        norm = float(np.linalg.norm(gram))
        if norm <= ROUNDING * n * size:
            raise ValueError(f"all distances that {name} stands for are equal: nothing to correlate")
        sides.append(gram / norm)
    return float(np.vdot(*sides))


@_difference("magnitude_difference", invariant_to=ROTATIONS)
def magnitude_difference(X: Any, Y: Any) -> float:
    """Difference of the norms of the mean stimuli of (n, p) and (n, q), in units of the features, [0, inf)."""
    x, y = as_feature_pair(X, Y, min_n=1)
    return abs(float(np.linalg.norm(x.mean(axis=0))) - float(np.linalg.norm(y.mean(axis=0))))


@_features(
    "concentricity_difference",
    best="min",
    range=(0, 2),
    reference=KLABUNDE,
    category="baseline",
    invariant_to=(*ROTATIONS, "isotropic_scaling"),
)
def concentricity_difference(X: Any, Y: Any) -> float:
    """Difference of the mean cosines between a stimulus and the mean stimulus, of (n, p) and (n, q); in [0, 2].

    ValueError where a stimulus or the mean of all is zero.
    """
    values = []
    for side, name in zip(as_feature_pair(X, Y, min_n=1), "XY", strict=True):
        x = balanced(side)[0]
        mean = unit_rows(x.mean(axis=0, keepdims=True), f"the mean of {name}")[0]
        values.append(float((unit_rows(x, name) @ mean).mean()))
    return abs(values[0] - values[1])


@_difference("uniformity_difference", invariant_to=SHAPES)
def uniformity_difference(X: Any, Y: Any, *, t: float = 2.0) -> float:
    """Difference of log mean_ij exp(-t |x_i - x_j|^2) of (n, p) and (n, q), in [0, log n] (Wang & Isola 2020).

    The features are taken as they are: at scales far from 1 both sides have the same value, and the difference says nothing.

    Parameters
    ----------
    X, Y : array_like
    t : float
        Positive.
    """
    if not t > 0:
        raise ValueError(f"t must be positive, got {t}")
    x, y = as_feature_pair(X, Y, min_n=1)
    a, b = (float(logsumexp(-t * squared_distances(side))) for side in (x, y))
    return abs(a - b)
