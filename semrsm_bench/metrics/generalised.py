"""Generalised Procrustes analysis: the iteration that `Barycenter` wraps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import FloatArray, square_norm
from semrsm_bench.metrics.groups import Group

Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""``map``, or that of a pool of threads."""


@dataclass(frozen=True)
class Descent:
    """End of one run: a map per model, their mean, the objective after the start and after every iteration."""

    maps: list[Any]
    mean: FloatArray
    history: list[float]
    converged: bool


def medoid(xs: list[FloatArray], group: Group, parallel: Mapper) -> int:
    """Index of the model with the smallest sum of squared Procrustes distances to the others, the first of equals."""
    pairs = [(k, j) for k in range(len(xs)) for j in range(k)]
    overlaps = list(parallel(lambda pair: group.overlap(xs[pair[0]], xs[pair[1]]), pairs))
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
    xs: list[FloatArray], target: FloatArray, group: Group, tol: float, max_iter: int, parallel: Mapper
) -> Descent:
    """Align all models to the target, make their mean the target, and repeat until the objective stops falling.

    The target runs ahead of the mean by Nesterov's momentum, which takes a fifth of the iterations where agreement is weak.
    A step that would raise the objective is taken back and repeated from the mean itself, from where it cannot rise; and
    only such a plain step can end the run.
    """
    width = target.shape[1]
    rounding = len(xs) * np.finfo(np.float64).eps ** 2 * sum(square_norm(x) for x in xs)
    maps: list[Any] = []
    history: list[float] = []
    mean = previous = target
    momentum, pace = 0.0, 1.0
    for _ in range(max_iter + 1):
        goal = mean + momentum * (mean - previous)
        new_maps = list(parallel(partial(_best_map, group, goal), xs))
        aligned = [group.apply(x, found, width) for x, found in zip(xs, new_maps, strict=True)]
        new_mean = _mean(aligned)
        objective = sum(square_norm(a - new_mean) for a in aligned)
        if history and objective >= history[-1]:
            if momentum == 0.0:
                # At a fixed point what is left is rounding, in either direction; the better one is kept.
                return Descent(maps, mean, history, True)
            momentum, pace = 0.0, 1.0
            continue
        small = bool(history) and history[-1] - objective < tol * history[-1]
        maps, previous, mean = new_maps, mean if history else new_mean, new_mean
        history.append(objective)
        if objective <= rounding or (small and momentum == 0.0):
            return Descent(maps, mean, history, True)
        if small:
            momentum, pace = 0.0, 1.0
        else:
            faster = (1 + math.sqrt(1 + 4 * pace * pace)) / 2
            momentum, pace = (pace - 1) / faster, faster
    return Descent(maps, mean, history, False)


def _best_map(group: Group, target: FloatArray, x: FloatArray) -> Any:
    return group.best(x.T @ target)


def polish(xs: list[FloatArray], run: Descent, group: Group, max_iter: int) -> Descent:
    """Align one model after the other to the mean of all others, until a round changes nothing.

    A model's own share in the mean holds it where it is, which traps permutations at ends that are none of the objective.
    Given the others, the best map of a model is the one onto their sum, so the objective cannot rise here either.
    """
    width = run.mean.shape[1]
    maps, history = list(run.maps), list(run.history)
    aligned = [group.apply(x, found, width) for x, found in zip(xs, maps, strict=True)]
    for _ in range(max_iter):
        for k, x in enumerate(xs):
            others = _sum(aligned[:k] + aligned[k + 1 :])
            candidate = group.best(x.T @ others)
            moved = group.apply(x, candidate, width)
            # The overlap decides, since of equal assignments one is as good as the other.
            if np.vdot(moved, others) > np.vdot(aligned[k], others):
                maps[k], aligned[k] = candidate, moved
        mean = _mean(aligned)
        objective = sum(square_norm(a - mean) for a in aligned)
        if objective >= history[-1]:
            break
        history.append(objective)
        run = Descent(list(maps), mean, history, run.converged)
    return run


def _mean(aligned: list[FloatArray]) -> FloatArray:
    return _sum(aligned) / len(aligned)


def _sum(aligned: list[FloatArray]) -> FloatArray:
    total = aligned[0].copy()
    for a in aligned[1:]:
        total += a
    return total
