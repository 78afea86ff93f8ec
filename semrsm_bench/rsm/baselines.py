"""RSM methods that look at nothing: what a task finds in them is not in the representations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import OWN_DISTRIBUTION
from semrsm_bench.rsm.registry import RSMS, RsmMethod


@dataclass(frozen=True)
class Baseline(RsmMethod):
    """An RSM method that must lose."""

    @property
    def category(self) -> str:
        """How tables group it."""
        return "baseline"


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
    [Baseline("random", random_similarity, prepare=image_digest, complexity="O(SC)", distribution=OWN_DISTRIBUTION)]
)
