"""Approximations that let the norms of the position vectors decide who is matched first.

Source: Wald et al., "Decoupling Semantic Similarity from Spatial Alignment for Neural Networks", NeurIPS 2024, appendix F.
"""

from __future__ import annotations

import operator

import numpy as np

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation
from semrsm_bench.solvers.registry import get_solver, register_solver

_SOURCE = "Wald et al. 2024, appendix F"


@register_solver("greedy", kind="approximate", takes_vectors=True, complexity="O(S^2)", reference=_SOURCE)
def greedy(problem: MatchingProblem) -> Permutation:
    """Rows in order of descending norm, each with the best column that is still free.

    Rows of equal norm keep their order, and of equally good columns the first is taken.
    """
    perm = np.full(problem.size, -1, dtype=np.intp)
    _take_best_free(problem.affinity, np.argsort(-_squared_norms(problem.x), kind="stable"), perm)
    return perm


@register_solver(
    "topk-greedy",
    kind="approximate",
    takes_vectors=True,
    grid={"k": [128, 256, 512]},
    complexity="O(k^3 + S^2)",
    reference=_SOURCE,
)
def topk_greedy(problem: MatchingProblem, *, k: int = 128, block_solver: str = "ortools") -> Permutation:
    """Optimal among the k rows and k columns of largest norm, greedy for the rest.

    Parameters
    ----------
    k : int
        At least 1; from S on the matching is the optimum.
    block_solver : str
        Name of the exact solver for the k largest.
    """
    if operator.index(k) < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    affinity = problem.affinity
    rows, columns = (np.argsort(-_squared_norms(z), kind="stable") for z in (problem.x, problem.y))
    perm = np.full(problem.size, -1, dtype=np.intp)
    perm[rows[:k]] = columns[_optimal(problem.block(rows[:k], columns[:k]), block_solver)]
    # With nothing left over it is called all the same: a small problem then compiles what a large one needs.
    _take_best_free(affinity, rows[k:], perm)
    return perm


@register_solver(
    "batch-optimal",
    kind="approximate",
    grid={"b": [128, 256, 512, 1024]},
    matrix_free=True,
    complexity="S/b O(b^3)",
    reference=_SOURCE,
)
def batch_optimal(problem: MatchingProblem, *, b: int = 128, block_solver: str = "ortools") -> Permutation:
    """Rows and columns in order of ascending norm, cut into blocks of b that are matched optimally.

    The last block may be short. Only the affinities inside the blocks are computed, unless the whole matrix is there.

    Parameters
    ----------
    b : int
        Block size, at least 1; from S on the matching is the optimum.
    block_solver : str
        Name of the exact solver for the blocks.
    """
    if operator.index(b) < 1:
        raise ValueError(f"b must be at least 1, got {b}")
    rows, columns = (np.argsort(_squared_norms(z), kind="stable") for z in (problem.x, problem.y))
    perm = np.empty(problem.size, dtype=np.intp)
    for start in range(0, problem.size, b):
        mine, theirs = rows[start : start + b], columns[start : start + b]
        perm[mine] = theirs[_optimal(problem.block(mine, theirs), block_solver)]
    return perm


def _optimal(problem: MatchingProblem, block_solver: str) -> Permutation:
    solver = get_solver(block_solver)
    if solver.kind != "exact":
        raise ValueError(f"block_solver must be an exact solver, {block_solver!r} is {solver.kind}")
    return solver.run(problem).perm


def _squared_norms(vectors: Floats) -> Floats:
    """Squared norm of each row in float64, up to one common factor."""
    wide = vectors.astype(np.float64)
    peak = np.abs(wide).max(initial=0.0)
    if peak > 0 and not 1e-140 < peak < 1e140:
        # A power of two is exact: it moves no rank.
        wide = np.ldexp(wide, -int(np.frexp(peak)[1]))
    # A sum along contiguous rows adds every row in the same order, so equal rows tie exactly.
    return np.asarray(np.square(wide, out=wide).sum(axis=1))


@njit()
def _take_best_free(affinity: Floats, rows: Permutation, perm: Permutation) -> None:
    """Give each of the rows in turn the best column that ``perm`` does not use yet, the lowest of equals."""
    size = affinity.shape[0]
    taken = np.zeros(size, dtype=np.bool_)
    taken[perm[perm >= 0]] = True
    # Ascending, with a few taken ones among them: closing every gap at once costs more than it saves.
    candidates = np.flatnonzero(~taken)
    length, gaps = candidates.size, 0
    for row in rows:
        best = -1
        highest = -np.inf
        for position in range(length):
            column = candidates[position]
            if affinity[row, column] > highest and not taken[column]:
                highest = affinity[row, column]
                best = column
        perm[row] = best
        taken[best] = True
        gaps += 1
        if gaps * 16 > length:
            kept = 0
            for position in range(length):
                if not taken[candidates[position]]:
                    candidates[kept] = candidates[position]
                    kept += 1
            length, gaps = kept, 0
