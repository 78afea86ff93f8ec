"""The RSM cut into tiles: what one task computes, wherever it runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from semrsm_bench.rsm.comparison import Comparison
from semrsm_bench.rsm.sources import Floats, ImageSource
from semrsm_bench.rsm.survey import centred

# Activations one worker holds at a time, both sides of a tile together.
BLOCK_BYTES = 128 * 2**20
LARGEST_BLOCK = 64
# A tile is what is lost when a worker dies: at most this many affinity entries, about half a minute of matching.
_TILE_ENTRIES = 2**32
_TILES_PER_WORKER = 8


@dataclass(frozen=True)
class Tile:
    """Rows ``top:bottom`` and columns ``left:right`` of the RSM."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def index(self) -> tuple[slice, slice]:
        """The tile's place in the matrix."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def block_length(size: int, channels: int, itemsize: int, rows: int, columns: int, mirrored: bool, workers: int) -> int:
    """Images on each side of a tile: as many as memory, the cost of a lost tile and an even load allow."""
    by_memory = BLOCK_BYTES // (2 * size * channels * itemsize)
    by_loss = math.isqrt(max(1, _TILE_ENTRIES // size**2))
    length = min(LARGEST_BLOCK, by_memory, by_loss)
    if workers > 1:
        pairs = rows * columns / (2 if mirrored else 1)
        length = min(length, math.isqrt(int(pairs / (_TILES_PER_WORKER * workers))))
    return max(1, length)


def tiles(rows: int, columns: int, length: int, mirrored: bool) -> Iterator[Tile]:
    """All tiles, row by row; only those on and above the diagonal where the matrix is mirrored."""
    for top in range(0, rows, length):
        for left in range(top if mirrored else 0, columns, length):
            yield Tile(top, min(top + length, rows), left, min(left + length, columns))


@dataclass(frozen=True)
class TileTask:
    """One tile to compute: small to send, unless the images have no file that the worker can read.

    ``shift`` says which of the sources' images is row 0 and column 0 of the matrix; ``mean`` is what `common_mean` gave; ``narrow``
    marks the pairs whose affinity fits ``dtype``, None where all do; ``mirrored`` asks for pairs above the diagonal only.
    """

    tile: Tile
    rows: ImageSource
    columns: ImageSource
    shift: tuple[int, int]
    mean: Floats | None
    dtype: np.dtype[Any]
    matching: Comparison
    narrow: NDArray[np.bool_] | None
    mirrored: bool
    keep_permutations: bool = False


@dataclass(frozen=True)
class TileResult:
    """Values of a tile; NaN on and below the diagonal of a mirrored matrix."""

    tile: Tile
    values: NDArray[np.float64]
    permutations: NDArray[np.intp] | None


class _OneThread:
    """Holds linear algebra to one thread from the first who asks for it to the last who leaves.

    The limit is one for the whole process. Were every thread to set it and to put back what it found, one of them would lift
    it while others are at work, and the last would leave it behind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._limit = _controller().limit(limits=1)
                self._limit.__enter__()
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                limit, self._limit = self._limit, None
                limit.__exit__(None, None, None)


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


_ONE_THREAD = _OneThread()


def one_thread() -> AbstractContextManager[None]:
    """Context in which linear algebra runs on one thread, as the solvers do; threads may enter it at the same time."""
    return _ONE_THREAD


def compute_tile(task: TileTask) -> TileResult:
    """Read the images of a tile, centre them, match every pair.

    Linear algebra runs on one thread: the solvers do too, and the result does not depend on how many cores there are.
    """
    tile = task.tile
    shape = (tile.bottom - tile.top, tile.right - tile.left)
    wanted = np.ones(shape, dtype=bool)
    if task.mirrored:
        wanted = np.arange(tile.top, tile.bottom)[:, None] < np.arange(tile.left, tile.right)
    values = np.full(shape, np.nan)
    perms = np.zeros((*shape, task.rows.size), dtype=np.intp) if task.keep_permutations else None
    with one_thread():
        x = _read(task, task.rows, tile.top - task.shift[0], tile.bottom - task.shift[0])
        same = task.rows is task.columns and (tile.top, tile.bottom) == (tile.left, tile.right)
        y = x if same else _read(task, task.columns, tile.left - task.shift[1], tile.right - task.shift[1])
        narrow = np.ones(shape, dtype=bool) if task.narrow is None else task.narrow
        task.matching.fill(x, y, wanted, narrow, values, perms)
    return TileResult(tile, values, perms)


def _read(task: TileTask, source: ImageSource, start: int, stop: int) -> Floats:
    images = centred(source.read(start, stop), task.mean, task.dtype)
    # A solver sees views of this array; what it writes would reach the pairs after it.
    images.flags.writeable = False
    return images
