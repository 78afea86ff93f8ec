"""Significance: what a metric gives once the correspondence of the stimuli is broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semrsm_bench.core.identity import require_same_ids
from semrsm_bench.metrics.arrays import FloatArray, as_float64, one_of
from semrsm_bench.metrics.declarations import MetricInfo, declared, find_declared
from semrsm_bench.metrics.instances import instance_similarity
from semrsm_bench.metrics.ranks import TIE


@dataclass(frozen=True)
class Significance:
    """A metric's value beside its permutation null, (n,); see `p_value` and `calibrated_score`, NaN without a finite best value."""

    value: float
    null: FloatArray
    p_value: float
    score: float


def null_distribution(
    metric: str | Callable[..., float], X: Any, Y: Any, n: int = 1000, seed: int = 0, *, permute: str | None = None
) -> FloatArray:
    """Values of a metric with the stimuli of Y reordered at random, shape (n,).

    Parameters
    ----------
    metric : str or callable
        A name in `METRICS`, or any function of (X, Y) that returns a number: one of this package's, a `partial` of it,
        or another.
    X, Y : array_like
        Features with stimuli in rows, or RSMs. The metric gets X as it is.
    n, seed : int
        Number of permutations; the same seed gives the same ones, whatever the metric.
    permute : {"rows", "both"}, optional
        Reorder the rows of Y (features, class probabilities, counts), or its rows and columns alike (an RSM). By default
        as the metric declares; for a callable that is not declared, both where Y is square and symmetric.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}")
    function, info = _resolve(metric)
    require_same_ids(X, Y, "XY")
    y = as_float64(Y, "Y")
    square = y.shape[0] == y.shape[1]
    if permute is not None:
        both = one_of(permute, ("rows", "both"), "permute") == "both"
    elif info is not None:
        both = info.second == "rsm"
    else:
        # Features have as many units as stimuli now and then, but then they are not symmetric.
        both = square and np.allclose(y, y.T)
    if both and not square:
        raise ValueError(f"permute='both' needs an RSM as Y, but its shape is {y.shape}")
    rng = np.random.default_rng(seed)
    orders = (rng.permutation(len(y)) for _ in range(n))
    reordered = (y[np.ix_(order, order)] if both else y[order] for order in orders)
    return np.array([function(X, side) for side in reordered], dtype=np.float64)


def p_value(value: float, null: Any, direction: str = "similarity") -> float:
    """Share of the null at least as extreme as the value, the value itself counted in: (1 + #) / (1 + n).

    ``direction``, "similarity" or "distance", says whether large or small values mean agreement. In [1 / (n + 1), 1]; never 0,
    since n permutations cannot show less (Phipson and Smyth 2010). What differs from the value by rounding alone counts as equal;
    ValueError for NaN.
    """
    one_of(direction, ("similarity", "distance"), "direction")
    values = as_float64(null, "null", ndim=1)
    if not np.isfinite(value):
        raise ValueError(f"the value is {value}: it cannot be ranked among the null")
    margin = TIE * max(abs(value), float(np.abs(values).max()))
    extreme = values >= value - margin if direction == "similarity" else values <= value + margin
    return float((1 + np.count_nonzero(extreme)) / (1 + len(values)))


def calibrated_score(value: float, null: Any, best: float = 1.0) -> float:
    """(value - mean(null)) / (best - mean(null)): 0 at the mean of the null, 1 at the best value, as the quality of a matching.

    For distances too (best = 0). Below 0: less agreement than after a random reordering. ValueError for a null whose mean is the
    best value, as when a metric is saturated.
    """
    values = as_float64(null, "null", ndim=1)
    chance = float(values.mean())
    if not (np.isfinite(value) and np.isfinite(best)):
        raise ValueError(f"value and best must be finite; got {value} and {best}")
    if abs(best - chance) <= TIE * max(abs(best), float(np.abs(values).max())):
        raise ValueError(f"the null's mean is already the best value, {best}: the metric is saturated for these shapes")
    return (float(value) - chance) / (best - chance)


def significance(
    metric: str | Callable[..., float], X: Any, Y: Any, n: int = 1000, seed: int = 0, *, permute: str | None = None
) -> Significance:
    """Value, null, p-value and calibrated score of a declared metric.

    Parameters and errors as for `null_distribution`; the metric must be declared in `METRICS`, for its direction and best
    value. Parameters are set with `functools.partial`.
    """
    function, info = _resolve(metric)
    if info is None:
        raise ValueError("significance needs a declared metric, for its direction; use null_distribution and p_value")
    value = float(function(X, Y))
    null = null_distribution(metric, X, Y, n, seed, permute=permute)
    score = float("nan") if info.best is None else calibrated_score(value, null, info.best)
    return Significance(value, null, p_value(value, null, info.direction), score)


def instance_null(aligned: Sequence[Any], kind: str = "pairwise_cosine", n: int = 1000, seed: int = 0) -> FloatArray:
    """Scores of `instance_similarity` with the held-out stimuli of each model in another random order; shape (n, m).

    ``n`` and ``seed`` as for `null_distribution`.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}")
    models = [as_float64(a, f"aligned[{k}]") for k, a in enumerate(aligned)]
    rng = np.random.default_rng(seed)
    return np.stack([instance_similarity([a[rng.permutation(len(a))] for a in models], kind) for _ in range(n)])


def _resolve(metric: str | Callable[..., float]) -> tuple[Callable[..., float], MetricInfo | None]:
    if not isinstance(metric, str):
        return metric, find_declared(metric)
    known = declared()
    info = known[one_of(metric, tuple(known), "metric")]
    if info.second is None:
        raise ValueError(f"{metric} compares no pair of inputs, so nothing can be reordered; see instance_null")
    return info.function, info
