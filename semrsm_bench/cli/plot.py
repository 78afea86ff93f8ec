"""``semrsm-bench plot``: the figures of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.table import CentringOptions
from semrsm_bench.core.options import option


@dataclass(frozen=True)
class PlotOptions(CentringOptions):
    """What is drawn, and where it goes."""

    formats: tuple[Literal["png", "svg", "pdf"], ...] = option(
        ("png", "svg", "pdf"), help="Of the figures; repeatable.", name="format"
    )
    out: Path | None = option(None, help="Folder; default: figures/ in the run's folder.")


@click.command()
@click.argument("run", default="latest")
@options_from(PlotOptions, OutputOptions, leave_out=("json", "quiet"))
def plot(run: str, options: PlotOptions, output: OutputOptions) -> int:
    """Draw the time-quality front, the runtime over S and the quality per layer of RUN; the latest run when left out.

    RUN may also be an .npy file of `semrsm-bench rsm`: then the matrix is drawn, ordered by label, beside the file or in --out.

    Exit code 4: nothing was measured.
    """
    if run.endswith(".npy"):
        return _plot_rsm(Path(run), options)
    from semrsm_bench.bench.results import find_run, load_environment, load_rows
    from semrsm_bench.report.figures import draw_all
    from semrsm_bench.report.tables import NothingMeasuredError

    folder = find_run(output.results, run)
    try:
        paths = draw_all(
            load_rows(folder),
            load_environment(folder),
            options.out or folder / "figures",
            centrings=options.centrings,
            formats=options.formats,
        )
    except NothingMeasuredError as error:
        click.echo(f"semrsm-bench: {folder}: {error}", err=True)
        return 4
    if not paths:
        click.echo(f"semrsm-bench: {folder}: no row of this run is ok, so there is nothing to draw", err=True)
        return 4
    for path in paths:
        click.echo(path)
    return 0


def _plot_rsm(file: Path, options: PlotOptions) -> int:
    from semrsm_bench.report.rsm_picture import save_rsm_picture

    folder = options.out or file.parent
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in options.formats:
        path = folder / f"{file.stem}.{suffix}"
        save_rsm_picture(file, path)
        click.echo(path)
    return 0
