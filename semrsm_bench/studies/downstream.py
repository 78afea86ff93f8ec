"""What is left of an RSM's use when its matchings are approximate: ranking, CKA and neighbours beside the exact RSM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.stats import Interval, mean_interval
from semrsm_bench.metrics import compare_rsms, most_similar
from semrsm_bench.studies.cka_values import all_cka
from semrsm_bench.studies.pair_bootstrap import draw_images, percentile_interval, resampled_spearman

Matrix = NDArray[np.float64]

TOP = 5
# measure -> how it is called in tables
MEASURES = {
    "spearman": "Spearman",
    "cka": "CKA",
    "same_neighbour": "same nearest, %",
    "top5": f"top {TOP} in common, %",
}
RESAMPLES = 1000


def agreements(
    exact: Matrix, approximate: Mapping[str, Matrix], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict[str, Interval]]:
    """How far conclusions from approximate RSMs are those from the exact one.

    Parameters
    ----------
    exact : ndarray, (n, n)
        Symmetric, of n >= 10 images.
    approximate : mapping of solver to ndarray, (n, n)
    seed, resamples : int
        Of the bootstraps over images.

    Returns
    -------
    dict of solver to dict of measure to Interval
        ``spearman``: rank correlation of the entries i < j, in [-1, 1], bootstrap over images. ``cka``: debiased CKA, at most
        1, jackknife over images; the diagonals, equal whatever the matching, do not count. ``same_neighbour``: share of the
        images whose most similar other image is the same, the lowest index of equals. ``top5``: share of the five most similar
        images that both have. The last two with a bootstrap over images.

    Raises
    ------
    ValueError
        Fewer than ten images, or an RSM without any variation.
    """
    draws = draw_images(len(exact), resamples, seed)
    names, others = list(approximate), list(approximate.values())
    if not others:
        return {}
    everyone = range(len(exact))
    nearest = most_similar(exact, everyone, everyone)
    resampled = resampled_spearman(exact, others, draws)
    every_cka = all_cka([exact, *others], "debiased", quiet=True)
    return {
        name: {
            "spearman": percentile_interval(compare_rsms(exact, other, "spearman"), resampled[:, k]),
            "cka": every_cka[0, k + 1].interval,
            "same_neighbour": mean_interval(most_similar(other, everyone, everyone) == nearest, seed=seed),
            "top5": mean_interval(shared_neighbours(other, exact, TOP), seed=seed),
        }
        for k, (name, other) in enumerate(zip(names, others, strict=True))
    }


def mean_over_pairs(values: Matrix, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean of a symmetric matrix above its diagonal, with a bootstrap over its images; NaN if a value is.

    Pairs share images, so that a bootstrap over pairs would be too narrow.

    Parameters
    ----------
    values : ndarray, (n, n)
        One value for each pair of n >= 10 images.
    """
    mean = float(values[np.triu_indices(len(values), 1)].mean())
    if np.isnan(mean):
        return Interval(mean, mean, mean)
    weights = draw_images(len(values), resamples, seed).astype(np.float64)
    others = np.where(np.eye(len(values), dtype=bool), 0.0, values)
    # The pairs of an image with itself, which resampling makes, count for nothing.
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    return percentile_interval(mean, ((weights @ others) * weights).sum(1) / pairs)


def shared_neighbours(K: Matrix, L: Matrix, count: int) -> NDArray[np.float64]:
    """For every image, the share of its ``count`` most similar other images that both RSMs name; (n,), in [0, 1]."""
    if not 1 <= count < len(K):
        raise ValueError(f"{len(K)} images have 1 to {len(K) - 1} others to be near, not {count}")
    members = []
    for matrix in (K, L):
        others = matrix.copy()
        np.fill_diagonal(others, -np.inf)
        nearest = np.argsort(-others, axis=1, kind="stable")[:, :count]
        member = np.zeros(matrix.shape, dtype=bool)
        np.put_along_axis(member, nearest, True, axis=1)
        members.append(member)
    return np.asarray((members[0] & members[1]).sum(axis=1) / count)


@dataclass(frozen=True)
class Standing:
    """A solver on one layer: what it costs and what its RSM is worth.

    Attributes
    ----------
    solver, layer : str
    size, images : int
        S and n.
    seconds : Interval
        Per pair, affinity included where the solver needs one; NaN where it was not timed.
    worst, best : mapping of measure to float
        Over all kernels and centrings.
    """

    solver: str
    layer: str
    size: int
    images: int
    seconds: Interval
    worst: Mapping[str, float]
    best: Mapping[str, float]

    def meets(self, demands: Mapping[str, float]) -> bool:
        """Whether every demanded measure is reached under all kernels and centrings."""
        return all(self.worst[measure] >= least for measure, least in demands.items())


def fastest(standings: Iterable[Standing], demands: Mapping[str, float]) -> Standing | None:
    """The fastest that meets the demands; None where none does."""
    good = [s for s in standings if s.meets(demands) and np.isfinite(s.seconds.value)]
    return min(good, key=lambda s: s.seconds.value, default=None)


def fastest_everywhere(standings: Sequence[Standing], demands: Mapping[str, float]) -> str | None:
    """The solver that meets the demands on every layer with the smallest geometric mean of its times; None where none does."""
    layers = {s.layer for s in standings}
    by_solver: dict[str, list[Standing]] = {}
    for standing in standings:
        if standing.meets(demands) and np.isfinite(standing.seconds.value):
            by_solver.setdefault(standing.solver, []).append(standing)
    scores = {
        solver: float(np.mean(np.log([s.seconds.value for s in found])))
        for solver, found in by_solver.items()
        if len(found) == len(layers)
    }
    return min(scores, key=lambda solver: scores[solver], default=None)
