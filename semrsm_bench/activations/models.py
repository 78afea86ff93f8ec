"""Networks to extract from: our own checkpoints, torchvision's and timm's where they are installed, or any module."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from semrsm_bench.activations.images import CHANNEL_MEAN, CHANNEL_STD
from semrsm_bench.activations.manifest import file_sha256
from semrsm_bench.activations.resnet import STAGES, resnet_from_state
from semrsm_bench.activations.weights import load_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Model:
    """A network with what must be known to feed it and to say where it came from.

    It takes (N, 3, size, size) and returns logits (or anything else, then no logits are kept). ``layers`` are names of submodules,
    ``mean`` and ``std`` those of the channels on the scale 0..1; of layers that return tokens the first ``drop_tokens`` are left
    out (default: one where that leaves a square number, else none).
    """

    name: str
    network: nn.Module
    layers: tuple[str, ...]
    size: int = 64
    mean: tuple[float, ...] = CHANNEL_MEAN
    std: tuple[float, ...] = CHANNEL_STD
    weights_sha256: str = ""
    drop_tokens: int | None = None


def to_input(
    pixels: torch.Tensor, mean: Sequence[float] = CHANNEL_MEAN, std: Sequence[float] = CHANNEL_STD
) -> torch.Tensor:
    """Network input (N, 3, H, W) float32 from RGB pixels (N, H, W, 3) uint8; mean and std on the scale 0..1."""
    shift, scale = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) * 255 for values in (mean, std))
    x: torch.Tensor = (pixels.permute(0, 3, 1, 2).float() - shift) / scale
    return x


def state_sha256(network: nn.Module) -> str:
    """Digest of all parameters and buffers, for networks that do not come from one file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_model(spec: str, layers: Sequence[str] = ()) -> Model:
    """Load ``FILE.safetensors``, ``FILE.pt``, ``torchvision:NAME`` or ``timm:NAME``.

    ``layers`` are names of submodules, required for networks without stages ``layer1 .. layer4``.

    Raises
    ------
    ValueError
        The file is not a state dict of our family, the library does not know the name, or a layer does not exist.
    ImportError
        torchvision or timm is not installed.
    FileNotFoundError
        No such file.
    """
    library, _, name = spec.partition(":")
    if library in _LIBRARIES and name:
        model = _LIBRARIES[library](name)
    elif Path(spec).is_file():
        path = Path(spec)
        network = resnet_from_state(load_weights(path))
        model = Model(path.stem.removesuffix(".weights"), network.eval(), STAGES, weights_sha256=file_sha256(path))
    else:
        raise FileNotFoundError(
            f"{spec}: no such checkpoint; give a .safetensors or .pt file, torchvision:NAME or timm:NAME"
        )
    return with_layers(model, layers)


def with_layers(model: Model, layers: Sequence[str] = ()) -> Model:
    """The model with other layers, checked against the names of its submodules."""
    names = [name for name, _ in model.network.named_modules() if name]
    chosen = tuple(layers) or tuple(layer for layer in model.layers if layer in names)
    if not chosen:
        top = ", ".join(name for name in names if "." not in name)
        raise ValueError(f"{model.name} has no stages layer1..layer4: name layers with --layers; at the top are {top}")
    if unknown := [layer for layer in chosen if layer not in names]:
        near = ", ".join(name for name in names if name.split(".")[-1] == unknown[0].split(".")[-1])[:200]
        raise ValueError(f"{model.name} has no submodule {unknown[0]!r}" + (f"; it has {near}" if near else ""))
    return replace(model, layers=chosen)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"models named {name}:... need the library {name} ({error}); install it beside your torch"
        ) from None


def _torchvision(name: str) -> Model:
    models = _library("torchvision").models
    if name not in models.list_models():
        raise ValueError(f"torchvision has no model {name!r}; `torchvision.models.list_models()` lists them")
    network = models.get_model(name, weights="DEFAULT").eval()
    return Model(f"torchvision-{name}", network, STAGES, 224, IMAGENET_MEAN, IMAGENET_STD, state_sha256(network))


def _timm(name: str) -> Model:
    timm = _library("timm")
    if not timm.list_models(name):
        raise ValueError(f"timm has no model {name!r}; `timm.list_models()` lists them")
    network = timm.create_model(name, pretrained=True).eval()
    config = timm.data.resolve_model_data_config(network)
    size, mean, std = int(config["input_size"][-1]), tuple(config["mean"]), tuple(config["std"])
    return Model(f"timm-{name}", network, STAGES, size, mean, std, state_sha256(network))


_LIBRARIES = {"torchvision": _torchvision, "timm": _timm}
