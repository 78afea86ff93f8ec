"""Importing this module registers its solver; the entry point in pyproject.toml makes semrsm_bench import it."""

import numpy as np

import semrsm_bench as sb


@sb.register_solver(
    "norm-sort",
    kind="approximate",
    grid={"order": [1, 2]},
    matrix_free=True,
    complexity="O(S log S)",
    reference="an example",
)
def norm_sort(problem, *, order=2):
    """Pair positions by the rank of their norm: no affinity."""
    rows = np.argsort(np.linalg.norm(problem.x, ord=order, axis=1), kind="stable")
    columns = np.argsort(np.linalg.norm(problem.y, ord=order, axis=1), kind="stable")
    perm = np.empty(len(rows), dtype=np.intp)
    perm[rows] = columns
    return perm
