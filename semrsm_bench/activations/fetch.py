"""The shipped data from a folder or an address, each file held against its manifest."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from semrsm_bench.activations.folders import (
    MANIFEST,
    CacheError,
    atomic_write,
    fetched_folder,
    file_sha256,
    parse_manifest,
)
from semrsm_bench.progress import progress_bar

_SCHEMES = ("http", "https", "file")
_SECONDS = 60.0
_CHUNK = 1 << 20


def fetch_data(source: str, *, quiet: bool = False) -> tuple[Path, int, int]:
    """Copy the shipped data into the user's cache folder.

    A file is there whole or not at all, and the manifest of a folder comes after its files, so that data half fetched are not
    used. What is there already is not copied again.

    Parameters
    ----------
    source : str
        A folder such as ``data/`` of a checkout, or the URL of a copy of it (http, https or file).

    Returns
    -------
    folder, files, copied
        Where the data are, how many files they have, and how many of these were copied now.

    Raises
    ------
    CacheError
        The source cannot be read, is no such folder, or a file is not what its manifest says.
    """
    source = source.rstrip("/")
    scheme = urllib.parse.urlsplit(source).scheme if "://" in source else ""
    if scheme not in ("", *_SCHEMES):
        raise CacheError(f"{source}: an address begins with {', '.join(f'{s}://' for s in _SCHEMES)}; or name a folder")
    top = _manifest(source)
    folders = {"": top} | {f"{name}/": _manifest(f"{source}/{name}") for name in top[2]}
    count, copied = sum(len(files) for _, files, _ in folders.values()), 0
    with progress_bar(count, "data", unit="file", quiet=quiet) as bar:
        # The top folder last: with its manifest the data are there.
        for inside, (text, files, _) in reversed(folders.items()):
            for name, entry in files.items():
                copied += _copy(f"{source}/{inside}", name, entry, fetched_folder() / inside)
                bar.update()
            with atomic_write(fetched_folder() / inside / MANIFEST) as partial:
                partial.write_bytes(text)
    return fetched_folder(), count, copied


def _manifest(place: str) -> tuple[bytes, Mapping[str, Mapping[str, Any]], list[str]]:
    """Text, files and folders of a place's manifest."""
    try:
        with _open(f"{place}/{MANIFEST}") as stream:
            text = stream.read()
    except CacheError as error:
        hint = "name the folder data/ of a checkout, or the address of a copy of it"
        raise CacheError(f"{error}; {hint}") from None
    files, folders = parse_manifest(text, f"{place}/{MANIFEST}", "try another copy")
    for name in (*files, *folders):
        if name in ("", ".", "..") or {"/", "\\", "\0"} & set(name):  # it would lead elsewhere
            raise CacheError(f"{place}/{MANIFEST} names {name!r}, which is no plain name; nothing was fetched")
    return text, files, folders


def _open(place: str) -> AbstractContextManager[IO[bytes]]:
    try:
        if "://" not in place:
            return Path(place).open("rb")
        scheme, rest = place.split("://", 1)
        opened: AbstractContextManager[IO[bytes]] = urllib.request.urlopen(
            f"{scheme}://{urllib.parse.quote(rest, safe='/:@%[]~')}", timeout=_SECONDS
        )
        return opened
    except (OSError, HTTPException, ValueError) as error:
        raise CacheError(f"{place} cannot be read: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error)


def _copy(source: str, name: str, entry: Mapping[str, Any], folder: Path) -> bool:
    """Copy one file unless it is there; whether it was copied."""
    path, size, wanted = folder / name, int(entry["bytes"]), str(entry["sha256"])
    if path.is_file() and path.stat().st_size == size and file_sha256(path) == wanted:
        return False
    again = "run the same command again: what came whole is kept"
    with atomic_write(path) as partial, _open(source + name) as stream, partial.open("wb") as file:
        digest = hashlib.sha256()
        try:
            while (chunk := stream.read(_CHUNK)) and file.tell() <= size:
                digest.update(chunk)
                file.write(chunk)
        except (TimeoutError, ConnectionError, HTTPException) as error:
            raise CacheError(f"{source}{name} came only in part: {_reason(error)}; {again}") from None
        if file.tell() != size:
            what = "came only in part" if file.tell() < size else "is too long"
            raise CacheError(f"{source}{name} {what}: {file.tell():,} bytes of {size:,}; {again}")
        if digest.hexdigest() != wanted:
            what = f"sha256 {digest.hexdigest()[:12]}... instead of {wanted[:12]}... in its manifest"
            raise CacheError(f"{source}{name} is damaged: {what}; {again}, or try another copy")
    return True
