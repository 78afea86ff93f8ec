"""Which folder a run writes to: a new one, or the unfinished one that it resumes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from semrsm_bench.bench.environment import differences
from semrsm_bench.bench.results import ENVIRONMENT_FILE, RUN_FILE, list_runs, read_json, write_json
from semrsm_bench.bench.writer import RunBusyError, RunWriter


@dataclass
class OpenRun:
    """A run's folder, locked for this process.

    Attributes
    ----------
    folder : Path
    writer : RunWriter
    resumed : bool
        It held rows of an earlier session.
    """

    folder: Path
    writer: RunWriter
    resumed: bool

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
            write_json(self.folder / RUN_FILE, {**content, "finished": _now()})


def open_run(
    results: Path,
    plan: Mapping[str, Any],
    environment: Mapping[str, Any],
    *,
    run_id: str | None = None,
    fresh: bool = False,
) -> OpenRun:
    """Open the run to write to, under its lock.

    Parameters
    ----------
    results : Path
        Folder of all runs.
    plan : mapping
        What is to be measured, as `Plan.describe` gives it.
    environment : mapping
        As `describe_environment` gives it.
    run_id : str, optional
        Open this run and no other. Without it the latest unfinished run with the same plan and environment is resumed, unless
        another process holds its lock.
    fresh : bool
        Always start a new run.

    Raises
    ------
    RunBusyError
        The named run is being written by another process.
    ValueError
        The named run was made with other options or elsewhere, or exists although a fresh one was asked for.
    """
    if run_id is not None:
        return _open_named(results, run_id, plan, environment, fresh)
    if not fresh:
        for folder in reversed(list_runs(results)):
            found = _resume(folder, plan, environment)
            if found is not None:
                return found
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return _create(results, f"{stamp}-{plan['profile']}-{secrets.token_hex(2)}", plan, environment)


def _open_named(
    results: Path, run_id: str, plan: Mapping[str, Any], environment: Mapping[str, Any], fresh: bool
) -> OpenRun:
    if not run_id or Path(run_id).name != run_id or run_id.startswith("."):
        raise ValueError(f"a run's id is the name of a folder, got {run_id!r}")
    folder = results / run_id
    if not (folder / RUN_FILE).is_file():
        return _create(results, run_id, plan, environment)
    if fresh:
        raise ValueError(
            f"run {run_id!r} exists already in {results}; choose another id, or leave --fresh out to resume it"
        )
    reason = _mismatch(folder, plan, environment)
    if reason:
        raise ValueError(f"run {run_id!r} cannot be resumed: {reason}; choose another id")
    return OpenRun(folder, RunWriter(folder), resumed=True)


def _create(results: Path, run_id: str, plan: Mapping[str, Any], environment: Mapping[str, Any]) -> OpenRun:
    folder = results / run_id
    writer = RunWriter(folder)
    write_json(folder / ENVIRONMENT_FILE, {**environment, "run_id": run_id, "profile": plan["profile"]})
    write_json(folder / RUN_FILE, {"run_id": run_id, "plan": plan, "finished": None})
    return OpenRun(folder, writer, resumed=False)


def _resume(folder: Path, plan: Mapping[str, Any], environment: Mapping[str, Any]) -> OpenRun | None:
    """The run under its lock, if it is unfinished, fits, and its lock is free."""
    try:
        if _finished(folder) or _mismatch(folder, plan, environment):
            return None
        writer = RunWriter(folder)
    except (RunBusyError, FileNotFoundError, ValueError):
        return None
    if _finished(folder):  # by another process, before the lock was ours
        writer.close()
        return None
    return OpenRun(folder, writer, resumed=True)


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
