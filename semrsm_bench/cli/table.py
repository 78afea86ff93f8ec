"""``semrsm-bench table``: the table of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click

CENTRING_CHOICES = ("none", "channel", "position", "both")


def chosen_centrings(centring: str | None) -> tuple[str, ...] | None:
    """The centrings an option asks for; None for all that the run has."""
    if centring is None:
        return None
    return ("none", "channel") if centring == "both" else (centring,)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", default="latest")
@click.option("--format", "fmt", type=click.Choice(["text", "md", "latex", "csv"]), default="text", show_default=True)
@click.option("--paper", is_flag=True, help="The figures that the paper's Table 5 prints, beside ours.")
@click.option("--centring", type=click.Choice(CENTRING_CHOICES), help="Default: all that the run has.")
@click.option("--end-to-end", is_flag=True, help="T with the affinity, for solvers that need one.")
@click.option("--width", type=click.IntRange(min=40), help="Columns of a text table; default: the terminal's.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of all runs."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON list of cells on standard output, nothing rounded.")
def table(
    run: str,
    fmt: Any,
    paper: bool,
    centring: str | None,
    end_to_end: bool,
    width: int | None,
    results: Path,
    as_json: bool,
) -> int:
    """Print the table of RUN, a run's id or folder; the latest one when left out.

    Text shows one panel per layer with the centrings side by side; md and latex have the layout of the paper's Table 5; csv and
    --json hold every figure unrounded, in seconds. Exit code 4: nothing was measured.
    """
    from semrsm_bench.bench.results import find_run, load_environment, load_rows
    from semrsm_bench.report.tables import NothingMeasuredError, render_table, table_records

    folder = find_run(results, run)
    rows, environment = load_rows(folder), load_environment(folder)
    centrings = chosen_centrings(centring)
    try:
        if as_json:
            click.echo(json.dumps(table_records(rows, environment, paper, centrings=centrings), indent=1))
            return 0
        columns = width or shutil.get_terminal_size((120, 24)).columns
        text = render_table(
            rows, environment, fmt, paper, centrings=centrings, end_to_end=end_to_end, width=max(columns, 40)
        )
    except NothingMeasuredError as error:
        click.echo(f"semrsm-bench: {folder}: {error}", err=True)
        return 4
    click.echo(text, nl=False)
    return 0
