"""``semrsm-bench merge``: runs of several machines side by side."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of runs."
)
@click.option("--relative-to", help="Show how many times faster than this solver each is, machine by machine.")
@click.option("--format", "fmt", type=click.Choice(["text", "csv"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def merge(runs: tuple[str, ...], results: Path, relative_to: str | None, fmt: str, as_json: bool) -> None:
    """Lay RUNS (ids, or folders copied from other machines) side by side: a column for each, ratios, never an average."""
    from semrsm_bench.bench.merge import merge_runs
    from semrsm_bench.bench.results import find_run

    frame, legend = merge_runs([find_run(results, run) for run in runs], relative_to=relative_to)
    if as_json:
        click.echo(json.dumps({"runs": legend, "cells": list(map(_record, frame.iterrows()))}, indent=1, default=str))
    elif fmt == "csv":
        flat = frame.copy()
        flat.columns = ["_".join(column) for column in flat.columns]
        click.echo(flat.reset_index().to_csv(index=False), nl=False)
    else:
        _print(frame, legend, relative_to)


def _record(line: tuple[Any, Any]) -> dict[str, Any]:
    cell, figures = line
    record: dict[str, Any] = dict(zip(_CELL, cell))
    columns: list[tuple[str, str]] = list(figures.index)
    for (label, figure), value in zip(columns, figures):
        known = not (value is None or (isinstance(value, float) and math.isnan(value)))
        record.setdefault(label, {})[figure] = value if known else None
    return record


_CELL = ("solver", "model", "layer", "size", "channels", "centring")


def _print(frame: Any, legend: dict[str, dict[str, Any]], relative_to: str | None) -> None:
    for label, machine in legend.items():
        commit = (
            f"commit {machine['commit'][:10]}{' with changes' if machine['dirty'] else ''}"
            if machine["commit"]
            else "release"
        )
        click.echo(f"{label}: {machine['cpu']}, {machine['os']}, {commit}, run {machine['run_id']}")
    first = next(iter(legend))
    head = f"{'solver':<24}"
    for label in legend:
        head += f"{label + ' T':>12}{label + ' c':>9}"
        head += f"{label + '/' + first:>8}" if label != first else ""
        head += f"{'x ' + label:>8}" if relative_to else ""
    shown = None
    for cell, line in frame.iterrows():
        solver, model, layer, size, _, centring = cell
        if (model, layer, centring) != shown:
            shown = (model, layer, centring)
            click.echo(f"\nS = {size} ({model} {layer}), centring {centring}")
            click.echo(click.style(head, bold=True))
        text = f"{solver:<24}"
        for label in legend:
            text += f"{_time(line[label, 'seconds'], line[label, 'status']):>12}"
            text += f"{_number(line[label, 'chance_corrected'], '.4f'):>9}"
            text += f"{_number(line[label, 'time_ratio'], '.2f'):>8}" if label != first else ""
            text += f"{_number(line[label, 'speedup'], '.2f'):>8}" if relative_to else ""
        click.echo(text)
    click.echo(f"\nT: median seconds of the solve. c: mean chance-corrected quality. B/A: time over {first}'s.")
    if relative_to:
        click.echo(f"x A: times faster than {relative_to} on the same machine.")


def _number(value: Any, spec: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, spec)


def _time(seconds: Any, status: Any) -> str:
    if not isinstance(seconds, float) or not math.isfinite(seconds):
        return status if isinstance(status, str) else "-"
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1 or unit == "us":
            return f"{seconds * scale:.3g} {unit}"
    raise AssertionError("unreachable")
