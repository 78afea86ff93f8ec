"""The RSM cut into tiles: what one task computes, wherever it runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from semrsm_bench.rsm.comparison import Comparison, PairBlock
from semrsm_bench.rsm.sources import Floats, ImageSource
from semrsm_bench.rsm.survey import all_centred

# Activations one worker holds at a time, both sides of a tile together.
BLOCK_BYTES = 128 * 2**20
LARGEST_BLOCK = 64
# A tile is what is lost when a worker dies: at most this many affinity entries, about half a minute of matching.
_TILE_ENTRIES = 2**32
_TILES_PER_WORKER = 8


@dataclass(frozen=True)
class Tile:
    """Rows ``top:bottom`` and columns ``left:right`` of the RSM; of a mirrored one only the pairs above the diagonal count."""

    top: int
    bottom: int
    left: int
    right: int
    mirrored: bool = False

    @property
    def index(self) -> tuple[slice, slice]:
        """The tile's place in the matrix."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def places(self) -> tuple[tuple[slice, slice], ...]:
        """Where its values go: its own place, and with rows and columns exchanged where the matrix is mirrored."""
        return (self.index, self.index[::-1]) if self.mirrored else (self.index,)

    @property
    def wanted(self) -> NDArray[np.bool_]:
        """Which pairs of the tile are compared."""
        rows, columns = np.arange(self.top, self.bottom)[:, None], np.arange(self.left, self.right)
        return (rows < columns) if self.mirrored else np.ones((rows.size, columns.size), dtype=bool)


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
            yield Tile(top, min(top + length, rows), left, min(left + length, columns), mirrored)


@dataclass(frozen=True)
class TileTask:
    """One tile to compute: small to send, unless its images have no file that the worker can read.

    Attributes
    ----------
    tile : Tile
    rows, columns : ImageSource
        Its images alone; one object where both are the same.
    mean : ndarray or None
        What `common_mean` gave.
    dtype : dtype
        Precision of the call.
    matching : Comparison
    keep_permutations : bool
    """

    tile: Tile
    rows: ImageSource
    columns: ImageSource
    mean: Floats | None
    dtype: np.dtype[Any]
    matching: Comparison
    keep_permutations: bool = False


@dataclass(frozen=True)
class TileResult:
    """Values of a tile; NaN for the pairs that are not wanted."""

    tile: Tile
    values: NDArray[np.float64]
    permutations: NDArray[np.intp] | None


_lock = threading.Lock()
_users = 0
_limit: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold linear algebra to one thread, as the solvers do, from the first thread that enters to the last that leaves.

    The limit is one for the whole process: if each thread put back what it found, the first to leave would lift it for the others.
    """
    global _users, _limit
    with _lock:
        if _users == 0:
            _limit = _controller().limit(limits=1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limit.restore_original_limits()


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def compute_tile(task: TileTask) -> TileResult:
    """Read the images of a tile, centre them, match every pair.

    Linear algebra runs on one thread: the solvers do too, and the result does not depend on how many cores there are.
    """
    with one_thread():
        x = all_centred(task.rows, task.mean, task.dtype)
        y = x if task.rows is task.columns else all_centred(task.columns, task.mean, task.dtype)
        block = PairBlock.of(x, y, task.tile.wanted, task.keep_permutations)
        task.matching.fill(block)
    return TileResult(task.tile, block.values, block.permutations)
