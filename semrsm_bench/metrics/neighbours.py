"""Metrics of neighbourhoods: which stimuli are near which, and in what order."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.metrics.arrays import FloatArray, as_float64, balanced, one_of, require_same_stimuli, unit_rows
from semrsm_bench.metrics.kernels import squared_distances
from semrsm_bench.metrics.registry import FORMS, KLABUNDE, ROTATIONS, register_metric

NEARNESS = ("cosine", "euclidean")
HUH = "Huh et al., ICML 2024"

# Similarities that differ by less, as a share of the largest, are equal: the lower index comes first.
_DIGITS = 12
# Up to so many neighbours it is faster to insert each candidate where it belongs than to sort them all.
_FEW = 64

_similarity = partial(
    register_metric, takes="features", best="max", range=(0, 1), complexity="O(n^2 (p + log n)); O(n k)"
)
_DIRECTIONS = (*ROTATIONS, "isotropic_scaling", "row_scaling")


class Neighbourhoods(NamedTuple):
    """The k nearest of each stimulus, nearest first, (n, k); and of all pairs the rank 1 .. k, or 0, (n, n)."""

    nearest: NDArray[np.intp]
    ranks: NDArray[np.uint16]


class NeighbourMetric:
    """Common part: the k nearest of each stimulus, itself left out.

    Parameters
    ----------
    k : int
        Neighbours, from 1 to n - 1.
    by : {"cosine", "euclidean"}
        What is near: a large cosine, or a small distance.
    """

    def __init__(self, k: int = 10, by: str = "cosine") -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k, self.by = k, one_of(by, NEARNESS, "by")

    def prepare(self, x: Any, name: str = "the features") -> Any:
        """Neighbourhoods of one side (n, p); ValueError for n <= k, and by cosine for a stimulus that is all zeros."""
        x = as_float64(x, name)
        if len(x) <= self.k:
            raise ValueError(f"{len(x)} stimuli have no {self.k} neighbours each; use more stimuli or a smaller k")
        if self.by == "euclidean":
            return self.among(-squared_distances(balanced(x)[0]))
        u = unit_rows(x, name)
        return self.among(u @ u.T)

    def among(self, similarities: FloatArray) -> Any:
        """Neighbourhoods by the similarities of all pairs (n, n)."""
        largest = max(float(similarities.max()), -float(similarities.min())) or 1.0
        if self.k <= _FEW:
            nearest = _first(similarities, 10.0**_DIGITS / largest, self.k)
        else:
            rounded = np.round(similarities / -largest, _DIGITS)
            np.fill_diagonal(rounded, np.inf)
            nearest = np.argsort(rounded, axis=1, kind="stable")[:, : self.k]
        ranks = np.zeros(similarities.shape, dtype=np.uint16)
        np.put_along_axis(ranks, nearest, np.arange(1, self.k + 1, dtype=np.uint16)[None], axis=1)
        return Neighbourhoods(nearest, ranks)

    def ranks(self, a: Neighbourhoods, b: Neighbourhoods) -> NDArray[np.uint16]:
        """Rank on the second side of each neighbour on the first, (n, k); 0 where it is no neighbour there."""
        require_same_stimuli(len(a.ranks), len(b.ranks))
        return np.take_along_axis(b.ranks, a.nearest, axis=1)


@njit()
def _first(similarities: FloatArray, scale: float, k: int) -> NDArray[np.intp]:  # pragma: no cover
    """The k largest of each row without the diagonal, the largest first, equal ones by index, (n, k)."""
    n = len(similarities)
    found, best = np.empty((n, k), np.intp), np.empty(k)
    for i in range(n):
        best[:] = -np.inf
        for j in range(n):
            value = np.rint(similarities[i, j] * scale)
            if value <= best[k - 1] or j == i:
                continue
            place = k - 1
            while place > 0 and best[place - 1] < value:
                best[place], found[i, place] = best[place - 1], found[i, place - 1]
                place -= 1
            best[place], found[i, place] = value, j
    return found


@_similarity("mutual_knn_euclidean", invariant_to=FORMS, reference=HUH, by="euclidean")
@_similarity("mutual_knn", invariant_to=_DIRECTIONS, reference=HUH)
class MutualNearest(NeighbourMetric):
    """Share of the k nearest neighbours that both sides have in common, mean over stimuli; in [0, 1].

    Features (n, p) and (n, q). Without any relation it is k / (n - 1) on average.
    """

    def compare(self, a: Neighbourhoods, b: Neighbourhoods) -> float:
        """Mean share of common neighbours."""
        ranks = self.ranks(a, b)
        return np.count_nonzero(ranks) / ranks.size


@_similarity("mutual_knn_calibrated", range=(-1, 1), invariant_to=_DIRECTIONS, reference=HUH)
class CalibratedMutualNearest(MutualNearest):
    """`mutual_knn` minus what chance gives, over 1 minus that: 0 on average for permuted stimuli, 1 for equal neighbourhoods.

    The mean over all permutations is k / (n - 1) exactly, so nothing is sampled. NaN where k = n - 1.
    """

    def compare(self, a: Neighbourhoods, b: Neighbourhoods) -> float:
        """Calibrated share."""
        chance = self.k / (len(a.ranks) - 1)
        if chance == 1.0:
            raise ValueError(
                f"with k = {self.k} all {len(a.ranks)} stimuli are neighbours of each other; use a smaller k"
            )
        return (super().compare(a, b) - chance) / (1.0 - chance)


@_similarity("jaccard", invariant_to=_DIRECTIONS, reference=KLABUNDE)
class Jaccard(NeighbourMetric):
    """Common neighbours over all neighbours, mean over stimuli; in [0, 1]. Features (n, p) and (n, q)."""

    def each(self, a: Neighbourhoods, b: Neighbourhoods) -> FloatArray:
        """Value of each stimulus, (n,)."""
        common = np.count_nonzero(self.ranks(a, b), axis=1)
        return np.asarray(common / (2 * self.k - common))

    def compare(self, a: Neighbourhoods, b: Neighbourhoods) -> float:
        """Mean over stimuli."""
        return float(self.each(a, b).mean())


@_similarity("rank_similarity", invariant_to=_DIRECTIONS, reference=KLABUNDE)
class RankSimilarity(NeighbourMetric):
    """How alike the ranks of the common neighbours are, mean over stimuli; in [0, 1]. Features (n, p) and (n, q).

    Of a stimulus with m > 0 common neighbours j at ranks r and s: the sum of 2 / ((1 + abs(r - s)) (r + s)) over them, divided by
    1 + 1/2 + ... + 1/m, which is its largest value; 0 for m = 0.
    """

    def each(self, a: Neighbourhoods, b: Neighbourhoods) -> FloatArray:
        """Value of each stimulus, (n,)."""
        first, second = np.arange(1.0, self.k + 1), self.ranks(a, b)
        common = np.count_nonzero(second, axis=1)
        terms = np.where(second, 2.0 / ((1 + np.abs(first - second)) * (first + second)), 0.0)
        largest = np.concatenate([[1.0], np.cumsum(1.0 / np.arange(1, self.k + 1))])
        return np.asarray(terms.sum(axis=1) / largest[common])

    def compare(self, a: Neighbourhoods, b: Neighbourhoods) -> float:
        """Mean over stimuli."""
        return float(self.each(a, b).mean())


@_similarity("jaccard_rank", invariant_to=_DIRECTIONS, reference=KLABUNDE)
class JaccardRank(NeighbourMetric):
    """Product of `jaccard` and `rank_similarity` of each stimulus, mean over stimuli; in [0, 1]. Features (n, p) and (n, q)."""

    def compare(self, a: Neighbourhoods, b: Neighbourhoods) -> float:
        """Mean of the products."""
        return float((Jaccard(self.k).each(a, b) * RankSimilarity(self.k).each(a, b)).mean())


@_similarity(
    "second_order_cosine",
    range=(-1, 1),
    invariant_to=_DIRECTIONS,
    reference=f"Hamilton et al., EMNLP 2016; {KLABUNDE}",
)
class SecondOrderCosine(NeighbourMetric):
    """Cosine between the similarities of a stimulus to its neighbours of either side, mean over stimuli; in [-1, 1].

    Features (n, p) and (n, q). The similarities are cosines, of all stimuli that are a neighbour on at least one side.
    """

    def __init__(self, k: int = 10) -> None:
        super().__init__(k)

    def among(self, similarities: FloatArray) -> tuple[Neighbourhoods, FloatArray]:
        """Neighbourhoods, and the similarities themselves."""
        return super().among(similarities), similarities

    def compare(self, a: tuple[Neighbourhoods, FloatArray], b: tuple[Neighbourhoods, FloatArray]) -> float:
        """Mean cosine; ValueError where a stimulus is orthogonal to all those neighbours."""
        taken = partial(np.take_along_axis, axis=1)
        (near, u), (others, v) = a, b
        require_same_stimuli(len(u), len(v))
        twice = self.ranks(others, near) > 0
        x, y = (
            np.hstack([taken(side, near.nearest), np.where(twice, 0.0, taken(side, others.nearest))]) for side in (u, v)
        )
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        if not norms.all():
            raise ValueError(
                f"stimulus {int(np.argmin(norms))} has cosine 0 with all its neighbours: no second-order cosine"
            )
        return float((np.einsum("ij,ij->i", x, y) / norms).mean())
