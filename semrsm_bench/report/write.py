"""Tables and figures of a run as files in its folder."""

from __future__ import annotations

from pathlib import Path

from semrsm_bench.core.files import writing
from semrsm_bench.report.results import NothingMeasuredError, TaskResults, read_results
from semrsm_bench.report.tables import TableFormat, render_table

FIGURES_FOLDER = "figures"
# Of more tasks the figures of each would take a fifth of a quick run.
MOST_DRAWN = 4


def write_text(path: Path, text: str) -> None:
    """Write a file as UTF-8, whatever the locale, whole or not at all."""
    with writing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


def write_report(folder: Path) -> tuple[list[TaskResults], list[Path]]:
    """Tables and figures of a run, written into its folder; what was read, and the files made, none where there are no rows.

    ``table.md``, ``table.tex`` and ``table.csv``; for several tasks ``table-TASK.md`` and so on. Figures are PNG alone: SVG and PDF
    would take twice as long as all the rest, and `plot` makes them. Of more than `MOST_DRAWN` tasks they are those over all tasks;
    `plot` makes the others, too.
    """
    from joblib import cpu_count

    from semrsm_bench.report.figures import draw_all

    try:
        results = read_results(folder)
    except NothingMeasuredError:
        return [], []
    files: list[Path] = []
    suffixes: dict[TableFormat, str] = {"md": "md", "latex": "tex", "csv": "csv"}
    for one in results:
        name = f"table-{one.task.name}" if len(results) > 1 else "table"
        for fmt, suffix in suffixes.items():
            files.append(folder / f"{name}.{suffix}")
            write_text(files[-1], render_table(one, fmt))
    each = len(results) <= MOST_DRAWN
    return results, [
        *files,
        *draw_all(results, folder / FIGURES_FOLDER, formats=["png"], each=each, jobs=cpu_count()),
    ]
