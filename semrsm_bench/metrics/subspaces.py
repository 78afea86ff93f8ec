"""Metrics of what a linear map can read out: regression, predictivity, overlap of eigenspaces, GULP."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from semrsm_bench.metrics.arrays import FloatArray, as_float64, balanced, centred, require_same_stimuli, require_stimuli
from semrsm_bench.metrics.registry import FORMS, KORNBLITH, SUBSPACES, register_metric

_PENALTIES = 10.0 ** np.arange(-6, 2)

_features = partial(register_metric, takes="features")
_gulp = partial(
    _features,
    best="min",
    range=(0, math.inf),
    complexity="O(n^2 p); O(n^2)",
    reference="Boix-Adsera et al., NeurIPS 2022",
)


class Decomposed(NamedTuple):
    """Centred features (n, p), or as they are, by singular values: left vectors (n, r), values (r,), right (r, p), r the rank."""

    u: FloatArray
    s: FloatArray
    vt: FloatArray

    @classmethod
    def of(cls, x: Any, name: str, *, centre: bool = True, saturated: bool = True) -> Decomposed:
        """Of one side; ValueError for a constant one, and unless ``saturated`` may be, for rank n - 1 (n where not centred)."""
        x = balanced(as_float64(x, name))[0]
        require_stimuli(len(x), 3)
        x = centred(x) if centre else x
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        if s[0] == 0.0:
            raise ValueError(f"{name} is {'the same for all stimuli' if centre else 'all zeros'}: it spans nothing")
        rank = int(np.count_nonzero(s > s[0] * max(x.shape) * np.finfo(np.float64).eps))
        if not saturated and rank >= len(x) - centre:
            raise ValueError(
                f"{name} has rank {rank}, all that {len(x)} stimuli can have: it fits whatever the other side is; use more "
                "stimuli than units"
            )
        return cls(u[:, :rank], s[:rank], vt[:rank])


@_features(
    "linear_regression",
    best="max",
    range=(0, 1),
    symmetric=False,
    invariant_to=SUBSPACES,
    invariant_to_y=FORMS,
    complexity="O(n p min(n, p)); O(n p^2)",
    reference=KORNBLITH,
)
class LinearRegression:
    """Share of the variance of Y (n, q) that a linear map of X (n, p) explains: R^2 of least squares; in [0, 1].

    |Qx' c(Y)|^2 / |c(Y)|^2 with an orthonormal basis Qx of c(X). Fitted and judged on the same stimuli, so it grows with p; see
    `linear_predictivity`. ValueError for rank c(X) >= n - 1, where it is 1 for whatever Y, and for constant sides.
    """

    def prepare(self, x: Any, name: str = "one side") -> Decomposed:
        """One side, decomposed."""
        return Decomposed.of(x, name)

    def compare(self, a: Decomposed, b: Decomposed) -> float:
        """R^2 of b from a."""
        require_same_stimuli(len(a.u), len(b.u))
        if a.u.shape[1] >= len(a.u) - 1:
            raise ValueError(
                f"X has rank {a.u.shape[1]}, all that {len(a.u)} stimuli can have: it explains any Y; use more stimuli than units"
            )
        return float(np.sum((a.u.T @ (b.u * b.s)) ** 2) / np.sum(b.s**2))


@_features(
    "linear_predictivity",
    best="max",
    range=(-math.inf, 1),
    symmetric=False,
    invariant_to=FORMS,
    invariant_to_y=FORMS,
    complexity="O(n p min(n, p)); O(n p^2)",
    reference="Schrimpf et al., 2018 (Brain-Score)",
)
class LinearPredictivity:
    """Share of the variance of Y (n, q) that ridge regression from X (n, p) predicts on stimuli left out; at most 1.

    Every stimulus is predicted from all others; the penalty, of 10^-6 .. 10 times the largest squared singular value of c(X), is
    the one with the least error on those others, each left out in turn. 1 - (squared errors) / (squared deviations from the mean
    of the others); below 0 where that mean predicts better. X predicts Y, not the reverse. ValueError for constant sides.
    """

    def prepare(self, x: Any, name: str = "one side") -> Decomposed:
        """One side, decomposed."""
        return Decomposed.of(x, name)

    def compare(self, a: Decomposed, b: Decomposed) -> float:
        """Predicted share of b's variance from a."""
        n = len(a.u)
        require_same_stimuli(n, len(b.u))
        y = b.u * b.s  # rotated units: the same squared errors
        target = a.u.T @ y
        errors, squares = np.empty((len(_PENALTIES), n)), a.u**2
        for row, penalty in zip(errors, _PENALTIES * a.s[0] ** 2, strict=True):
            kept = a.s**2 / (a.s**2 + penalty)
            error = a.u @ (kept[:, None] * target)
            error -= y
            row[:] = np.einsum("ij,ij->i", error, error) / (1.0 - 1.0 / n - squares @ kept) ** 2
        of_others = errors.sum(axis=1)[:, None] - errors
        chosen = np.take_along_axis(errors, of_others.argmin(axis=0)[None], axis=0)
        return float(1.0 - chosen.sum() / (np.sum(b.s**2) * (n / (n - 1)) ** 2))


@_features(
    "eigenspace_overlap",
    best="max",
    range=(0, 1),
    complexity="O(n p min(n, p)); O(n p^2)",
    reference="May et al., NeurIPS 2019",
    invariant_to=tuple(name for name in SUBSPACES if name != "translation"),
)
class EigenspaceOverlap:
    """Overlap of the spaces that the columns of (n, p) and (n, q) span: |U' V|^2 over the larger rank; in [0, 1].

    Not centred. ValueError for a side of rank n, which overlaps with everything, and one that is all zeros.
    """

    def prepare(self, x: Any, name: str = "one side") -> FloatArray:
        """Orthonormal basis (n, rank)."""
        return Decomposed.of(x, name, centre=False, saturated=False).u

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """The overlap."""
        require_same_stimuli(len(a), len(b))
        return float(np.sum((a.T @ b) ** 2) / max(a.shape[1], b.shape[1]))


@_gulp("gulp_ridge", invariant_to=FORMS, ridge=0.01)
@_gulp("gulp", invariant_to=SUBSPACES)
class Gulp:
    """How far the ridge predictors from two sides (n, p) and (n, q) can be apart, averaged over tasks of unit size; in [0, inf).

    Each side is centred and scaled to a total variance of 1; with covariances A, B and cross-covariance C,
    d^2 = tr (A+r)^-1 A (A+r)^-1 A + tr (B+r)^-1 B (B+r)^-1 B - 2 tr (A+r)^-1 C (B+r)^-1 C'. Returns d.

    Parameters
    ----------
    ridge : float
        r, at least 0; 0 depends on the spanned subspaces alone (pseudo-inverses), and then rank n - 1 raises ValueError.
    """

    def __init__(self, ridge: float = 0.0) -> None:
        if not 0 <= ridge < math.inf:
            raise ValueError(f"ridge must be a finite number of at least 0, got {ridge}")
        self.ridge = ridge

    def prepare(self, x: Any, name: str = "one side") -> FloatArray:
        """The hat matrix of one side, (n, n)."""
        u, s, _ = Decomposed.of(x, name, saturated=self.ridge > 0)
        variances = s**2 / np.sum(s**2)
        return np.asarray((u * (variances / (variances + self.ridge))) @ u.T)

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """d: the Frobenius norm of the difference of the hat matrices."""
        require_same_stimuli(len(a), len(b))
        return float(np.linalg.norm(a - b))
