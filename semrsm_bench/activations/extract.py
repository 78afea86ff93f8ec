"""From images to activations in memory, for users; torch is imported only when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_bench.activations.images import ImageRef, Tally, find_images, load_images, require_distinct
from semrsm_bench.activations.options import LayerLayout
from semrsm_bench.core.arrays import to_numpy
from semrsm_bench.core.identity import checked_ids
from semrsm_bench.core.method import require_extra

if TYPE_CHECKING:
    import torch

    from semrsm_bench.activations.models import Model
    from semrsm_bench.activations.reader import Activations


def extract(
    model: Any,
    images: Any,
    layers: Sequence[str] = (),
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    layout: LayerLayout = "auto",
    drop_tokens: int | None = None,
    ids: Sequence[Any] | None = None,
) -> Activations:
    """Activations of named layers of any torch network on images.

    Parameters
    ----------
    model : nn.Module, Model or str
        The network, where it is and in eval mode meanwhile; or what `semrsm-bench data extract --model` takes, such as
        ``"hf:FOLDER"``, which brings its own preprocessing.
    images : tensor, array, path or sequence of paths
        (N, C, H, W) floats, preprocessed, which the network gets as they are; RGB pixels (N, H, W, 3) uint8; or folders, zips
        and files of pictures, of which those that cannot be read are left out, with a warning.
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
    ids : sequence of N, optional
        Distinct names of the images, where these are arrays; pictures from files have their own.

    Returns
    -------
    Activations
        A mapping from names of layers to (N, C, H, W) or (N, C, S), float32, for `compute_rsm` and `save_activations`.

    Raises
    ------
    ValueError
        No such layer, one that never runs, an output whose axes nothing tells, or images of another kind.
    TypeError
        The model is none.
    ImportError
        torch or Pillow is missing, or the library that the model comes from.
    """
    require_extra("extract", "torch", "torch", "PIL")
    import torch
    from torch import nn

    from semrsm_bench.activations.libraries import special_tokens
    from semrsm_bench.activations.models import Model, load_model, with_layers
    from semrsm_bench.activations.reader import LayerReader, groups_of, joined

    device = None
    if isinstance(model, nn.Module):
        tensors = [*model.parameters(), *model.buffers()]
        device = tensors[0].device if tensors else torch.device("cpu")
        model = Model(type(model).__name__, model, (), 0, (), (), drop_tokens=special_tokens(model))
    elif isinstance(model, str):
        model = load_model(model)
    elif not isinstance(model, Model):
        raise TypeError(f"model must be a torch module, or text such as 'hf:FOLDER', got {type(model).__name__}")
    model = with_layers(model, layers).told(mean, std, size, layout, drop_tokens)
    inputs, found, pictures = _inputs(model, images)
    if ids is not None and found:
        raise ValueError("ids are for arrays: pictures from files are called by their names")
    names = [image.name for image in found] if ids is None else checked_ids(ids, len(inputs), "ids")
    groups = groups_of(range(len(inputs)), max(inputs.shape[2:]))
    with LayerReader(model, model.layers, device) as read:
        result = joined([read(inputs[group[0] : group[-1] + 1]) for group in groups])
    labels = np.array([image.label for image in found], dtype=np.int64) if found else None
    return replace(result, ids=tuple(names), labels=labels, pictures=pictures)


def _inputs(model: Model, images: Any) -> tuple[torch.Tensor, list[ImageRef], str]:
    """What the network takes, (N, C, H, W); of pictures from files which they are, and what was done to them."""
    import torch

    from semrsm_bench.activations.models import to_input

    paths = [images] if isinstance(images, str | Path) else images
    found, tally = list[ImageRef](), Tally()
    if isinstance(paths, Sequence) and paths and all(isinstance(path, str | Path) for path in paths):
        model.require_preprocessing()
        found = find_images(paths)
        require_distinct(found)
        images = load_images(found, model.fit or model.size, progress=True, tally=tally)
        tally.warn()
        found = [image for image in found if image not in tally.left_out]
        if not found:
            raise ValueError("no picture is left that can be read")
    array = images if isinstance(images, torch.Tensor) else to_numpy(images, "images")
    kind = str(array.dtype).removeprefix("torch.")
    is_pixels, shape = kind == "uint8", tuple(array.shape)
    no_pixels = len(shape) != 4 or shape[3] != 3
    no_input = len(shape) != 4 or "float" not in kind or (shape[3] == 3 and shape[1] != 3)
    if 0 in shape or (no_pixels if is_pixels else no_input):
        wanted = "(N, C, H, W) floats, preprocessed, or RGB pixels (N, H, W, 3) uint8"
        raise ValueError(f"images are {wanted}, or paths; got {shape} {kind}")
    tensor = array if isinstance(array, torch.Tensor) else torch.tensor(array)
    if is_pixels:
        model.require_preprocessing("mean", "std")
        said = tally.words((shape[1], shape[2])) if found else ""
        return to_input(tensor, model.mean, model.std), found, said
    if not torch.isfinite(tensor).all():
        raise ValueError("the images are not finite")
    return tensor.detach(), [], ""
