"""Runs of tasks as the engine writes them, without its workers: rows in a folder, arrays beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semrsm_bench.bench.results import ARRAYS_FOLDER, ENVIRONMENT_FILE, ROWS_FILE, write_json
from semrsm_bench.core.row import Row
from semrsm_bench.core.task import Task
from tests.observing import met, options
from tests.synthetic_rows import ENVIRONMENT


def write_task_run(folder: Path, task: Task, methods: Sequence[str], **given: Any) -> list[dict[str, Any]]:
    """Meet all cases of a task with methods; the rows, which lie in the folder too."""
    (folder / ARRAYS_FOLDER).mkdir(parents=True)
    rows = []
    for number, (name, case, scored) in enumerate(met(task, methods, options(task, **given))):
        assert scored.status == "ok", scored.message
        kept = f"{ARRAYS_FOLDER}/{number}.npz" if scored.arrays else ""
        if kept:
            np.savez(folder / kept, **scored.arrays)
        row = Row(
            run_id=folder.name, task=task.name, kind=task.kind, method=name, case=case.name, status="ok", cell=case.cell,
            units=case.units, seconds=1e-3 * (1 + methods.index(name)), samples=1, scores=scored.scores, raw=scored.raw,
            arrays=kept,
        )  # fmt: skip
        rows.append(row.as_dict())
    (folder / ROWS_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(folder / ENVIRONMENT_FILE, {**ENVIRONMENT, "methods": {}})
    return rows
