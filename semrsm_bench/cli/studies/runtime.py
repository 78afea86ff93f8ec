"""``semrsm-bench study runtime``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from semrsm_bench.cli.study import common_options

if TYPE_CHECKING:
    from semrsm_bench.studies.study import StudyResult


@click.command("runtime", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--run", help="Id or folder of a run. Default: the latest; with --quick a small one is measured.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of all runs."
)
@click.option(
    "--centring",
    type=click.Choice(["none", "channel", "position"]),
    default="none",
    show_default=True,
    help="Which rows of the run.",
)
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Activations that --quick measures on.")
@common_options
def command(
    *, quick: bool, quiet: bool, run: str | None, results: Path, centring: str, data: Path | None
) -> StudyResult:
    """Time of the solvers over S, beside the paper's Table 5.

    Reads a run of `semrsm-bench run`. Seconds of different machines do not compare, so everything is also given relative to
    OR-Tools on the same pairs, and the paper's figures relative to its OR-Tools. With --quick and without --run it measures five
    solvers on five pairs itself.
    """
    from semrsm_bench.studies.runtime import runtime

    return runtime(run, results=results, centring=centring, data=data, quick=quick, quiet=quiet)
