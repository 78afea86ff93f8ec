"""The manifest of a data folder: what every file must be, and how to repair one that is not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


class CacheError(ValueError):
    """A cache file is missing, damaged, swapped or not a cache; the message names the file and how to repair it."""


def mini_folder() -> Path:
    """Folder of the mini cache of four images that the package itself carries."""
    return Path(__file__).resolve().parent.parent / "mini"


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _sha256_of_version(path: Path, mtime_ns: int, size: int) -> str:
    return file_sha256(path)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write, which then takes its name; readable as new files here are (safetensors': by the owner)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    yield partial
    sample = path.with_name(path.name + ".mode")
    sample.touch()
    partial.chmod(sample.stat().st_mode)
    sample.unlink()
    os.replace(partial, path)


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of ``manifest.json`` by file name; empty where there is none, CacheError where it is damaged."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {str(name): dict(entry) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheError(f"{path} is damaged ({error}); {repair(path)}") from None


def update_manifest(folder: Path, path: Path, kind: str, shapes: Mapping[str, Sequence[int]]) -> None:
    """Enter (or renew) one file's sha256, size and shapes in the folder's manifest; the write is atomic."""
    files = read_manifest(folder)
    files[path.name] = {
        "kind": kind,
        "sha256": file_sha256(path),
        "bytes": path.stat().st_size,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
    }
    text = json.dumps({"files": dict(sorted(files.items()))}, indent=1) + "\n"
    with atomic_write(folder / MANIFEST) as partial:
        partial.write_text(text, encoding="utf-8")


def repair(path: Path) -> str:
    """The command that brings a damaged or missing file back."""
    folder = path.resolve().parent
    if folder == mini_folder().resolve():
        return "reinstall the package: `pip install --force-reinstall semrsm-bench`"
    if (folder.parent / ".git").exists():
        return f"restore it with `git checkout -- {folder.name}/{path.name}`"
    return "make it again with `semrsm-bench data extract`"


def check_file(path: Path) -> str:
    """sha256 of a file, after comparing it with its folder's manifest (where it has an entry).

    Raises
    ------
    CacheError
        The file is missing, of another size, or holds other bytes.
    """
    entry = read_manifest(path.parent).get(path.name)
    if not path.is_file():
        raise CacheError(f"{path} is missing; {repair(path)}")
    status = path.stat()
    # Computed once for each version of the file.
    digest = _sha256_of_version(path.resolve(), status.st_mtime_ns, status.st_size)
    if entry is None or (status.st_size, digest) == (entry["bytes"], entry["sha256"]):
        return digest
    if status.st_size != entry["bytes"]:
        what = "truncated" if status.st_size < entry["bytes"] else "too long"
        raise CacheError(f"{path} is {what}: {status.st_size:,} bytes instead of {entry['bytes']:,}; {repair(path)}")
    raise CacheError(
        f"{path} is not the file the manifest describes (sha256 {digest[:12]}... instead of "
        f"{entry['sha256'][:12]}...): damaged or swapped; {repair(path)}"
    )
