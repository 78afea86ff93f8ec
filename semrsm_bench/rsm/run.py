"""One call's images, surveyed and ready, and the loop that fills the matrix of matched inner products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.progress import progress_bar
from semrsm_bench.rsm.blocks import BLOCK_BYTES, Tile, TileTask, block_length, one_thread, tiles
from semrsm_bench.rsm.comparison import Comparison
from semrsm_bench.rsm.scheduling import WorkersLostError, dask_client, run_tiles, share_memory, worker_count
from semrsm_bench.rsm.sources import Centring, Floats, HeldImages, ImageSource
from semrsm_bench.rsm.store import Products, require_complete
from semrsm_bench.rsm.survey import Survey, centred, common_mean, pairs_in_float32, survey

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
    def look(cls, z: ImageSource, z2: ImageSource | None, centring: Centring, *, digest: bool = False) -> Images:
        """Check and survey, with a ValueError that says what does not fit; the mean is that of the database (z2)."""
        if z2 is not None:
            _require_alike(z, z2)
        dtype = np.dtype(np.result_type(z.dtype, z.dtype if z2 is None else z2.dtype))
        mean = common_mean(z if z2 is None else z2, centring)
        first = survey(z, mean, dtype, digest=digest)
        second = first if z2 is None else survey(z2, mean, dtype, digest=digest)
        return cls(z, z if z2 is None else z2, z2 is None, centring, mean, dtype, first, second)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return self.rows.count, self.columns.count

    @property
    def pairs(self) -> int:
        """Number of pairs to match."""
        n, m = self.shape
        return n * (n - 1) // 2 if self.mirrored else n * m

    def held(self) -> Images:
        """The same with all images read and centred in memory, where they are few enough; else as it is."""
        sides = [self.rows] if self.mirrored else [self.rows, self.columns]
        total = sum(side.count * side.size * side.channels for side in sides) * self.dtype.itemsize
        if total > BLOCK_BYTES:
            return self
        kept = [
            HeldImages(centred(side.read(0, side.count), self.mean, self.dtype), side.name, side.grid) for side in sides
        ]
        return replace(self, rows=kept[0], columns=kept[-1], mean=None)

    def fingerprint(self, matching: Comparison) -> dict[str, Any]:
        """Everything that decides the values."""
        inputs = [self.row_survey.digest] if self.mirrored else [self.row_survey.digest, self.column_survey.digest]
        sizes = {"images": list(self.shape), "positions": self.rows.size, "channels": self.rows.channels}
        return {
            "inputs": inputs,
            **sizes,
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
    sides = [images.rows] if images.mirrored else [images.rows, images.columns]
    own = [
        np.concatenate([matching.with_itself(centred(part, images.mean, images.dtype)) for _, part in side.chunks()])
        for side in sides
    ]
    return own[0], own[-1]


def fill_products(
    images: Images,
    matching: Comparison,
    products: Products,
    *,
    n_jobs: int = 1,
    block: int | None = None,
    client: Any | None = None,
    quiet: bool = True,
    permutations: NDArray[np.intp] | None = None,
    own: Own | None = None,
) -> None:
    """Match all pairs that the products lack; raises `IncompleteError` where an entry is NaN nevertheless.

    ``permutations`` (N, M, S) receives the permutations; ``own`` is what `self_similarities` gave, where it is known.
    """
    client = client or dask_client()
    workers = worker_count(n_jobs, client)
    rows = images.rows
    length = block or block_length(
        rows.size, rows.channels, images.dtype.itemsize, *images.shape, images.mirrored, workers
    )
    if images.mirrored:
        np.fill_diagonal(products.values, (own or self_similarities(images, matching))[0])
        if permutations is not None:
            permutations[np.arange(rows.count), np.arange(rows.count)] = np.arange(rows.size)
    missing = [tile for tile in tiles(*images.shape, length, images.mirrored) if products.lacks(tile)]
    if missing and client is None and share_memory(n_jobs, matching.in_threads):
        images = images.held()
    done = images.pairs - sum(_pairs_in(tile, images.mirrored) for tile in missing)
    fruitless = 0
    # Workers that are threads ask for this too, but some BLAS libraries obey only the main thread.
    with (
        one_thread(),
        progress_bar(images.pairs, f"RSM, {matching.name}", unit="pair", initial=done, quiet=quiet) as bar,
    ):
        while missing:
            before = len(missing)
            tasks = make_tasks(images, matching, missing, client is not None, permutations is not None)
            try:
                for result in run_tiles(tasks, n_jobs, client, matching.in_threads):
                    bar.update(products.put(result))
                    if permutations is not None and result.permutations is not None:
                        _enter_permutations(permutations, result.tile, result.permutations, images.mirrored)
                break
            except WorkersLostError:
                missing = [tile for tile in missing if products.lacks(tile)]
                fruitless = fruitless + 1 if len(missing) == before else 0
                if fruitless == _FRUITLESS_ATTEMPTS:
                    raise
    require_complete(products.values, f"{matching.name}, linear")


def make_tasks(
    images: Images, matching: Comparison, wanted: list[Tile], by_network: bool, keep_permutations: bool = False
) -> Iterator[TileTask]:
    """Tasks for tiles. Over a network, images that have no file travel with the tiles that need them."""
    narrow = None
    if images.dtype == np.float32:
        narrow = pairs_in_float32(images.row_survey, images.column_survey, images.rows.channels)
    for tile in wanted:
        rows, columns, shift = images.rows, images.columns, (0, 0)
        if by_network and not (rows.travels_light and columns.travels_light):
            rows, columns = rows.portion(tile.top, tile.bottom), columns.portion(tile.left, tile.right)
            shift = (tile.top, tile.left)
        part = None if narrow is None else narrow[tile.index]
        part = None if part is None or part.all() else part
        yield TileTask(
            tile, rows, columns, shift, images.mean, images.dtype, matching, part, images.mirrored, keep_permutations
        )


def _pairs_in(tile: Tile, mirrored: bool) -> int:
    height, width = tile.bottom - tile.top, tile.right - tile.left
    if mirrored and tile.top == tile.left:
        return height * (height - 1) // 2
    return height * width


def _enter_permutations(all_: NDArray[np.intp], tile: Tile, perms: NDArray[np.intp], mirrored: bool) -> None:
    if not mirrored:
        all_[tile.index] = perms
        return
    for i in range(tile.top, tile.bottom):
        for j in range(max(tile.left, i + 1), tile.right):
            perm = perms[i - tile.top, j - tile.left]
            all_[i, j] = perm
            all_[j, i, perm] = np.arange(len(perm))


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
