"""``semrsm-bench study matching-quality``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semrsm_bench.cli.run import NameList
from semrsm_bench.cli.study import common_options, picture_options

if TYPE_CHECKING:
    from semrsm_bench.studies.study import StudyResult


@click.command("matching-quality", context_settings={"help_option_names": ["-h", "--help"]})
@picture_options
@click.option("--model", help="FILE.safetensors, torchvision:NAME or timm:NAME; default: the shipped ResNet-18.")
@click.option("--layers", type=NameList(), default=(), help="Only these; default: all stages.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Cache of activations in place of --model and --images; no torch."
)
@click.option(
    "--matching", type=NameList(), default=(), help="Solvers; default: identity and all approximate ones available."
)
@click.option("--kernels", type=NameList(), default="linear,cosine", show_default=True, help="linear, cosine, rbf.")
@click.option(
    "--centrings", type=NameList(), default="none,channel", show_default=True, help="none, channel, position."
)
@click.option("--least-spearman", type=float, default=0.999, show_default=True, help="To be recommended.")
@click.option("--least-neighbours", type=float, default=0.99, show_default=True, help="Share kept, to be recommended.")
@click.option("--equal", is_flag=True, help="As many images in every layer; default: fewer where S is large.")
@click.option(
    "--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="File with solvers; repeatable."
)
@click.option("--jobs", type=int, default=-1, show_default=True, help="Processes for the RSMs; -1: all cores.")
@click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="Of the times per pair; cpu: on a machine shared with other work.",
)
@common_options
def command(**options: Any) -> StudyResult:
    """How good are approximate matchings, and does it matter for what one does with an RSM?

    Per layer and solver: k/k_opt and c beside the optimum; how unevenly matching changes the pairs; and the agreement of each
    solver's RSM with the exact one (Spearman, CKA, nearest neighbours) against its time, with a recommendation.
    --count is for layers of up to 64 positions, 100 by default; a layer of S positions gets count * 8 / sqrt(S), at least 12.
    """
    from semrsm_bench.studies.matching_quality import matching_quality

    return matching_quality(**options)
