"""Matched inner products in memory, or in an .npy file from which an interrupted run resumes."""

from __future__ import annotations

import fcntl
import glob
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.arrays import load_array
from semrsm_bench.core.files import lock, writing
from semrsm_bench.core.identity import with_ids

FORMAT = "semrsm_bench.rsm/1"
# Rows written or read at once where a matrix may be larger than memory: few enough to stay in the cache.
STRIP_BYTES = 2 * 2**20

Matrix = NDArray[np.float64]


class ResumeError(ValueError):
    """The output file belongs to another run, or to no run; the message says what differs."""


class IncompleteError(RuntimeError):
    """An RSM has entries that are NaN; the message says of which matching and kernel, and how many."""


@dataclass(frozen=True)
class Tile:
    """Rows ``top:bottom`` and columns ``left:right`` of the RSM; of a mirrored one only the pairs above the diagonal count."""

    top: int
    bottom: int
    left: int
    right: int
    mirrored: bool = False

    @property
    def places(self) -> tuple[tuple[slice, slice], ...]:
        """Where its values go: its rows and columns, and these exchanged where the matrix is mirrored."""
        place = slice(self.top, self.bottom), slice(self.left, self.right)
        return (place, place[::-1]) if self.mirrored else (place,)

    @property
    def wanted(self) -> NDArray[np.bool_]:
        """Which pairs of the tile are compared."""
        rows, columns = np.arange(self.top, self.bottom)[:, None], np.arange(self.left, self.right)
        return (rows < columns) if self.mirrored else np.ones((rows.size, columns.size), dtype=bool)


class Products:
    """The matrix (N, M) of matched inner products of one matching, in memory or mapped from a file; NaN = not computed yet."""

    def __init__(self, values: Matrix) -> None:
        self.values = values

    def put(self, tile: Tile, values: Matrix) -> int:
        """Enter a tile, and its mirror image where it has one; returns the number of pairs it holds.

        A kill between the two writes leaves one side of the diagonal empty; `lacks` checks both.
        """
        for place, part in zip(tile.places, (values, values.T)):
            self.values[place] = np.where(np.isnan(part), self.values[place], part)
        return int((~np.isnan(values)).sum())

    def lacks(self, tile: Tile) -> bool:
        """Whether any entry of the tile, or of its mirror image, is still NaN."""
        return any(bool(np.isnan(self.values[place]).any()) for place in tile.places)

    def require_complete(self, what: str) -> None:
        """Raise `IncompleteError` where an entry is NaN; ``what`` names the matching."""
        missing = sum(int(np.isnan(self.values[rows]).sum()) for rows in strips(self.values.shape))
        if missing:
            raise IncompleteError(f"{what}: {missing:,} of {self.values.size:,} entries of the RSM are NaN")


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Row ranges of bounded size that cover a matrix."""
    step = max(1, STRIP_BYTES // (8 * max(1, shape[1])))
    for top in range(0, shape[0], step):
        yield slice(top, min(top + step, shape[0]))


def _description_path(out: Path) -> Path:
    """JSON beside an RSM file: what made it, and the ids and labels of its images."""
    return out.with_name(out.name + ".json")


def read_description(out: Path) -> dict[str, Any]:
    """Description beside an RSM file; empty where there is none, `ResumeError` where it is not of the expected form."""
    path = _description_path(out)
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ResumeError(f"{path} does not describe an RSM; choose another file for the result")
    return found


def load_rsm(path: str | Path) -> Any:
    """RSM of a file that `compute_rsm` streamed, (N, M) float64, memory-mapped, with the ids of its images where they are known.

    ValueError: no .npy file of an RSM(`ResumeError`: its description is damaged).
    """
    path = Path(path)
    values = load_array(path, mmap_mode="r")
    if values.ndim != 2 or values.dtype.kind != "f":
        raise ValueError(f"{path} holds {values.dtype} of shape {values.shape}, and no RSM (N, M)")
    described = read_description(path)
    return with_ids(values, described.get("ids"), described.get("column_ids"))


def _describe(out: Path, description: Mapping[str, Any]) -> None:
    text = json.dumps({**description, "format": FORMAT}, indent=1, default=str) + "\n"
    with writing(_description_path(out)) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def open_products(
    out: Path,
    shape: tuple[int, int],
    fingerprint: Mapping[str, Any],
    described: Mapping[str, Any] | None = None,
) -> Iterator[Products]:
    """Products in a file: a new one full of NaN, or the one of an interrupted run with the same fingerprint.

    The lock on the file is held until the context ends, also for the kernels that are derived meanwhile. ``fingerprint`` holds the
    inputs and options that decide the values; ``described``, such as ids and labels of the images, is kept beside the matrix.
    """
    if out.suffix != ".npy":
        raise ValueError(f"an RSM is written to a file that ends in .npy, got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out.parent} is not a folder; make it first")
    # The lock's file stays: were it removed, a second process could lock a new one while the first is still held.
    with out.with_name(out.name + ".lock").open("a") as handle:
        if not lock(handle.fileno(), out):
            raise ResumeError(f"another process is writing {out}: its lock is held")
        try:
            _remove_partials(out)
            values = _resumed(out, shape, json.loads(json.dumps(fingerprint, default=str)), described)
            try:
                yield Products(values)
            finally:
                values.flush()
        finally:
            # A forked child keeps the handle open; the lock must not live as long as it.
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)


def _resumed(out: Path, shape: tuple[int, int], fingerprint: Mapping[str, Any], known: Mapping[str, Any] | None) -> Any:
    """The matrix in a file, mapped: an old one that belongs to this run, or a new one."""
    described = read_description(out)
    if not out.exists():
        _save(out, shape, ((rows, np.full((rows.stop - rows.start, shape[1]), np.nan)) for rows in strips(shape)))
    elif not described:
        raise ResumeError(f"{out} exists, but nothing beside it says what made it; choose another file or delete it")
    else:
        theirs = described["fingerprint"]
        differing = sorted(k for k in {*theirs, *fingerprint} if theirs.get(k) != fingerprint.get(k))
        if differing:
            what = "; ".join(f"{k}: there {theirs.get(k)!r}, here {fingerprint.get(k)!r}" for k in differing)
            raise ResumeError(f"{out} belongs to another run ({what}); choose another file or delete it")
    _describe(out, {**described, **(known or {}), "fingerprint": fingerprint})
    try:
        # Opened for reading first: opened for writing, a truncated file would be filled up with zeros.
        np.load(out, mmap_mode="r", allow_pickle=False)
        values = np.lib.format.open_memmap(out, mode="r+")
        if values.shape != shape or values.dtype != np.float64:
            raise ValueError(f"shape {values.shape} and dtype {values.dtype} instead of {shape} and float64")
    except (ValueError, EOFError) as error:
        raise ResumeError(f"{out} is damaged ({error}); delete it and the .json beside it to start again") from None
    return values


def save_derived(
    path: Path, description: Mapping[str, Any], shape: tuple[int, int], parts: Iterator[tuple[slice, Matrix]]
) -> None:
    """Write a kernel beside its inner products, which must be open (see `open_products`): their lock covers it."""
    _remove_partials(path)
    # The old matrix goes first, so that no stop in between leaves it with the new description.
    path.unlink(missing_ok=True)
    _describe(path, description)
    _save(path, shape, parts)


def _save(path: Path, shape: tuple[int, int], parts: Iterator[tuple[slice, Matrix]]) -> None:
    """Write a matrix strip by strip; the file appears whole or not at all."""
    with writing(path) as partial:
        matrix = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float64, shape=shape)
        if hasattr(os, "posix_fallocate"):
            # A mapped page that finds no room on the disk is a bus error, which ends the process.
            with partial.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, matrix.offset + matrix.nbytes)
        for rows, values in parts:
            matrix[rows] = values
        matrix.flush()


def _remove_partials(path: Path) -> None:
    """Remove what killed writers of this file left; only for the holder of its lock."""
    for stale in path.parent.glob(f"{glob.escape(path.name)}.*partial"):
        stale.unlink(missing_ok=True)
