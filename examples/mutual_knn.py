"""A metric of one's own in the tables of all tasks: how many neighbours do two representations agree on?"""

import numpy as np
import semrsm_bench as sb

SAME = ("translation", "isotropic_scaling", "orthogonal", "unit_permutation", "zero_units")


@sb.register_metric("mutual-knn", takes="features", best="max", range=(0, 1), grid={"k": [5, 10]}, invariant_to=SAME)
def mutual_knn(x, y, *, k=10):
    """Mean share of the k nearest neighbours (Euclidean, each stimulus left out) that both sides name."""
    near = []
    for z in (np.asarray(x, np.float64), np.asarray(y, np.float64)):
        if not np.isfinite(z).all():
            raise ValueError("the features are not finite")
        distances = (z**2).sum(1)[:, None] + (z**2).sum(1) - 2 * z @ z.T
        np.fill_diagonal(distances, np.inf)
        near.append(np.argsort(distances, axis=1, kind="stable")[:, : min(k, len(z) - 1)])
    return float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(*near)]))
