"""Images in, one cache of activations out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semrsm_bench.activations.forward import batch_size, by_batch
from semrsm_bench.activations.images import ImageRef, load_images
from semrsm_bench.activations.models import Model
from semrsm_bench.activations.options import MEAN_IMAGES
from semrsm_bench.activations.store import write_cache
from semrsm_bench.progress import progress_bar


def extract(
    model: Model,
    images: Sequence[ImageRef],
    out: Path,
    *,
    keep: Sequence[int] | None = None,
    mean_images: int = MEAN_IMAGES,
    seed: int = 0,
    provenance: Mapping[str, str] | None = None,
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
    provenance : mapping, optional
        More metadata: ``dataset``, ``command``.

    Raises
    ------
    ValueError
        A layer returns something else than maps or tokens, or activations are not finite in float16.
    """
    keep = range(len(images)) if keep is None else keep
    kept = set(keep)
    others = [i for i in np.random.default_rng(seed).permutation(len(images)).tolist() if i not in kept]
    order = [*keep, *others[: max(0, mean_images - len(keep))]]
    step = batch_size(model.size)
    groups = [order[i : i + step] for i in range(0, len(order), step)]
    pixels = (load_images([images[i] for i in group], model.size, quiet=True) for group in groups)
    stored: dict[str, list[NDArray[Any]]] = {layer: [] for layer in model.layers}
    totals: dict[str, Any] = dict.fromkeys(model.layers, 0.0)
    logits: list[NDArray[np.float32]] = []
    done = 0
    with progress_bar(len(order), "extracting", unit="image", quiet=quiet) as bar:
        for group, part in zip(groups, by_batch(model, pixels, model.layers)):
            rest = max(0, len(keep) - done)
            if rest and part.logits is not None:
                logits.append(part.logits[:rest])
            for layer, values in part.layers.items():
                totals[layer] += values.sum(axis=0, dtype=np.float64)
                if rest:
                    stored[layer].append(values[:rest])
            done += len(group)
            bar.update(len(group))
    metadata = {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "preprocessing": f"RGB, shorter side to {model.size}, centre crop, minus {model.mean}, over {model.std} (scale 0..1)",
        "torch": torch.__version__,
        "mean_images": len(order),
        "mean_images_sha256": hashlib.sha256("\n".join(images[i].name for i in order).encode()).hexdigest(),
        "dataset": "",
        "command": "",
        **(provenance or {}),
    }
    write_cache(
        out,
        {layer: np.concatenate(parts) for layer, parts in stored.items()},
        {layer: total / len(order) for layer, total in totals.items()},
        images=[images[i].name for i in keep],
        labels=np.array([images[i].label for i in keep], dtype=np.int64),
        logits=np.concatenate(logits) if logits else None,
        grids=part.grids,
        metadata=metadata,
    )
    return metadata
