"""``semrsm-bench plot``: the figures of a run."""

from __future__ import annotations

from pathlib import Path

import click

from semrsm_bench.cli.table import CENTRING_CHOICES, chosen_centrings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", default="latest")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Default: figures/ in the run's folder.")
@click.option("--centring", type=click.Choice(CENTRING_CHOICES), help="Default: all that the run has.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["png", "svg", "pdf"]),
    help="Repeatable; default: all three.",
)
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of all runs."
)
def plot(run: str, out: Path | None, centring: str | None, formats: tuple[str, ...], results: Path) -> int:
    """Draw the time-quality front, the runtime over S and the quality per layer of RUN; the latest run when left out.

    RUN may also be an .npy file of `semrsm-bench rsm`: then the matrix is drawn, ordered by label, beside the file or in --out.

    Exit code 4: nothing was measured.
    """
    if run.endswith(".npy"):
        return _plot_rsm(Path(run), out, formats)
    from semrsm_bench.bench.results import find_run, load_environment, load_rows
    from semrsm_bench.report.figures import draw_all
    from semrsm_bench.report.style import FIGURE_FORMATS
    from semrsm_bench.report.tables import NothingMeasuredError

    folder = find_run(results, run)
    try:
        paths = draw_all(
            load_rows(folder),
            load_environment(folder),
            out or folder / "figures",
            centrings=chosen_centrings(centring),
            formats=formats or FIGURE_FORMATS,
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


def _plot_rsm(file: Path, out: Path | None, formats: tuple[str, ...]) -> int:
    from semrsm_bench.report.rsm_picture import save_rsm_picture
    from semrsm_bench.report.style import FIGURE_FORMATS

    folder = out or file.parent
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in formats or FIGURE_FORMATS:
        path = folder / f"{file.stem}.{suffix}"
        save_rsm_picture(file, path)
        click.echo(path)
    return 0
