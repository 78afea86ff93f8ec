"""Spearman's correlation of vectors in many weighted samples at once, as a bootstrap over stimuli needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import FloatArray


def weighted_ranks(values: Any, weights: FloatArray) -> FloatArray:
    """Mid-ranks minus their mean of samples in which stimulus i occurs ``weights[b, i]`` times, (B, n)."""
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    new = np.append(True, np.diff(values[order]) != 0)
    tied = np.add.reduceat(weights[:, order], np.flatnonzero(new), axis=1)
    middle = np.cumsum(tied, axis=1) - tied / 2 - weights.sum(axis=1, keepdims=True) / 2
    result = np.empty(weights.shape)
    result[:, order] = middle[:, np.cumsum(new) - 1]
    return result


def correlation(a: FloatArray, b: FloatArray, weights: FloatArray) -> FloatArray:
    """Spearman's correlation from `weighted_ranks`, (B,); NaN where a side is constant."""
    spread = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, (weights * a * b).sum(axis=1) / spread, np.nan)


def partial_correlation(a: FloatArray, b: FloatArray, given: FloatArray, weights: FloatArray) -> FloatArray:
    """Spearman's correlation of a and b at equal rank of a third, (B,); NaN where nothing is left of a side."""
    ab, ac, bc = (correlation(*pair, weights) for pair in ((a, b), (a, given), (b, given)))
    left = (1 - ac**2) * (1 - bc**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > 1e-12, (ab - ac * bc) / np.sqrt(left), np.nan)
