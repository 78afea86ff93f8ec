"""Metrics that ignore what a representation says about single stimuli, and so must lose wherever that is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import FloatArray, as_feature_pair, balanced, centred
from semrsm_bench.metrics.invariances import FORMS
from semrsm_bench.metrics.registry import register_metric


@register_metric("spectrum", takes="features", best="max", range=(0, 1), invariant_to=FORMS, category="baseline")
def spectrum_similarity(X: Any, Y: Any) -> float:
    """Cosine between the singular values of two centred feature matrices: nothing of which stimulus is which.

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
        Features of as many stimuli.

    Returns
    -------
    float
        In [0, 1]; NaN where a side is constant. Invariant as the shapes that `semrsm_bench.metrics.linear_cka` compares, and to
        any reordering of the stimuli of one side alone.

    Raises
    ------
    ValueError
        For mismatched n, fewer than 2 stimuli, and misshapen or non-finite input.
    """
    x, y = as_feature_pair(X, Y)
    a, b = _spectrum(x), _spectrum(y)
    length = min(len(a), len(b))
    with np.errstate(invalid="ignore"):
        # Rounding may leave the cosine of equal spectra just above 1.
        return float(np.minimum(a[:length] @ b[:length] / (np.linalg.norm(a) * np.linalg.norm(b)), 1.0))


@register_metric(
    "width",
    takes="features",
    best="max",
    range=(0, 1),
    invariant_to=(
        *(name for name in FORMS if name != "zero_units"),
        "unit_scaling",
        "invertible_linear",
        "row_scaling",
    ),
    category="baseline",
)
def width_similarity(X: Any, Y: Any) -> float:
    """Ratio of the smaller number of units to the larger: nothing of the data at all.

    Parameters, range and errors as for `spectrum_similarity`.
    """
    x, y = as_feature_pair(X, Y)
    p, q = x.shape[1], y.shape[1]
    return float(min(p, q) / max(p, q))


def _spectrum(x: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.svd(centred(balanced(x)[0]), compute_uv=False))
