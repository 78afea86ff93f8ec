"""Folders of weights and caches of activations: where they are looked for, and the manifest that says what each file must be."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from semrsm_bench.activations.kinds import SUFFIXES, ZARR, what_is
from semrsm_bench.core.files import user_cache_folder, writing

FORMAT = "semrsm_bench.activations/1"
MANIFEST = "manifest.json"
DATA_VARIABLE = "SEMRSM_BENCH_DATA"
WHERE_FROM = "it comes with a checkout, with the package semrsm-bench-data, or by `semrsm-bench data fetch`"


class CacheError(ValueError):
    """A cache file is missing, damaged, swapped or not a cache; the message names the file and how to repair it."""


def large_folder() -> Path:
    """Folder of the caches of large images that ``semrsm-bench data large`` makes."""
    return user_cache_folder() / "large"


def families_folder(name: str) -> Path:
    """Folder of the caches of a family of instances that ``semrsm-bench data family`` makes."""
    return user_cache_folder() / "families" / name


def mini_folder() -> Path:
    """Folder of the mini cache of four images that the package itself carries."""
    return Path(__file__).resolve().parent.parent / "mini"


def fetched_folder() -> Path:
    """Folder of the shipped data as `semrsm-bench data fetch` brings them."""
    return user_cache_folder() / "data"


def _places() -> list[Path]:
    """Where the shipped data may lie, the first first: checkout, user's cache, the distribution semrsm-bench-data."""
    spec = find_spec("semrsm_bench_data")
    installed = list(spec.submodule_search_locations or ()) if spec else []
    return [Path(__file__).resolve().parent.parent.parent / "data", fetched_folder(), *map(Path, installed)]


def shipped_data() -> Path | None:
    """Folder of the shipped data: caches, features, weights; None where this is a package alone."""
    return next((place for place in _places() if (place / MANIFEST).is_file()), None)


def _shipped(name: str) -> Path:
    folder = shipped_data()
    if folder is None:
        raise CacheError(f"{name} is not here: {WHERE_FROM}")
    check_file(folder / name)
    return folder / name


def shipped_weights(name: str = "resnet18-tiny-imagenet") -> Path:
    """Shipped weights, those of the trained ResNet-18; CacheError where the file is missing or damaged."""
    return _shipped(f"{name}.weights.safetensors")


def weights_metadata(path: Path) -> dict[str, Any]:
    """What a safetensors file of weights says about itself, such as recipe, log, top1; empty for one of another project."""
    with safe_open(path, framework="np") as file:
        said = file.metadata() or {}
    return {name: json.loads(text) for name, text in said.items()} if "recipe" in said else {}


def shipped_folder(task: str) -> Path:
    """Folder of the shipped data with the caches of a task; CacheError where it is missing."""
    folder = shipped_data()
    if folder is None or not list_caches(folder / task):
        raise CacheError(f"activations for {task} are not here: {WHERE_FROM}; or give --data, or networks by --model")
    return folder / task


def small_weights() -> list[Path]:
    """Four ResNets of a quarter of the width, two depths, two seeds, as shipped (or CacheError)."""
    return [shipped_weights(f"{depth}-quarter-seed{seed}") for depth in ("resnet10", "resnet18") for seed in (0, 1)]


def shipped_features(group: str) -> Path:
    """Shipped features of a group of networks; CacheError where the file is missing or damaged."""
    return _shipped(f"features-{group}.safetensors")


def shipped_groups() -> set[str]:
    """Groups of networks whose features ship."""
    files = (shipped_data() or mini_folder()).glob("features-*.safetensors")
    return {path.stem.removeprefix("features-") for path in files}


def find_data(data: str | Path | None = None) -> Path:
    """Folder (or single file) that activations are read from; CacheError where there is none.

    Looked for in this order: the argument, the environment variable ``SEMRSM_BENCH_DATA``, the checkout's ``data/``, the
    user's cache folder (own caches, then what ``semrsm-bench data fetch`` brought), the distribution semrsm-bench-data, the mini
    cache inside the package. The first two may also name files of other libraries, or a folder of them (see `own_files`).
    """
    for named, source in ((data, "--data"), (os.environ.get(DATA_VARIABLE) or None, DATA_VARIABLE)):
        if named is not None:
            path = Path(named)
            if not path.is_file() and not list_caches(path) and not own_files(path):
                what = f"holds no cache; it is {what_is(path)}" if path.exists() else "does not exist"
                remedy = "" if "data extract" in what else "; make a cache with `semrsm-bench data extract`"
                raise CacheError(f"{source}: {path} {what}{remedy}")
            return path
    checkout, *others = _places()
    for folder in (checkout, user_cache_folder(), *others, mini_folder()):
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
    for path in folder.glob("*.safetensors"):
        if path.name not in known:
            try:
                with safe_open(path, framework="np") as file:
                    listed |= {path} if (file.metadata() or {}).get("format") == FORMAT else set()
            except (SafetensorError, OSError):
                continue
    return sorted(listed)


def own_files(place: Path) -> list[Path]:
    """Files of activations that are no caches: those of a folder without caches, by name; a Zarr store itself.

    Beside caches they do not count, nor what the manifest names: a folder of caches may hold features, weights and results. Nor do
    hidden ones, such as those that a Mac puts beside each file on a foreign disk.
    """
    if not place.is_dir() or list_caches(place):
        return []
    if what_is(place) == ZARR:
        return [place]
    known = read_manifest(place)
    files = (path for path in place.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in files if path.name not in known)


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _sha256_of_version(path: Path, mtime_ns: int, size: int) -> str:
    return file_sha256(path)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """As `writing`, with the permissions of a new file (safetensors lets only the owner read)."""
    with writing(path) as partial:
        yield partial
        sample = path.with_name(path.name + ".mode")
        sample.touch()
        partial.chmod(sample.stat().st_mode)
        sample.unlink()


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of ``manifest.json`` by file name; empty where there is none, CacheError where it is damaged."""
    path = folder / MANIFEST
    return parse_manifest(path.read_bytes(), path, repair(path))[0] if path.exists() else {}


def parse_manifest(text: bytes, path: str | Path, remedy: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Entries of a manifest by file name, and the folders inside that have one, too; CacheError with the remedy."""
    try:
        content = json.loads(text.decode())
        files = {str(name): dict(entry) for name, entry in content["files"].items()}
        return files, [str(name) for name in content.get("folders", ())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheError(f"{path} is damaged ({error}); {remedy}") from None


def update_manifest(path: Path, kind: str, shapes: Mapping[str, Sequence[int]]) -> None:
    """Enter (or renew) one file's sha256, size and shapes in its folder's manifest; the write is atomic."""
    manifest = path.parent / MANIFEST
    content = json.loads(manifest.read_bytes()) if read_manifest(path.parent) else {}
    files = content.pop("files", {})
    files[path.name] = {
        "kind": kind,
        "sha256": file_sha256(path),
        "bytes": path.stat().st_size,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
    }
    text = json.dumps({**content, "files": dict(sorted(files.items()))}, indent=1) + "\n"
    with atomic_write(manifest) as partial:
        partial.write_text(text, encoding="utf-8")


def repair(path: Path) -> str:
    """The command that brings a damaged or missing file back."""
    folder = path.resolve().parent
    if folder == mini_folder():
        return "reinstall the package: `pip install --force-reinstall semrsm-bench`"
    _, fetched, *installed = (place.resolve() for place in _places())
    if {folder, folder.parent} & {fetched}:
        return "bring it again with `semrsm-bench data fetch`"
    if {folder, folder.parent} & {*installed}:
        return "reinstall the data: `pip install --force-reinstall semrsm-bench-data`"
    for checkout in folder.parents[:2]:
        if (checkout / ".git").exists():
            return f"restore it with `git checkout -- {(folder / path.name).relative_to(checkout)}`"
    return "make it again with `semrsm-bench data extract`"


def check_file(path: Path) -> str:
    """sha256 of a file; CacheError where it is missing or not what its folder's manifest says (if that has an entry)."""
    entry = read_manifest(path.parent).get(path.name)
    if not path.is_file():
        raise CacheError(f"{path} is missing; {repair(path)}")
    status = path.stat()
    # Computed once for each version of the file.
    digest = _sha256_of_version(path.resolve(), status.st_mtime_ns, status.st_size)
    if entry is not None and status.st_size != entry["bytes"]:
        what = "truncated" if status.st_size < entry["bytes"] else "too long"
        raise CacheError(f"{path} is {what}: {status.st_size:,} bytes instead of {entry['bytes']:,}; {repair(path)}")
    if entry is not None and digest != entry["sha256"]:
        what = f"damaged or swapped: sha256 {digest[:12]}... instead of {entry['sha256'][:12]}... in the manifest"
        raise CacheError(f"{path} is {what}; {repair(path)}")
    return digest
