"""Matched inner products in memory or in an .npy file that an interrupted run can go on with."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.rsm.blocks import Tile, TileResult

FORMAT = "semrsm_bench.rsm/1"
# Rows written or read at once where a matrix may be larger than memory.
_STRIP_BYTES = 32 * 2**20


class ResumeError(ValueError):
    """The output file belongs to another run, or to no run; the message says what differs."""


class Products:
    """The matrix of matched inner products of one matching; NaN = not computed yet.

    Parameters
    ----------
    values : ndarray, (N, M), float64
        In memory, or mapped from a file.
    mirrored : bool
        z alone: a tile above the diagonal fills its mirror image too.
    """

    def __init__(self, values: NDArray[np.float64], mirrored: bool) -> None:
        self.values = values
        self.mirrored = mirrored

    def put(self, result: TileResult) -> int:
        """Enter a tile; returns the number of pairs it holds."""
        rows, columns = result.tile.index
        got = ~np.isnan(result.values)
        part = self.values[rows, columns]
        self.values[rows, columns] = np.where(got, result.values, part)
        if self.mirrored:
            # On a diagonal tile the first write has already changed what the second one must keep.
            part = self.values[columns, rows]
            self.values[columns, rows] = np.where(got.T, result.values.T, part)
        return int(got.sum())

    def lacks(self, tile: Tile) -> bool:
        """Whether any entry of the tile is still NaN."""
        return bool(np.isnan(self.values[tile.index]).any())


def strips(shape: tuple[int, int]) -> Iterator[slice]:
    """Row ranges of bounded size that cover a matrix."""
    step = max(1, _STRIP_BYTES // (8 * max(1, shape[1])))
    for top in range(0, shape[0], step):
        yield slice(top, min(top + step, shape[0]))


def description_path(out: Path) -> Path:
    """JSON beside an RSM file: what made it, and the labels of its images."""
    return out.with_name(out.name + ".json")


def read_description(out: Path) -> dict[str, Any]:
    """Description beside an RSM file; empty where there is none.

    Raises
    ------
    ResumeError
        It is not JSON of the expected form.
    """
    path = description_path(out)
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ResumeError(f"{path} does not describe an RSM; choose another file for the result")
    return found


def write_description(out: Path, description: Mapping[str, Any]) -> None:
    """Write the description beside an RSM file, whole or not at all."""
    path = description_path(out)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({**description, "format": FORMAT}, indent=1, default=str) + "\n", encoding="utf-8")
    os.replace(partial, path)


@contextmanager
def open_products(
    out: Path,
    shape: tuple[int, int],
    mirrored: bool,
    fingerprint: Mapping[str, Any],
    labels: Sequence[int] | None = None,
) -> Iterator[Products]:
    """Products in a file: a new one full of NaN, or the one of an interrupted run with the same fingerprint.

    Parameters
    ----------
    out : Path
        Ends in .npy.
    shape : (int, int)
    mirrored : bool
    fingerprint : mapping
        Inputs and options that decide the values, as JSON.
    labels : sequence of int, optional
        Of the images in the rows; kept beside the matrix for its picture, not compared.

    Raises
    ------
    ResumeError
        The file belongs to other inputs or options, has no description, or another process is writing it.
    """
    if out.suffix != ".npy":
        raise ValueError(f"an RSM is written to a file that ends in .npy, got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out.parent} is not a folder; make it first")
    fingerprint = json.loads(json.dumps(fingerprint, default=str))
    with _only_writer(out):
        described = read_description(out)
        if out.exists():
            _require_same(out, described, fingerprint)
        else:
            _create(out, shape)
        kept = {} if labels is None else {"labels": [int(label) for label in labels]}
        write_description(out, {**described, **kept, "fingerprint": fingerprint})
        try:
            # Opened for reading first: opened for writing, a truncated file would be filled up with zeros.
            np.load(out, mmap_mode="r", allow_pickle=False)
            values = np.lib.format.open_memmap(out, mode="r+")
        except (ValueError, EOFError) as error:
            raise ResumeError(
                f"{out} is damaged ({error}); delete it and {description_path(out)} to start again"
            ) from None
        if values.shape != shape or values.dtype != np.float64:
            raise ResumeError(f"{out} has shape {values.shape} and dtype {values.dtype} instead of {shape} and float64")
        try:
            yield Products(values, mirrored)
        finally:
            values.flush()


def save_matrix(path: Path, shape: tuple[int, int], parts: Iterator[tuple[slice, NDArray[np.float64]]]) -> None:
    """Write a matrix strip by strip; the file appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    matrix = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float64, shape=shape)
    for rows, values in parts:
        matrix[rows] = values
    matrix.flush()
    os.replace(partial, path)


def _create(out: Path, shape: tuple[int, int]) -> None:
    save_matrix(out, shape, ((rows, np.full((rows.stop - rows.start, shape[1]), np.nan)) for rows in strips(shape)))


def _require_same(out: Path, described: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
    if not described:
        raise ResumeError(f"{out} exists, but nothing beside it says what made it; choose another file or delete it")
    theirs = described["fingerprint"]
    differing = sorted(k for k in {*theirs, *fingerprint} if theirs.get(k) != fingerprint.get(k))
    if differing:
        what = "; ".join(f"{k}: there {theirs.get(k)!r}, here {fingerprint.get(k)!r}" for k in differing)
        raise ResumeError(f"{out} belongs to another run ({what}); choose another file or delete it")


@contextmanager
def _only_writer(out: Path) -> Iterator[None]:
    lock = out.with_name(out.name + ".lock")
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ResumeError(f"another process is writing {out}") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
