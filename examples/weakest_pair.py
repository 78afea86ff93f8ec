"""A score of single stimuli of one's own in the table of `instances`: what do even the two networks say that agree least?"""

import numpy as np
import semrsm_bench as sb


@sb.register_instance(
    "weakest-pair",
    best="max",
    range=(-1, 1),
    invariant_to=["orthogonal", "isotropic_scaling", "row_scaling", "model_order"],
)
def weakest_pair(aligned):
    """Lowest cosine between two models, for each stimulus: one model that sees something else is enough."""
    z = np.asarray(aligned, np.float64)  # (K, n, d)
    length = np.linalg.norm(z, axis=2, keepdims=True)
    if not np.isfinite(z).all() or not length.all():
        raise ValueError("a row of the models is zero or not finite")
    unit = z / length  # not in place: inputs are read-only
    return np.einsum("knd,lnd->kln", unit, unit).min(axis=(0, 1))  # a model with itself gives 1, the most
