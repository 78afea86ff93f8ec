"""Matchings from optimal transport: entropic plans that are rounded, and sorting along lines."""

from __future__ import annotations

import numpy as np

from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation, matching_value
from semrsm_bench.solvers.registry import register_solver

# The range of the affinity over the first epsilon: e to the minus this, and its inverse, are far from float32's limits.
_FIRST_RANGE = 40.0


@register_solver(
    "sinkhorn-rounded",
    kind="approximate",
    complexity="O(levels iterations S^2)",
    reference="Cuturi 2013, NeurIPS (entropic transport); epsilon halved as in Schmitzer 2019, SIAM J. Sci. Comput. 41",
    slow_from=4096,
)
def sinkhorn_rounded(problem: MatchingProblem, *, levels: int = 6, iterations: int = 10) -> Permutation:
    """Entropic plan whose epsilon is halved level by level; then rows by their largest entry, each with its best free column.

    Halving epsilon squares the entries of a plan: so no level needs an exponential, and nothing leaves float32.

    Parameters
    ----------
    levels : int
        How often the plan is balanced; the last epsilon is the range of the affinity over ``40 * 2**(levels - 1)``.
    iterations : int
        Of each level: columns and rows are scaled to sum to 1.
    """
    affinity = problem.affinity
    width = float(np.ptp(affinity)) if problem.size else 0.0
    if width == 0:
        return np.arange(problem.size)
    plan = affinity - affinity.max(axis=1, keepdims=True)
    plan *= _FIRST_RANGE / width
    np.exp(plan, out=plan)
    for level in range(levels):
        if level:
            plan *= plan
        rows = np.ones(len(plan), dtype=plan.dtype)
        for _ in range(iterations):
            columns = 1 / (rows @ plan)
            rows = 1 / (plan @ columns)
        plan *= rows[:, None]
        plan *= columns
    return _rounded(plan)


def _rounded(plan: Floats) -> Permutation:
    """Rows in order of their largest entry, each with the best column that is still free; the first of equal ones."""
    perm = np.full(len(plan), -1, dtype=np.intp)
    taken = np.zeros(len(plan), dtype=plan.dtype)
    for row in np.argsort(-plan.max(axis=1), kind="stable"):
        perm[row] = column = np.argmax(plan[row] - taken)
        taken[column] = np.inf
    return perm


@register_solver(
    "sliced-sort",
    kind="approximate",
    matrix_free=True,
    complexity="O(L (S C + S log S))",
    reference="Bonneel et al. 2015, J. Math. Imaging Vis. 51 (transport along random lines)",
)
def sliced_sort(problem: MatchingProblem, *, lines: int = 32, seed: int = 0) -> Permutation:
    """Positions sorted along a random line, in both images, and paired by rank; the best of several lines.

    Parameters
    ----------
    lines : int
        How many lines are tried.
    seed : int
        Of the lines' directions.
    """
    if lines < 1:
        raise ValueError(f"lines must be at least 1, got {lines}")
    directions = np.random.default_rng(seed).standard_normal((problem.channels, lines)).astype(problem.x.dtype)
    orders = [np.argsort(z @ directions, axis=0, kind="stable").T for z in (problem.x, problem.y)]
    best, found = -np.inf, np.arange(problem.size)
    for x_order, y_order in zip(*orders):
        perm = np.empty(problem.size, dtype=np.intp)
        perm[x_order] = y_order
        if (value := matching_value(problem, perm)) > best:
            best, found = value, perm
    return found
