"""Whether values of pairs are in an order that is known, in draws of what the pairs are of. Undefined values earn nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.task import Floats
from semrsm_bench.metrics.ranks import TIE, correlation, dense_ranks, weighted_ranks


def credits(alike: Floats, right: NDArray[np.bool_]) -> list[float]:
    """For each row (values of candidates) with a right answer: 1 where it has the largest value, shared where several have it.

    What is undefined earns none.
    """
    asked = right.any(axis=1)
    known, right = np.where(np.isnan(alike), -np.inf, alike)[asked], right[asked]
    best = known.max(axis=1, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        tied = (known >= best - TIE * np.abs(best)) & np.isfinite(best)
    return [float(c) for c in (right & tied).sum(axis=1) / np.maximum(1, tied.sum(axis=1))]


def credit(more: Floats, less: Floats) -> Floats:
    """1 where the first is larger, as it should be, .5 where both are equal up to rounding, 0 also where one is undefined."""
    tied = np.abs(more - less) <= TIE * np.maximum(np.abs(more), np.abs(less))
    return np.where(tied, 0.5, more > less)


def spearman(values: Floats, target: Floats, weights: Floats) -> Floats:
    """Rank correlation of values with a target (P,), each pair counting ``weights`` (B, P) times; (B,).

    0 where all values are equal, which puts nothing in an order; -1 where none is defined; NaN where the target is constant.
    """
    known = weighted_ranks(target, weights)
    found = correlation(weighted_ranks(_placed(values, target), weights), known, weights)
    return np.where(np.isnan(found), 0 * correlation(known, known, weights), found)


def average_precision(values: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Area under the steps of precision over recall where the largest values come first, ties at once; (B,) as `spearman`.

    NaN where no positive pair has weight.
    """
    ranks = _placed(values, positive.astype(np.float64))
    step = np.eye(ranks.max() + 1)[ranks][:, ::-1]
    hits, seen = (weights * positive) @ step, weights @ step
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(np.cumsum(hits, axis=1) / np.cumsum(seen, axis=1))
        return np.asarray((hits * precision).sum(axis=1) / hits.sum(axis=1))


def _placed(values: Floats, target: Floats) -> NDArray[np.int32]:
    """Ranks; an undefined value is at the wrong end, below all others where the target is high, above them where it is low."""
    known = ~np.isnan(values)
    if known.all():
        return dense_ranks(values)[0]
    wanted, _ = dense_ranks(target)
    ranks = np.where(2 * wanted >= wanted.max(), -1 - wanted, 2 * len(values) - wanted)
    if known.any():
        ranks[known] = dense_ranks(values[known])[0]
    return dense_ranks(ranks.astype(np.float64))[0]
