"""The two groups that models are aligned over: what a best map is, how it is applied, how its gauge is fixed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.metrics.arrays import FloatArray
from semrsm_bench.metrics.procrustes import Assignment, best_columns, polar_factor

Places = NDArray[np.intp]


class Group(Protocol):
    """What `Barycenter` asks of a group. A map takes a model's d_k columns to d >= d_k common ones."""

    def best(self, affinity: FloatArray) -> Any:
        """Map W that maximises <affinity, W>, for an affinity of shape (d_k, d)."""

    def overlap(self, x: FloatArray, y: FloatArray) -> float:
        """Largest <x W, y> over the group, the narrower side mapped onto the wider."""

    def apply(self, x: FloatArray, found: Any, width: int) -> FloatArray:
        """``x W``, shape (n, width)."""

    def random(self, own: int, width: int, rng: np.random.Generator) -> Any:
        """Uniformly distributed map of ``own`` columns into ``width``."""

    def fix_gauge(self, maps: list[Any], mean: FloatArray) -> tuple[list[Any], FloatArray]:
        """Maps and barycenter moved together by one element of the group that depends on the barycenter alone."""

    def as_matrix(self, found: Any, width: int) -> FloatArray:
        """The map as a matrix of shape (d_k, width)."""


class _Orthogonal:
    def best(self, affinity: FloatArray) -> FloatArray:
        return polar_factor(affinity)

    def overlap(self, x: FloatArray, y: FloatArray) -> float:
        return float(np.linalg.svd(x.T @ y, compute_uv=False).sum())

    def apply(self, x: FloatArray, found: FloatArray, width: int) -> FloatArray:
        return x @ found

    def random(self, own: int, width: int, rng: np.random.Generator) -> FloatArray:
        return polar_factor(rng.standard_normal((own, width)))

    def fix_gauge(self, maps: list[FloatArray], mean: FloatArray) -> tuple[list[FloatArray], FloatArray]:
        """M onto its principal axes, the entry of largest magnitude in every column positive."""
        # The common width is below n, see Barycenter, so the thin decomposition has all axes.
        axes = np.linalg.svd(mean, full_matrices=False)[2].T
        turned = mean @ axes
        largest = np.abs(turned).argmax(axis=0)
        signs = np.where(turned[largest, np.arange(turned.shape[1])] < 0, -1.0, 1.0)
        return [found @ axes * signs for found in maps], turned * signs

    def as_matrix(self, found: FloatArray, width: int) -> FloatArray:
        return found


class _Permutations:
    def __init__(self, assignment: Assignment | None) -> None:
        self.assignment = assignment

    def best(self, affinity: FloatArray) -> Places:
        return best_columns(affinity, self.assignment)

    def overlap(self, x: FloatArray, y: FloatArray) -> float:
        affinity = x.T @ y if x.shape[1] <= y.shape[1] else y.T @ x
        return float(affinity[np.arange(len(affinity)), self.best(affinity)].sum())

    def apply(self, x: FloatArray, found: Places, width: int) -> FloatArray:
        result = np.zeros((len(x), width))
        result[:, found] = x
        return result

    def random(self, own: int, width: int, rng: np.random.Generator) -> Places:
        return rng.permutation(width)[:own].astype(np.intp)

    def fix_gauge(self, maps: list[Places], mean: FloatArray) -> tuple[list[Places], FloatArray]:
        """Columns of M by descending norm."""
        order = np.argsort(-np.linalg.norm(mean, axis=0), kind="stable")
        place = np.argsort(order)
        return [place[found] for found in maps], mean[:, order]

    def as_matrix(self, found: Places, width: int) -> FloatArray:
        return np.asarray(np.eye(width)[found])


def group_of(name: str, assignment: Assignment | None = None) -> Group:
    """Rotations and reflections (a map is a matrix with orthonormal rows), or permutations (the column of each unit)."""
    return _Orthogonal() if name == "orthogonal" else _Permutations(assignment)
