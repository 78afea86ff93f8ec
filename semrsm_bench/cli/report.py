"""``semrsm-bench report``: one HTML page of a run and of the studies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.table import CentringOptions
from semrsm_bench.core.options import option

if TYPE_CHECKING:
    from semrsm_bench.report.page.build import RunContent

PAGE = "report.html"


@dataclass(frozen=True)
class ReportOptions(CentringOptions):
    """What the page holds, and where it goes."""

    studies: Path | None = option(None, help="Folder of the studies; default: studies/ in --results.")
    out: Path | None = option(None, help=f"The file; default: {PAGE} in the run's folder, or in --results.")


@click.command()
@click.argument("run", default="latest")
@options_from(ReportOptions, OutputOptions, leave_out=("json", "quiet"))
def report(run: str, options: ReportOptions, output: OutputOptions) -> int:
    """Write one HTML file about RUN, a run's id or folder, and the studies; the latest run when left out.

    The file holds all it needs: it opens without a network, can be mailed, and prints. Where there is no run at all, it shows
    the studies alone. Exit code 4: nothing was measured.
    """
    from semrsm_bench.bench.results import LATEST, find_run, list_runs
    from semrsm_bench.report.page.assets import require_extra
    from semrsm_bench.report.page.build import build_page
    from semrsm_bench.report.page.studies import read_studies
    from semrsm_bench.report.tables import NothingMeasuredError

    require_extra()
    results, studies = output.results, options.studies
    if studies is not None and not studies.is_dir():
        raise FileNotFoundError(f"no folder {studies}: --studies names the folder that holds the studies' folders")
    found, warnings = read_studies(studies or results / "studies")
    for text in warnings:
        click.echo(f"warning: {text}", err=True)
    folder = None if run == LATEST and found and not list_runs(results) else find_run(results, run)
    content = None if folder is None else _content(folder)
    made = f"Made by semrsm-bench on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    try:
        page = build_page(content, found, warnings, centrings=options.centrings, made=made)
    except NothingMeasuredError as error:
        click.echo(f"semrsm-bench: {folder}: {error}", err=True)
        return 4
    path = options.out or (folder or results) / PAGE
    size = write_page(path, page)
    told = [f"run {folder.name}"] if folder else []
    told += [f"{len(found)} {'study' if len(found) == 1 else 'studies'}"] if found else []
    click.echo(f"{path} ({size / 1e6:.1f} MB): {' and '.join(told)}")
    return 0


def _content(folder: Path) -> RunContent:
    from semrsm_bench.bench.results import RUN_FILE, load_environment, load_rows, read_json
    from semrsm_bench.report.page.build import RunContent

    try:
        description = read_json(folder / RUN_FILE)
    except FileNotFoundError:
        description = {}
    return RunContent(load_rows(folder), load_environment(folder), description)


def write_page(path: Path, page: str) -> int:
    """Write the file so that a reader sees the old page or the new one; its size in bytes."""
    data = page.encode("utf-8", errors="replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    os.replace(temporary, path)
    return len(data)
