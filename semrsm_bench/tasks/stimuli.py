"""What the task instances aligns: the same stimuli in several models, from networks on pictures or from files of arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from semrsm_bench.core.arrays import load_array
from semrsm_bench.core.options import option
from semrsm_bench.core.task import Floats
from semrsm_bench.metrics import jensen_shannon
from semrsm_bench.tasks.networks import CountOptions, NetworkActivations, thumbnails

DIVERGENCE = "divergence"
# Pictures at either end of the ranking that rows of the last layer keep to be shown.
_SHOWN = 16
# Rows of a file that are checked at once, so that it need not fit into memory.
_ROWS = 4096


@dataclass(frozen=True)
class InstancesOptions(CountOptions):
    """What is aligned, and how."""

    pooling: str = option("mean", help="Mean over positions, or all positions as they are.", choices=("mean", "none"))
    folds: int = option(5, help="Parts of the pictures; each is scored by an alignment of the others.", minimum=2)
    group: str = option(
        "orthogonal",
        help="Rotations and reflections, or reorderings of the units.",
        choices=("orthogonal", "permutation"),
    )
    components: int | None = option(None, help="Reduce each network to so many principal components.", minimum=1)
    reorderings: int | None = option(
        None, help="How often the pictures of each network are reordered to see what chance gives.", minimum=1
    )
    features: tuple[Path, ...] = option(
        (), help="Instead of networks: .npy of shape (n, d), the same items in each; repeat for each array."
    )
    ids: Path | None = option(
        None, help="With --features: names of the items, one a line; items of one name stay in one fold."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("images", "model", "layers", "size") if getattr(self, name)]
        if self.features and given:
            raise ValueError(f"--{given[0]} is for networks; it does not go with --features")
        if self.components and self.group == "permutation":
            raise ValueError("--components is for rotations; it does not go with --group permutation")
        if self.ids and not self.features:
            raise ValueError("--ids names the rows of --features; there are none")


@dataclass(frozen=True)
class Stimuli:
    """The same n stimuli in several models."""

    models: Mapping[str, Callable[[str], NDArray[Any]]]  # by name; models[name](layer) is (n, d_k)
    layers: Sequence[str]
    ids: Sequence[str]
    groups: Sequence[Any]  # stimuli of one group, such as crops of one photograph, stay together in folds and intervals
    pixels: NDArray[np.uint8] | None  # (n, H, W, 3)
    outputs: Callable[[], Mapping[str, Floats]]  # figures of the class probabilities, see `output_facts`
    sha256: str
    shareable: bool = True  # whether the pictures may be shown in the project's docs

    def shown(self, agreement: Floats) -> dict[str, NDArray[Any]]:
        """The pictures that are agreed on most, then those least, and their indices."""
        assert self.pixels is not None
        order, each = np.argsort(-agreement, kind="stable"), min(_SHOWN, len(agreement) // 2)
        ends = np.concatenate([order[:each], order[len(order) - each :]])
        return {"shown": ends, "pictures": thumbnails(self.pixels[ends])}

    @classmethod
    def of_networks(cls, options: InstancesOptions) -> Stimuli:
        """Networks on pictures."""
        seen, pictures = options.seen()
        if len(seen) < 2:
            raise ValueError(f"a comparison needs at least two networks, got {seen[0].name} alone; repeat --model")
        layers = [layer for layer in seen[0].layers if all(layer in other.layers for other in seen)]
        if not layers:
            raise ValueError("the networks have no layer in common; name some that all have with --layers")

        def features(network: NetworkActivations, layer: str) -> NDArray[Any]:
            z = network.activations(layer)
            return z.mean(axis=2) if options.pooling == "mean" else z.reshape(len(z), -1)

        return cls(
            {network.name: cache(partial(features, network)) for network in seen},
            layers,
            pictures.ids,
            # A crop's label is its photograph.
            pictures.ids if options.images else pictures.labels.tolist(),
            pictures.pixels,
            cache(lambda: output_facts([_probabilities(network) for network in seen])),
            hashlib.sha256(" ".join(network.sha256 for network in seen).encode()).hexdigest(),
            pictures.shareable,
        )

    @classmethod
    def of_files(cls, options: InstancesOptions) -> Stimuli:
        """Arrays of the same items, one file each."""
        arrays, ids = read_paired(options.features, options.ids)
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        models = {path.stem: partial(lambda array, _: array, array) for path, array in zip(options.features, arrays)}
        if len(models) < len(arrays):
            raise ValueError("two of the files have the same name; tables tell them apart by name")
        return cls(models, [" + ".join(models)], ids, ids, None, dict, digest.hexdigest())


def output_facts(probabilities: Sequence[Floats | None]) -> dict[str, Floats]:
    """What K networks say about each picture, from their class probabilities (n, classes), in four figures (n,).

    ``divergence``: mean Jensen-Shannon divergence between pairs of networks, in nats. ``entropy``: of the mean of their
    probabilities, in nats. ``confidence``: mean of each network's largest probability. ``same_top``: share of the pairs of
    networks whose most probable class is the same. Empty where a network has no probabilities, or their numbers differ.
    """
    known = [p for p in probabilities if p is not None]
    if not known or len(known) < len(probabilities) or len({p.shape[1] for p in known}) > 1:
        return {}
    stacked = np.stack(known, axis=1)
    first, second = np.array(list(combinations(range(len(known)), 2))).T
    top = stacked.argmax(axis=2)
    return {
        DIVERGENCE: np.array([jensen_shannon(p)[first, second].mean() for p in stacked]),
        "entropy": entr(stacked.mean(axis=1)).sum(axis=1),
        "confidence": stacked.max(axis=2).mean(axis=1),
        "same_top": np.mean(top[:, first] == top[:, second], axis=1),
    }


def _probabilities(network: NetworkActivations) -> Floats | None:
    try:
        return network.probabilities
    except ValueError:
        return None


def read_paired(paths: Sequence[Path], ids: Path | None = None) -> tuple[list[NDArray[Any]], list[str]]:
    """Open ``.npy`` files (n, d_k) of the same items, mapped, not read; and the items' names, lines of ``ids`` or numbers from 0.

    ValueError, with the file: fewer than two, no finite real numbers with two axes, the same for all items, or unequal n.
    """
    if len(paths) < 2:
        raise ValueError(f"--features needs at least two files, whose rows are the same items; got {len(paths)}")
    arrays = [_open(path) for path in paths]
    count = len(arrays[0])
    if any(len(array) != count for array in arrays):
        counts = ", ".join(f"{path.name} {len(array)}" for path, array in zip(paths, arrays))
        raise ValueError(f"the files must hold the same items in the same order, but their rows differ: {counts}")
    names = [str(i) for i in range(count)] if ids is None else ids.read_text(encoding="utf-8").splitlines()
    if ids is not None and len(names) != count:
        raise ValueError(f"{ids.name} has {len(names)} lines, but the arrays have {count} rows")
    return arrays, names


def _open(path: Path) -> NDArray[Any]:
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{path}: features are read from .npy files; write them with numpy.save")
    try:
        array = load_array(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable array ({error})") from None
    if array.ndim != 2 or array.dtype.kind not in "fiub" or not array.size:
        raise ValueError(f"{path}: needed is an array (n, d) of real numbers, this one is {array.shape} {array.dtype}")
    differs = False
    for start in range(0, len(array), _ROWS):
        part = np.asarray(array[start : start + _ROWS])
        for row, column in np.argwhere(~np.isfinite(part))[:1].tolist():
            value = part[row, column]
            raise ValueError(f"{path}: row {start + row}, column {column} is {value}; drop that item from all files")
        differs = differs or bool((part != array[0]).any())
    if not differs:
        raise ValueError(f"{path}: all rows are the same, so there is nothing to align")
    return array
