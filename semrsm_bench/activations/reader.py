"""A network's layers read during forward passes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from semrsm_bench.activations.models import Model, best_device, to_input, with_layers
from semrsm_bench.activations.outputs import Grid, LayoutError, Reading, Shape, read_output, tensor_in
from semrsm_bench.core.identity import with_ids

_BATCH = 32


@dataclass(frozen=True, eq=False)
class Activations(Mapping[str, NDArray[np.float32]]):
    """Activations of a network on N images, by layer: a mapping to (N, C, H, W) or, without a grid, (N, C, S), float32.

    ``layers`` has them flat, (N, C, S), ``grids`` the (H, W) of their positions, or None. ``logits`` (N, K) float32 are None where
    the network returns something else. ``read_as`` says in words how the output of each layer was read; ``ids`` are the names of
    pictures that were read from files, or those that were given, and what the mapping gives carries them; ``labels`` (N,) are
    their classes, ``pictures`` what was done to them.
    """

    layers: dict[str, NDArray[np.float32]]
    grids: dict[str, Grid | None]
    logits: NDArray[np.float32] | None
    read_as: dict[str, str]
    ids: tuple[str, ...] = ()
    labels: NDArray[np.int64] | None = None
    pictures: str = ""

    def __getitem__(self, layer: str) -> NDArray[np.float32]:
        values, grid = self.layers[layer], self.grids[layer]
        values = values if grid is None else values.reshape(*values.shape[:2], *grid)
        named: NDArray[np.float32] = with_ids(values, self.ids) if self.ids else values
        return named

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"Activations({', '.join(f'{layer} {values.shape}' for layer, values in self.items())})"


class LayerReader(AbstractContextManager["LayerReader"]):
    """Hooks on layers of a network, called with inputs (N, 3, H, W); they are gone when the context ends.

    What a layer returns is copied, since later ones may work in place. ValueError: a layer that never runs, or whose output cannot
    be read; a warning for one that runs more than once in a pass (the last output is kept), and for those of `Model.by_pattern`
    that are left out.

    For `describe` alone (``shapes_only``) nothing is copied, and what cannot be read is no error.
    """

    def __init__(
        self, model: Model, layers: Sequence[str], device: torch.device | None = None, *, shapes_only: bool = False
    ) -> None:
        self._model, self._layers = model, layers
        self._network = model.network.to(best_device()) if device is None else model.network
        self._device = device or best_device()
        weights = [weight for weight in self._network.parameters() if weight.is_floating_point()]
        self._dtype = weights[0].dtype if weights else torch.float32
        self._seen: dict[str, torch.Tensor] = {}
        self._calls: Counter[str] = Counter()
        self._readings: dict[str, Reading] = {}
        self._probed: dict[str, dict[str, Shape]] = {}  # shapes of all layers in the passes that settle doubts
        self._read_pictures = 0  # in earlier passes
        self._shapes_only, self._refused = shapes_only, dict[str, tuple[str, str]]()

    def __enter__(self) -> LayerReader:
        self._trained = [module for module in self._network.modules() if module.training]
        self._network.eval()
        self._handles = [
            self._network.get_submodule(layer).register_forward_hook(partial(self._keep, layer))
            for layer in self._layers
        ]
        return self

    def __exit__(self, *_error: object) -> None:
        for handle in self._handles:
            handle.remove()
        for module in self._trained:
            module.training = True

    def _keep(self, layer: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._calls[layer] += 1
        try:
            tensor = tensor_in(layer, output).detach()
        except LayoutError as error:
            if not self._shapes_only and layer not in self._model.by_pattern:
                raise
            self._refused[layer] = error.returned, error.problem
        else:
            self._seen[layer] = tensor.to("meta" if self._shapes_only else "cpu", torch.float32, copy=True)

    def _pass(self, x: torch.Tensor) -> Any:
        self._seen.clear()
        self._calls.clear()
        try:
            with torch.inference_mode():
                return self._network(x.to(self._device, self._dtype))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, AttributeError, LookupError) as error:
            what = f"{self._model.name} fails on an input {tuple(x.shape)}"
            raise ValueError(f"{what}: {type(error).__name__}: {error}") from error

    def __call__(self, x: torch.Tensor) -> Activations:
        """Activations of the pictures of one pass."""
        output, layers = self._pass(x), self._layers
        missing = [layer for layer in self._layers if layer not in self._seen]
        if named := [layer for layer in missing if layer not in self._model.by_pattern or layer in self._readings]:
            raise ValueError(f"layer {', '.join(map(repr, named))} of {self._model.name} {self._why_missing(named[0])}")
        if missing:
            layers = self._leave_out(missing)
        for layer, count in self._calls.items():
            if count > 1 and layer in layers:
                text = f"layer {layer!r} ran {count} times in one pass, and the last output is kept"
                warnings.warn(f"{text}: name a layer that runs once, such as the block around it", stacklevel=2)
        # Taken now: what settles a doubt are passes of their own.
        seen = dict(self._seen)
        for layer in layers:
            if layer not in self._readings:
                self._readings[layer] = self._read(layer, tuple(seen[layer].shape), x)
        readings = {layer: self._readings[layer] for layer in layers}
        values = {layer: reading(layer, seen[layer]) for layer, reading in readings.items()}
        for layer, array in values.items():
            if not np.isfinite(array).all():
                first = self._read_pictures + int(np.argmax(~np.isfinite(array).all(axis=(1, 2))))
                raise ValueError(
                    f"layer {layer!r} of {self._model.name} gives NaN or infinite numbers, first for picture {first}"
                )
        self._read_pictures += len(x)
        return Activations(
            values,
            {layer: reading.grid for layer, reading in readings.items()},
            _logits(output),
            {layer: reading.words for layer, reading in readings.items()},
        )

    def _why_missing(self, layer: str) -> str:
        if layer in self._readings:
            return f"did not run for some of the pictures {self._read_pictures} and later, and ran for those before"
        if isinstance(self._network, torch.jit.ScriptModule):
            return (
                "cannot be read: the submodules of a scripted or traced network take no hooks; give the network itself"
            )
        return "never ran: name another one"

    def _leave_out(self, missing: Sequence[str]) -> Sequence[str]:
        """The layers without those that a wildcard found and that give nothing; a warning counts them, ValueError: none is left."""
        reasons = [f"{layer} ({self._refused.get(layer, ('never runs',))[0]})" for layer in missing]
        text = f"{len(missing)} layers that the wildcards of --layers found have no positions: {', '.join(reasons[:5])}"
        layers = [layer for layer in self._layers if layer not in missing]
        if not layers:
            raise ValueError(f"{text}, and none is left; `semrsm-bench data layers MODEL` lists all")
        warnings.warn(f"{text}{', ...' if len(missing) > 5 else ''}; they are left out", stacklevel=3)
        return layers

    def describe(self, x: torch.Tensor) -> Iterator[tuple[str, str, str, Grid | None]]:
        """Of each layer its name, what it returns, how that is read (or why not), and the grid of its positions."""
        self._pass(x)
        seen = dict(self._seen)
        for layer in self._layers:
            if layer not in seen:
                yield layer, *self._refused.get(layer, ("", "never runs in a pass")), None
                continue
            shape = tuple(seen[layer].shape)
            try:
                reading = self._read(layer, shape, x)
                yield layer, str(shape), reading.words, reading.grid
            except LayoutError as error:
                yield layer, error.returned, error.problem, None

    def _read(self, layer: str, shape: Shape, x: torch.Tensor) -> Reading:
        def probe(kind: str) -> Shape | None:
            if kind not in self._probed:
                self._probed[kind] = {}
                # A network refuses a size it was not made for with whatever error it runs into.
                with suppress(Exception), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._pass(x[:-1] if kind == "fewer" else torch.cat([x, x], dim=3))
                    self._probed[kind] = {name: tuple(tensor.shape) for name, tensor in self._seen.items()}
            return self._probed[kind].get(layer)

        height, width = x.shape[2:]
        model = self._model
        return read_output(layer, shape, len(x), (height, width), probe, model.layout, model.drop_tokens)


def _logits(output: Any) -> NDArray[np.float32] | None:
    """Those of a network that classifies."""
    logits: Any = output if isinstance(output, torch.Tensor) else getattr(output, "logits", None)
    classifies = isinstance(logits, torch.Tensor) and logits.ndim == 2
    return logits.float().cpu().numpy() if classifies else None


def groups_of(order: Sequence[int], size: int) -> list[Sequence[int]]:
    """Images that go through a network at once, by the side of their pictures."""
    step = max(1, _BATCH * 64 * 64 // (size * size))
    return [order[i : i + step] for i in range(0, len(order), step)]


def joined(parts: Sequence[Activations]) -> Activations:
    """Activations of all passes."""
    logits = [part.logits for part in parts if part.logits is not None]
    return replace(
        parts[0],
        layers={layer: np.concatenate([part.layers[layer] for part in parts]) for layer in parts[0].layers},
        logits=np.concatenate(logits) if logits else None,
    )


def activations_of(model: Model, pixels: NDArray[np.uint8], layers: Sequence[str] | None = None) -> Activations:
    """Run a network over RGB images (N, H, W, 3) uint8 and keep the activations of some of its layers, by default of all.

    An empty sequence of layers keeps the logits alone.
    """
    groups = groups_of(range(len(pixels)), max(pixels.shape[1:3]))
    with LayerReader(model, model.layers if layers is None else layers) as read:
        return joined([read(input_of(model, pixels[group[0] : group[-1] + 1])) for group in groups])


def input_of(model: Model, pixels: NDArray[np.uint8]) -> torch.Tensor:
    """What the network takes, (N, 3, H, W), of RGB pixels (N, H, W, 3)."""
    return to_input(torch.from_numpy(np.ascontiguousarray(pixels)).to(best_device()), model.mean, model.std)


def describe_layers(model: Model, patterns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What each submodule returns for one blank picture, and how that is read; ``patterns`` as in `with_layers`, default: all."""
    modules = dict(model.network.named_modules())
    model.require_preprocessing("size")
    names = with_layers(model, patterns).layers if patterns else tuple(name for name in modules if name)
    blank = torch.zeros(1, 3, model.size, model.size)
    with LayerReader(model, names, shapes_only=True) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is in doubt stands in the words
        return [
            {
                "layer": layer,
                "module": type(modules[layer]).__name__,
                "returns": returns,
                "read as": words,
                "grid": grid,
            }
            for layer, returns, words, grid in reader.describe(blank)
        ]
