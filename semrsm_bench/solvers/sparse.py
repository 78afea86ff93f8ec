"""The assignment problem on a candidate graph: the best few partners of every position, and no others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation
from semrsm_bench.solvers.registry import register_solver

Edges = tuple[NDArray[np.intp], NDArray[np.intp]]
# Weights are whole numbers up to this one: fractions let SciPy lower prices by rounding errors, step by step, for minutes.
_LARGEST_WEIGHT = 2.0**24


def candidate_edges(affinity: Floats, k: int) -> Edges:
    """Row and column of each edge, by row and then column: the k best of every row and of every column, and the diagonal.

    The diagonal makes sure that there is a perfect matching. ValueError for k below 1.
    """
    size = len(affinity)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    kept = np.eye(size, dtype=bool)
    k = min(k, size)
    for values, there in ((affinity, kept), (affinity.T, kept.T)):
        np.put_along_axis(there, np.argpartition(values, size - k, axis=1)[:, size - k :], True, axis=1)
    rows, columns = np.nonzero(kept)
    return rows, columns


@register_solver(
    "scipy-sparse",
    kind="approximate",
    complexity="O(S^2 + k S^2 log S)",
    reference="Duff & Koster 2001, SIAM J. Matrix Anal. 22 (MC64); SciPy min_weight_full_bipartite_matching on k candidates",
    distribution="scipy",
)
def scipy_sparse(problem: MatchingProblem, *, k: int = 32) -> Permutation:
    """SciPy's optimum on the candidate graph; the optimum of the problem where no better edge was left out.

    Up to rounding: an edge is off by 3e-8 of their range at most.

    Parameters
    ----------
    k : int
        Candidates of each row, and of each column.
    """
    if problem.size == 0:
        return np.arange(0)
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    affinity = problem.affinity
    edges = candidate_edges(affinity, k)
    weights = affinity[edges].astype(np.float64)
    width = float(np.ptp(weights))
    # An edge of weight 0 would be none.
    weights = np.rint((weights - weights.min()) / width * _LARGEST_WEIGHT) + 1 if width > 0 else np.ones_like(weights)
    graph = csr_array((weights, edges), shape=affinity.shape)
    return np.asarray(min_weight_full_bipartite_matching(graph, maximize=True)[1], dtype=np.intp)
