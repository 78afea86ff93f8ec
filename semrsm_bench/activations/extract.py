"""Images in, one cache of activations out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semrsm_bench.activations.forward import Tap, batch_size
from semrsm_bench.activations.images import ImageRef, load_images
from semrsm_bench.activations.models import Model
from semrsm_bench.activations.options import MEAN_IMAGES
from semrsm_bench.activations.store import write_cache
from semrsm_bench.progress import progress_bar


@dataclass
class _Layer:
    """Activations of one layer while they come in: those kept, and the sum over the images of the mean."""

    kept: list[NDArray[Any]]
    total: NDArray[np.float64] | None = None
    grid: tuple[int, int] | None = None


def choose_images(images: Sequence[ImageRef], count: int, seed: int = 0) -> list[int]:
    """Indices of ``count`` images, spread over as many classes as there are; sorted, seeded. ValueError for too few images."""
    if not 1 <= count <= len(images):
        raise ValueError(f"asked for {count} images of {len(images)}")
    order = np.random.default_rng(seed).permutation(len(images))
    rank: dict[int, int] = {}
    turn = []
    for i in order:
        label = images[i].label
        turn.append(rank.get(label, 0))
        rank[label] = turn[-1] + 1
    # First one image of every class, then a second, and so on; the sort is stable, so the seeded order decides ties.
    chosen = order[np.argsort(turn, kind="stable")[:count]]
    return sorted(int(i) for i in chosen)


def extract(
    model: Model,
    images: Sequence[ImageRef],
    out: Path,
    *,
    keep: Sequence[int] | None = None,
    mean_images: int = MEAN_IMAGES,
    size: int | None = None,
    drop_tokens: int | None = None,
    seed: int = 0,
    dataset: str = "",
    command: str = "",
    quiet: bool = False,
) -> dict[str, Any]:
    """Run a network over images and write the cache; returns the metadata written.

    Parameters
    ----------
    model, images, out : Model, sequence of ImageRef, Path
    keep : sequence of int, optional
        Which images' activations are stored; default: all.
    mean_images : int
        The mean is taken over the kept images and as many others (seeded choice) as make this number, or over all there are.
    size : int, optional
        Side of the images; default: the model's own.
    drop_tokens : int, optional
        See `tokens_to_positions`.
    dataset, command : str
        Provenance.

    Raises
    ------
    ValueError
        A layer returns something else than maps or tokens, or activations are not finite in float16.
    """
    keep = list(range(len(images))) if keep is None else list(keep)
    size = size or model.size
    kept = set(keep)
    others = [i for i in np.random.default_rng(seed).permutation(len(images)).tolist() if i not in kept]
    order = keep + others[: max(0, mean_images - len(keep))]
    layers = {layer: _Layer([]) for layer in model.layers}
    logits: list[NDArray[np.float32]] = []
    batch = batch_size(size)
    with (
        Tap(model, drop_tokens) as tap,
        progress_bar(len(order), "extracting", unit="image", quiet=quiet) as bar,
    ):
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            output = tap.run(load_images([images[i] for i in chosen], size, quiet=True))
            stored = max(0, min(len(chosen), len(keep) - start))
            if stored and output is not None:
                logits.append(output[:stored])
            for name, layer in layers.items():
                values = tap.outputs[name]
                layer.grid = tap.grids[name]
                if stored:
                    layer.kept.append(values[:stored].copy())
                total = values.sum(axis=0, dtype=np.float64)
                layer.total = total if layer.total is None else layer.total + total
            bar.update(len(chosen))
    ids = [images[i].id for i in keep]
    metadata = {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "dataset": dataset,
        "preprocessing": f"RGB, shorter side to {size}, centre crop, minus {model.mean}, over {model.std} (scale 0..1)",
        "torch": torch.__version__,
        "command": command,
        "mean_images": len(order),
        "mean_images_sha256": hashlib.sha256("\n".join(images[i].id for i in order).encode()).hexdigest(),
    }
    write_cache(
        out,
        {name: np.concatenate(layer.kept) for name, layer in layers.items()},
        {name: np.asarray(layer.total) / len(order) for name, layer in layers.items()},
        images=ids,
        labels=np.array([images[i].label for i in keep], dtype=np.int64),
        logits=np.concatenate(logits) if logits else None,
        grids={name: layer.grid for name, layer in layers.items()},
        metadata=metadata,
    )
    return metadata
