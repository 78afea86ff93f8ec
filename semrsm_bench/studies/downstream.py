"""What is left of an RSM's use when its matchings are approximate: ranking, CKA and neighbours beside the exact RSM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.stats import Interval, mean_interval
from semrsm_bench.metrics import cka, compare_rsms, most_similar
from semrsm_bench.studies.halves import Chosen, halves_interval

Matrix = NDArray[np.float64]

TOP = 5
# measure -> how it is called in tables
MEASURES = {
    "spearman": "Spearman",
    "cka": "CKA",
    "same_neighbour": "same nearest, %",
    "top5": f"top {TOP} in common, %",
}
# Halves of the images must allow debiased CKA, and the five nearest must not be nearly all others.
LEAST_IMAGES = 8


def agreement(approximate: Matrix, exact: Matrix, *, seed: int = 0) -> dict[str, Interval]:
    """How far conclusions from one RSM are those from another.

    Parameters
    ----------
    approximate, exact : ndarray, (n, n)
        Symmetric RSMs of the same n >= 8 images.
    seed : int
        Of the intervals.

    Returns
    -------
    dict
        ``spearman``: rank correlation of the entries i < j, in [-1, 1]. ``cka``: debiased CKA, at most 1; the diagonals, equal
        whatever the matching, do not count. ``same_neighbour``: share of the images whose most similar other image is the
        same, the lowest index of equals. ``top5``: share of the five most similar images that both have. The first two with
        intervals from halves of the images, the others with a bootstrap over images.

    Raises
    ------
    ValueError
        Fewer than eight images, or RSMs without any variation.
    """
    n = len(exact)
    if n < LEAST_IMAGES:
        raise ValueError(f"agreement of RSMs needs at least {LEAST_IMAGES} images, got {n}")

    def on_halves(compare: Callable[[Matrix, Matrix], float]) -> Interval:
        def statistic(chosen: Chosen) -> float:
            part = np.ix_(chosen, chosen)
            return compare(approximate[part], exact[part])

        return halves_interval(statistic, n, seed=seed)

    everyone = range(n)
    nearest = [most_similar(K, everyone, everyone) for K in (approximate, exact)]
    return {
        "spearman": on_halves(lambda K, L: compare_rsms(K, L, "spearman")),
        "cka": on_halves(lambda K, L: cka(K, L, "debiased")),
        "same_neighbour": mean_interval(nearest[0] == nearest[1], seed=seed),
        "top5": mean_interval(shared_neighbours(approximate, exact, TOP), seed=seed),
    }


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
