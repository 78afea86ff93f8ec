"""Metrics that ignore what a representation says about single stimuli, and so must lose wherever that is asked for."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import as_feature_pair, balanced, centred
from semrsm_bench.metrics.invariances import FORMS
from semrsm_bench.metrics.registry import register_metric

_baseline = partial(register_metric, takes="features", best="max", range=(0, 1), category="baseline")
_OF_WIDTH = (*(name for name in FORMS if name != "zero_units"), "unit_scaling", "invertible_linear", "row_scaling")


@_baseline("spectrum", invariant_to=FORMS)
def spectrum_similarity(X: Any, Y: Any) -> float:
    """Cosine between the singular values of two centred feature matrices, (n, p) and (n, q): nothing of which stimulus is which.

    In [0, 1]; NaN where a side is constant. Errors as for `semrsm_bench.metrics.linear_cka`.
    """
    x, y = as_feature_pair(X, Y)
    a, b = (np.linalg.svd(centred(balanced(side)[0]), compute_uv=False) for side in (x, y))
    length = min(len(a), len(b))
    with np.errstate(invalid="ignore"):
        # Rounding may leave the cosine of equal spectra just above 1.
        return float(np.minimum(a[:length] @ b[:length] / (np.linalg.norm(a) * np.linalg.norm(b)), 1.0))


@_baseline("width", invariant_to=_OF_WIDTH)
def width_similarity(X: Any, Y: Any) -> float:
    """Ratio of the smaller number of units to the larger, in (0, 1]: nothing of the data at all."""
    x, y = as_feature_pair(X, Y)
    p, q = x.shape[1], y.shape[1]
    return float(min(p, q) / max(p, q))
