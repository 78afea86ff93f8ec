"""Where weights and caches of activations are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import SafetensorError, safe_open

from semrsm_bench.activations.manifest import CacheError, check_file, mini_folder, read_manifest

FORMAT = "semrsm_bench.activations/1"
DATA_VARIABLE = "SEMRSM_BENCH_DATA"


def user_cache_folder() -> Path:
    """Folder for caches that the user makes: ``$XDG_CACHE_HOME/semrsm_bench`` or ``~/.cache/semrsm_bench``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "semrsm_bench"


def large_folder() -> Path:
    """Folder of the caches of large images that ``semrsm-bench data large`` makes."""
    return user_cache_folder() / "large"


def _checkout_data() -> Path:
    """``data/`` of the checkout this package is run from (it need not exist)."""
    return Path(__file__).resolve().parent.parent.parent / "data"


def shipped_weights(name: str = "resnet18-tiny-imagenet") -> Path:
    """Weights in the checkout's ``data/``, those of the trained ResNet-18; CacheError where the file is missing or damaged."""
    path = _checkout_data() / f"{name}.weights.safetensors"
    check_file(path)
    return path


def small_weights() -> list[Path]:
    """Four ResNets of a quarter of the width, two depths, two seeds, in the checkout's ``data/`` (or CacheError)."""
    return [shipped_weights(f"{depth}-quarter-seed{seed}") for depth in ("resnet10", "resnet18") for seed in (0, 1)]


def find_data(data: str | Path | None = None) -> Path:
    """Folder (or single cache file) that activations are read from.

    Looked for in this order: the argument, the environment variable ``SEMRSM_BENCH_DATA``, the checkout's ``data/``, the
    user's cache folder, the mini cache inside the package.

    Raises
    ------
    CacheError
        The place named by the argument or the variable holds no cache, or there is none anywhere.
    """
    for named, source in ((data, "--data"), (os.environ.get(DATA_VARIABLE) or None, DATA_VARIABLE)):
        if named is not None:
            path = Path(named)
            if not path.exists():
                raise CacheError(f"{source}: {path} does not exist; make a cache with `semrsm-bench data extract`")
            if path.is_dir() and not list_caches(path):
                raise CacheError(f"{source}: {path} holds no cache; make one with `semrsm-bench data extract`")
            return path
    for folder in (_checkout_data(), user_cache_folder(), mini_folder()):
        if list_caches(folder):
            return folder
    raise CacheError("no activations found; make a cache with `semrsm-bench data extract`, or give --data")


def list_caches(folder: Path) -> list[Path]:
    """Cache files of a folder, by name; weights and other safetensors files are left out.

    A file that the manifest calls a cache is listed even where it is missing or unreadable, so that `open_cache` can say so.
    """
    if not folder.is_dir():
        return []
    known = read_manifest(folder)
    listed = {folder / name for name, entry in known.items() if entry.get("kind") == "activations"}
    others = {path for path in folder.glob("*.safetensors") if path.name not in known and _is_cache(path)}
    return sorted(listed | others)


def _is_cache(path: Path) -> bool:
    try:
        with safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False
