import numpy as np
import semrsm_bench as sb


@sb.register_solver("norm-sort", kind="approximate", grid={"order": [1, 2]}, matrix_free=True)
def norm_sort(problem, *, order=2):
    """Pair positions by the rank of their norm: O(S log S), no affinity."""
    perm = np.empty(problem.size, dtype=np.intp)
    ranks = [np.argsort(np.linalg.norm(v, ord=order, axis=1), kind="stable") for v in (problem.x, problem.y)]
    perm[ranks[0]] = ranks[1]
    return perm
