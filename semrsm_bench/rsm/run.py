"""One call's images, surveyed and ready, and the loop that fills the matrix of matched inner products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.progress import progress_bar
from semrsm_bench.rsm.blocks import BLOCK_BYTES, Tile, TileResult, TileTask, block_length, one_thread, tiles
from semrsm_bench.rsm.comparison import Comparison
from semrsm_bench.rsm.scheduling import Schedule, WorkersLostError
from semrsm_bench.rsm.sources import Centring, Floats, HeldImages, ImageSource
from semrsm_bench.rsm.store import Products
from semrsm_bench.rsm.survey import Survey, all_centred, centred, common_mean, fit_float32, survey

# A pool that breaks this often without delivering a single tile in between is not going to.
_FRUITLESS_ATTEMPTS = 3


@dataclass(frozen=True)
class Images:
    """Both sides of an RSM, checked against each other and surveyed.

    For z alone ``rows`` and ``columns`` are the same object and ``mirrored`` holds: only pairs above the diagonal are matched.
    ``mean`` is what centring subtracts, see `common_mean`.
    """

    rows: ImageSource
    columns: ImageSource
    mirrored: bool
    centring: Centring
    mean: Floats | None
    dtype: np.dtype[Any]
    row_survey: Survey
    column_survey: Survey

    @classmethod
    def of(cls, z: ImageSource, z2: ImageSource | None, centring: Centring, *, digest: bool = False) -> Images:
        """Check and survey, with a ValueError that says what does not fit; the mean is that of the database (z2).

        Images of float32 whose inner products leave its range are computed in float64.
        """
        if z2 is not None:
            _require_alike(z, z2)
        sides = (z,) if z2 is None else (z, z2)
        mean = common_mean(sides[-1], centring)
        dtype = np.dtype(np.result_type(*(side.dtype for side in sides)))
        found = [survey(side, mean, dtype, digest=digest) for side in sides]
        if dtype == np.float32 and not fit_float32(found[0], found[-1], z.channels):
            dtype = np.dtype(np.float64)
            found = [survey(side, mean, dtype, digest=digest) for side in sides]
        return cls(z, sides[-1], z2 is None, centring, mean, dtype, found[0], found[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return self.rows.count, self.columns.count

    @property
    def pairs(self) -> int:
        """Number of pairs to match."""
        n, m = self.shape
        return n * (n - 1) // 2 if self.mirrored else n * m

    @property
    def sides(self) -> tuple[ImageSource, ...]:
        """The rows, and the columns where they are other images."""
        return (self.rows,) if self.mirrored else (self.rows, self.columns)

    def held(self) -> Images:
        """The same with all images read and centred in memory, where they are few enough; else as it is."""
        total = sum(side.count * side.size * side.channels for side in self.sides) * self.dtype.itemsize
        if total > BLOCK_BYTES:
            return self
        kept = [HeldImages(all_centred(side, self.mean, self.dtype), side.name, side.grid) for side in self.sides]
        return replace(self, rows=kept[0], columns=kept[-1], mean=None)

    def fingerprint(self, matching: Comparison) -> dict[str, Any]:
        """Everything that decides the values."""
        return {
            "inputs": [found.digest for found in (self.row_survey, self.column_survey)[: len(self.sides)]],
            "images": list(self.shape),
            "positions": self.rows.size,
            "channels": self.rows.channels,
            "precision": str(self.dtype),
            "centring": self.centring,
            **matching.identity(),
        }


Own = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Similarity of every image with itself: of those in the rows (N,), and of those in the columns (M,)."""


def self_similarities(images: Images, matching: Comparison) -> Own:
    """What kernels are derived from, beside the pairs: the squared norms for a matching, else the method's own values."""
    if matching.matches:
        return images.row_survey.squared_norms, images.column_survey.squared_norms
    own = [
        np.concatenate([matching.with_itself(centred(part, images.mean, images.dtype)) for _, part in side.chunks()])
        for side in images.sides
    ]
    return own[0], own[-1]


def fill_products(
    images: Images,
    matching: Comparison,
    products: Products,
    schedule: Schedule,
    *,
    own: Own | None = None,
    permutations: NDArray[np.intp] | None = None,
    quiet: bool = True,
) -> None:
    """Match all pairs that the products lack; raises `IncompleteError` where an entry is NaN nevertheless.

    ``own`` is what `self_similarities` gave, where it is known; ``permutations`` (N, M, S) receives the permutations; ``quiet``
    shows no progress bar.
    """
    rows, itemsize = images.rows, images.dtype.itemsize
    length = schedule.block or block_length(
        rows.size, rows.channels, itemsize, *images.shape, images.mirrored, schedule.workers
    )
    if images.mirrored:
        np.fill_diagonal(products.values, (own or self_similarities(images, matching))[0])
        if permutations is not None:
            permutations[np.arange(rows.count), np.arange(rows.count)] = np.arange(rows.size)
    missing = [tile for tile in tiles(*images.shape, length, images.mirrored) if products.lacks(tile)]
    if missing and schedule.shares_memory:
        images = images.held()
    done = images.pairs - sum(int(tile.wanted.sum()) for tile in missing)
    fruitless = 0
    # Workers that are threads ask for this too, but some BLAS libraries obey only the main thread.
    with (
        one_thread(),
        progress_bar(images.pairs, f"RSM, {matching.name}", unit="pair", initial=done, quiet=quiet) as bar,
    ):
        while missing:
            before = len(missing)
            try:
                for result in schedule.run(make_tasks(images, matching, missing, permutations is not None)):
                    bar.update(products.put(result))
                    if permutations is not None:
                        _enter_permutations(permutations, result)
                break
            except WorkersLostError:
                missing = [tile for tile in missing if products.lacks(tile)]
                fruitless = fruitless + 1 if len(missing) == before else 0
                if fruitless == _FRUITLESS_ATTEMPTS:
                    raise
    products.require_complete(f"{matching.name}, linear")


def make_tasks(
    images: Images, matching: Comparison, wanted: list[Tile], keep_permutations: bool = False
) -> Iterator[TileTask]:
    """Tasks for tiles, each with its own images alone."""
    for tile in wanted:
        rows = columns = images.rows.portion(tile.top, tile.bottom)
        if not images.mirrored or (tile.top, tile.bottom) != (tile.left, tile.right):
            columns = images.columns.portion(tile.left, tile.right)
        yield TileTask(tile, rows, columns, images.mean, images.dtype, matching, keep_permutations)


def _enter_permutations(all_: NDArray[np.intp], result: TileResult) -> None:
    tile = result.tile
    assert result.permutations is not None
    if not tile.mirrored:
        all_[tile.index] = result.permutations
        return
    for i, j in np.argwhere(tile.wanted):
        perm = result.permutations[i, j]
        all_[tile.top + i, tile.left + j] = perm
        all_[tile.left + j, tile.top + i, perm] = np.arange(len(perm))


def _require_alike(z: ImageSource, z2: ImageSource) -> None:
    if z.size != z2.size:
        raise ValueError(
            f"{z.name} has {z.size} positions and {z2.name} has {z2.size}: a one-to-one matching needs as many on both sides; "
            "extract both at one resolution, or pool the finer one"
        )
    if z.channels != z2.channels:
        raise ValueError(
            f"{z.name} has {z.channels} channels and {z2.name} has {z2.channels}: they must come from one layer"
        )
    if z.grid is not None and z2.grid is not None and z.grid != z2.grid:
        raise ValueError(f"the positions of {z.name} lie on {z.grid} and those of {z2.name} on {z2.grid}")
