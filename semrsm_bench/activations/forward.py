"""Activations of named layers during a forward pass, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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
        shifted = self.logits.astype(np.float64)
        shifted -= shifted.max(axis=1, keepdims=True)
        odds = np.exp(shifted)
        result: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
        return result


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


class Tap:
    """Runs a network over batches and reads the outputs of its layers, those of the last pass; a context manager.

    ``outputs`` are arrays (N, C, S) by layer, ``grids`` their (H, W) or None.
    """

    def __init__(self, model: Model, drop_tokens: int | None = None) -> None:
        self.model = model
        self.drop_tokens = drop_tokens
        self.outputs: dict[str, NDArray[np.float32]] = {}
        self.grids: dict[str, tuple[int, int] | None] = {}
        self._network = model.network.to(device()).eval()
        self._handles = [
            model.network.get_submodule(layer).register_forward_hook(self._hook(layer)) for layer in model.layers
        ]

    @torch.inference_mode()
    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Logits (N, K) of images (N, H, W, 3), or None where the network returns something else."""
        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device())
        output = self._network(to_input(x, self.model.mean, self.model.std))
        if not isinstance(output, torch.Tensor) or output.ndim != 2:
            return None
        logits: NDArray[np.float32] = output.float().cpu().numpy()
        return logits

    def _hook(self, layer: str) -> Callable[[Any, Any, Any], None]:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple | list) else output
            if not isinstance(value, torch.Tensor) or value.ndim not in (3, 4):
                shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                raise ValueError(f"layer {layer!r} returns {shape}; needed are maps (N, C, H, W) or tokens (N, T, D)")
            array = value.detach().float().cpu().numpy()
            if array.ndim == 4:
                self.grids[layer] = (array.shape[2], array.shape[3])
                self.outputs[layer] = array.reshape(array.shape[0], array.shape[1], -1)
            else:
                self.outputs[layer] = tokens_to_positions(array, self.drop_tokens)
                self.grids[layer] = square_grid(self.outputs[layer].shape[2])

        return keep

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


def batch_size(size: int) -> int:
    """Images of that side that go through a network at once."""
    return max(1, _BATCH * 64 * 64 // (size * size))


def device() -> torch.device:
    """CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def activations_of(
    model: Model,
    pixels: NDArray[np.uint8],
    layers: Sequence[str] | None = None,
    *,
    drop_tokens: int | None = None,
    quiet: bool = False,
) -> Activations:
    """Run a network over images and keep the activations of its layers.

    Parameters
    ----------
    model : Model
    pixels : ndarray, (N, H, W, 3), uint8
        RGB.
    layers : sequence of str, optional
        Some of ``model.layers``; default: all of them. An empty sequence keeps the logits alone.
    drop_tokens : int, optional
        See `tokens_to_positions`.

    Raises
    ------
    ValueError
        Pixels of another shape or type, no image, a layer that the model lacks, or one that returns neither maps nor tokens.
    """
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or not len(pixels):
        raise ValueError(f"pixels must be (N, H, W, 3) uint8 with N >= 1, got {pixels.shape} {pixels.dtype}")
    wanted = tuple(model.layers if layers is None else layers)
    if strangers := [layer for layer in wanted if layer not in model.layers]:
        raise ValueError(f"{model.name} has no layer {strangers[0]!r} here; it has {', '.join(model.layers)}")
    kept: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in wanted}
    logits: list[NDArray[np.float32]] = []
    batch = batch_size(max(pixels.shape[1:3]))
    with (
        Tap(replace(model, layers=wanted), drop_tokens) as tap,
        progress_bar(len(pixels), f"{model.name}", unit="image", quiet=quiet or len(pixels) < 200) as bar,
    ):
        for start in range(0, len(pixels), batch):
            part = pixels[start : start + batch]
            output = tap.run(part)
            if output is not None:
                logits.append(output)
            for layer in wanted:
                kept[layer].append(tap.outputs[layer].copy())
            bar.update(len(part))
    return Activations(
        {layer: np.concatenate(parts) for layer, parts in kept.items()},
        {layer: tap.grids[layer] for layer in wanted},
        np.concatenate(logits) if logits else None,
    )
