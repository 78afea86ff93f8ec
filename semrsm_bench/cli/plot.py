"""``semrsm-bench plot``: the figures of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.selection import NothingToShow, SelectionOptions, select
from semrsm_bench.core.options import option


@dataclass(frozen=True)
class PlotOptions(SelectionOptions):
    """What is drawn, and where it goes."""

    formats: tuple[Literal["png", "svg", "pdf"], ...] = option(
        ("png", "svg", "pdf"), help="Of the figures; repeatable.", name="format"
    )
    out: Path | None = option(None, help="Folder; default: figures/ in the run's folder.")
    private: bool = option(
        False, help="Also figures that show your own pictures, whose licence may forbid to pass them on."
    )


@click.command()
@click.argument("words", metavar="[RUN] [TASK]...", nargs=-1)
@options_from(PlotOptions, OutputOptions, leave_out=("json", "quiet"))
def plot(words: tuple[str, ...], options: PlotOptions, output: OutputOptions) -> int:
    """Draw the figures of RUN, a run's id or folder; the latest run when left out. TASK: only these; default: all it has.

    The time-score front, the time over S, the scores of single cases, and the pictures of each task. RUN may also be an .npy file
    of `semrsm-bench rsm`: then the matrix is drawn, ordered by label, beside the file or in --out.

    Exit code 4: nothing was measured.
    """
    if words and words[0].endswith(".npy"):
        return _plot_rsm(Path(words[0]), options)
    from semrsm_bench.report.figures import draw_all
    from semrsm_bench.report.write import FIGURES_FOLDER

    folder, results = select(words, output.results, options)
    paths = draw_all(results, options.out or folder / FIGURES_FOLDER, formats=options.formats, private=options.private)
    if not paths:
        raise NothingToShow(f"{folder}: no row of this run is ok, so there is nothing to draw")
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
