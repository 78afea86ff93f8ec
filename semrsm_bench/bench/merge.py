"""Runs of several machines side by side: a column for each, ratios between them, never an average over them."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from semrsm_bench.bench.results import load_environment, load_rows
from semrsm_bench.bench.stats import CELL, summarise

KEPT = ("pairs", "status", "seconds", "seconds_low", "seconds_high", "total_seconds", "quality", "chance_corrected")


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
        environment = load_environment(run)
        for entry in environment.get("data", []):
            first = digests.setdefault(entry["name"], (entry["sha256"], run.name))
            if first[0] != entry["sha256"]:
                raise ValueError(
                    f"{first[1]} and {run.name} measured different data, both called {entry['name']!r}: "
                    "their figures do not belong side by side"
                )
        legend[label] = {
            "run_id": str(environment.get("run_id", run.name)),
            "cpu": environment.get("cpu", {}).get("model", "unknown"),
            "os": environment.get("os", "unknown"),
            "python": environment.get("python", "unknown"),
            "commit": environment.get("commit"),
            "dirty": environment.get("dirty"),
        }
    return legend


def merge_runs(
    runs: Sequence[Path], *, relative_to: str | None = None
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Summaries of several runs as columns beside one another.

    Parameters
    ----------
    runs : sequence of Path
        Folders of runs.
    relative_to : str, optional
        A solver; then ``(label, "speedup")`` says how many times faster than it each solver is on the same machine, which
        compares between machines where seconds do not.

    Returns
    -------
    DataFrame
        One line per cell (solver, model, layer, size, channels, centring) that any run has. Columns are pairs of (label, figure),
        the figures being `KEPT`, and ``(label, "time_ratio")``: seconds over those of the first run.
    dict
        What the labels stand for.
    """
    legend = label_runs(runs)
    frames = {label: summarise(load_rows(run)).set_index(list(CELL)) for label, run in zip(legend, runs)}
    merged = pd.concat({label: frame[list(KEPT)] for label, frame in frames.items()}, axis=1, sort=False)
    first = next(iter(legend))
    for label in legend:
        if label != first:
            merged[label, "time_ratio"] = merged[label, "seconds"] / merged[first, "seconds"]
        if relative_to is not None:
            merged[label, "speedup"] = _speedup(merged[label, "seconds"], relative_to)
    merged = merged.sort_index(axis=1, level=0, sort_remaining=False)
    order = merged.index.get_level_values
    sizes = np.asarray(order("size"), dtype=np.int64)
    return merged.iloc[np.argsort(sizes, kind="stable")], legend


def _speedup(seconds: pd.Series[float], solver: str) -> pd.Series[float]:
    names = seconds.index.get_level_values("solver")
    if solver not in names:
        raise ValueError(f"no run has the solver {solver!r}; there are {', '.join(dict.fromkeys(names))}")
    cells = [cell[1:] for cell in seconds.index]
    reference = {cell: value for name, cell, value in zip(names, cells, seconds) if name == solver}
    own = np.array([reference.get(cell, np.nan) for cell in cells], dtype=np.float64)
    return pd.Series(own / seconds.to_numpy(), index=seconds.index)
