"""Generalised Procrustes analysis: the groups that models are aligned over, and the iteration that `Barycenter` wraps.

A map of a model is a matrix of shape (d_k, d) with orthonormal rows, which takes its d_k columns to d >= d_k common ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import FloatArray, square_norm
from semrsm_bench.metrics.procrustes import Assignment, best_columns, polar_factor
from semrsm_bench.metrics.ranks import dense_ranks, first_largest

Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""``map``, or that of a pool of threads."""


@dataclass(frozen=True)
class MapGroup:
    """What the maps are chosen from.

    Attributes
    ----------
    best : callable
        Affinity (d_k, d) -> the map W that maximises <affinity, W>.
    overlap : callable
        Affinity (d_k, d) -> that maximum.
    random : callable
        (d_k, d, generator) -> a uniformly distributed map.
    gauge : callable
        Barycenter (n, d) -> the element (d, d) of the group that brings it to its standard form.
    """

    best: Callable[[FloatArray], FloatArray]
    overlap: Callable[[FloatArray], float]
    random: Callable[[int, int, np.random.Generator], FloatArray]
    gauge: Callable[[FloatArray], FloatArray]


def _principal_axes(mean: FloatArray) -> FloatArray:
    """M onto its principal axes, the first entry of largest magnitude in every column positive."""
    # The common width is below n, see Barycenter, so the thin decomposition has all axes.
    axes = np.linalg.svd(mean, full_matrices=False)[2].T
    columns = (mean @ axes).T
    peaks = columns[np.arange(len(columns)), first_largest(np.abs(columns))]
    return np.asarray(axes * np.where(peaks < 0, -1.0, 1.0))


ORTHOGONAL = MapGroup(
    polar_factor,
    lambda affinity: float(np.linalg.svd(affinity, compute_uv=False).sum()),
    lambda own, width, rng: polar_factor(rng.standard_normal((own, width))),
    _principal_axes,
)


def permutations(assignment: Assignment | None) -> MapGroup:
    """Reorderings of the units, found by an assignment solver; M has columns of descending norm."""

    def best(affinity: FloatArray) -> FloatArray:
        return np.asarray(np.eye(affinity.shape[1])[best_columns(affinity, assignment)])

    def by_norm(mean: FloatArray) -> FloatArray:
        ranks, _ = dense_ranks(np.linalg.norm(mean, axis=0))
        return np.eye(len(ranks))[:, np.argsort(-ranks, kind="stable")]

    return MapGroup(
        best,
        lambda affinity: float(np.vdot(affinity, best(affinity))),
        lambda own, width, rng: np.asarray(np.eye(width)[rng.permutation(width)[:own]]),
        by_norm,
    )


@dataclass(frozen=True)
class Descent:
    """End of one run: a map per model, their mean, the objective after the start and after every iteration."""

    maps: list[FloatArray]
    mean: FloatArray
    history: list[float]
    converged: bool


def medoid(xs: list[FloatArray], group: MapGroup, parallel: Mapper) -> int:
    """Index of the model with the smallest sum of squared Procrustes distances to the others, the first of ties."""

    def overlap(pair: tuple[int, int]) -> float:
        x, y = sorted((xs[k] for k in pair), key=lambda side: side.shape[1])
        return group.overlap(x.T @ y)

    pairs = [(k, j) for k in range(len(xs)) for j in range(k)]
    # sum_j |X_k|^2 + |X_j|^2 - 2 overlap, without the sum of all |X_j|^2, which is the same for every k.
    sums = np.array([(len(xs) - 2) * square_norm(x) for x in xs])
    for pair, value in zip(pairs, parallel(overlap, pairs), strict=True):
        sums[list(pair)] -= 2 * value
    return int(first_largest(-sums))


def starting_points(
    xs: list[FloatArray], first: int, count: int, group: MapGroup, rng: np.random.Generator
) -> list[FloatArray]:
    """``count`` targets as wide as the widest: model ``first``, other models in random order, means after random maps."""
    width = max(x.shape[1] for x in xs)
    others = [int(k) for k in rng.permutation(len(xs)) if k != first]
    starts = [np.pad(xs[k], ((0, 0), (0, width - xs[k].shape[1]))) for k in [first, *others][:count]]
    while len(starts) < count:
        starts.append(_mean([x @ group.random(x.shape[1], width, rng) for x in xs]))
    return starts


def descend(
    xs: list[FloatArray], target: FloatArray, group: MapGroup, tol: float, max_iter: int, parallel: Mapper
) -> Descent:
    """Align all models to the target, make their mean the target, and repeat until the objective stops falling.

    The target runs ahead of the mean by Nesterov's momentum, which takes a fifth of the iterations where agreement is weak.
    A step that would raise the objective is taken back and repeated from the mean itself, from where it cannot rise; and
    only such a plain step can end the run.
    """
    rounding = len(xs) * np.finfo(np.float64).eps ** 2 * sum(square_norm(x) for x in xs)
    maps: list[FloatArray] = []
    history: list[float] = []
    mean = previous = target
    momentum, pace = 0.0, 1.0
    for _ in range(max_iter + 1):
        goal = mean + momentum * (mean - previous)
        new_maps = list(parallel(partial(_best_map, group, goal), xs))
        new_mean, objective = _mean_and_objective([x @ found for x, found in zip(xs, new_maps, strict=True)])
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


def _best_map(group: MapGroup, target: FloatArray, x: FloatArray) -> FloatArray:
    return group.best(x.T @ target)


def polish(xs: list[FloatArray], run: Descent, group: MapGroup, max_iter: int) -> Descent:
    """Align one model after the other to the mean of all others, until a round changes nothing.

    A model's own share in the mean holds it where it is, which traps permutations at ends that are none of the objective.
    Given the others, the best map of a model is the one onto their sum, so the objective cannot rise here either.
    """
    maps, history = list(run.maps), list(run.history)
    aligned = [x @ found for x, found in zip(xs, maps, strict=True)]
    for _ in range(max_iter):
        for k, x in enumerate(xs):
            others = _sum(aligned[:k] + aligned[k + 1 :])
            candidate = group.best(x.T @ others)
            moved = x @ candidate
            # The overlap decides, since of equal assignments one is as good as the other.
            if np.vdot(moved, others) > np.vdot(aligned[k], others):
                maps[k], aligned[k] = candidate, moved
        mean, objective = _mean_and_objective(aligned)
        if objective >= history[-1]:
            break
        history.append(objective)
        run = Descent(list(maps), mean, history, run.converged)
    return run


def _mean_and_objective(aligned: list[FloatArray]) -> tuple[FloatArray, float]:
    mean = _mean(aligned)
    return mean, sum(square_norm(a - mean) for a in aligned)


def _mean(aligned: list[FloatArray]) -> FloatArray:
    return _sum(aligned) / len(aligned)


def _sum(aligned: list[FloatArray]) -> FloatArray:
    total = aligned[0].copy()
    for a in aligned[1:]:
        total += a
    return total
