"""RSMs that are inner products of one vector an image: made once while all fit in memory, else a panel of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.cache import Floats
from semrsm_bench.progress import progress_bar
from semrsm_bench.rsm.comparison import ByVectors, InvalidRsmError
from semrsm_bench.rsm.images import BLOCK_BYTES, Images, Norms, centred_planes
from semrsm_bench.rsm.sources import ImageSource
from semrsm_bench.rsm.store import Products
from semrsm_bench.rsm.tiles import Schedule, one_thread, run_to_end, tiles
from semrsm_bench.solvers.registry import in_threads

Values = NDArray[np.float64]

# Vectors held at a time, in two panels.
VECTOR_BYTES = 4 * BLOCK_BYTES
# A panel's products are one matrix in memory.
_LONGEST_PANEL = 2048
# Images of one task, or their vectors.
_TASK_BYTES = 2**23
_TASKS_PER_WORKER = 4


class _Panel(NamedTuple):
    vectors: Values  # (n, D)
    squares: Values  # (n,), their squared norms
    products: Values | None  # (n, n), their inner products, where the RSM is mirrored


class Vectors:
    """The images of a call as vectors.

    Two panels are kept: of a mirrored RSM any two, else one of each side. Where there are more, the vectors of the columns are
    made again for every panel of rows.
    """

    def __init__(self, images: Images, matching: ByVectors, schedule: Schedule) -> None:
        self._images, self._matching, self._schedule = images, matching, schedule
        first = centred_planes(images.rows.portion(0, 1), images.mean, images.dtype)
        (self._width,) = next(matching.vectors(first)).shape
        self._length = schedule.block or max(1, min(_LONGEST_PANEL, VECTOR_BYTES // (2 * 8 * self._width)))
        self._kept: list[dict[int, _Panel]] = [{} for _ in images.sides]

    def norms(self) -> Norms:
        """Similarities of every image with itself, of the rows (N,) and of the columns (M,)."""
        sides = []
        for side, source in enumerate(self._images.sides):
            starts = range(0, source.count, self._length)
            sides.append(np.concatenate([self._panel(side, start).squares for start in starts]))
        return sides[0], sides[-1]

    def fill(self, products: Products, norms: Norms | None, *, quiet: bool = True) -> None:
        """Compare all pairs that the products lack; ``norms`` fill the diagonal where the RSM is mirrored."""
        images, name = self._images, self._matching.name
        if images.mirrored and norms is not None:
            np.fill_diagonal(products.values, norms[0])
        missing = [t for t in tiles(*images.shape, self._length, images.mirrored) if products.lacks(t)]
        done = images.pairs - sum(int(tile.wanted.sum()) for tile in missing)
        with one_thread(), progress_bar(images.pairs, f"RSM, {name}", unit="pair", initial=done, quiet=quiet) as bar:
            for tile in missing:
                x, y = self._panel(0, tile.top), self._panel(len(self._kept) - 1, tile.left)
                values = x.products if x is y and x.products is not None else self._products(x.vectors, y.vectors)
                if not np.isfinite(values).all():
                    bad = values[~np.isfinite(values)][0]
                    raise InvalidRsmError(f"RSM method {name!r} finds a similarity of {bad} for two finite images")
                bar.update(products.put(tile, np.where(tile.wanted, values, np.nan)))
        products.require_complete(f"{name}, linear")

    def _products(self, x: Values, y: Values) -> Values:
        """Inner products (n, m), some rows a thread; of a panel with itself those above the diagonal at least."""
        values = np.zeros((len(x), len(y)))
        workers = self._schedule.workers if self._schedule.shares_memory else 1
        length = -(-len(x) // (1 if workers == 1 else _TASKS_PER_WORKER * workers))

        def strip(start: int) -> None:
            rows, left = slice(start, start + length), start if x is y else 0
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                np.matmul(x[rows], y[left:].T, out=values[rows, left:])

        starts = range(0, len(x), length)
        for _ in (
            map(strip, starts) if workers == 1 else in_threads((partial(strip, start) for start in starts), workers)
        ):
            pass
        return values

    def _panel(self, side: int, start: int) -> _Panel:
        """A panel: kept, or made by all workers."""
        kept = self._kept[side]
        if start in kept:
            kept[start] = kept.pop(start)  # as the last one used
        else:
            if len(kept) == 2 // len(self._kept):
                del kept[next(iter(kept))]
            kept[start] = self._made(self._images.sides[side], start)
        return kept[start]

    def _made(self, source: ImageSource, start: int) -> _Panel:
        images, stop = self._images, min(start + self._length, source.count)
        made = np.empty((stop - start, self._width))
        length = _TASK_BYTES // max(8 * self._width, source.size * source.channels * images.dtype.itemsize)
        if self._schedule.workers > 1:
            length = min(length, len(made) // (_TASKS_PER_WORKER * self._schedule.workers))
        length = max(1, length)
        missing = set(range(0, len(made), length))
        here = self._schedule.shares_memory

        def tasks() -> Iterator[partial[tuple[int, Values]]]:
            for first in sorted(missing):
                room = made[first : first + length]
                part = source.portion(start + first, start + first + len(room))
                out = room if here else room.shape
                yield partial(_make, first, part, images.mean, images.dtype, self._matching, out)

        with one_thread():
            for first, part in run_to_end(self._schedule, tasks):
                if not here:
                    made[first : first + length] = part
                missing.discard(first)
            products = self._products(made, made) if images.mirrored else None
            with np.errstate(over="ignore", under="ignore"):
                squares = np.einsum("nd,nd->n", made, made) if products is None else np.diagonal(products)
        return _Panel(made, squares, products)


def _make(
    first: int,
    images: ImageSource,
    mean: Floats | None,
    dtype: np.dtype[Any],
    matching: ByVectors,
    out: Values | tuple[int, ...],
) -> tuple[int, Values]:
    """Vectors of some images, into a panel's rows, or into a matrix of this shape where the worker is another process."""
    made = np.empty(out) if isinstance(out, tuple) else out
    with one_thread(), np.errstate(over="ignore", under="ignore"):
        for row, vector in zip(made, matching.vectors(centred_planes(images, mean, dtype)), strict=True):
            if vector.shape != row.shape:
                matching.require_alike({vector.shape, row.shape})
            row[:] = vector
    return first, made
