"""RSMs of several networks and layers on the same pictures: semantic, spatio-semantic, and translation-invariant ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.progress import progress_bar
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.solvers import get_solver

if TYPE_CHECKING:
    from semrsm_bench.activations.models import Model
    from semrsm_bench.rsm.sources import Centring

Matrix = NDArray[np.float64]

SPATIO_SEMANTIC, TRANSLATION, SEMANTIC = "spatio-semantic", "translation", "semantic"
# Words for a choice of layers that is no name of a submodule.
LAST, BLOCKS = "last", "all"


@dataclass(frozen=True)
class How:
    """How the RSMs of every layer are made.

    Attributes
    ----------
    kernels : sequence of str
        One matching serves all of them.
    solver : str
        Of the semantic RSM.
    large_solver : str
        In its place for layers of more than ``large_from`` positions.
    large_from : int
    centring : {"none", "channel", "position"}
    sigma : str or float
        Bandwidth of the RBF kernel, shared by the RSMs of one layer.
    translation : bool
        Also the best circular shift, where the positions are a grid.
    jobs : int
        Processes; -1 for all cores.
    """

    kernels: Sequence[str] = ("linear",)
    solver: str = "exact-auction"
    large_solver: str = "matrix-free-coarse"
    large_from: int = 2048
    centring: Centring = "channel"
    sigma: str | float = "offdiag_median"
    translation: bool = False
    jobs: int = 1

    def solver_for(self, positions: int) -> str:
        """The solver of a layer with that many positions."""
        return self.large_solver if positions > self.large_from else self.solver


@dataclass(frozen=True)
class LayerRsms:
    """What a layer of a network makes of the pictures.

    Attributes
    ----------
    network, layer : str
    positions, channels : int
    solver : str
        That matched the positions for the semantic RSM.
    exact : bool
        Whether it finds the optimum.
    rsms : dict
        ``{"spatio-semantic" | "translation" | "semantic": {kernel: (N, N)}}``; translation only where it was asked for and
        the positions are a grid.
    """

    network: str
    layer: str
    positions: int
    channels: int
    solver: str
    exact: bool
    rsms: dict[str, dict[str, Matrix]]


@dataclass(frozen=True)
class NetworkRsms:
    """A network's layers, and its class probabilities (N, K), or None where it gives no logits."""

    name: str
    layers: list[LayerRsms]
    probabilities: Matrix | None


def common_size(models: Sequence[Model], size: int | None = None) -> int:
    """Side of the pictures that all networks look at: ``size``, or the one that all of them want.

    Raises
    ------
    ValueError
        They want different sizes, and none was given.
    """
    wanted = sorted({model.size for model in models})
    if size is None and len(wanted) != 1:
        raise ValueError(
            f"the networks want pictures of {' and '.join(map(str, wanted))} pixels: choose one with --size"
        )
    return wanted[0] if size is None else size


def choose_layers(model: Model, layers: Sequence[str] = ()) -> Model:
    """The model with the layers that are named.

    Parameters
    ----------
    model : Model
    layers : sequence of str
        Names of submodules; none keeps the model's own (the stages), "last" is the last of those, "all" every block inside
        of them.

    Raises
    ------
    ValueError
        A name that the network does not have, or "all" for a network whose layers hold no blocks.
    """
    from semrsm_bench.activations.models import with_layers

    if tuple(layers) == (LAST,):
        return with_layers(model, model.layers[-1:])
    if tuple(layers) == (BLOCKS,):
        names = tuple(
            f"{stage}.{child}"
            for stage in model.layers
            for child, _ in model.network.get_submodule(stage).named_children()
        )
        if not names:
            raise ValueError(
                f"the layers {', '.join(model.layers)} of {model.name} hold no blocks; name layers instead"
            )
        return with_layers(model, names)
    return with_layers(model, layers or model.layers)


def load_networks(models: Sequence[str], layers: Sequence[str] = ()) -> list[Model]:
    """The networks of `study_networks` with the layers of `choose_layers`."""
    from semrsm_bench.studies.networks import study_networks

    # Networks without stages can be loaded only with the names of their layers.
    named = () if tuple(layers) in ((LAST,), (BLOCKS,)) else layers
    return [choose_layers(model, layers) for model in study_networks(models, named)]


def network_rsms(
    models: Sequence[Model], pixels: NDArray[np.uint8], how: How, *, quiet: bool = False
) -> list[NetworkRsms]:
    """RSMs of all layers of all networks, on the same pictures.

    Parameters
    ----------
    models : sequence of Model
        Their ``layers`` are looked at; see `choose_layers`.
    pixels : ndarray, (N, H, W, 3), uint8
    how : How
    quiet : bool
        No progress bar.

    Raises
    ------
    ValueError
        Unknown solver, kernel, centring or layer; an activation that is not finite.
    """
    for name in (how.solver, how.large_solver):
        if name in ("identity", TRANSLATION):
            raise ValueError(f"{name} is no matching of a semantic RSM; name a solver (`semrsm-bench solvers`)")
        get_solver(name)
    result = []
    with progress_bar(sum(len(m.layers) for m in models), "RSMs", unit="layer", quiet=quiet) as bar:
        for model in models:
            layers: list[LayerRsms] = []
            probabilities = None
            for z, grid, layer, outputs in _layer_by_layer(model, pixels):
                layers.append(layer_rsms(model.name, layer, z, grid, how))
                probabilities = outputs
                bar.update()
            result.append(NetworkRsms(model.name, layers, probabilities))
    return result


def _layer_by_layer(model: Model, pixels: NDArray[np.uint8]) -> Iterator[tuple[Any, Any, str, Matrix | None]]:
    """One forward pass for each layer: large ones together would not fit into memory, and a pass is cheap beside matching."""
    from semrsm_bench.activations.forward import activations_of

    for layer in model.layers:
        seen = activations_of(model, pixels, [layer], quiet=True)
        yield seen.layers[layer], seen.grids[layer], layer, None if seen.logits is None else seen.probabilities


def layer_rsms(network: str, layer: str, z: Any, grid: tuple[int, int] | None, how: How) -> LayerRsms:
    """All RSMs of one layer from its activations (N, C, S), with one bandwidth; translation only with a grid.

    Parameters
    ----------
    network, layer : str
        Names, for tables and errors.
    z : array_like, (N, C, S)
    grid : (H, W) or None
        How the positions lie.
    how : How

    Raises
    ------
    ValueError
        As `compute_rsm` does, with the names in front.
    """
    _, channels, positions = z.shape
    solver = how.solver_for(positions)
    shifts = [TRANSLATION] if how.translation and grid is not None else []
    try:
        computed = compute_rsm(
            z,
            kernel=list(how.kernels),
            matching=["identity", *shifts, solver],
            sigma=how.sigma,
            centring=how.centring,
            grid=grid,
            n_jobs=how.jobs,
        )
    except ValueError as error:
        raise ValueError(f"{network}, {layer}: {error}") from None
    named = {SPATIO_SEMANTIC: computed["identity"], **{s: computed[s] for s in shifts}, SEMANTIC: computed[solver]}
    return LayerRsms(network, layer, positions, channels, solver, get_solver(solver).kind == "exact", named)
