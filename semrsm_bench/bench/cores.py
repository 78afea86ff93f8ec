"""A processor core for the workers alone, as far as this user's other runs are concerned."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from semrsm_bench.activations.folders import user_cache_folder
from semrsm_bench.core.files import lock


@contextlib.contextmanager
def claimed_core(folder: Path | None = None) -> Iterator[int | None]:
    """Core for timed work, held until the block ends; this process itself moves to the other cores meanwhile.

    The last allowed core that no other run of this user holds is taken, or the last one where all are held. None where the
    system cannot pin processes.
    """
    if not hasattr(os, "sched_getaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    place = folder or user_cache_folder() / "cores"
    core, held = max(allowed), -1
    with contextlib.suppress(OSError):  # a cache folder that cannot be written: nothing is claimed
        place.mkdir(parents=True, exist_ok=True)
        for candidate in sorted(allowed, reverse=True):
            path = place / f"core-{candidate}.lock"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if lock(descriptor, path):
                core, held = candidate, descriptor
                break
            os.close(descriptor)
    others = allowed - {core}
    if others:
        os.sched_setaffinity(0, others)
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)
        if held >= 0:
            os.close(held)
