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
        places = list(dict.fromkeys(name for line in lines for name in line.place))
        figures = list(dict.fromkeys(name for line in lines for figures in line.runs.values() for name in figures))
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["task", "method", *places, *(f"{label}_{figure}" for label in legend for figure in figures)])
        for line in lines:
            known = [line.runs.get(label, {}).get(figure, "") for label in legend for figure in figures]
            known = ["" if isinstance(value, float) and math.isnan(value) else value for value in known]
            writer.writerow([line.task, line.method, *(line.place.get(name, "") for name in places), *known])
    else:
        _print(lines, legend, options.relative_to)


def _print(lines: Sequence[MergedLine], legend: dict[str, dict[str, Any]], relative_to: str | None) -> None:
    for label, machine in legend.items():
        changes = " with changes" if machine["dirty"] else ""
        commit = f"commit {machine['commit'][:10]}{changes}" if machine["commit"] else "release"
        click.echo(f"{label}: {machine['cpu']}, {machine['os']}, {commit}, run {machine['run_id']}")
    for _, group in itertools.groupby(lines, lambda line: (line.task, cell_key(line.place))):
        members = list(group)
        # Heading -> label, figure, format
        columns: dict[str, tuple[str, str, str]] = {}
        for label in legend:
            columns |= {f"{label} T": (label, "seconds", ""), f"{label} {members[0].score}": (label, "score", ".4f")}
            columns |= {f"{label}/A": (label, "time_ratio", ".2f")} if label != "A" else {}
            columns |= {f"x {label}": (label, "speedup", ".2f")} if relative_to else {}
        table = [["method", *columns]]
        table += [[line.method, *(_cell(line, *column) for column in columns.values())] for line in members]
        click.echo(f"\n{members[0].task}: " + ", ".join(f"{name} {value}" for name, value in members[0].place.items()))
        title, *rows = aligned(table, right=range(1, len(table[0])))
        click.echo("\n".join([click.style(title, bold=True), *rows]))
    click.echo("\nT: median seconds of a call. B/A: time over A's.")
    if relative_to:
        click.echo(f"x A: times faster than {relative_to} on the same machine.")


def _cell(line: MergedLine, label: str, figure: str, spec: str) -> str:
    figures = line.runs.get(label, {})
    value = figures.get(figure, math.nan)
    if not math.isfinite(value):
        return figures.get("status", "-") if figure == "seconds" else "-"
    return format(value, spec) if spec else format_seconds(value)
