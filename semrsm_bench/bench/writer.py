"""Appending to a run: one process at a time, one system call per row, torn tails mended."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType

from semrsm_bench.bench.results import ROWS_FILE
from semrsm_bench.core.row import Row

_SYNC_SECONDS = 1.0


class RunBusyError(ValueError):
    """Another process is writing the same run."""


class RunWriter:
    """The one process that appends to a run; use it as a context manager.

    Parameters
    ----------
    folder : Path
        ``results/<run-id>``; made when missing.

    Raises
    ------
    RunBusyError
        Another process holds the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ROWS_FILE
        # Not O_APPEND alone: repairing a torn tail needs to read and cut the same file under the same lock.
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise RunBusyError(
                f"run {folder.name!r} is being written by another process; wait for it, or start a new one with --fresh"
            ) from None
        _mend_tail(self._descriptor)
        self._synced = time.monotonic()

    def append(self, row: Row) -> None:
        """Write one row with one system call, so that a kill leaves whole rows or one torn tail, never a mixture."""
        line = (row.to_json() + "\n").encode()
        written = os.write(self._descriptor, line)
        if written != len(line):
            raise OSError(
                f"{self.folder / ROWS_FILE}: only {written} of {len(line)} bytes were written; is the disk full?"
            )
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Force the rows to the disk; a kill loses nothing without it, a power cut at most a second."""
        os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and let go of the run."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _mend_tail(descriptor: int) -> None:
    """Complete or cut a last line that a kill or a full disk left without its line break."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    start, tail = size, b""
    while start > 0 and b"\n" not in tail:
        step = min(start, 1 << 16)
        start -= step
        tail = os.pread(descriptor, step, start) + tail
    tail = tail.rpartition(b"\n")[2]
    try:
        json.loads(tail)
    except ValueError:
        os.ftruncate(descriptor, size - len(tail))
    else:
        os.write(descriptor, b"\n")
