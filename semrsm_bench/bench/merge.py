"""Runs of several machines side by side: a column for each, ratios between them, never an average over them."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semrsm_bench.bench.results import load_environment, load_rows
from semrsm_bench.bench.summary import Summary, summarise
from semrsm_bench.core.row import cell_key
from semrsm_bench.tasks.registry import get_task


@dataclass(frozen=True)
class MergedLine:
    """One method in one cell, on all machines.

    Attributes
    ----------
    task, method : str
    place : mapping
        The cell.
    score : str
        Name of the task's first score.
    runs : dict of label to dict
        For each run that has the cell: ``cases``, ``status``, ``seconds`` and ``score``, each with ``_low`` and ``_high``; for
        all but the first ``time_ratio``, seconds over those of the first run; with a reference method ``speedup``, how many
        times faster than it on the same machine. Unknown numbers are NaN.
    """

    task: str
    method: str
    place: Mapping[str, Any]
    score: str
    runs: dict[str, dict[str, Any]]


def label_runs(runs: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Short labels A, B, ... and what they stand for: run id, CPU, system, commit, data.

    Raises
    ------
    ValueError
        Fewer than two runs, more than 26, the same run twice, or two that measured different data of the same name.
    """
    if not 2 <= len(runs) <= len(string.ascii_uppercase):
        raise ValueError(f"merge lays 2 to {len(string.ascii_uppercase)} runs side by side, got {len(runs)}")
    resolved = [run.resolve() for run in runs]
    if len(set(resolved)) != len(resolved):
        raise ValueError("the same run is named twice")
    legend: dict[str, dict[str, Any]] = {}
    digests: dict[str, tuple[str, str]] = {}
    for label, run in zip(string.ascii_uppercase, runs):
        found = load_environment(run)
        for entry in found.get("data", []):
            sha256, first = digests.setdefault(entry["name"], (entry["sha256"], run.name))
            if sha256 != entry["sha256"]:
                raise ValueError(
                    f"{first} and {run.name} measured different data, both called {entry['name']!r}: "
                    "their figures do not belong side by side"
                )
        legend[label] = {
            "run_id": str(found.get("run_id", run.name)),
            "cpu": found.get("cpu", {}).get("model", "unknown"),
        }
        legend[label] |= {name: found.get(name, "unknown") for name in ("os", "python")}
        legend[label] |= {name: found.get(name) for name in ("commit", "dirty")}
    return legend


def merge_runs(
    runs: Sequence[Path], *, relative_to: str | None = None
) -> tuple[list[MergedLine], dict[str, dict[str, Any]]]:
    """Summaries of several runs beside one another, task by task and cell by cell.

    Parameters
    ----------
    runs : sequence of Path
        Folders of runs.
    relative_to : str, optional
        A method that every other is set in proportion to, which compares between machines where seconds do not.

    Returns
    -------
    list of MergedLine
        One for each method and cell that any run has.
    dict
        What the labels stand for.

    Raises
    ------
    ValueError
        As for `label_runs`, or no run has the reference method.
    """
    legend = label_runs(runs)
    found: dict[tuple[str, str, str], dict[str, Summary]] = {}
    for label, run in zip(legend, runs):
        rows = load_rows(run)
        for name in dict.fromkeys(str(row["task"]) for row in rows):
            for summary in summarise(rows, get_task(name), run):
                side = found.setdefault((name, cell_key(summary.place), summary.method), {})
                if label in side:
                    raise ValueError(
                        f"{run.name} has {summary.method!r} with several sets of options in one cell of {name}; "
                        "make a run for each of them"
                    )
                side[label] = summary
    methods = dict.fromkeys(method for _, _, method in found)
    if relative_to is not None and relative_to not in methods:
        raise ValueError(f"no run has the method {relative_to!r}; there are {', '.join(methods)}")
    first = next(iter(legend))
    tasks = {name: (i, get_task(name)) for i, name in enumerate(dict.fromkeys(task for task, _, _ in found))}
    places = {place: i for i, place in enumerate(dict.fromkeys((task, place) for task, place, _ in found))}
    merged = []
    for (name, key, method), sides in found.items():
        position, task = tasks[name]
        score, place = task.scores[0].name, next(iter(sides.values())).place
        columns = {label: _figures(side, score) for label, side in sides.items()}
        for label, figures in columns.items():
            if label != first:
                figures["time_ratio"] = figures["seconds"] / columns.get(first, {}).get("seconds", math.nan)
            if relative_to is not None:
                other = found.get((name, key, relative_to), {}).get(label)
                figures["speedup"] = (other.seconds.value if other else math.nan) / figures["seconds"]
        order = (position, task.cell_order(place), places[name, key])
        merged.append((order, MergedLine(name, method, place, score, columns)))
    return [line for _, line in sorted(merged, key=lambda entry: entry[0])], legend


def _figures(summary: Summary, score: str) -> dict[str, Any]:
    figures: dict[str, Any] = {"cases": summary.cases, "status": summary.status}
    for name, interval in (("seconds", summary.seconds), ("score", summary.scores.get(score))):
        for part in ("value", "low", "high"):
            figures[name if part == "value" else f"{name}_{part}"] = getattr(interval, part, math.nan)
    return figures
