"""Tiles to workers: this process, joblib's processes or threads, or a Dask cluster."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from semrsm_bench.rsm.blocks import TileResult, TileTask, compute_tile

# Tiles waiting on a Dask worker beside the one in progress: enough to hide the network, few enough to bound memory.
_QUEUED_PER_CORE = 2


class WorkersLostError(RuntimeError):
    """Worker processes died; their tiles are missing, all others have been delivered."""


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


@dataclass(frozen=True)
class Schedule:
    """Where tiles are computed, and how large they are.

    Attributes
    ----------
    n_jobs, block, client
        As in `compute_rsm`.
    in_threads : bool
        Threads serve the comparison best; ``joblib.parallel_config`` may say otherwise.
    """

    n_jobs: int = 1
    block: int | None = None
    client: Any | None = None
    in_threads: bool = False

    @classmethod
    def of(cls, n_jobs: int, block: int | None, client: Any | None, in_threads: bool) -> Schedule:
        """With the client of the Dask cluster that ``joblib.parallel_config(backend="dask")`` chose, where none is given."""
        backend, _ = get_active_backend()
        chosen = getattr(backend, "client", None) if type(backend).__name__ == "DaskDistributedBackend" else None
        return cls(n_jobs, block, client or chosen, in_threads)

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

    def run(self, tasks: Iterator[TileTask]) -> Iterator[TileResult]:
        """Results as they come, in any order, with a bounded number of tasks under way.

        Raises `WorkersLostError` where joblib's process pool broke; Dask reschedules the tiles of a lost worker by itself.
        """
        if self.client is not None:
            yield from _on_dask(tasks, self.client, self.workers)
        elif self.n_jobs == 1:
            yield from map(compute_tile, tasks)
        elif self.shares_memory:
            yield from _on_threads(tasks, self.workers)
        else:
            parallel = Parallel(self.n_jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
            try:
                yield from parallel(delayed(compute_tile)(task) for task in tasks)
            except BrokenProcessPool as error:
                raise WorkersLostError(str(error)) from error


def _on_threads(tasks: Iterator[TileTask], workers: int) -> Iterator[TileResult]:
    # joblib's own threads take some ten milliseconds to begin and to end, as long as dozens of pairs.
    pool = ThreadPoolExecutor(workers)
    try:
        under_way = {pool.submit(compute_tile, task) for task in itertools.islice(tasks, 2 * workers)}
        while under_way:
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            under_way |= {pool.submit(compute_tile, task) for task in itertools.islice(tasks, len(done))}
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(cancel_futures=True)


def _on_dask(tasks: Iterator[TileTask], client: Any, workers: int) -> Iterator[TileResult]:
    import distributed

    as_completed: Any = distributed.as_completed
    limit = (_QUEUED_PER_CORE + 1) * workers
    under_way = as_completed(
        [client.submit(compute_tile, task, pure=False) for task in itertools.islice(tasks, limit)], loop=client.loop
    )
    for future in under_way:
        result: TileResult = future.result()
        future.release()
        for task in itertools.islice(tasks, 1):
            under_way.add(client.submit(compute_tile, task, pure=False))
        yield result
