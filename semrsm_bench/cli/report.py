"""``semrsm-bench report``: one HTML page of a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.selection import SelectionOptions, select
from semrsm_bench.core.options import option

PAGE = "report.html"


@dataclass(frozen=True)
class ReportOptions(SelectionOptions):
    """What the page holds, and where it goes."""

    out: Path | None = option(None, help=f"The file; default: {PAGE} in the run's folder.")
    private: bool = option(
        False, help="Also figures that show your own pictures, whose licence may forbid to pass them on."
    )


@click.command()
@click.argument("words", metavar="[RUN] [TASK]...", nargs=-1)
@options_from(ReportOptions, OutputOptions, leave_out=("json", "quiet"))
def report(words: tuple[str, ...], options: ReportOptions, output: OutputOptions) -> int:
    """Write one HTML file about RUN, a run's id or folder; the latest run when left out. TASK: only these; default: all it has.

    The file holds all it needs: it opens without a network, can be mailed, and prints. Exit code 4: nothing was measured.
    """
    from semrsm_bench.bench.results import RUN_FILE, read_json
    from semrsm_bench.report.page.assets import require_extra
    from semrsm_bench.report.page.build import build_page
    from semrsm_bench.report.write import write_text

    require_extra()
    folder, results = select(words, output.results, options)
    description = read_json(folder / RUN_FILE) if (folder / RUN_FILE).is_file() else {}
    made = f"Made by semrsm-bench on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    path = options.out or folder / PAGE
    write_text(path, build_page(results, description, private=options.private, made=made))
    click.echo(
        f"{path} ({path.stat().st_size / 1e6:.1f} MB): run {folder.name}, {', '.join(r.task.name for r in results)}"
    )
    return 0
