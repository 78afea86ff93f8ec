"""``semrsm-bench study barycenter``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from semrsm_bench.cli.run import NameList
from semrsm_bench.cli.study import common_options, picture_options

if TYPE_CHECKING:
    from semrsm_bench.studies.study import StudyResult

# Options that say how pictures go through networks, of which paired arrays know nothing.
_NETWORK_OPTIONS = ("images", "classes", "count", "models", "layers", "pooling", "size")


@click.command("barycenter", context_settings={"help_option_names": ["-h", "--help"]})
@picture_options
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="SPEC",
    help="FILE.safetensors, torchvision:NAME or timm:NAME; at least two. Default: the four small ResNets.",
)
@click.option(
    "--layers",
    type=NameList(),
    default=(),
    help="Submodules that all networks have, or logits; the last one is looked at closely. Default: the stages.",
)
@click.option(
    "--pooling",
    type=click.Choice(["mean", "none"]),
    default="mean",
    show_default=True,
    help="Mean over positions, or all positions as they are.",
)
@click.option("--size", type=click.IntRange(min=1), help="Side of the pictures. Default: the networks' own.")
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Each is held out once.")
@click.option(
    "--group",
    type=click.Choice(["orthogonal", "permutation"]),
    default="orthogonal",
    show_default=True,
    help="Rotations and reflections, or reorderings of the units.",
)
@click.option("--components", type=click.IntRange(min=1), help="Reduce each network to so many principal components.")
@click.option("--draws", type=click.IntRange(min=20), default=200, show_default=True, help="Permutations for the null.")
@click.option(
    "--features",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead of networks: .npy of shape (n, d), the same items in each; repeat for each array.",
)
@click.option(
    "--ids",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --features: names of the items, one a line; items of one name are never parted.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    quick: bool,
    quiet: bool,
    images: tuple[Path, ...],
    classes: Path | None,
    count: int | None,
    seed: int,
    models: tuple[str, ...],
    layers: tuple[str, ...],
    pooling: str,
    size: int | None,
    folds: int,
    group: str,
    components: int | None,
    draws: int,
    features: tuple[Path, ...],
    ids: Path | None,
) -> StudyResult:
    """On which pictures do several networks agree most and least?

    Networks are brought into one space on training pictures (generalised Procrustes); each held-out picture gets a similarity of
    its own, which is compared with a permutation null, with what could predict it, and across networks and layers. With
    --features the same for arrays of your own, such as image and text embeddings of the same items.
    """
    from semrsm_bench.studies.instance_findings import Settings

    settings = Settings(folds, group, components, draws, seed=seed)
    if features:
        for option in ctx.command.params:
            if option.name in _NETWORK_OPTIONS and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{option.opts[0]} is for networks; it does not go with --features")
        from semrsm_bench.studies.paired_arrays import paired_arrays

        return paired_arrays(features, ids, settings, quick=quick, quiet=quiet)
    if ids is not None:
        raise click.UsageError("--ids names the rows of --features; there are none")
    from semrsm_bench.studies.barycenter import barycenter

    return barycenter(
        images, classes, count, models=models, layers=layers, pooling=pooling, size=size, settings=settings,
        quick=quick, quiet=quiet,
    )  # fmt: skip
