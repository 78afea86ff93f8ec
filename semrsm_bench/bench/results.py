"""The folder of a run: its append-only file of rows, which one process at a time writes, and how it is found and read back."""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from semrsm_bench.core.files import lock, writing
from semrsm_bench.core.options import option
from semrsm_bench.core.row import Row, cell_key, current, plain, resume_key

ROWS_FILE = "rows.jsonl"
KEPT_FILE = "rows.jsonl.xz"  # in its place in a run that is kept: xz makes it, and unxz lets the run be resumed
ENVIRONMENT_FILE = "environment.json"
RUN_FILE = "run.json"
ARRAYS_FOLDER = "arrays"
LATEST = "latest"
# What must agree before rows of two sessions may be in one run. Code, libraries and data are in the keys of rows.
IDENTITY = ("cpu", "os", "python", "blas")
_SYNC_SECONDS = 1.0
_LONGEST_RUN_ID = 200  # bytes: file systems end at 255, and partial files have longer names
# The name of a folder, typed on command lines and shown in tables.
_RUN_ID = re.compile(r"\w[\w .:+-]{0,98}[\w.+-]|\w")


def rows_file(run: Path) -> Path | None:
    """The file of a run's rows, which may be compressed; None where there is none."""
    return next((path for path in (run / ROWS_FILE, run / KEPT_FILE) if path.is_file()), None)


def read_rows(run: Path) -> list[dict[str, Any]]:
    """All rows of a run, oldest first, in today's schema; a torn last line is left out, as if it had not been measured.

    ValueError: a line inside the file is broken, or a newer version of the package wrote it.
    """
    path = rows_file(run)
    if path is None:
        raise FileNotFoundError(f"{run / ROWS_FILE}: no such file; is {run} the folder of a run?")
    try:
        content = lzma.decompress(path.read_bytes()) if path.name == KEPT_FILE else path.read_bytes()
    except lzma.LZMAError as error:
        raise ValueError(f"{path} is damaged: {error}; bring it back from a copy of the run") from None
    lines = content.split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            wrong = "" if isinstance(row, dict) else "no JSON object"
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                continue
            wrong = getattr(error, "msg", "not UTF-8, or nested too deeply")
        if wrong:
            raise ValueError(f"{path}, line {number} is no row: {wrong}. Delete the line; its case is measured again")
        try:
            rows.append(current(row))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return rows


def load_rows(run: Path) -> list[dict[str, Any]]:
    """The rows of a run that count, oldest first.

    Of repeated observations the last one counts. Where a method's code changed between them, a cell never mixes two versions:
    only rows of the code that the last session had count, even where it has measured none yet.
    """

    def cell_of(row: Mapping[str, Any]) -> tuple[str, ...]:
        return row["task"], row["method"], json.dumps(row["options"], sort_keys=True), cell_key(row["cell"])

    rows = read_rows(run)
    newest = {cell_of(row): row["code"] for row in rows}
    path = run / RUN_FILE
    noted: Mapping[str, Any] = (read_json(path).get("codes") if path.is_file() else None) or {}
    rows = [row for row in rows if row["code"] == noted.get(row["task"], {}).get(row["method"], newest[cell_of(row)])]
    return list({resume_key(row): row for row in rows}.values())


def load_environment(run: Path) -> dict[str, Any]:
    """``environment.json`` of a run; FileNotFoundError or ValueError where it is missing or broken."""
    path = run / ENVIRONMENT_FILE
    found = read_json(path)
    for name, kind in {"cpu": dict, "packages": dict, "data": list, "blas": list}.items():
        value: Any = found.get(name) or kind()
        if not isinstance(value, kind) or any(kind is list and not isinstance(each, dict) for each in value):
            raise ValueError(f"{path}: {name} is {json.dumps(value)[:100]}; bring the file back from a copy of the run")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, with an error that names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is {path.parent} the folder of a run?")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    with writing(path) as partial:
        partial.write_text(json.dumps(plain(content, bounded=False), indent=1) + "\n")


def list_runs(results: Path) -> list[Path]:
    """Folders of all runs below ``results``, oldest first."""

    def started(run: Path) -> str:
        try:
            return str(load_environment(run).get("started", ""))
        except ValueError:
            return ""

    runs = [p for p in results.iterdir() if (p / ENVIRONMENT_FILE).is_file()] if results.is_dir() else []
    return sorted(runs, key=lambda p: (started(p), p.name))


def find_run(results: Path | str, run: str | Path = LATEST) -> Path:
    """Folder of a run given by its id, by its path, or as "latest"; FileNotFoundError lists those there are."""
    results = Path(results)
    if str(run) != LATEST:
        for path in (results / run, Path(run)):
            if (path / ENVIRONMENT_FILE).is_file():
                return path
            if path.is_file() and path.name in (ROWS_FILE, KEPT_FILE):
                return path.parent
    runs = list_runs(results)
    if not runs:
        raise FileNotFoundError(f"no run in {results}; make one with: semrsm-bench run")
    if str(run) == LATEST:
        return runs[-1]
    raise FileNotFoundError(f"no run {str(run)!r} in {results}; there are {', '.join(p.name for p in runs[-8:])}")


@dataclass(frozen=True)
class SessionOptions:
    """Where a run is kept and how much of it this call does."""

    out: Path = option(Path("results"), help="Folder of all runs.")
    run_id: str | None = option(None, help="Name of the run; an unfinished one of that name is resumed.")
    fresh: bool = option(False, help="Start a new run even where an unfinished one would fit.")
    estimate: bool = option(
        False, help="Measure for about a minute, a case here and there, say how long all takes, and stop."
    )


class RunBusyError(ValueError):
    """Another process is writing the same run."""


class RunWriter(contextlib.AbstractContextManager["RunWriter"]):
    """The one process that writes a run, into ``results/<run-id>``, or `RunBusyError`; use it as a context manager."""

    def __init__(self, folder: Path, resumed: bool = False) -> None:
        self.folder, self.resumed = folder, resumed
        if rows_file(folder) == folder / KEPT_FILE:
            raise ValueError(
                f"the rows of run {folder.name!r} are compressed; to go on with it: unxz {folder / KEPT_FILE}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        # Not O_APPEND alone: repairing a torn tail needs to read and cut the same file under the same lock.
        self._path, flags = folder / ROWS_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o644)
        if not lock(self._descriptor, self._path):
            os.close(self._descriptor)
            raise RunBusyError(
                f"run {folder.name!r} is being written by another process; wait for it, or start a new one with --fresh"
            )
        for stale in folder.glob("*.partial"):  # what killed writers left
            stale.unlink(missing_ok=True)
        self._mend_tail()
        self._synced = time.monotonic()

    def append(self, row: Row) -> None:
        """Write one row with one system call, so that a kill leaves whole rows or one torn tail, never a mixture.

        A kill loses no row; a power cut those of a second.
        """
        line = (row.to_json() + "\n").encode()
        try:
            while line:  # once; after a short write the next says why
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._descriptor)
            self._synced = time.monotonic()

    @property
    def seed(self) -> int:
        """Drawn when the run began: of what its calls must not share with those of another run."""
        return int(read_json(self.folder / RUN_FILE).get("seed") or 0)

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

    def __exit__(self, *error: object) -> None:
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def _mend_tail(self) -> None:
        """Complete or cut a last line that a kill or a full disk left without its line break."""
        content = self._path.read_bytes()
        if not (torn := content.rpartition(b"\n")[2]):
            return
        try:
            json.loads(torn)
        except ValueError:
            os.ftruncate(self._descriptor, len(content) - len(torn))
        else:
            os.write(self._descriptor, b"\n")


def open_run(
    session: SessionOptions, plan: Mapping[str, Any], environment: Mapping[str, Any], commands: Sequence[str] = ()
) -> RunWriter:
    """Open the run to write to, under its lock.

    Without a run id, the latest unfinished run with the same plan and environment is resumed, unless another process holds its
    lock or a fresh one is asked for. ValueError: the named run is being written, was made with other options or elsewhere, or
    exists although a fresh one was asked for.
    """
    run_id = session.run_id
    if run_id is not None:
        if run_id == LATEST or not _RUN_ID.fullmatch(run_id) or len(run_id.encode()) > _LONGEST_RUN_ID:
            raise ValueError(
                f"a run's id is the name of a folder: letters, digits and . _ + - : or a blank, at most 100 (200 bytes), no sign "
                f"at the beginning, and not {LATEST!r}, which means the newest run; got {run_id[:120]!r}"
            )
        folder = session.out / run_id
        if (folder / RUN_FILE).is_file():
            if session.fresh:
                raise ValueError(
                    f"run {run_id!r} exists already in {session.out}; choose another id, or leave --fresh out to resume it"
                )
            if reason := _mismatch(folder, plan, environment):
                raise ValueError(f"run {run_id!r} cannot be resumed: {reason}; choose another id")
            return RunWriter(folder, resumed=True)
    else:
        for found in [] if session.fresh else reversed(list_runs(session.out)):
            if writer := _resume(found, plan, environment):
                return writer
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        folder = session.out / f"{stamp}-{plan['profile']}-{secrets.token_hex(2)}"
    writer = RunWriter(folder)
    write_json(folder / ENVIRONMENT_FILE, {**environment, "run_id": folder.name, "profile": plan["profile"]})
    facts = {"run_id": folder.name, "plan": plan, "commands": list(commands), "seed": secrets.randbits(32)}
    write_json(folder / RUN_FILE, {**facts, "finished": None})
    return writer


def _resume(folder: Path, plan: Mapping[str, Any], environment: Mapping[str, Any]) -> RunWriter | None:
    """The run under its lock, if it is unfinished, fits, and its lock is free."""
    try:
        if not read_json(folder / RUN_FILE).get("finished") and not _mismatch(folder, plan, environment):
            writer = RunWriter(folder, resumed=True)
            if not read_json(folder / RUN_FILE).get("finished"):  # by another process, before this one had the lock
                return writer
            writer.__exit__()
    except (FileNotFoundError, ValueError):  # also where the lock is held
        pass
    return None


def _mismatch(folder: Path, plan: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    old_plan, old = read_json(folder / RUN_FILE).get("plan") or {}, read_json(folder / ENVIRONMENT_FILE)
    if changed := [key for key in plan if old_plan.get(key) != plan[key]]:
        # The plan keeps the options of a task, as the layers, with its name.
        return f"it was started with other {', '.join(changed)}".replace("tasks", "tasks or options of tasks")
    elsewhere = [key for key in IDENTITY if old.get(key) != environment.get(key)]
    return f"these differ from when it was started: {', '.join(elsewhere)}" if elsewhere else ""
