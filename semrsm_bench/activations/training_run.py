"""From the options of ``data train`` to a weights file with its recipe inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semrsm_bench.activations.images import find_images, load_images, read_classes
from semrsm_bench.activations.manifest import file_sha256, update_manifest
from semrsm_bench.activations.options import TrainOptions
from semrsm_bench.activations.train import Recipe, parse_phases, top1, train
from semrsm_bench.activations.weights import load_weights, save_weights


def train_network(images: Sequence[Path], options: TrainOptions, *, quiet: bool = False) -> str:
    """Train (or resume) on folders or zips in the ImageFolder layout, validate, write the weights; returns what to tell the user.

    Raises
    ------
    ValueError
        Images outside class directories, or phases that make no sense.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    phases = parse_phases(options.phases)
    size = max(size for size, _ in phases)
    names = read_classes(options.classes) if options.classes else None
    pixels, labels, classes = _load(images, names, size, quiet)
    recipe = Recipe(
        architecture=options.architecture,
        width=options.width,
        num_classes=classes,
        phases=phases,
        batch=options.batch,
        lr=options.lr,
        seed=options.seed,
        init_sha256=file_sha256(options.init) if options.init else None,
    )
    network, log = train(
        recipe,
        pixels,
        labels,
        options.out.with_suffix(".ckpt.safetensors"),
        init=load_weights(options.init) if options.init else None,
        compile_network=options.compile,
        quiet=quiet,
    )
    # Validate what is written: float16 weights, BatchNorm statistics included.
    network.load_state_dict(
        {k: v.half().float() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    )
    accuracy = None
    if options.val:
        val_pixels, val_labels, _ = _load(options.val, names, size, quiet)
        accuracy = top1(network, val_pixels, val_labels, recipe.phases[-1][0], quiet=quiet)
    metadata = {
        "recipe": dataclasses.asdict(recipe),
        "log": log,
        "images": len(pixels),
        "top1": accuracy,
        "val_images": len(val_pixels) if options.val else 0,
        "torch": torch.__version__,
    }
    save_weights(options.out, network, metadata)
    shapes = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    update_manifest(options.out.parent, options.out, "weights", shapes)
    told = f"top-1 {accuracy:.2%} on {len(val_pixels)} images, " if accuracy is not None else ""
    return f"{options.out}: {told}{log['steps_done']} steps in {log['seconds'] / 60:.1f} minutes, sha256 {file_sha256(options.out)}"


def _load(
    sources: Sequence[Path], names: list[str] | None, size: int, quiet: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64], int]:
    images = find_images(sources, names)
    labels = np.array([image.label for image in images], dtype=np.int64)
    if (labels < 0).any():
        stray = images[int(np.argmax(labels < 0))]
        raise ValueError(
            f"{stray.container}: {stray.name} lies in no class directory; training needs one folder per class"
        )
    classes = len(names) if names else int(labels.max()) + 1
    return load_images(images, size, quiet=quiet), labels, classes
