"""``semrsm-bench study translation``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from semrsm_bench.cli.studies.network_options import how_from, network_options
from semrsm_bench.cli.study import common_options, picture_options

if TYPE_CHECKING:
    from semrsm_bench.studies.study import StudyResult


@click.command("translation", context_settings={"help_option_names": ["-h", "--help"]})
@picture_options
@network_options(
    models="the shipped ResNet-18", layers="the network's stages", kernels="rbf", large="list-auction-fine"
)
@click.option(
    "--shift",
    "shifts",
    multiple=True,
    metavar="DOWN,RIGHT",
    help="Of the second crop, in pixels; repeatable. Default: down by 5/16 of the crop's side (20 of 64).",
)
@click.option("--batch", type=click.IntRange(min=2), default=10, show_default=True, help="Pictures in an RSM.")
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
    shifts: tuple[str, ...],
    batch: int,
    **how: object,
) -> StudyResult:
    """Do RSMs see that two overlapping crops of a picture show the same thing?

    Cuts two overlapping crops out of every picture and makes RSMs of all crops of a batch: spatio-semantic (same position with
    same position), translation-invariant (the best circular shift) and semantic (the best matching of positions). Then compares
    the similarities of crops that overlap with those of crops of different pictures: AUROC for each layer, with intervals over
    batches.

    --size is the side of the crops; the pictures are larger by the largest shift. Layers of a transformer are named, as in
    --model timm:NAME --layers blocks.2,blocks.5; its class token is left out.
    """
    from semrsm_bench.activations.crops import Shift
    from semrsm_bench.studies.translation import translation

    return translation(
        models, images=images, classes=classes, count=count, layers=layers, size=size,
        shifts=[Shift.parse(text) for text in shifts], batch=batch, how=how_from(how, translation=True),
        seed=seed, quick=quick, quiet=quiet,
    )  # fmt: skip
