"""``semrsm-bench table``: the tables of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.selection import SelectionOptions, select
from semrsm_bench.core.options import option


@dataclass(frozen=True)
class TableOptions(SelectionOptions):
    """How a table is printed."""

    format: Literal["text", "md", "latex", "csv"] = option("text", help="Of the table.")
    paper: bool = option(False, help="The figures that papers print, beside ours.")
    end_to_end: bool = option(False, help="T with the affinity, for solvers that need one.")
    untimed: bool = option(False, help="Without T.")
    width: int | None = option(None, help="Columns of a text table; default: the terminal's.", minimum=40)


@click.command()
@click.argument("words", metavar="[RUN] [TASK]...", nargs=-1)
@options_from(TableOptions, OutputOptions, leave_out=("quiet",))
def table(words: tuple[str, ...], options: TableOptions, output: OutputOptions) -> int:
    """Print the tables of RUN, a run's id or folder; the latest one when left out. TASK: only these; default: all it has.

    Methods stand down, cells across, grouped by the outer keys of the cells; md and latex of solvers have the layout of the paper's
    Table 5; csv and --json hold every figure unrounded, in seconds. Exit code 4: nothing was measured.
    """
    from semrsm_bench.core.stats import UNKNOWN
    from semrsm_bench.report.tables import render_table, table_records
    from semrsm_bench.report.write import terminal_width

    _, results = select(words, output.results, options)
    if options.untimed:
        results = [
            replace(one, summaries=[replace(s, seconds=UNKNOWN, total_seconds=UNKNOWN) for s in one.summaries])
            for one in results
        ]
    if output.json:
        click.echo(json.dumps([record for one in results for record in table_records(one, options.paper)], indent=1))
        return 0
    width = options.width or terminal_width()
    text = render_table(results, options.format, options.paper, end_to_end=options.end_to_end, width=width)
    click.echo(text, nl=False)
    return 0
