"""From images to activations: in memory, or of many images into a cache file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from semrsm_bench.activations.images import ImageRef, Tally, find_images, load_images, require_distinct
from semrsm_bench.activations.models import Model, load_model, to_input, with_layers
from semrsm_bench.activations.options import MEAN_IMAGES
from semrsm_bench.activations.outputs import Layout
from semrsm_bench.activations.pictures import changed_pictures
from semrsm_bench.activations.reader import Activations, LayerReader, activations_of, groups_of, input_of, joined
from semrsm_bench.activations.store import write_cache
from semrsm_bench.core.arrays import to_numpy
from semrsm_bench.progress import progress_bar


def extract(
    model: Any,
    images: Any,
    layers: Sequence[str] = (),
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    layout: Layout = "auto",
    drop_tokens: int | None = None,
) -> Activations:
    """Activations of named layers of any torch network on images.

    Parameters
    ----------
    model : nn.Module, Model or str
        The network, where it is and in eval mode meanwhile; or what `semrsm-bench data extract --model` takes, such as
        ``"hf:FOLDER"``, which brings its own preprocessing.
    images : tensor, array, path or sequence of paths
        (N, 3, H, W) floats, preprocessed, which the network gets as they are; RGB pixels (N, H, W, 3) uint8; or folders, zips
        and files of pictures.
    layers : sequence of str
        Names of submodules; ``*`` and ``[0-9]`` stand for parts of a name between two dots: ``"blocks.*"``.
    mean, std : sequence of float, optional
        Of the channels, on the scale 0..1, for pixels and files. A bare module has none of its own.
    size : int, optional
        Side in pixels of the pictures that are read from files.
    layout : {"auto", "channels_first", "channels_last", "sequence_first"}
        Axes of what the layers return: (N, C, H, W) or (N, C, S), (N, H, W, C) or (N, T, D), (T, N, D).
    drop_tokens : int, optional
        Leading tokens (class, registers) to leave out; by default those the model is known to have, or one where that leaves a
        grid.

    Returns
    -------
    Activations
        A mapping from names of layers to (N, C, H, W) or (N, C, S), float32, for `compute_rsm` and `save_activations`.

    Raises
    ------
    ValueError
        No such layer, one that never runs, an output whose axes nothing tells, or images of another kind.
    """
    device = None
    if isinstance(model, nn.Module):
        tensors = [*model.parameters(), *model.buffers()]
        device = tensors[0].device if tensors else torch.device("cpu")
        model = Model(type(model).__name__, model, (), 0, (), ())
    elif isinstance(model, str):
        model = load_model(model)
    model = with_layers(model, layers).told(mean, std, size, layout, drop_tokens)
    inputs, found = _inputs(model, images)
    groups = groups_of(range(len(inputs)), max(inputs.shape[2:]))
    with LayerReader(model, model.layers, device) as read:
        result = joined([read(inputs[group[0] : group[-1] + 1]) for group in groups])
    labels = np.array([image.label for image in found], dtype=np.int64) if found else None
    return replace(result, ids=tuple(image.name for image in found), labels=labels)


def _inputs(model: Model, images: Any) -> tuple[torch.Tensor, list[ImageRef]]:
    """What the network takes, (N, 3, H, W), and which pictures these are where they come from files."""
    paths = [images] if isinstance(images, str | Path) else images
    found: list[ImageRef] = []
    if isinstance(paths, Sequence) and paths and all(isinstance(path, str | Path) for path in paths):
        model.require_preprocessing()
        found = find_images(paths)
        require_distinct(found)
        images = load_images(found, model.fit or model.size, progress=True)
    array = images if isinstance(images, torch.Tensor) else to_numpy(images, "images")
    kind = str(array.dtype).removeprefix("torch.")
    is_pixels, shape = kind == "uint8", tuple(array.shape)
    if len(shape) != 4 or 0 in shape or shape[3 if is_pixels else 1] != 3 or not (is_pixels or "float" in kind):
        wanted = "(N, 3, H, W) floats, preprocessed, or RGB pixels (N, H, W, 3) uint8"
        raise ValueError(f"images are {wanted}, or paths; got {shape} {kind}")
    tensor = array if isinstance(array, torch.Tensor) else torch.tensor(array)
    if is_pixels:
        model.require_preprocessing("mean", "std")
        return to_input(tensor, model.mean, model.std), found
    if not torch.isfinite(tensor).all():
        raise ValueError("the images are not finite")
    return tensor.detach(), found


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
    totals: dict[str, Any] = dict.fromkeys(model.layers, 0.0)
    tally, read = Tally(), list[int]()
    with LayerReader(model, model.layers) as reader, progress_bar(len(order), "extracting", unit="image") as bar:
        for group in groups_of(order, model.size):
            pixels = load_images([images[i] for i in group], model.fit or model.size, tally=tally)
            here = [i for i in group if images[i] not in tally.left_out]
            if here:
                part = reader(input_of(model, pixels))
                for layer, values in part.layers.items():
                    totals[layer] += values.sum(axis=0, dtype=np.float64)
                stored += _first(part, sum(i in kept for i in here))
                read += here
            bar.update(len(group))
    names = [images[i] for i in read if i in kept]
    if tally.left_out:
        first = next(iter(tally.left_out.values()))
        warnings.warn(f"{len(tally.left_out)} of {len(order)} pictures are left out; {first}", stacklevel=2)
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
        "pictures": tally.words(pixels.shape[1:3]),
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
