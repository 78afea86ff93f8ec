"""Whole RSMs: what a user waits for, from activations to the matrix."""

from __future__ import annotations

import semrsm_bench as sb

from .calls import solver_for
from .common import SIZES
from .problems import images_of

MATCHINGS = ("identity", "translation", "exact-auction", "auction-fine", "batch-optimal-512", "ortools")
KERNELS = ("linear", "cosine", "rbf")
_IMAGES = 8


class Rsm:
    """RSM of a few images under all kernels, in one process."""

    params = (list(MATCHINGS), list(SIZES))
    param_names = ("matching", "size")
    version = "1"
    timeout = 300.0
    rounds = 1
    repeat = (1, 5, 2.0)
    warmup_time = 0.0

    def setup_cache(self):
        """Activations (N, C, H, W) of one layer for each size."""
        return images_of(SIZES, _IMAGES)

    def setup(self, images, matching, size):
        if size not in images:
            raise NotImplementedError(f"no cache holds a layer with S = {size}")
        if matching not in ("identity", "translation"):
            solver_for(matching, size)
        self.z = images[size]
        # Compile and import before anything is timed: asv starts one process for each cell.
        sb.compute_rsm(self.z[:2], matching=matching)

    def time_rsm(self, images, matching, size):
        sb.compute_rsm(self.z, matching=matching, kernel=KERNELS)

    time_rsm.pretty_name = f"RSM of {_IMAGES} images under three kernels (seconds, lower is better)"

    def track_worker_bytes(self, images, matching, size):
        return float(max(1, sb.rsm.estimate_rsm(self.z, matching=matching, seconds=0.2).worker_bytes))

    track_worker_bytes.unit = "bytes"
    track_worker_bytes.pretty_name = "Memory of one worker beyond the interpreter (lower is better)"
