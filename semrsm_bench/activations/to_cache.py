"""From many images to a cache file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semrsm_bench.activations.images import ImageRef, Tally, load_images, require_distinct
from semrsm_bench.activations.models import Model
from semrsm_bench.activations.options import MEAN_IMAGES
from semrsm_bench.activations.pictures import changed_pictures
from semrsm_bench.activations.reader import Activations, LayerReader, activations_of, groups_of, input_of, joined
from semrsm_bench.activations.store import write_cache
from semrsm_bench.progress import progress_bar


def extract_to_cache(
    model: Model,
    images: Sequence[ImageRef],
    out: Path,
    *,
    keep: Sequence[int] | None = None,
    mean_images: int = MEAN_IMAGES,
    seed: int = 0,
    changes: Sequence[str] = (),
    provenance: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a network over images and write the cache; returns the metadata written.

    ``keep`` says which images' activations are stored, by default all. The mean is taken over these and as many others (seeded
    choice) as make ``mean_images``, or over all there are. Behind the images the cache holds them again after each of the
    ``changes`` (see `changed_pictures`), the ids ``NAME#CHANGE``. ``provenance`` is more metadata: ``dataset``, ``command``.

    Images that cannot be read are left out; a warning counts them and names the first, the metadata (``left_out``) all. ValueError:
    two images have one id, or none can be read.
    """
    require_distinct(images)
    model.require_preprocessing()
    keep = range(len(images)) if keep is None else keep
    kept = set(keep)
    others = [i for i in np.random.default_rng(seed).permutation(len(images)).tolist() if i not in kept]
    order = [*keep, *others[: max(0, mean_images - len(keep))]]
    stored: list[Activations] = []
    totals: dict[str, Any] = {}
    tally, read, frame = Tally(), list[int](), (model.size, model.size)
    with LayerReader(model, model.layers) as reader, progress_bar(len(order), "extracting", unit="image") as bar:
        for group in groups_of(order, model.size):
            pixels = load_images([images[i] for i in group], model.fit or model.size, tally=tally)
            here = [i for i in group if images[i] not in tally.left_out]
            if here:
                frame = (pixels.shape[1], pixels.shape[2])
                part = reader(input_of(model, pixels))
                for layer, values in part.layers.items():
                    totals[layer] = totals.get(layer, 0.0) + values.sum(axis=0, dtype=np.float64)
                stored += _first(part, sum(i in kept for i in here))
                read += here
            bar.update(len(group))
    names = [images[i] for i in read if i in kept]
    tally.warn()
    if not names:
        raise ValueError("no picture is left to store")
    for change in changes:
        plain = load_images(names, model.fit or model.size)
        stored.append(activations_of(model, changed_pictures(plain, change, seed)))
    found = joined(stored)
    metadata = {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "preprocessing": model.preprocessing,
        "pictures": tally.words(frame),
        "left_out": {image.name: reason for image, reason in tally.left_out.items()},
        "read_as": found.read_as,
        "torch": torch.__version__,
        "mean_images": len(read),
        "mean_images_sha256": hashlib.sha256("\n".join(images[i].name for i in read).encode()).hexdigest(),
        **(provenance or {}),
    }
    write_cache(
        out,
        found.layers,
        {layer: total / len(read) for layer, total in totals.items()},
        images=[image.name + suffix for suffix in ("", *(f"#{change}" for change in changes)) for image in names],
        labels=np.tile([image.label for image in names], 1 + len(changes)).astype(np.int64),
        logits=found.logits,
        grids=found.grids,
        metadata=metadata,
    )
    return metadata


def _first(part: Activations, count: int) -> list[Activations]:
    """The first images of a pass, in a list that is empty for none."""
    if not count:
        return []
    layers = {layer: values[:count] for layer, values in part.layers.items()}
    return [replace(part, layers=layers, logits=None if part.logits is None else part.logits[:count])]
