"""What tasks that judge RSM methods share: their options, cases of one layer, and answers that must be RSMs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.cache import CENTRINGS, Cache
from semrsm_bench.activations.folders import shipped_folder
from semrsm_bench.activations.layouts import LayoutOptions
from semrsm_bench.activations.store import open_caches
from semrsm_bench.core.options import option
from semrsm_bench.core.task import Answer, Arrays, Case
from semrsm_bench.metrics.arrays import as_float64, as_rsm
from semrsm_bench.tasks.networks import LayerActivations, NetworkOptions, identity_bandwidth

KERNELS = ("linear", "cosine", "rbf")
# The solver that stands for the optimal matching.
OPTIMUM = "exact-auction"
METHODS = (
    *("identity", "translation", OPTIMUM),
    *(
        "pooled",
        "second-moment",
        "second-moment-unit",
        "sliced",
        "chamfer",
        "set-rbf",
        "set-polynomial",
        "sinkhorn",
        "bures",
    ),
    "random",
)
# A row's time is that of a whole RSM; what is shown is its share.
TIME_PER = "pair of images"
# Layers of more positions are left out of quick runs.
QUICK_POSITIONS = 1024


@dataclass(frozen=True)
class LayerRsmOptions(NetworkOptions):
    """How the RSMs of each layer are made."""

    kernels: tuple[str, ...] = option(
        (), help="Kernels of the RSMs. Default: the task's.", choices=KERNELS, aliases=("kernel",)
    )
    centring: tuple[str, ...] = option(
        ("channel",), help="Which means are subtracted first.", choices=CENTRINGS, aliases=("centrings",)
    )
    largest: int | None = option(None, help="Leave out layers with more positions; default: the profile's.", minimum=1)


@dataclass(frozen=True)
class CachedOptions(LayoutOptions, LayerRsmOptions):
    """Activations of a cache in place of networks on pictures."""

    data: Path | None = option(None, help="Activations (as of `run matching`) in place of networks on pictures.")
    shipped: bool | None = option(
        None,
        help="Caches that the project ships, unless networks or pictures are named; default: the profile's.",
        negatable=True,
    )

    def caches(self, task: str) -> list[Cache]:
        """Those of ``data``, or those that ship for the task; none where networks run on pictures."""
        if self.data is not None:
            return open_caches(self.data, **self.layouts)
        return open_caches(shipped_folder(task)) if self.shipped and not self._named else []

    @property
    def _named(self) -> bool:
        """Whether networks or pictures are."""
        return bool(self.images or self.model or self.size)


def layer_cases(
    options: LayerRsmOptions,
    kernels: Sequence[str],
    sides: Mapping[str, LayerActivations],
    layer: str,
    units: Mapping[str, tuple[str, ...]],
    known: Any,
    *,
    place: Mapping[str, str | int] | None = None,
    part: str = "",
) -> Iterator[Case]:
    """The cases of one layer of a network: one for each centring and kernel, all with the same arrays and bandwidth.

    ``kernels`` are for options that name none; ``sides`` are ``z``, and ``z2`` where there is a database, or ``beside`` where
    other images have an RSM of their own, whose bandwidth then serves both; ``place`` has further entries of the cell; ``part``
    tells cases of one cell apart in their names.
    """
    kernels, place = options.kernels or tuple(kernels), place or {}
    first = sides["z"]
    _, channels, size = first.shape(layer)
    cell = {"model": first.name, "layer": layer, "size": size, "channels": channels, **place}
    skip = ""
    if options.largest is not None and size > options.largest:
        skip = f"{size:,} positions; the limit is {options.largest:,} (--largest)"

    def inputs() -> Arrays:
        return {name: side.activations(layer) for name, side in sides.items()}

    @functools.cache
    def sigma() -> float | None:
        try:
            measured = [sides["beside"]] if "beside" in sides else sides.values()
            return identity_bandwidth(*(side.activations(layer) for side in measured))
        except ValueError:
            return None  # costs the rows of the RBF kernel, which say why

    def together() -> list[str]:
        return [kernel for kernel in kernels if kernel != "rbf" or sigma() is not None]

    settings: dict[str, Any] = {"kernels": together, "grid": first.grid(layer)}
    if "rbf" in kernels:
        # One bandwidth for all that match positions, so that their RSMs compare; others have distances of another scale.
        settings |= {"sigma": sigma, "rule": "offdiag_median"}
    for centring in options.centring:
        for kernel in kernels:
            words = (first.name, layer, *(str(v) for v in place.values()), centring, kernel, part)
            yield Case(
                "/".join(filter(None, words)),
                {**cell, "centring": centring, "kernel": kernel},
                inputs,
                units,
                {**settings, "kernel": kernel, "centring": centring},
                "-".join(side.sha256[:32] for side in sides.values()),
                size,
                channels,
                skip,
                known,
            )


def image_pairs(rows: int, columns: int | None = None) -> int:
    """How many pairs of images an RSM compares, for the time of one: those above the diagonal, or all of both sides."""
    return rows * (rows - 1) // 2 if columns is None else rows * columns


def answered_rsm(answer: Answer, rows: int, columns: int | None = None) -> NDArray[np.float64]:
    """The RSM of an answer, (rows, rows) and symmetric, or (rows, columns); ValueError: it is something else, or not finite."""
    rsm = answer.arrays.get("rsm")
    shape = (rows, rows if columns is None else columns)
    if rsm is None or np.shape(rsm) != shape:
        what = "no RSM" if rsm is None else f"an RSM of shape {np.shape(rsm)}"
        raise ValueError(f"it gave {what}; needed is {shape}")
    return as_rsm(rsm, "its RSM") if columns is None else as_float64(rsm, "its RSM")
