"""``semrsm-bench study retrieval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semrsm_bench.cli.study import common_options

if TYPE_CHECKING:
    from semrsm_bench.studies.study import StudyResult

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("retrieval", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--images",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder or zip archive, one folder a class; repeatable. Scenes are composed of these pictures. "
    "Default: objects cut from photographs that installed packages ship.",
)
@click.option(
    "--classes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Class directories in label order, one a line.",
)
@click.option("--egoobjects", type=_FOLDER, help="EgoObjects: annotation files beside a folder images.")
@click.option("--cityscapes", type=_FOLDER, help="Cityscapes: leftImg8bit and gtFine; val queries train, IoU only.")
@click.option("--queries", type=click.IntRange(min=1), help="Default: 100. The paper takes 2000, of Cityscapes 500.")
@click.option("--database", type=click.IntRange(min=5), help="Default: 400. The paper takes 5000, of Cityscapes 2975.")
@click.option(
    "--model", metavar="SPEC", help="FILE.safetensors, torchvision:NAME or timm:NAME. Default: the ResNet-18."
)
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME", help="Submodule; repeatable. Default: the last stage."
)
@click.option("--size", type=click.IntRange(min=32), help="Shorter side of the images. Default: the network's own.")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    type=click.Choice(["linear", "cosine", "rbf"]),
    help="Repeatable. Default: all three.",
)
@click.option(
    "--matching",
    "solvers",
    multiple=True,
    default=["exact-auction"],
    show_default=True,
    metavar="SOLVER",
    help="Beside same positions and translation; repeatable.",
)
@click.option(
    "--centring",
    type=click.Choice(["channel", "position", "none"]),
    default="channel",
    show_default=True,
    help="Both sides, by the database's mean.",
)
@click.option(
    "--place",
    type=click.Choice(["scene", "video"]),
    default="scene",
    show_default=True,
    help="Scenes: one background a scene, or one for each of its videos.",
)
@click.option(
    "--object-classes", type=click.IntRange(min=2), default=20, show_default=True, help="With --images: classes used."
)
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train"]),
    default="test",
    show_default=True,
    help="Of EgoObjects.",
)
@click.option("--any-format", is_flag=True, help="EgoObjects: images that are not 16:9 too, all cut to squares.")
@click.option(
    "--frame",
    type=click.Choice(["whole", "square"]),
    default="whole",
    show_default=True,
    help="EgoObjects, Cityscapes: the whole image, or the square in its middle.",
)
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes; -1 for all cores.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@common_options
def command(
    *,
    quick: bool,
    quiet: bool,
    images: tuple[Path, ...],
    classes: Path | None,
    egoobjects: Path | None,
    cityscapes: Path | None,
    place: str,
    object_classes: int,
    split: str,
    any_format: bool,
    frame: str,
    kernels: tuple[str, ...],
    jobs: int,
    **options: Any,
) -> StudyResult:
    """Which kernel and matching retrieve images with the same objects?

    Queries look for the most similar image of a database, by the same positions, the best translation, or matched positions;
    scored is which objects both images show (F1 of counts, IoU of class sets).
    """
    from semrsm_bench.studies.retrieval import KERNELS, retrieval
    from semrsm_bench.studies.retrieval_data import Source

    source = Source(images, classes, egoobjects, cityscapes, split, any_format, frame, place, object_classes)
    return retrieval(source, kernels=kernels or KERNELS, n_jobs=jobs, quick=quick, quiet=quiet, **options)
