"""Generalised Procrustes analysis: the iteration that `Barycenter` wraps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import FloatArray
from semrsm_bench.metrics.centring import square_norm
from semrsm_bench.metrics.groups import Group


@dataclass(frozen=True)
class Descent:
    """End of one run: a map per model, their mean, the objective after the start and after every iteration."""

    maps: list[Any]
    mean: FloatArray
    history: list[float]
    converged: bool


def medoid(xs: list[FloatArray], group: Group, pool: ThreadPoolExecutor) -> int:
    """Index of the model with the smallest sum of squared Procrustes distances to the others, the first of equals."""
    pairs = [(k, j) for k in range(len(xs)) for j in range(k)]
    overlaps = list(pool.map(lambda pair: group.overlap(xs[pair[0]], xs[pair[1]]), pairs))
    # sum_j |X_k|^2 + |X_j|^2 - 2 overlap, without the sum of all |X_j|^2, which is the same for every k.
    sums = [(len(xs) - 2) * square_norm(x) for x in xs]
    for (k, j), overlap in zip(pairs, overlaps, strict=True):
        sums[k] -= 2 * overlap
        sums[j] -= 2 * overlap
    return int(np.argmin(sums))


def starting_points(
    xs: list[FloatArray], width: int, first: int, count: int, group: Group, rng: np.random.Generator
) -> list[FloatArray]:
    """``count`` targets of shape (n, width): model ``first``, other models in random order, means after random maps."""
    others = [int(k) for k in rng.permutation(len(xs)) if k != first]
    starts = [np.pad(xs[k], ((0, 0), (0, width - xs[k].shape[1]))) for k in [first, *others][:count]]
    while len(starts) < count:
        maps = [group.random(x.shape[1], width, rng) for x in xs]
        starts.append(_mean([group.apply(x, found, width) for x, found in zip(xs, maps, strict=True)]))
    return starts


def descend(
    xs: list[FloatArray], target: FloatArray, group: Group, tol: float, max_iter: int, pool: ThreadPoolExecutor
) -> Descent:
    """Align all models to the target, make their mean the target, and repeat until the objective stops falling."""
    width = target.shape[1]
    rounding = len(xs) * np.finfo(np.float64).eps ** 2 * sum(square_norm(x) for x in xs)
    maps: list[Any] = []
    mean = target
    history: list[float] = []
    for _ in range(max_iter + 1):
        new_maps = list(pool.map(lambda x, goal=mean: group.best(x.T @ goal), xs))
        aligned = [group.apply(x, found, width) for x, found in zip(xs, new_maps, strict=True)]
        new_mean = _mean(aligned)
        objective = sum(square_norm(a - new_mean) for a in aligned)
        if history and objective >= history[-1]:
            # At a fixed point what is left is rounding, in either direction; the better one is kept.
            return Descent(maps, mean, history, True)
        maps, mean = new_maps, new_mean
        history.append(objective)
        if objective <= rounding or (len(history) > 1 and history[-2] - objective < tol * history[-2]):
            return Descent(maps, mean, history, True)
    return Descent(maps, mean, history, False)


def _mean(aligned: list[FloatArray]) -> FloatArray:
    total = aligned[0].copy()
    for a in aligned[1:]:
        total += a
    total /= len(aligned)
    return total
