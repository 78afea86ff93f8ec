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
from semrsm_bench.core.stats import UNKNOWN
from semrsm_bench.tasks.registry import get_task


@dataclass(frozen=True)
class MergedLine:
    """One method in one cell (``place``), by the first score of its task, on all machines that have it.

    Of each run, by label: ``cases``, ``status``, ``seconds`` and ``score`` with their ``_low`` and ``_high``; for all but the first
    ``time_ratio``, seconds over those of the first run; with a reference method ``speedup``, how many times faster than it on the
    same machine. Unknown numbers are NaN.
    """

    task: str
    method: str
    place: Mapping[str, Any]
    score: str
    runs: dict[str, dict[str, Any]]


def label_runs(runs: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Labels A, B, ... and what they stand for; ValueError where runs cannot stand side by side."""
    if not 2 <= len(runs) <= len(string.ascii_uppercase):
        raise ValueError(f"merge lays 2 to {len(string.ascii_uppercase)} runs side by side, got {len(runs)}")
    if len({run.resolve() for run in runs}) != len(runs):
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
        facts = {"os": "unknown", "python": "unknown", "commit": None, "dirty": None}
        legend[label] = {
            "run_id": str(found.get("run_id", run.name)),
            "cpu": found.get("cpu", {}).get("model", "unknown"),
        }
        legend[label] |= {name: found.get(name, default) for name, default in facts.items()}
    return legend


def merge_runs(
    runs: Sequence[Path], *, relative_to: str | None = None
) -> tuple[list[MergedLine], dict[str, dict[str, Any]]]:
    """Summaries of the runs in these folders beside one another, task by task and cell by cell; and what the labels stand for.

    With ``relative_to`` every method is set in proportion to that one, which compares between machines where seconds do not.
    """
    legend = label_runs(runs)
    # Task and cell, then method, then label: tasks and cells stand in the order in which the runs have them.
    cells: dict[tuple[str, str], dict[str, dict[str, Summary]]] = {}
    for label, run in zip(legend, runs):
        rows = load_rows(run)
        for name in dict.fromkeys(str(row["task"]) for row in rows):
            for summary in summarise(rows, get_task(name), run):
                side = cells.setdefault((name, cell_key(summary.place)), {}).setdefault(summary.method, {})
                if label in side:
                    raise ValueError(
                        f"{run.name} has {summary.method!r} with several sets of options in one cell of {name}; "
                        "make a run for each of them"
                    )
                side[label] = summary
    methods = dict.fromkeys(method for there in cells.values() for method in there)
    if relative_to is not None and relative_to not in methods:
        raise ValueError(f"no run has the method {relative_to!r}; there are {', '.join(methods)}")
    tasks = {name: i for i, name in enumerate(dict.fromkeys(name for name, _ in cells))}
    merged = []
    for (name, _), there in cells.items():
        task = get_task(name)
        for method, sides in there.items():
            place = next(iter(sides.values())).place
            line = MergedLine(name, method, place, task.scores[0].name, {})
            for label, summary in sides.items():
                line.runs[label] = figures = _figures(summary, line.score)
                if label != "A":
                    figures["time_ratio"] = figures["seconds"] / (
                        sides["A"].seconds.value if "A" in sides else math.nan
                    )
                if relative_to is not None:
                    other = there.get(relative_to, {}).get(label)
                    figures["speedup"] = (other.seconds.value if other else math.nan) / figures["seconds"]
            merged.append(((tasks[name], task.cell_order(place)), line))
    return [line for _, line in sorted(merged, key=lambda entry: entry[0])], legend


def _figures(summary: Summary, score: str) -> dict[str, Any]:
    figures: dict[str, Any] = {"cases": summary.cases, "status": summary.status}
    for name, interval in (("seconds", summary.seconds), ("score", summary.scores.get(score, UNKNOWN))):
        figures |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return figures
