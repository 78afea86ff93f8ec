"""Tables and figures of a run as files in its folder, and what a terminal shows when a run is over."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from semrsm_bench.bench.results import ROWS_FILE
from semrsm_bench.core.files import writing
from semrsm_bench.core.row import FAULTS
from semrsm_bench.report.results import NothingMeasuredError, TaskResults, read_results
from semrsm_bench.report.tables import TableFormat, render_table

SUFFIXES: Mapping[TableFormat, str] = {"md": "md", "latex": "tex", "csv": "csv"}
FIGURES_FOLDER = "figures"
_SHOWN = (*FAULTS, "timeout", "memory")
_NUMBER = re.compile(r"[-+]?\d[\d.]*(e[-+]?\d+)?")


def write_text(path: Path, text: str) -> None:
    """Write a file as UTF-8, whatever the locale, whole or not at all."""
    with writing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


def write_report(folder: Path) -> tuple[list[TaskResults], list[Path]]:
    """Tables and figures of a run, written into its folder; what was read, and the files made, none where there are no rows.

    ``table.md``, ``table.tex`` and ``table.csv``; for several tasks ``table-TASK.md`` and so on.
    """
    from semrsm_bench.report.figures import draw_all

    try:
        results = read_results(folder)
    except NothingMeasuredError:
        return [], []
    files = []
    for one in results:
        name = f"table-{one.task.name}" if len(results) > 1 else "table"
        for fmt, suffix in SUFFIXES.items():
            files.append(folder / f"{name}.{suffix}")
            write_text(files[-1], render_table(one, fmt))
    return results, [*files, *draw_all(results, folder / FIGURES_FOLDER)]


def show(folder: Path, results: Sequence[TaskResults], counts: Mapping[str, int], files: Sequence[Path]) -> None:
    """Print the tables of a run, its failures, and where everything lies."""
    import click

    if results:
        click.echo(render_table(results, width=terminal_width()))
    rows = [row for one in results for row in one.rows if row["status"] in _SHOWN]
    failures: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in rows:  # one line for messages that differ in numbers alone
        failures[row["method"], row["status"], _NUMBER.sub("", row["message"])].append(row["message"])
    for (method, status, _), messages in failures.items():
        such = ", such as" if len(set(messages)) > 1 else ""
        click.echo(f"{method}: {status} in {len(messages)} of its rows{such}: {messages[0]}")
    rows_text = ", ".join(f"{n} {status}" for status, n in counts.items()) or "none"
    click.echo(f"rows     {folder / ROWS_FILE}  ({rows_text})")
    tables = [path for path in files if path.parent == folder]
    if tables:
        click.echo(f"table    {', '.join(map(str, tables))}")
    if len(files) > len(tables):
        click.echo(f"figures  {folder / FIGURES_FOLDER}  ({len(files) - len(tables)} files)")


def terminal_width() -> int:
    """Columns of the terminal, 120 where there is none."""
    return max(shutil.get_terminal_size((120, 24)).columns, 40)
