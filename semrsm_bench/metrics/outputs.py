"""Similarity of what networks say: Jensen-Shannon divergence between samples, and its correlation with an RSM."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from semrsm_bench.core.compiled import njit
from semrsm_bench.metrics.arrays import FloatArray, as_float64, as_rsm, one_of, require_stimuli, upper_triangle
from semrsm_bench.metrics.rsa import correlate

_SUM_TOLERANCE = 1e-3
_LN2 = math.log(2.0)
_SERIES = 0.01


def jensen_shannon(P: Any) -> FloatArray:
    """Jensen-Shannon divergence between the class probabilities of all samples.

    JSD(p, q) = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, natural logarithm, 0 log 0 = 0 (Lin 1991). SciPy's
    function of that name returns the square root of this.

    Parameters
    ----------
    P : array_like, shape (n, C)
        One distribution per row, not logits: non-negative, summing to 1 up to the rounding of float16 (1e-3), and divided by
        its sum here.

    Returns
    -------
    ndarray, shape (n, n)
        In nats, in [0, ln 2]; exactly symmetric with a zero diagonal. Each class adds a term that is never negative and
        loses no digits where p and q are close, so that small divergences keep their order.
    """
    p = as_float64(P, "P")
    if (p < 0).any():
        i, j = (int(index) for index in np.argwhere(p < 0)[0])
        raise ValueError(f"P must hold probabilities, but [{i}, {j}] is {p[i, j]:.6g}; apply a softmax to logits first")
    sums = p.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > _SUM_TOLERANCE)
    if wrong.size:
        first = int(wrong[0])
        raise ValueError(f"{wrong.size} rows of P do not sum to 1, the first is row {first} with {sums[first]:.6g}")
    p = p / sums[:, None]
    return np.asarray(_divergences(p, np.log(np.where(p > 0, p, 1.0))))


def jensen_shannon_correlation(P: Any, K: Any, method: str = "pearson") -> float:
    """Correlation of the Jensen-Shannon divergences with an RSM over i < j, in [-1, 1].

    A divergence against a similarity: an RSM that predicts what the network says comes out negative.

    Parameters
    ----------
    P, K : array_like, shape (n, C) and (n, n)
        Class probabilities, see `jensen_shannon`, and similarities of the same n >= 3 samples.
    method : {"pearson", "spearman"}
        As in `compare_rsms`, whose errors it raises too.
    """
    one_of(method, ("pearson", "spearman"), "method")
    k = as_rsm(K, "K")
    divergence = jensen_shannon(P)
    if len(divergence) != len(k):
        raise ValueError(f"P and K must hold the same samples, but P has {len(divergence)} and K has {len(k)}")
    require_stimuli(len(k), 3)
    return correlate(upper_triangle(divergence), upper_triangle(k), method, names=("P", "K"))


@njit()
def _divergences(p: FloatArray, logs: FloatArray) -> FloatArray:  # pragma: no cover
    """JSD of all rows of p, given their logarithms (any finite number for ln 0).

    With s = a + b and d = (a - b) / s a class adds s / 4 [(1 + d) ln(1 + d) + (1 - d) ln(1 - d)]. The bracket is the sum
    of d^2k / (k (2k - 1)), taken as such where d is small, since there its logarithms cancel.
    """
    n, classes = p.shape
    result = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            divergence = 0.0
            for c in range(classes):
                a, b = p[i, c], p[j, c]
                total = a + b
                if a == 0.0 or b == 0.0:
                    divergence += total * _LN2
                    continue
                d = (a - b) / total
                square = d * d
                if square < _SERIES:
                    bracket = 0.0
                    for k in range(8, 0, -1):
                        bracket = square * (bracket + 1.0 / (k * (2 * k - 1)))
                    divergence += 0.5 * total * bracket
                else:
                    divergence += a * logs[i, c] + b * logs[j, c] - total * np.log(0.5 * total)
            result[i, j] = result[j, i] = 0.5 * divergence
    return result
