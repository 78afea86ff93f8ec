"""Activations of named layers during forward passes: of images in memory, or of many images into a cache file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semrsm_bench.activations.images import ImageRef, load_images
from semrsm_bench.activations.models import Model, best_device, to_input
from semrsm_bench.activations.options import MEAN_IMAGES
from semrsm_bench.activations.pictures import changed_pictures
from semrsm_bench.activations.store import square_grid, write_cache
from semrsm_bench.progress import progress_bar

_BATCH = 32


@dataclass(frozen=True)
class Activations:
    """Activations of a network on N images: per layer (N, C, S) float32 and its grid (H, W), and logits (N, K) float32.

    A grid is None where S is no square number of tokens, logits are None where the network returns something else.
    """

    layers: dict[str, NDArray[np.float32]]
    grids: dict[str, tuple[int, int] | None]
    logits: NDArray[np.float32] | None


def _groups(order: Sequence[int], size: int) -> list[Sequence[int]]:
    """Images that go through a network at once, by the side of their pictures."""
    step = max(1, _BATCH * 64 * 64 // (size * size))
    return [order[i : i + step] for i in range(0, len(order), step)]


def activations_of(model: Model, pixels: NDArray[np.uint8], layers: Sequence[str] | None = None) -> Activations:
    """Run a network over RGB images (N, H, W, 3) uint8 and keep the activations of some of its layers, by default of all.

    An empty sequence of layers keeps the logits alone.
    """
    wanted = model.layers if layers is None else layers
    groups = _groups(range(len(pixels)), max(pixels.shape[1:3]))
    parts = list(_by_batch(model, (pixels[group[0] : group[-1] + 1] for group in groups), wanted))
    logits = [part.logits for part in parts if part.logits is not None]
    return Activations(
        {layer: np.concatenate([part.layers[layer] for part in parts]) for layer in wanted},
        parts[-1].grids,
        np.concatenate(logits) if logits else None,
    )


def extract(
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
    """
    keep = range(len(images)) if keep is None else keep
    kept = set(keep)
    others = [i for i in np.random.default_rng(seed).permutation(len(images)).tolist() if i not in kept]
    order = [*keep, *others[: max(0, mean_images - len(keep))]]
    groups = _groups(order, model.size)
    pixels = (load_images([images[i] for i in group], model.size) for group in groups)
    stored: dict[str, list[NDArray[Any]]] = {layer: [] for layer in model.layers}
    totals: dict[str, Any] = dict.fromkeys(model.layers, 0.0)
    logits: list[NDArray[np.float32]] = []
    done = 0
    with progress_bar(len(order), "extracting", unit="image") as bar:
        for group, part in zip(groups, _by_batch(model, pixels, model.layers)):
            rest = max(0, len(keep) - done)
            if rest and part.logits is not None:
                logits.append(part.logits[:rest])
            for layer, values in part.layers.items():
                totals[layer] += values.sum(axis=0, dtype=np.float64)
                if rest:
                    stored[layer].append(values[:rest])
            done += len(group)
            bar.update(len(group))
    names = [images[i].name for i in keep]
    for change in changes:
        plain = load_images([images[i] for i in keep], model.size)
        changed = activations_of(model, changed_pictures(plain, change, seed))
        if changed.logits is not None:
            logits.append(changed.logits)
        for layer, values in changed.layers.items():
            stored[layer].append(values)
    metadata = {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "preprocessing": f"RGB, shorter side to {model.size}, centre crop, minus {model.mean}, over {model.std} (scale 0..1)",
        "torch": torch.__version__,
        "mean_images": len(order),
        "mean_images_sha256": hashlib.sha256("\n".join(images[i].name for i in order).encode()).hexdigest(),
        **(provenance or {}),
    }
    write_cache(
        out,
        {layer: np.concatenate(parts) for layer, parts in stored.items()},
        {layer: total / len(order) for layer, total in totals.items()},
        images=[name + suffix for suffix in ("", *(f"#{change}" for change in changes)) for name in names],
        labels=np.tile([images[i].label for i in keep], 1 + len(changes)).astype(np.int64),
        logits=np.concatenate(logits) if logits else None,
        grids=part.grids,
        metadata=metadata,
    )
    return metadata


def _by_batch(model: Model, batches: Iterable[NDArray[np.uint8]], layers: Sequence[str]) -> Iterator[Activations]:
    """Activations of one batch of pixels after another."""
    seen: dict[str, NDArray[np.float32]] = {}
    grids: dict[str, tuple[int, int] | None] = {}

    def hook(layer: str) -> Callable[[Any, Any, Any], None]:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple | list) else output
            if not isinstance(value, torch.Tensor) or value.ndim not in (3, 4):
                shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                raise ValueError(f"layer {layer!r} returns {shape}; needed are maps (N, C, H, W) or tokens (N, T, D)")
            # A copy: later layers may work in place.
            array = np.array(value.detach().float().cpu().numpy())
            if array.ndim == 4:
                seen[layer], grids[layer] = array.reshape(*array.shape[:2], -1), (array.shape[2], array.shape[3])
            else:
                seen[layer] = tokens_to_positions(array, model.drop_tokens)
                grids[layer] = square_grid(seen[layer].shape[2])

        return keep

    network = model.network.to(best_device()).eval()
    handles = [network.get_submodule(layer).register_forward_hook(hook(layer)) for layer in layers]
    try:
        for pixels in batches:
            with torch.inference_mode():
                x = torch.from_numpy(np.ascontiguousarray(pixels)).to(best_device())
                output = network(to_input(x, model.mean, model.std))
            classifies = isinstance(output, torch.Tensor) and output.ndim == 2
            yield Activations(dict(seen), dict(grids), output.float().cpu().numpy() if classifies else None)
    finally:
        for handle in handles:
            handle.remove()


def tokens_to_positions(tokens: NDArray[Any], drop: int | None) -> NDArray[Any]:
    """(N, T, D) tokens as (N, D, T - drop) activations.

    ``drop`` leading tokens are left out; ``None`` leaves out one where T - 1 is a square number and T is not (a class token).
    """
    count = tokens.shape[1]
    if drop is None:
        drop = int(square_grid(count - 1) is not None and square_grid(count) is None)
    if not 0 <= drop < count:
        raise ValueError(f"cannot drop {drop} of {count} tokens")
    return np.ascontiguousarray(tokens[:, drop:].transpose(0, 2, 1))
