"""Features of groups of networks on the same pictures, a file for each group: a layer's mean over positions, or all positions.

The arrays are named ``GROUP:NETWORK/LAYER``, (n, C) or (n, C, S) float16, and ``GROUP:NETWORK/logits`` (n, K); ``labels`` (n,) are
shared. The metadata holds, as JSON, ``ids`` (of the pictures), ``layers`` (in order), ``grids`` of positions (H, W), ``networks``
(recipe, top-1 and sha256 of each), ``size`` of the pictures, ``dataset`` and ``command``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from semrsm_bench.activations.designs import misleading_dots
from semrsm_bench.activations.folders import atomic_write, file_sha256, update_manifest, weights_metadata
from semrsm_bench.activations.groups import DOTTED, NetworkGroup, find_groups
from semrsm_bench.activations.images import choose_images, find_images, load_images, read_classes
from semrsm_bench.activations.models import load_model
from semrsm_bench.activations.options import FeaturesOptions
from semrsm_bench.activations.reader import activations_of
from semrsm_bench.activations.resnet import ARCHITECTURES
from semrsm_bench.progress import progress_bar

FORMAT = "semrsm_bench.features/1"
STEM = "stem"
_STEM_MODULE = "relu"  # what the stem ends with


def layers_of(architecture: str) -> list[str]:
    """The stem and all blocks of an architecture of this family, in order."""
    _, depths = ARCHITECTURES[architecture]
    return [STEM, *(f"layer{stage}.{i}" for stage, depth in enumerate(depths, 1) for i in range(depth))]


def write_features(
    images: Sequence[Path], options: FeaturesOptions, provenance: Callable[[NetworkGroup], Mapping[str, str]]
) -> Iterator[str]:
    """Run groups of networks over the same pictures and write a file for each group; yields a summary of each.

    A network whose weights are not there is left out. Groups with shortcuts see pictures with dots that agree with the class by
    chance. ``provenance`` is more metadata of a group's file: ``dataset``, ``command``.

    Raises
    ------
    ValueError
        No network of a group is there, a picture without a class for groups with shortcuts, or a value that is not finite in
        float16; errors of `find_images` and `choose_images`.
    """
    groups = find_groups(options.group)
    found = find_images(images, options.classes)
    if options.count:
        found = [found[i] for i in choose_images(found, options.count, options.seed)]
    labels = np.array([image.label for image in found], dtype=np.int64)
    pixels = dotted = load_images(found, options.size)
    if any(group.family == DOTTED for group in groups):
        if labels.min() < 0:
            raise ValueError("groups with shortcuts need images in class folders")
        classes = len(read_classes(options.classes)) if options.classes else int(labels.max()) + 1
        dotted, _ = misleading_dots(pixels, labels, classes)
    header = {"ids": [image.name for image in found], "size": options.size, "torch": torch.__version__}
    for group in groups:
        paths = {seed: options.networks / group.file(seed) for seed in group.seeds}
        there = {seed: path for seed, path in paths.items() if path.exists()}
        if not there:
            raise ValueError(
                f"{options.networks} holds no weights of {group.name}, such as {paths[group.seeds[0]].name}"
            )
        shown = dotted if group.family == DOTTED else pixels
        tensors, facts = _run(group, dict(islice(there.items(), options.first)), shown, options)
        out = options.out / f"{'positions' if options.positions else 'features'}-{group.name}.safetensors"
        with atomic_write(out) as partial:
            text = {name: json.dumps(value) for name, value in {**header, **facts, **provenance(group)}.items()}
            save_file({"labels": labels, **tensors}, partial, metadata={"format": FORMAT, **text})
        update_manifest(out, "features", {name: array.shape for name, array in tensors.items()})
        count = f"{len(facts['networks'])} of {len(paths)} networks, {len(facts['layers'])} layers, {len(found)} images"
        yield f"{out}: {count}, {out.stat().st_size / 1e6:.1f} MB"


def _run(
    group: NetworkGroup, weights: Mapping[int, Path], pixels: NDArray[np.uint8], options: FeaturesOptions
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays of all networks of a group, and what their file says of them."""
    layers = list(options.layers) or layers_of(group.architecture)
    modules = {_STEM_MODULE if layer == STEM else layer: layer for layer in layers}
    tensors: dict[str, NDArray[Any]] = {}
    facts: dict[str, Any] = {"layers": layers, "networks": {}}
    with progress_bar(len(weights), group.name, unit="network") as bar:
        for seed, path in weights.items():
            name = f"{group.name}:seed{seed}"
            found = activations_of(load_model(str(path), list(modules)), pixels)
            assert found.logits is not None
            values = {modules[module]: x if options.positions else x.mean(axis=2) for module, x in found.layers.items()}
            for layer, value in {**values, "logits": found.logits}.items():
                with np.errstate(over="ignore"):
                    tensors[f"{name}/{layer}"] = stored = np.ascontiguousarray(value, dtype=np.float16)
                if not np.isfinite(stored).all():
                    raise ValueError(f"{path}: {layer} is not finite in float16 (65504 at most)")
            facts["networks"][name] = {"weights_sha256": file_sha256(path), **weights_metadata(path)}
            if options.positions:
                facts["grids"] = {modules[module]: grid for module, grid in found.grids.items()}
            bar.update()
    return tensors, facts
