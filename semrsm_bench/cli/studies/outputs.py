"""``semrsm-bench study outputs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from semrsm_bench.cli.studies.network_options import how_from, network_options
from semrsm_bench.cli.study import common_options, picture_options

if TYPE_CHECKING:
    from semrsm_bench.studies.study import StudyResult


@click.command("outputs", context_settings={"help_option_names": ["-h", "--help"]})
@picture_options
@network_options(models="the shipped ResNet-18 and the four small ones", layers="last", kernels="linear,cosine,rbf")
@click.option("--resamples", type=click.IntRange(min=1), default=1000, show_default=True, help="Of the bootstrap.")
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
    resamples: int,
    **how: object,
) -> StudyResult:
    """Do similar representations mean similar class probabilities?

    Correlates the Jensen-Shannon divergence of the class probabilities of two pictures with the similarity of their
    representations, over all pairs, for each kernel and for spatio-semantic, translation-invariant and semantic RSMs. The more
    negative, the better an RSM predicts what the network says. Intervals come from resampled images.
    """
    from semrsm_bench.studies.outputs import outputs

    return outputs(
        images, classes, count, models=models, layers=layers, how=how_from(how, translation=True), size=size,
        resamples=resamples, seed=seed, quick=quick, quiet=quiet,
    )  # fmt: skip
