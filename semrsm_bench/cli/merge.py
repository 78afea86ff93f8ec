"""``semrsm-bench merge``: runs of several machines side by side."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.text import aligned
from semrsm_bench.core.options import check, option
from semrsm_bench.report.formatting import format_seconds

_CELL = ("solver", "model", "layer", "size", "channels", "centring")


@dataclass(frozen=True)
class MergeOptions:
    """How the runs are shown."""

    relative_to: str | None = option(
        None, help="Show how many times faster than this method each is, machine by machine."
    )
    format: Literal["text", "csv"] = option("text", help="Of the table.")

    def __post_init__(self) -> None:
        check(self)


@click.command()
@click.argument("runs", nargs=-1, required=True)
@options_from(leave_out=("quiet",))
def merge(runs: tuple[str, ...], options: MergeOptions, output: OutputOptions) -> None:
    """Lay RUNS (ids, or folders copied from other machines) side by side: a column for each, ratios, never an average."""
    from semrsm_bench.bench.merge import merge_runs
    from semrsm_bench.bench.results import find_run

    frame, legend = merge_runs([find_run(output.results, run) for run in runs], relative_to=options.relative_to)
    if output.json:
        click.echo(json.dumps({"runs": legend, "cells": list(map(_record, frame.iterrows()))}, indent=1, default=str))
    elif options.format == "csv":
        flat = frame.copy()
        flat.columns = ["_".join(column) for column in flat.columns]
        click.echo(flat.reset_index().to_csv(index=False), nl=False)
    else:
        _print(frame, legend, options.relative_to)


def _record(line: tuple[Any, Any]) -> dict[str, Any]:
    cell, figures = line
    record: dict[str, Any] = dict(zip(_CELL, cell))
    columns: list[tuple[str, str]] = list(figures.index)
    for (label, figure), value in zip(columns, figures):
        known = not (value is None or (isinstance(value, float) and math.isnan(value)))
        record.setdefault(label, {})[figure] = value if known else None
    return record


def _print(frame: Any, legend: dict[str, dict[str, Any]], relative_to: str | None) -> None:
    for label, machine in legend.items():
        commit = (
            f"commit {machine['commit'][:10]}{' with changes' if machine['dirty'] else ''}"
            if machine["commit"]
            else "release"
        )
        click.echo(f"{label}: {machine['cpu']}, {machine['os']}, {commit}, run {machine['run_id']}")
    first = next(iter(legend))
    head = ["solver"]
    for label in legend:
        head += [f"{label} T", f"{label} c"]
        head += [f"{label}/{first}"] if label != first else []
        head += [f"x {label}"] if relative_to else []
    for place, cells in frame.groupby(level=["model", "layer", "size", "centring"], sort=False):
        rows = [head, *(_line(cell[0], line, list(legend), relative_to) for cell, line in cells.iterrows())]
        model, layer, size, centring = place
        click.echo(f"\nS = {size} ({model} {layer}), centring {centring}")
        title, *lines = aligned(rows, right=range(1, len(head)))
        click.echo("\n".join([click.style(title, bold=True), *lines]))
    click.echo(f"\nT: median seconds of the solve. c: mean chance-corrected quality. B/A: time over {first}'s.")
    if relative_to:
        click.echo(f"x A: times faster than {relative_to} on the same machine.")


def _line(solver: str, line: Any, labels: list[str], relative_to: str | None) -> list[str]:
    cells = [solver]
    for label in labels:
        cells += [_time(line[label, "seconds"], line[label, "status"]), _number(line[label, "chance_corrected"], ".4f")]
        cells += [_number(line[label, "time_ratio"], ".2f")] if label != labels[0] else []
        cells += [_number(line[label, "speedup"], ".2f")] if relative_to else []
    return cells


def _number(value: Any, spec: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, spec)


def _time(seconds: Any, status: Any) -> str:
    if isinstance(seconds, float) and math.isfinite(seconds):
        return format_seconds(seconds)
    return status if isinstance(status, str) else "-"
