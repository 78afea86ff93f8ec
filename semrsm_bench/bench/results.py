"""The folder of a run: its append-only file of rows, and how they are read back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semrsm_bench.core.row import cell_key, current, plain, resume_key

ROWS_FILE = "rows.jsonl"
ENVIRONMENT_FILE = "environment.json"
RUN_FILE = "run.json"
ARRAYS_FOLDER = "arrays"
LATEST = "latest"


def read_rows(run: Path) -> list[dict[str, Any]]:
    """All rows of a run, oldest first, in today's schema; a torn last line is left out, as if it had not been measured.

    Raises
    ------
    FileNotFoundError
        No rows there.
    ValueError
        A line inside the file is broken, or a newer version of the package wrote it.
    """
    path = run if run.is_file() else run / ROWS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is {run} the folder of a run?")
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                continue
            what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "not UTF-8"
            raise ValueError(f"{where} is no row: {what}. Delete the line; its case is measured again") from None
        if not isinstance(row, dict):
            raise ValueError(f"{where} is no row: it holds {line.decode()[:40]}. Delete the line")
        try:
            rows.append(current(row))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return rows


def load_rows(run: Path, task: str | None = None) -> list[dict[str, Any]]:
    """The rows of a run that count, oldest first.

    Of repeated observations the last one counts. Where a method's code changed between them, a cell never mixes two versions:
    only rows of the code that the last session had count, even where it has measured none yet.

    Parameters
    ----------
    run : Path
        Folder of a run, or its ``rows.jsonl``.
    task : str, optional
        Only its rows.
    """
    rows = [row for row in read_rows(run) if task is None or row["task"] == task]
    newest = {_cell_of(row): row["code"] for row in rows}
    noted = _noted_codes(run.parent if run.is_file() else run)
    rows = [row for row in rows if row["code"] == noted.get(row["task"], {}).get(row["method"], newest[_cell_of(row)])]
    return list({resume_key(row): row for row in rows}.values())


def _noted_codes(folder: Path) -> Mapping[str, Mapping[str, str]]:
    path = folder / RUN_FILE
    return read_json(path).get("codes") or {} if path.is_file() else {}


def _cell_of(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return str(row["task"]), str(row["method"]), json.dumps(row["options"], sort_keys=True), cell_key(row["cell"])


def load_environment(run: Path) -> dict[str, Any]:
    """``environment.json`` of a run.

    Raises
    ------
    FileNotFoundError, ValueError
        It is missing or broken.
    """
    return read_json((run.parent if run.is_file() else run) / ENVIRONMENT_FILE)


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
    """Write a JSON object so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(plain(content, bounded=False), indent=1) + "\n")
    os.replace(temporary, path)


def list_runs(results: Path) -> list[Path]:
    """Folders of all runs below ``results``, oldest first."""
    if not results.is_dir():
        return []
    runs = [p for p in results.iterdir() if (p / ENVIRONMENT_FILE).is_file()]
    return sorted(runs, key=lambda p: (_started(p), p.name))


def _started(run: Path) -> str:
    try:
        return str(load_environment(run).get("started", ""))
    except ValueError:
        return ""


def find_run(results: Path | str, run: str | Path = LATEST) -> Path:
    """Folder of a run given by its id, by its path, or as "latest".

    Raises
    ------
    FileNotFoundError
        There is none; the message lists those there are.
    """
    results = Path(results)
    if str(run) != LATEST:
        for path in (results / run, Path(run)):
            if (path / ENVIRONMENT_FILE).is_file():
                return path
            if path.is_file() and path.name == ROWS_FILE:
                return path.parent
    runs = list_runs(results)
    if not runs:
        raise FileNotFoundError(f"no run in {results}; make one with: semrsm-bench run")
    if str(run) == LATEST:
        return runs[-1]
    raise FileNotFoundError(f"no run {str(run)!r} in {results}; there are {', '.join(p.name for p in runs[-8:])}")
