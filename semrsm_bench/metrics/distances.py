"""Metrics of the distances between stimuli, and of single numbers that describe where stimuli lie."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import (
    ROUNDING,
    FloatArray,
    as_float64,
    as_rsm,
    balanced,
    between,
    centred,
    in_range,
    one_of,
    require_same_stimuli,
    require_stimuli,
    triangle_side,
    unit_rows,
    upper_triangle,
)
from semrsm_bench.metrics.cka import Cka
from semrsm_bench.metrics.kernels import squared_distances
from semrsm_bench.metrics.registry import CENTRED, FORMS, KLABUNDE, ROTATIONS, SHAPES, register_metric

ESTIMATORS = ("biased", "unbiased")

_features = partial(register_metric, takes="features")
_rsms = partial(register_metric, takes="rsms", complexity="O(n^2); O(n^2)")
# Each side becomes one number, whichever stimulus is which.
_difference = partial(
    _features, best="min", range=(0, math.inf), complexity="O(n p); O(1)", reference=KLABUNDE, category="statistic"
)


@_features(
    "distance_correlation_unbiased",
    best="max",
    range=(-1, 1),
    invariant_to=FORMS,
    estimator="unbiased",
    complexity="O(n^2 p); O(n^2)",
    reference="Szekely & Rizzo, Annals of Statistics 42, 2014",
)
@_features(
    "distance_correlation",
    best="max",
    range=(0, 1),
    invariant_to=FORMS,
    complexity="O(n^2 p); O(n^2)",
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
        # Distances are centred as RSMs are; U-centring is what makes the debiased CKA.
        self._cka = Cka("biased" if estimator == "biased" else "debiased")

    def prepare(self, x: Any, name: str = "the features") -> FloatArray:
        """Centred distances of one side, (n, n), with norm 1; ValueError where all stimuli are the same."""
        direction = self._cka.direction(np.sqrt(squared_distances(balanced(as_float64(x, name))[0])))
        if math.isnan(direction[0, 0]):
            raise ValueError(f"all stimuli of {name} are the same, or equally far apart: no distance correlation")
        return direction

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Distance correlation."""
        value = self._cka.compare(a, b)
        return math.sqrt(min(max(value, 0.0), 1.0)) if self.estimator == "biased" else value


class NormDifference:
    """`rsm_norm_difference` in two parts."""

    def prepare(self, K: Any, name: str = "the RSM") -> FloatArray:
        """The RSM."""
        return as_rsm(K, name)

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Norm of the difference."""
        require_same_stimuli(len(a), len(b))
        scaled, exponent = balanced(a - b)
        return float(in_range(np.linalg.norm(scaled), "the norm of the difference", exponent))


@_rsms(
    "rsm_norm_difference",
    best="min",
    range=(0, math.inf),
    reference=KLABUNDE,
    measured_in="entries",
    pair=NormDifference,
)
def rsm_norm_difference(K: Any, L: Any) -> float:
    """Frobenius norm of the difference of two RSMs (n, n), diagonal included; in the unit of their entries, [0, inf).

    No normalisation: RSMs of networks of another scale or width are far apart. ValueError for misshapen or non-finite input.
    """
    return float(between(NormDifference(), K, L, "KL"))


class WhitenedRsa:
    """`whitened_rsa` in two parts."""

    def prepare(self, K: Any, name: str = "the RSM") -> FloatArray:
        """The centred RSM without its multiple of the centring matrix, of norm 1, (n, n)."""
        k = as_rsm(K, name)
        n = len(k)
        require_stimuli(n, 3)
        gram = centred(centred(balanced(k)[0]).T)
        size = float(np.linalg.norm(gram))
        multiple = float(np.trace(gram)) / (n - 1)
        gram += multiple / n
        gram.flat[:: n + 1] -= multiple
        norm = float(np.linalg.norm(gram))
        if norm <= ROUNDING * n * size:
            raise ValueError(f"all distances that {name} stands for are equal: nothing to correlate")
        gram /= norm
        return np.ascontiguousarray(gram.T)  # it is symmetric, and was centred transposed

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Cosine of two sides."""
        require_same_stimuli(len(a), len(b))
        return float(np.vdot(a, b))


@_rsms(
    "rsa_whitened",
    best="max",
    range=(-1, 1),
    invariant_to=("positive_scaling", *CENTRED),
    reference="Diedrichsen et al., 2021, arXiv 2007.02789",
    pair=WhitenedRsa,
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
    return float(between(WhitenedRsa(), K, L, "KL"))


@_features(
    "rsa_noise_ceiling",
    best="max",
    range=(-math.inf, math.inf),
    invariant_to=("unit_permutation", "translation", "isotropic_scaling"),
    complexity="O(n^2 p); O(n^2)",
    reference="Spearman 1904; Cronbach, Psychometrika 16, 1951; Nili et al., PLoS Computational Biology 10, 2014",
)
class CeiledRsa:
    """Correlation of the squared distances of stimuli, over the most that few units allow; 1 on average for equal populations.

    Features (n, p) and (n, q), whose units are taken for samples of many. r / sqrt(a_x a_y), with Cronbach's alpha
    a = p / (p - 1) (1 - sum_u var(d_u) / var(sum_u d_u)) of the squared distances d_u that each unit adds: the mean reliability
    over all ways to halve the units. May exceed 1, as for a side with itself. NaN for a single unit, and where units agree no more
    than unrelated ones, so that alpha is not positive.
    """

    def prepare(self, x: Any, name: str = "the features") -> FloatArray:
        """Squared distances (n (n - 1) / 2,), centred, over the root of variance times alpha."""
        x = centred(balanced(as_float64(x, name))[0])
        n, p = x.shape
        require_stimuli(n, 3)
        distances = upper_triangle(squared_distances(x))
        distances -= distances.mean()
        # Of one unit: sums over all pairs of its squared distances and of their squares, from its moments.
        squares = x * x
        second, fourth = np.sum(squares, axis=0), np.einsum("ij,ij->j", squares, squares)
        of_units = np.sum(n * fourth + 3 * second**2 - (n * second) ** 2 / len(distances))
        total = float(distances @ distances)
        reliable = p / (p - 1) * (total - of_units) if p > 1 and total > of_units else math.nan
        return np.asarray(distances / math.sqrt(reliable))

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Correlation over its ceiling."""
        n, m = (triangle_side(len(v)) for v in (a, b))
        require_same_stimuli(n, m)
        return float(a @ b)


class OneNumber:
    """Common part: metrics that compare one number of each side, and so do not see which stimulus is which."""

    def prepare(self, x: Any, name: str = "the features") -> tuple[float, int]:
        """The number, and that of the stimuli."""
        x = as_float64(x, name)
        return self.describe(x, name), len(x)

    def describe(self, x: FloatArray, name: str) -> float:
        """The number of one side (n, p)."""
        raise NotImplementedError

    def compare(self, a: tuple[float, int], b: tuple[float, int]) -> float:
        """How far apart the two numbers are."""
        require_same_stimuli(a[1], b[1])
        return abs(a[0] - b[0])


@_difference("magnitude_difference", invariant_to=ROTATIONS, measured_in="features")
class MagnitudeDifference(OneNumber):
    """Difference of the norms of the mean stimuli of (n, p) and (n, q), in units of the features, [0, inf)."""

    def describe(self, x: FloatArray, name: str) -> float:
        """Norm of the mean stimulus."""
        x, exponent = balanced(x)
        return float(in_range(np.linalg.norm(x.mean(axis=0)), f"the mean of {name}", exponent))


@_difference("concentricity_difference", range=(0, 2), invariant_to=(*ROTATIONS, "isotropic_scaling"))
class ConcentricityDifference(OneNumber):
    """Difference of the mean cosines between a stimulus and the mean stimulus, of (n, p) and (n, q); in [0, 2].

    ValueError where a stimulus or the mean of all is zero.
    """

    def describe(self, x: FloatArray, name: str) -> float:
        """Mean cosine between a stimulus and the mean stimulus."""
        x = balanced(x)[0]
        mean = unit_rows(x.mean(axis=0, keepdims=True), f"the mean of {name}")[0]
        return float((unit_rows(x, name) @ mean).mean())


@_difference("uniformity_difference", invariant_to=SHAPES, complexity="O(n^2 p); O(1)")
class UniformityDifference(OneNumber):
    """Difference of log mean_ij exp(-t |x_i - x_j|^2) of (n, p) and (n, q), in [0, log n] (Wang & Isola 2020).

    The features are taken as they are: at scales far from 1 both sides have the same value, and the difference says nothing.

    Parameters
    ----------
    t : float
        Positive.
    """

    def __init__(self, t: float = 2.0) -> None:
        if not t > 0:
            raise ValueError(f"t must be positive, got {t}")
        self.t = t

    def describe(self, x: FloatArray, name: str) -> float:
        """Logarithm of the mean over all pairs of stimuli."""
        # Every term is at most 1 and those of the diagonal are: the sum neither overflows nor vanishes.
        both = 2 * float(np.exp(-self.t * upper_triangle(squared_distances(x))).sum())
        return math.log(len(x) + both) - 2 * math.log(len(x))
