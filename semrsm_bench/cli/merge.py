"""``semrsm-bench merge``: runs of several machines side by side."""

from __future__ import annotations

import csv
import itertools
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.text import aligned
from semrsm_bench.core.options import option
from semrsm_bench.core.row import cell_key, plain
from semrsm_bench.report.formatting import format_seconds

if TYPE_CHECKING:
    from semrsm_bench.bench.merge import MergedLine


@dataclass(frozen=True)
class MergeOptions:
    """How the runs are shown."""

    relative_to: str | None = option(
        None, help="Show how many times faster than this method each is, machine by machine."
    )
    format: Literal["text", "csv"] = option("text", help="Of the table.")


@click.command()
@click.argument("runs", nargs=-1, required=True)
@options_from(leave_out=("quiet",))
def merge(runs: tuple[str, ...], options: MergeOptions, output: OutputOptions) -> None:
    """Lay RUNS (ids, or folders copied from other machines) side by side: a column for each, ratios, never an average."""
    from semrsm_bench.bench.merge import merge_runs
    from semrsm_bench.bench.results import find_run

    lines, legend = merge_runs([find_run(output.results, run) for run in runs], relative_to=options.relative_to)
    if output.json:
        cells = [plain(asdict(line), bounded=False) for line in lines]
        click.echo(json.dumps({"runs": legend, "cells": cells}, indent=1, default=str))
    elif options.format == "csv":
        _write_csv(lines, list(legend))
    else:
        _print(lines, legend, options.relative_to)


def _write_csv(lines: Sequence[MergedLine], labels: Sequence[str]) -> None:
    places = list(dict.fromkeys(name for line in lines for name in line.place))
    figures = list(dict.fromkeys(name for line in lines for figures in line.runs.values() for name in figures))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["task", "method", *places, *(f"{label}_{figure}" for label in labels for figure in figures)])
    for line in lines:
        values = [line.runs.get(label, {}).get(figure, "") for label in labels for figure in figures]
        known = ["" if isinstance(v, float) and math.isnan(v) else v for v in values]
        writer.writerow([line.task, line.method, *(line.place.get(name, "") for name in places), *known])


def _print(lines: Sequence[MergedLine], legend: dict[str, dict[str, Any]], relative_to: str | None) -> None:
    for label, machine in legend.items():
        commit = (
            f"commit {machine['commit'][:10]}{' with changes' if machine['dirty'] else ''}"
            if machine["commit"]
            else "release"
        )
        click.echo(f"{label}: {machine['cpu']}, {machine['os']}, {commit}, run {machine['run_id']}")
    first = next(iter(legend))
    for _, group in itertools.groupby(lines, lambda line: (line.task, cell_key(line.place))):
        members = list(group)
        place = ", ".join(f"{name} {value}" for name, value in members[0].place.items())
        head = ["method"]
        for label in legend:
            head += [f"{label} T", f"{label} {members[0].score}"]
            head += [f"{label}/{first}"] if label != first else []
            head += [f"x {label}"] if relative_to else []
        cells = [head, *(_line(line, list(legend), relative_to) for line in members)]
        click.echo(f"\n{members[0].task}: {place}")
        title, *rows = aligned(cells, right=range(1, len(head)))
        click.echo("\n".join([click.style(title, bold=True), *rows]))
    click.echo(f"\nT: median seconds of a call. B/A: time over {first}'s.")
    if relative_to:
        click.echo(f"x A: times faster than {relative_to} on the same machine.")


def _line(line: MergedLine, labels: list[str], relative_to: str | None) -> list[str]:
    cells = [line.method]
    for label in labels:
        figures = line.runs.get(label, {})
        cells += [_time(figures.get("seconds"), figures.get("status")), _number(figures.get("score"), ".4f")]
        cells += [_number(figures.get("time_ratio"), ".2f")] if label != labels[0] else []
        cells += [_number(figures.get("speedup"), ".2f")] if relative_to else []
    return cells


def _number(value: Any, spec: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, spec)


def _time(seconds: Any, status: Any) -> str:
    if isinstance(seconds, float) and math.isfinite(seconds):
        return format_seconds(seconds)
    return status if isinstance(status, str) else "-"
