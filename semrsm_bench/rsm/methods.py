"""The RSM methods of the package that are no solvers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import OWN_DISTRIBUTION
from semrsm_bench.rsm.matchings import BestShift, SamePosition
from semrsm_bench.rsm.registry import RSMS, FixedMatching, register_rsm

_WALD = "Wald et al., NeurIPS 2024"
_WILLIAMS = "Williams et al., NeurIPS 2021"

RSMS.add(
    [
        FixedMatching("identity", SamePosition, reference=_WALD, complexity="O(SC)", distribution=OWN_DISTRIBUTION),
        FixedMatching(
            "translation",
            BestShift,
            reference=_WILLIAMS,
            complexity="O(SC log S)",
            distribution=OWN_DISTRIBUTION,
            invariant_to=("translation",),
        ),
    ]
)


@register_rsm("pooled", invariant_to=["permutation", "translation"], complexity="O(SC)")
def pooled(z: NDArray[Any], z2: NDArray[Any]) -> NDArray[np.float64]:
    """Inner product of the images' mean position vectors, times S: what a random matching gives on average.

    ``<sum_s x_s, sum_s y_s> / S``, for z (N, C, S) and z2 (M, C, S); (N, M) float64.
    """
    sums = [images.sum(axis=2, dtype=np.float64) for images in (z, z2)]
    return np.asarray(sums[0] @ sums[1].T / z.shape[2])
