"""Networks to extract from: checkpoints of this project, those of libraries, or any module."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import nn

from semrsm_bench.activations.folders import file_sha256, weights_metadata
from semrsm_bench.activations.images import CHANNEL_MEAN, CHANNEL_STD, Cover, Fit
from semrsm_bench.activations.libraries import LIBRARIES
from semrsm_bench.activations.options import LayerLayout
from semrsm_bench.activations.resnet import STAGES, load_weights, resnet_from_state

SIZE = 64  # side of the pictures of a network that does not say its own
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Model:
    """A network with what must be known to feed it and to say where it came from.

    It takes (N, 3, size, size) and returns logits (or anything else, then no logits are kept). ``layers`` are names of submodules,
    those of them ``by_pattern`` were found by a wildcard, and are left out where they have no positions; ``mean`` and ``std`` are
    those of the channels on the scale 0..1. ``fit`` makes pixels of a picture, and says as a text how; by
    default the centre of the picture scaled to cover the frame. ``layout`` and ``drop_tokens`` say how its layers are read, see
    `read_output`.
    """

    name: str
    network: nn.Module
    layers: tuple[str, ...]
    size: int = SIZE
    mean: tuple[float, ...] = CHANNEL_MEAN
    std: tuple[float, ...] = CHANNEL_STD
    weights_sha256: str = ""
    drop_tokens: int | None = None
    layout: LayerLayout = "auto"
    fit: Fit | None = None
    by_pattern: frozenset[str] = frozenset()

    def require_preprocessing(self, *names: str) -> None:
        """ValueError where one of size, mean and std is not known, as of a bare module."""
        if missing := [name for name in names or ("size", "mean", "std") if not getattr(self, name)]:
            options, words = (", ".join(f"{dash}{name}" for name in missing) for dash in ("--", ""))
            raise ValueError(
                f"{self.name} says no preprocessing of its own: give {words} ({options} on the command line)"
            )

    @property
    def preprocessing(self) -> str:
        """What is done to pictures, in words."""
        fit = self.fit or Cover((self.size, self.size))
        mean, std = (tuple(round(value, 6) for value in values) for values in (self.mean, self.std))
        return f"RGB, upright, transparent on white; {fit}; minus {mean}, over {std} (scale 0..1)"

    def told(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size: int | None = None,
        layout: LayerLayout = "auto",
        drop_tokens: int | None = None,
    ) -> Model:
        """The model with what a user says of it; what is not said stays as it is."""
        return replace(
            self,
            mean=tuple(mean or self.mean),
            std=tuple(std or self.std),
            size=size or self.size,
            fit=None if size else self.fit,
            layout=self.layout if layout == "auto" else layout,
            drop_tokens=self.drop_tokens if drop_tokens is None else drop_tokens,
        )


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


def load_model(spec: str, layers: Sequence[str] | None = None) -> Model:
    """Load a checkpoint (``.safetensors``, ``.pt``), ``hf:``, ``timm:`` or ``torchvision:NAME``, or ``module:MODULE:FUNCTION``.

    Weights of this project take pictures of the size that their training ended with. ``layers`` are those of `with_layers`; None
    leaves them open. ImportError names the library that is missing, and how to get it.
    """
    library, _, name = spec.partition(":")
    if library in LIBRARIES and name:
        network, facts = LIBRARIES[library](name)
        if isinstance(network, Model):
            model = network
        elif isinstance(network, nn.Module):
            short = without_folders(spec).replace("/", "-").replace(":", "-")
            model = Model(short, network.eval(), STAGES, weights_sha256=_digest(network), **facts)
        else:
            raise ValueError(f"{spec} gives {type(network).__name__}, not a torch module or a Model")
    elif Path(spec).is_file():
        path = Path(spec)
        try:
            network = resnet_from_state(load_weights(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}".replace(f"{path}: {path}: ", f"{path}: ")) from None
        recipe = weights_metadata(path).get("recipe", {}) if path.suffix == ".safetensors" else {}
        size = recipe["phases"][-1][0] if "phases" in recipe else SIZE
        name, digest = path.stem.removesuffix(".weights"), file_sha256(path)
        # Channels first: a stage of as many channels as rows would leave it open.
        model = Model(name, network.eval(), STAGES, size, weights_sha256=digest, layout="channels_first")
    else:
        known = ", ".join(f"{library}:NAME" for library in LIBRARIES)
        raise FileNotFoundError(f"{spec}: no such checkpoint (.safetensors, .pt), nor one of {known}")
    return model if layers is None else with_layers(model, layers)


def without_folders(spec: str) -> str:
    """The name of a model as it is written down: of one in a file or a folder the last part, since folders differ elsewhere."""
    library, colon, name = spec.rpartition(":") if spec.partition(":")[0] in LIBRARIES else ("", "", spec)
    path = Path(name).expanduser()
    return library + colon + (path.resolve().name if path.exists() else name)


def _near(names: Sequence[str], layer: str) -> Iterable[str]:
    """What may be meant by a layer that is not there: its name without or with what stands in front, else the same last part."""
    parts = layer.split(".")
    for rest in (".".join(parts[i:]) for i in range(1, len(parts))):
        if rest.strip("*.") and any(_fits(name, rest) for name in names):
            return [rest]
    longer = [name.split(".") for name in names if name.count(".") >= len(parts)]
    fronts = [".".join(name[: -len(parts)]) for name in longer if _fits(".".join(name[-len(parts) :]), layer)]
    if fronts:
        return [f"{front}.{layer}" for front in dict.fromkeys(fronts)]
    return [name for name in names if name.split(".")[-1] == parts[-1]]


def with_layers(model: Model, layers: Sequence[str] = ()) -> Model:
    """The model with other layers, checked against the names of its submodules.

    ``*``, ``?`` and ``[...]`` stand for a part of a name between two dots: ``blocks.*`` are all blocks, in the network's order.
    """
    names = [name for name, _ in model.network.named_modules(remove_duplicate=False) if name]
    chosen: list[str] = [] if layers else [layer for layer in model.layers if layer in names]
    named = set(chosen).union(layers)
    for layer in layers:
        found = [name for name in names if _fits(name, layer)]
        if not found:
            near = ", ".join(_near(names, layer))[:200]
            if not names:
                whole = type(model.network).__name__
                raise ValueError(
                    f"{model.name} is one {whole} without submodules: put it into torch.nn.Sequential, as layer '0'"
                )
            raise ValueError(
                f"{model.name} has no submodule {layer!r}" + (f"; it has {near}" if near else f"; {_LIST}")
            )
        chosen += found
    if not chosen:
        top = ", ".join(name for name in names if "." not in name)
        lists = [
            (n, part) for n, part in model.network.named_modules() if isinstance(part, nn.ModuleList | nn.Sequential)
        ]
        blocks, _ = max(lists, key=lambda pair: (isinstance(pair[1], nn.ModuleList), len(pair[1])), default=("", None))
        hint = f", such as --layers '{blocks}.*'" if blocks else ""
        raise ValueError(
            f"{model.name} has no stages layer1..layer4: name layers with --layers{hint}; at the top are {top}; {_LIST}"
        )
    return replace(model, layers=tuple(dict.fromkeys(chosen)), by_pattern=frozenset(chosen) - named)


_LIST = "`semrsm-bench data layers MODEL` lists all"


def _fits(name: str, pattern: str) -> bool:
    """As a path fits a pattern of the shell, with dots for slashes."""
    parts, patterns = name.split("."), pattern.split(".")
    return len(parts) == len(patterns) and all(fnmatchcase(*pair) for pair in zip(parts, patterns))


def _digest(network: nn.Module) -> str:
    """Of the names and values of all weights."""
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
