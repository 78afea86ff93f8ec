"""Check a data folder: every file against the manifest, every value of every cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semrsm_bench.activations.manifest import CacheError, check_file, read_manifest
from semrsm_bench.activations.store import find_data, list_caches, open_cache


def verify_folder(data: str | Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield (file name, what is wrong with it); an empty string where all is well.

    Parameters
    ----------
    data : path, optional
        Folder or single cache; default: where a run would look.
    """
    place = find_data(data)
    if place.is_file():
        yield place.name, _cache_problem(place)
        return
    caches = list_caches(place)
    for path in caches:
        yield path.name, _cache_problem(path)
    known = read_manifest(place)
    for name in known:
        if place / name not in caches:
            yield name, _file_problem(place / name)
    for path in sorted(place.glob("*.safetensors")):
        if path.name not in known:
            yield path.name, "not in the manifest; delete it, or make it again with `semrsm-bench data extract`"


def _file_problem(path: Path) -> str:
    try:
        check_file(path)
    except CacheError as error:
        return str(error)
    return ""


def _cache_problem(path: Path) -> str:
    try:
        cache = open_cache(path)
    except CacheError as error:
        return str(error)
    for layer in cache.layers:
        if not np.isfinite(cache.mean(layer)).all():
            return f"{path}: the mean of {layer} is not finite"
        for i in range(len(cache)):
            if not np.isfinite(cache.activations(layer, i)).all():
                return f"{path}: {layer} of image {cache.images[i]} is not finite"
    return ""
