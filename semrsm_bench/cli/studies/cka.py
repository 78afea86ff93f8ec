"""``semrsm-bench study cka``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from semrsm_bench.cli.studies.network_options import how_from, network_options
from semrsm_bench.cli.study import common_options, picture_options

if TYPE_CHECKING:
    from semrsm_bench.studies.study import StudyResult


@click.command("cka", context_settings={"help_option_names": ["-h", "--help"]})
@picture_options
@network_options(models="the four small ResNets", layers="the four stages", kernels="linear")
@click.option(
    "--estimator", type=click.Choice(["debiased", "biased"]), default="debiased", show_default=True, help="Of HSIC."
)
@click.option(
    "--draws", type=click.IntRange(min=1), default=200, show_default=True, help="Reorderings for the chance level."
)
@common_options
def command(
    *,
    quick: bool,
    quiet: bool,
    images: tuple[Path, ...],
    classes: Path | None,
    count: int | None,
    seed: int,
    models: tuple[str, ...],
    layers: tuple[str, ...],
    size: int | None,
    estimator: str,
    draws: int,
    **how: object,
) -> StudyResult:
    """Does CKA say something else about layers and networks once RSMs are semantic?

    CKA of the semantic with the spatio-semantic RSM of each layer, between the layers of a network, and between the layers of
    different networks; with each of the two kinds of RSM, and the difference, with intervals.
    """
    from semrsm_bench.studies.cka import cka

    return cka(
        images, classes, count, models=models, layers=layers, how=how_from(how, translation=False), estimator=estimator,
        size=size, draws=draws, seed=seed, quick=quick, quiet=quiet,
    )  # fmt: skip
