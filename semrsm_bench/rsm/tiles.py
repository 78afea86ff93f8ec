"""The RSM cut into tiles, and who computes them: this process, joblib's processes or threads, or a Dask cluster."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from semrsm_bench.activations.cache import Floats
from semrsm_bench.progress import progress_bar
from semrsm_bench.rsm.comparison import Comparison, PairBlock
from semrsm_bench.rsm.images import BLOCK_BYTES, Images, Norms, all_centred
from semrsm_bench.rsm.sources import ImageSource
from semrsm_bench.rsm.store import Products, Tile
from semrsm_bench.solvers.registry import in_threads

_LARGEST_BLOCK = 64
# A tile is what is lost when a worker dies: at most this many affinity entries, about half a minute of matching.
_TILE_ENTRIES = 2**32
_TILES_PER_WORKER = 8
# Tiles waiting on a Dask worker beside the one in progress: enough to hide the network, few enough to bound memory.
_QUEUED_PER_CORE = 2
# The run fails when the pool has broken this often without a single tile in between.
_FRUITLESS_ATTEMPTS = 3


R = TypeVar("R")

TileResult = tuple[Tile, NDArray[np.float64], NDArray[np.intp] | None]
"""A tile, its values with NaN for the pairs that are not wanted, and its permutations."""

TileTask = Callable[[], TileResult]


class WorkersLostError(RuntimeError):
    """Worker processes died; their tiles are missing, all others have been delivered."""


def block_length(images: Images, rows: int, columns: int, mirrored: bool, workers: int) -> int:
    """Images on each side of a tile: as many as memory, the cost of a lost tile and an even load allow."""
    size = images.rows.size
    by_memory = BLOCK_BYTES // (2 * size * images.rows.channels * images.dtype.itemsize)
    by_loss = math.isqrt(max(1, _TILE_ENTRIES // size**2))
    length = min(_LARGEST_BLOCK, by_memory, by_loss)
    if workers > 1:
        pairs = rows * columns / (2 if mirrored else 1)
        length = min(length, math.isqrt(int(pairs / (_TILES_PER_WORKER * workers))))
    return max(1, length)


def tiles(rows: int, columns: int, length: int, mirrored: bool) -> Iterator[Tile]:
    """All tiles, row by row; only those on and above the diagonal where the matrix is mirrored."""
    for top in range(0, rows, length):
        for left in range(top if mirrored else 0, columns, length):
            yield Tile(top, min(top + length, rows), left, min(left + length, columns), mirrored)


def make_tasks(
    images: Images, matching: Comparison, wanted: list[Tile], keep_permutations: bool = False
) -> Iterator[TileTask]:
    """Tasks for tiles, each with the images of its tile alone: small to send if the worker can read them from a file."""
    for tile in wanted:
        rows = columns = images.rows.portion(tile.top, tile.bottom)
        if not images.mirrored or (tile.top, tile.bottom) != (tile.left, tile.right):
            columns = images.columns.portion(tile.left, tile.right)
        yield partial(compute_tile, tile, rows, columns, images.mean, images.dtype, matching, keep_permutations)


def compute_tile(
    tile: Tile,
    rows: ImageSource,
    columns: ImageSource,
    mean: Floats | None,
    dtype: np.dtype[Any],
    matching: Comparison,
    keep_permutations: bool,
) -> TileResult:
    """Read the images of a tile, centre them, match every pair.

    Linear algebra runs on one thread: the solvers do too, and the result does not depend on how many cores there are.
    """
    with one_thread():
        x = all_centred(rows, mean, dtype)
        y = x if rows is columns else all_centred(columns, mean, dtype)
        block = PairBlock.of(x, y, tile.wanted, keep_permutations)
        matching.fill(block)
    return tile, block.values, block.permutations


_controller = cache(ThreadpoolController)
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


def connect(address: str, timeout: float = 10.0) -> Any:
    """Dask client for a scheduler's address; ImportError without the package, ValueError where nothing answers in time."""
    try:
        import distributed
    except ImportError:
        raise ImportError("a Dask cluster needs the package distributed: `pip install semrsm-bench[dask]`") from None
    client: Any = distributed.Client
    try:
        return client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address}: {error}") from None


class Schedule:
    """Where tiles are computed, and how large they are; ``n_jobs``, ``block`` and ``client`` as in `compute_rsm`.

    ``in_threads``: threads serve the comparison best. ``joblib.parallel_config`` may say otherwise, or choose a Dask cluster.
    """

    def __init__(
        self, n_jobs: int, block: int | None = None, client: Any | None = None, in_threads: bool = False
    ) -> None:
        backend, _ = get_active_backend()
        chosen = getattr(backend, "client", None) if type(backend).__name__ == "DaskDistributedBackend" else None
        self.n_jobs, self.block, self.client, self.in_threads = n_jobs, block, client or chosen, in_threads

    @property
    def workers(self) -> int:
        """How many tiles are computed at the same time."""
        if self.client is not None:
            return max(1, int(sum(self.client.ncores().values())))
        return int(effective_n_jobs(self.n_jobs))

    @property
    def shares_memory(self) -> bool:
        """Whether the workers are threads of this process, or it works alone."""
        if self.client is not None:
            return False
        backend, _ = get_active_backend(prefer="threads" if self.in_threads else None)
        return self.n_jobs == 1 or bool(getattr(backend, "supports_sharedmem", False))

    def run(self, tasks: Iterator[Callable[[], R]]) -> Generator[R]:
        """Results as they come, in any order, with a bounded number of tasks under way.

        Raises `WorkersLostError` where joblib's process pool broke; Dask reschedules the tiles of a lost worker by itself.
        """
        if self.client is not None:
            yield from _on_dask(tasks, self.client, self.workers)
        elif self.n_jobs == 1:
            yield from (task() for task in tasks)
        elif self.shares_memory:
            yield from in_threads(tasks, self.workers)
        else:
            parallel = processes(self.n_jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
            try:
                yield from parallel(delayed(task)() for task in tasks)
            except BrokenProcessPool as error:
                raise WorkersLostError(str(error)) from error
            except RuntimeError as error:
                if isinstance(error.__context__, KeyboardInterrupt):  # joblib cannot end workers that are being started
                    raise KeyboardInterrupt from None
                raise


def processes(n_jobs: int, **how: Any) -> Parallel:
    """Joblib's processes, which end with this one: alone they would wait for minutes. ``how`` goes to `joblib.Parallel`."""
    if type(get_active_backend()[0]).__name__ == "LokyBackend":
        how |= {"initializer": _end_with, "initargs": (os.getpid(),)}
    return Parallel(n_jobs, **how)


def _end_with(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_to_end(schedule: Schedule, tasks: Callable[[], Iterator[Callable[[], R]]]) -> Iterator[R]:
    """Results of all tasks, in any order, also where worker processes die: ``tasks()`` gives those whose results are not there yet.

    Raises `WorkersLostError` where they died several times in a row without a single result.
    """
    fruitless = 0
    while True:
        try:
            with closing(schedule.run(tasks())) as results:  # so that workers end with it
                for result in results:
                    fruitless = -1
                    yield result
            return
        except WorkersLostError:
            fruitless += 1
            if fruitless == _FRUITLESS_ATTEMPTS:
                raise


def _on_dask(tasks: Iterator[Callable[[], R]], client: Any, workers: int) -> Iterator[R]:
    import distributed

    as_completed: Any = distributed.as_completed
    first = itertools.islice(tasks, (_QUEUED_PER_CORE + 1) * workers)
    under_way = as_completed([client.submit(task, pure=False) for task in first], loop=client.loop)
    for future in under_way:
        result: R = future.result()
        future.release()
        for task in itertools.islice(tasks, 1):
            under_way.add(client.submit(task, pure=False))
        yield result


def fill_products(
    images: Images,
    matching: Comparison,
    products: Products,
    schedule: Schedule,
    norms: Norms | None = None,
    permutations: NDArray[np.intp] | None = None,
    *,
    quiet: bool = True,
) -> None:
    """Match all pairs that the products lack; raises `IncompleteError` where an entry is NaN nevertheless.

    ``norms`` fill the diagonal where the RSM is mirrored; ``permutations`` (N, M, S)
    receives the permutations.
    """
    if images.mirrored and norms is not None:
        np.fill_diagonal(products.values, norms[0])
        if permutations is not None:
            permutations[np.diag_indices(images.rows.count)] = np.arange(images.rows.size)
    length = schedule.block or block_length(images, *images.shape, images.mirrored, schedule.workers)
    missing = [tile for tile in tiles(*images.shape, length, images.mirrored) if products.lacks(tile)]
    if missing and schedule.shares_memory:
        images = images.held()
    done = images.pairs - sum(int(tile.wanted.sum()) for tile in missing)

    def tasks() -> Iterator[TileTask]:
        return make_tasks(
            images, matching, [tile for tile in missing if products.lacks(tile)], permutations is not None
        )

    # Workers that are threads ask for this too, but some BLAS libraries obey only the main thread.
    with (
        one_thread(),
        progress_bar(images.pairs, f"RSM, {matching.name}", unit="pair", initial=done, quiet=quiet) as bar,
    ):
        for tile, values, found in run_to_end(schedule, tasks):
            bar.update(products.put(tile, values))
            if permutations is not None and found is not None:
                _enter_permutations(permutations, tile, found)
    products.require_complete(f"{matching.name}, linear")


def _enter_permutations(all_: NDArray[np.intp], tile: Tile, found: NDArray[np.intp]) -> None:
    place, *mirror = tile.places
    all_[place][tile.wanted] = found[tile.wanted]
    for place in mirror:  # the inverse of each permutation
        all_[place].swapaxes(0, 1)[tile.wanted] = np.argsort(found[tile.wanted], axis=-1)
