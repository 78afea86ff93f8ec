"""Whole RSMs: what a user waits for, from activations to the matrix."""

from __future__ import annotations

from semrsm_bench.activations.store import find_data, list_caches, open_cache
from semrsm_bench.rsm import compute_rsm, estimate_rsm

from .common import SIZES, solver_for

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
        """Activations (N, C, H, W) of one layer for each size, from the first cache that has it."""
        found = {}
        data = find_data()
        for path in [data] if data.is_file() else list_caches(data):
            cache = open_cache(path)
            for layer in cache.layers:
                _, channels, size = cache.shape(layer)
                grid = cache.grid(layer)
                if size in SIZES and grid is not None:
                    images = cache.activations(layer, slice(0, _IMAGES))
                    found.setdefault(size, images.reshape(len(images), channels, *grid))
        return found

    def setup(self, images, matching, size):
        if size not in images:
            raise NotImplementedError(f"no cache holds a layer with S = {size}")
        if matching not in ("identity", "translation"):
            solver_for(matching, size)
        self.z = images[size]
        # Compile and import before anything is timed: asv starts one process for each cell.
        compute_rsm(self.z[:2], matching=matching)

    def time_rsm(self, images, matching, size):
        compute_rsm(self.z, matching=matching, kernel=KERNELS)

    time_rsm.pretty_name = f"RSM of {_IMAGES} images under three kernels (seconds, lower is better)"

    def track_worker_bytes(self, images, matching, size):
        return float(max(1, estimate_rsm(self.z, matching=matching, seconds=0.2).worker_bytes))

    track_worker_bytes.unit = "bytes"
    track_worker_bytes.pretty_name = "Memory of one worker beyond the interpreter (lower is better)"
