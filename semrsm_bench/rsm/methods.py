"""The RSM methods of the package that are no solvers, and the one that must lose: it looks at nothing."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import OWN_DISTRIBUTION
from semrsm_bench.rsm.comparison import SamePosition
from semrsm_bench.rsm.registry import RSMS, FixedMatching, RsmMethod, register_rsm
from semrsm_bench.rsm.translation import BestShift

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


def image_digest(image: NDArray[Any]) -> bytes:
    """Digest of an image's activations (C, S)."""
    return hashlib.blake2b(np.ascontiguousarray(image, dtype=np.float64).data, digest_size=8).digest()


def random_similarity(a: bytes, b: bytes, *, seed: int = 0) -> float:
    """A random number for each pair of images, in [-1, 1), and 1 for an image with itself.

    It depends on the two images and the seed alone, and not on their order.
    """
    if a == b:
        return 1.0
    mixed = hashlib.blake2b(b"".join(sorted((a, b))), digest_size=8, salt=seed.to_bytes(8, "little"))
    return int.from_bytes(mixed.digest(), "little") / 2.0**63 - 1.0


RSMS.add(
    [
        RsmMethod(
            "random",
            random_similarity,
            prepare=image_digest,
            complexity="O(SC)",
            distribution=OWN_DISTRIBUTION,
            category="baseline",
        )
    ]
)
