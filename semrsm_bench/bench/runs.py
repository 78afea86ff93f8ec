"""Writing a run: which folder, new or resumed; one process at a time, one system call a row, torn tails mended."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from semrsm_bench.bench.environment import differences
from semrsm_bench.bench.results import ENVIRONMENT_FILE, ROWS_FILE, RUN_FILE, list_runs, read_json, write_json
from semrsm_bench.core.files import lock
from semrsm_bench.core.options import option
from semrsm_bench.core.row import Row

_SYNC_SECONDS = 1.0
# The name of a folder, typed on command lines and shown in tables.
_RUN_ID = re.compile(r"\w[\w .:+-]{0,98}[\w.+-]|\w")


@dataclass(frozen=True)
class SessionOptions:
    """Where a run is kept and how much of it this call does."""

    out: Path = option(Path("results"), help="Folder of all runs.")
    run_id: str | None = option(None, help="Name of the run; an unfinished one of that name is resumed.")
    fresh: bool = option(False, help="Start a new run even where an unfinished one would fit.")
    estimate: bool = option(False, help="Measure one case of every cell, say how long the rest takes, and stop.")


class RunBusyError(ValueError):
    """Another process is writing the same run."""


class RunWriter:
    """The one process that writes a run; use it as a context manager.

    Parameters
    ----------
    folder : Path
        ``results/<run-id>``; made when missing.
    resumed : bool
        Whether the run was there before.

    Raises
    ------
    RunBusyError
        Another process holds the run.
    """

    def __init__(self, folder: Path, resumed: bool = False) -> None:
        self.folder, self.resumed = folder, resumed
        folder.mkdir(parents=True, exist_ok=True)
        # Not O_APPEND alone: repairing a torn tail needs to read and cut the same file under the same lock.
        self._path, flags = folder / ROWS_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o644)
        if not lock(self._descriptor, self._path):
            os.close(self._descriptor)
            raise RunBusyError(
                f"run {folder.name!r} is being written by another process; wait for it, or start a new one with --fresh"
            )
        _mend_tail(self._descriptor)
        self._synced = time.monotonic()

    def append(self, row: Row) -> None:
        """Write one row with one system call, so that a kill leaves whole rows or one torn tail, never a mixture."""
        line = (row.to_json() + "\n").encode()
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Force the rows to the disk; a kill loses nothing without it, a power cut at most a second."""
        os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync, and give up the lock."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1

    def note_codes(self, codes: Mapping[str, Mapping[str, str]]) -> None:
        """Write down which code of each method is measured from now on, by task: older rows no longer count.

        A finished run of other code is not finished any more.
        """
        content = read_json(self.folder / RUN_FILE)
        if content.get("codes") != codes:
            write_json(self.folder / RUN_FILE, {**content, "codes": codes, "finished": None})

    def finish(self) -> None:
        """Mark the run as complete, so that the same options start a new one next time."""
        content = read_json(self.folder / RUN_FILE)
        if not content.get("finished"):
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            write_json(self.folder / RUN_FILE, {**content, "finished": now})

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *error: object) -> None:
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


def open_run(session: SessionOptions, plan: Mapping[str, Any], environment: Mapping[str, Any]) -> RunWriter:
    """Open the run to write to, under its lock.

    Without a run id, the latest unfinished run with the same plan and environment is resumed, unless another process holds its
    lock or a fresh one is asked for.

    Parameters
    ----------
    session : SessionOptions
    plan : mapping
        What is to be measured, as `Plan.describe` gives it.
    environment : mapping
        As `describe_environment` gives it.

    Raises
    ------
    RunBusyError
        The named run is being written by another process.
    ValueError
        The named run was made with other options or elsewhere, or exists although a fresh one was asked for.
    """
    if session.run_id is not None:
        return _open_named(session, session.run_id, plan, environment)
    if not session.fresh:
        for folder in reversed(list_runs(session.out)):
            found = _resume(folder, plan, environment)
            if found is not None:
                return found
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return _create(session.out / f"{stamp}-{plan['profile']}-{secrets.token_hex(2)}", plan, environment)


def _open_named(
    session: SessionOptions, run_id: str, plan: Mapping[str, Any], environment: Mapping[str, Any]
) -> RunWriter:
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(
            f"a run's id is the name of a folder: letters, digits and . _ + - : or a blank, at most 100 and no sign at the "
            f"beginning, got {run_id[:120]!r}"
        )
    folder = session.out / run_id
    if not (folder / RUN_FILE).is_file():
        return _create(folder, plan, environment)
    if session.fresh:
        raise ValueError(
            f"run {run_id!r} exists already in {session.out}; choose another id, or leave --fresh out to resume it"
        )
    reason = _mismatch(folder, plan, environment)
    if reason:
        raise ValueError(f"run {run_id!r} cannot be resumed: {reason}; choose another id")
    return RunWriter(folder, resumed=True)


def _create(folder: Path, plan: Mapping[str, Any], environment: Mapping[str, Any]) -> RunWriter:
    writer = RunWriter(folder)
    write_json(folder / ENVIRONMENT_FILE, {**environment, "run_id": folder.name, "profile": plan["profile"]})
    write_json(folder / RUN_FILE, {"run_id": folder.name, "plan": plan, "finished": None})
    return writer


def _resume(folder: Path, plan: Mapping[str, Any], environment: Mapping[str, Any]) -> RunWriter | None:
    """The run under its lock, if it is unfinished, fits, and its lock is free."""
    try:
        if _finished(folder) or _mismatch(folder, plan, environment):
            return None
        writer = RunWriter(folder, resumed=True)
    except (RunBusyError, FileNotFoundError, ValueError):
        return None
    if _finished(folder):  # by another process, before this one had the lock
        writer.close()
        return None
    return writer


def _finished(folder: Path) -> bool:
    return bool(read_json(folder / RUN_FILE).get("finished"))


def _mismatch(folder: Path, plan: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    old_plan = read_json(folder / RUN_FILE).get("plan") or {}
    changed = [key for key in plan if old_plan.get(key) != plan[key]]
    if changed:
        # The plan keeps the options of a task, as the layers, with its name.
        return f"it was started with other {', '.join(changed)}".replace("tasks", "tasks or options of tasks")
    elsewhere = differences(read_json(folder / ENVIRONMENT_FILE), environment)
    return f"these differ from when it was started: {', '.join(elsewhere)}" if elsewhere else ""
