"""Activations of named layers during forward passes: of all images in memory, or batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from semrsm_bench.activations.models import Model, to_input
from semrsm_bench.activations.store import square_grid
from semrsm_bench.progress import progress_bar

_BATCH = 32


@dataclass(frozen=True)
class Activations:
    """What a network makes of N images.

    Attributes
    ----------
    layers : dict of ndarray, (N, C, S), float32
    grids : dict of (H, W) or None
        None where S is no square number of tokens.
    logits : ndarray, (N, K), float32, or None
        None where the network returns something else.
    """

    layers: dict[str, NDArray[np.float32]]
    grids: dict[str, tuple[int, int] | None]
    logits: NDArray[np.float32] | None

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the logits, (N, K), float64; ValueError where the network has none."""
        if self.logits is None:
            raise ValueError("this network returns no logits (N, K), so it has no class probabilities")
        return np.asarray(softmax(self.logits.astype(np.float64), axis=1))


def device() -> torch.device:
    """CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def batch_size(size: int) -> int:
    """Images of that side that go through a network at once."""
    return max(1, _BATCH * 64 * 64 // (size * size))


def activations_of(
    model: Model, pixels: NDArray[np.uint8], layers: Sequence[str] | None = None, *, quiet: bool = False
) -> Activations:
    """Run a network over images and keep the activations of its layers.

    Parameters
    ----------
    model : Model
    pixels : ndarray, (N, H, W, 3), uint8
        RGB.
    layers : sequence of str, optional
        Some of ``model.layers``; default: all of them. An empty sequence keeps the logits alone.

    Raises
    ------
    ValueError
        Pixels of another shape or type, no image, a layer that the model lacks, or one that returns neither maps nor tokens.
    """
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or not len(pixels):
        raise ValueError(f"pixels must be (N, H, W, 3) uint8 with N >= 1, got {pixels.shape} {pixels.dtype}")
    wanted = model.layers if layers is None else layers
    if unknown := [layer for layer in wanted if layer not in model.layers]:
        raise ValueError(f"{model.name} has no layer {unknown[0]!r} here; it has {', '.join(model.layers)}")
    step = batch_size(max(pixels.shape[1:3]))
    parts = []
    with progress_bar(len(pixels), model.name, unit="image", quiet=quiet or len(pixels) < 200) as bar:
        for part in by_batch(model, (pixels[i : i + step] for i in range(0, len(pixels), step)), wanted):
            parts.append(part)
            bar.update(step)
    logits = [part.logits for part in parts if part.logits is not None]
    return Activations(
        {layer: np.concatenate([part.layers[layer] for part in parts]) for layer in wanted},
        parts[-1].grids,
        np.concatenate(logits) if logits else None,
    )


def by_batch(model: Model, batches: Iterable[NDArray[np.uint8]], layers: Sequence[str]) -> Iterator[Activations]:
    """Activations of one batch of pixels after another; ValueError for a layer that returns neither maps nor tokens."""
    seen: dict[str, NDArray[np.float32]] = {}
    grids: dict[str, tuple[int, int] | None] = {}

    def hook(layer: str) -> Callable[[Any, Any, Any], None]:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple | list) else output
            if not isinstance(value, torch.Tensor) or value.ndim not in (3, 4):
                shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                raise ValueError(f"layer {layer!r} returns {shape}; needed are maps (N, C, H, W) or tokens (N, T, D)")
            # A copy: the network may go on in place.
            array = np.array(value.detach().float().cpu().numpy())
            if array.ndim == 4:
                seen[layer], grids[layer] = array.reshape(*array.shape[:2], -1), (array.shape[2], array.shape[3])
            else:
                seen[layer] = tokens_to_positions(array, model.drop_tokens)
                grids[layer] = square_grid(seen[layer].shape[2])

        return keep

    network = model.network.to(device()).eval()
    handles = [network.get_submodule(layer).register_forward_hook(hook(layer)) for layer in layers]
    try:
        for pixels in batches:
            with torch.inference_mode():
                x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device())
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
