"""``semrsm-bench run``: measure, then show the table and say where everything lies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class ByteSize(click.ParamType):  # type: ignore[type-arg]
    """Bytes with an optional unit: 500M, 4G, 4GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        if not found:
            self.fail(f"{value!r} is not a size; write it like 500M or 4G", param, ctx)
        return int(float(found[1]) * _UNITS[found[2].upper()])


class NameList(click.ParamType):  # type: ignore[type-arg]
    """Names separated by commas."""

    name = "a,b"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names as a tuple."""
        return value if isinstance(value, tuple) else tuple(n for n in (p.strip() for p in value.split(",")) if n)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--profile", default="quick", show_default=True, help="quick, paper or large.")
@click.option("--solvers", type=NameList(), help="Only these; default: all registered ones.")
@click.option("--layers", type=NameList(), help="Only these; default: all in the data.")
@click.option("--centring", type=NameList(), default="none,channel", show_default=True, help="none, channel, position.")
@click.option("--pairs", type=click.IntRange(min=1), help="Pairs in each cell; default: the profile's.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Measurements of each pair.")
@click.option("--deadline", type=float, help="Seconds for one solve; default: the profile's.")
@click.option("--memory", type=ByteSize(), default="4G", show_default=True, help="For one solve, beyond its inputs.")
@click.option("--budget", type=float, help="Seconds for one cell (a solver on a layer); default: the profile's.")
@click.option(
    "--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="File with solvers; repeatable."
)
@click.option("--data", type=click.Path(path_type=Path), help="Cache of activations, or a folder of them.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of all runs."
)
@click.option("--run-id", help="Name of the run; one that exists is gone on with.")
@click.option("--fresh", is_flag=True, help="Start a new run even where an unfinished one would fit.")
@click.option(
    "--estimate", is_flag=True, help="Measure one pair of every cell, tell how long the rest takes, and stop."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output instead of the table.")
@click.option("--quiet", is_flag=True, help="No progress bar and no table, only where the rows lie.")
def run(
    centring: tuple[str, ...],
    out: Path,
    run_id: str | None,
    fresh: bool,
    estimate: bool,
    as_json: bool,
    quiet: bool,
    **chosen: Any,
) -> int:
    """Measure solvers on real activations: time, k/k_opt and chance-corrected quality, row by row.

    Started again with the same options, a run that was interrupted goes on where it stopped. Exit codes: 0 fine, 2 wrong use,
    3 a solver failed (crashed, raised, or returned no permutation), 4 nothing was measured.
    """
    from semrsm_bench.bench.cases import Options
    from semrsm_bench.bench.runner import run as measure

    options = Options(centrings=centring, **chosen)
    silent = quiet or as_json
    finished, ledger = measure(
        options,
        out,
        run_id=run_id,
        fresh=fresh,
        quiet=silent,
        first_pairs_only=estimate,
        tell=lambda text: None if silent else click.echo(text, err=True),
    )
    facts: dict[str, Any] = {
        "run_id": finished.folder.name,
        "folder": str(finished.folder),
        "measured": finished.measured,
        "resumed": finished.resumed,
        "counts": finished.counts,
        "complete": finished.complete,
    }
    if estimate:
        _tell_estimate(ledger.forecast(), facts, as_json)
        return finished.exit_code
    files = write_report(finished.folder)
    if as_json:
        facts["files"] = [str(path) for path in files]
        click.echo(json.dumps(facts, indent=1))
    elif quiet:
        click.echo(finished.folder)
    else:
        _show(finished.folder, finished.counts, files)
    return finished.exit_code


def write_report(folder: Path) -> list[Path]:
    """Table and figures of a run, written into its folder; the files made."""
    from semrsm_bench.bench.results import load_environment, load_rows
    from semrsm_bench.report.figures import draw_all
    from semrsm_bench.report.tables import render_table

    rows, environment = load_rows(folder), load_environment(folder)
    if rows.empty:
        return []
    files = []
    for fmt, suffix in (("md", "md"), ("latex", "tex"), ("csv", "csv")):
        path = folder / f"table.{suffix}"
        path.write_text(render_table(rows, environment, fmt=fmt))  # type: ignore[arg-type]
        files.append(path)
    return [*files, *draw_all(rows, environment, folder / "figures")]


def _show(folder: Path, counts: dict[str, int], files: list[Path]) -> None:
    import shutil

    from semrsm_bench.bench.results import ROWS_FILE, load_environment, load_rows
    from semrsm_bench.report.tables import render_table

    rows = load_rows(folder)
    if not rows.empty:
        width = shutil.get_terminal_size((120, 24)).columns
        click.echo(render_table(rows, load_environment(folder), fmt="text", width=width))
    bad = rows[rows["status"].isin(["crashed", "invalid", "error", "timeout", "memory"])]
    for (solver, status, message), group in bad.groupby(["solver", "status", "message"], sort=False):
        click.echo(f"{solver}: {status} in {len(group)} of its rows: {message}")
    click.echo(
        f"rows     {folder / ROWS_FILE}  ({', '.join(f'{n} {status}' for status, n in counts.items()) or 'none'})"
    )
    tables = [path for path in files if path.parent == folder]
    if tables:
        click.echo(f"table    {', '.join(str(path) for path in tables)}")
    if len(files) > len(tables):
        click.echo(f"figures  {folder / 'figures'}  ({len(files) - len(tables)} files)")


def _tell_estimate(forecast: list[dict[str, Any]], facts: dict[str, Any], as_json: bool) -> None:
    total = sum(line["seconds"] for line in forecast)
    if as_json:
        click.echo(json.dumps({**facts, "seconds": total, "cells": forecast}, indent=1))
        return
    click.echo(f"{'solver':<24}{'S':>6} {'centring':<9}{'pairs':>12}{'s a pair':>10}{'total':>10}")
    for line in forecast:
        pairs = f"{line['pairs']} of {line['wanted']}"
        note = f"  {line['reason']}" if line["reason"] else ""
        click.echo(
            f"{line['solver']:<24}{line['size']:>6} {line['centring']:<9}{pairs:>12}"
            f"{line['seconds_a_pair']:>10.3g}{_span(line['seconds']):>10}{note}"
        )
    click.echo(f"about {_span(total)} in all; the same command without --estimate goes on from here")


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
