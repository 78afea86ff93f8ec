"""Networks to extract from: checkpoints of this project, torchvision's and timm's where they are installed, or any module."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from semrsm_bench.activations.folders import file_sha256, weights_metadata
from semrsm_bench.activations.images import CHANNEL_MEAN, CHANNEL_STD
from semrsm_bench.activations.resnet import STAGES, load_weights, resnet_from_state

SIZE = 64  # side of the pictures of a network that does not say its own
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
    size: int = SIZE
    mean: tuple[float, ...] = CHANNEL_MEAN
    std: tuple[float, ...] = CHANNEL_STD
    weights_sha256: str = ""
    drop_tokens: int | None = None


def best_device() -> torch.device:
    """CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_input(
    pixels: torch.Tensor, mean: Sequence[float] = CHANNEL_MEAN, std: Sequence[float] = CHANNEL_STD
) -> torch.Tensor:
    """Network input (N, 3, H, W) float32 from RGB pixels (N, H, W, 3) uint8; mean and std on the scale 0..1."""
    shift, scale = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) * 255 for values in (mean, std))
    x: torch.Tensor = (pixels.permute(0, 3, 1, 2).float() - shift) / scale
    return x


def load_model(spec: str, layers: Sequence[str] = ()) -> Model:
    """Load ``FILE.safetensors``, ``FILE.pt``, ``torchvision:NAME`` or ``timm:NAME``.

    Weights of this project take pictures of the size that their training ended with.
    ``layers`` are names of submodules, required for networks without stages ``layer1 .. layer4``.
    """
    library, _, name = spec.partition(":")
    if library in ("torchvision", "timm") and name:
        model = _of_library(library, name)
    elif Path(spec).is_file():
        path = Path(spec)
        network = resnet_from_state(load_weights(path))
        recipe = weights_metadata(path).get("recipe", {}) if path.suffix == ".safetensors" else {}
        size = recipe["phases"][-1][0] if "phases" in recipe else SIZE
        name = path.stem.removesuffix(".weights")
        model = Model(name, network.eval(), STAGES, size, weights_sha256=file_sha256(path))
    else:
        raise FileNotFoundError(f"{spec}: no such checkpoint (.safetensors, .pt), nor torchvision:NAME or timm:NAME")
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


def _of_library(library: str, name: str) -> Model:
    try:
        module = importlib.import_module(library)
    except ImportError as error:
        what = f"{library}:{name} needs the library {library} ({error})"
        raise ImportError(f"{what}; install it beside your torch") from None
    models = module.models if library == "torchvision" else module
    if name not in models.list_models():
        raise ValueError(f"{library} has no model {name!r}; its list_models() names them")
    if library == "torchvision":
        network = models.get_model(name, weights="DEFAULT")
        size, mean, std = 224, IMAGENET_MEAN, IMAGENET_STD
    else:
        network = models.create_model(name, pretrained=True)
        config = models.data.resolve_model_data_config(network)
        size, mean, std = int(config["input_size"][-1]), tuple(config["mean"]), tuple(config["std"])
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return Model(f"{library}-{name}", network.eval(), STAGES, size, mean, std, digest.hexdigest())
