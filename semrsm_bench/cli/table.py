"""``semrsm-bench table``: the table of a run."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import Literal

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.core.options import check, option


@dataclass(frozen=True)
class CentringOptions:
    """Which of a run's centrings are shown."""

    centring: Literal["none", "channel", "position", "both"] | None = option(
        None, help="Default: all that the run has; both: none and channel."
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def centrings(self) -> tuple[str, ...] | None:
        """Their names; None for all that the run has."""
        if self.centring is None:
            return None
        return ("none", "channel") if self.centring == "both" else (self.centring,)


@dataclass(frozen=True)
class TableOptions(CentringOptions):
    """How a table is printed."""

    format: Literal["text", "md", "latex", "csv"] = option("text", help="Of the table.")
    paper: bool = option(False, help="The figures that the paper's Table 5 prints, beside ours.")
    end_to_end: bool = option(False, help="T with the affinity, for solvers that need one.")
    width: int | None = option(None, help="Columns of a text table; default: the terminal's.", minimum=40)


@click.command()
@click.argument("run", default="latest")
@options_from(TableOptions, OutputOptions, leave_out=("quiet",))
def table(run: str, options: TableOptions, output: OutputOptions) -> int:
    """Print the table of RUN, a run's id or folder; the latest one when left out.

    Text shows one panel per layer with the centrings side by side; md and latex have the layout of the paper's Table 5; csv and
    --json hold every figure unrounded, in seconds. Exit code 4: nothing was measured.
    """
    from semrsm_bench.bench.results import find_run, load_environment, load_rows
    from semrsm_bench.report.tables import NothingMeasuredError, render_table, table_records

    folder = find_run(output.results, run)
    rows, environment = load_rows(folder), load_environment(folder)
    try:
        if output.json:
            records = table_records(rows, environment, options.paper, centrings=options.centrings)
            click.echo(json.dumps(records, indent=1))
            return 0
        text = render_table(
            rows,
            environment,
            options.format,
            options.paper,
            centrings=options.centrings,
            end_to_end=options.end_to_end,
            width=options.width or max(shutil.get_terminal_size((120, 24)).columns, 40),
        )
    except NothingMeasuredError as error:
        click.echo(f"semrsm-bench: {folder}: {error}", err=True)
        return 4
    click.echo(text, nl=False)
    return 0
