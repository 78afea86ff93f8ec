"""Options of studies that make RSMs of several networks and layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semrsm_bench.cli.run import NameList

if TYPE_CHECKING:
    from semrsm_bench.studies.network_rsms import How


def network_options(
    *, models: str, layers: str, kernels: str, large: str = "matrix-free-coarse"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--model --layers --size --kernel --matching --large-matching --centring --sigma --plugin --jobs``.

    Parameters
    ----------
    models, layers : str
        The defaults, in words.
    kernels : str
        The default, separated by commas.
    large : str
        Default solver of large layers.
    """
    options = (
        click.option(
            "--model",
            "models",
            multiple=True,
            metavar="SPEC",
            help=f"FILE.safetensors, torchvision:NAME or timm:NAME; repeatable. Default: {models}.",
        ),
        click.option(
            "--layers",
            type=NameList(),
            default=(),
            help=f"Names of submodules; or last, or all (every block). Default: {layers}.",
        ),
        click.option("--size", type=click.IntRange(min=1), help="Side of the pictures. Default: the networks' own."),
        click.option(
            "--kernel", "kernels", type=NameList(), default=kernels, show_default=True, help="linear, cosine, rbf."
        ),
        click.option(
            "--matching", "solver", default="exact-auction", show_default=True, help="Solver of the semantic RSM."
        ),
        click.option(
            "--large-matching",
            "large_solver",
            default=large,
            show_default=True,
            help="In its place where a layer has more than --large-from positions.",
        ),
        click.option("--large-from", type=click.IntRange(min=1), default=2048, show_default=True),
        click.option(
            "--centring",
            type=click.Choice(["none", "channel", "position"]),
            default="channel",
            show_default=True,
            help="What is subtracted first; position is the paper's and breaks the invariance to permutations.",
        ),
        click.option("--sigma", default="offdiag_median", show_default=True, help="RBF bandwidth: a rule or a number."),
        click.option(
            "--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="File with solvers; repeatable."
        ),
        click.option("--jobs", type=int, default=-1, show_default=True, help="Processes for the RSMs; -1: all cores."),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def how_from(options: Mapping[str, Any], *, translation: bool) -> How:
    """What the options say, with plugins loaded.

    Raises
    ------
    click.UsageError
        A solver lacks its library.
    ValueError
        Unknown solver.
    """
    from semrsm_bench.rsm.kernels import check_kernels
    from semrsm_bench.solvers import get_solver, load_plugin
    from semrsm_bench.studies.network_rsms import How

    chosen = dict(options)
    for file in chosen.pop("plugins"):
        load_plugin(file)
    for name in (chosen["solver"], chosen["large_solver"]):
        if name not in ("identity", "translation") and (reason := get_solver(name).reason):
            raise click.UsageError(f"solver {name!r} is not available: {reason}")
    with contextlib.suppress(ValueError):
        chosen["sigma"] = float(chosen["sigma"])
    check_kernels(chosen["kernels"], chosen["sigma"], 1.0)
    if chosen["jobs"] == 0:
        raise click.UsageError("--jobs must not be 0: 1 for this process, -1 for all cores")
    return How(**chosen, translation=translation)
