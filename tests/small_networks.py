"""Small networks for tests that torch alone can build."""

from pathlib import Path

import torch
from torch import nn

from semrsm_bench.activations.models import Model
from semrsm_bench.activations.resnet import ResNet, save_weights


class TinyViT(nn.Module):
    """Stands in for a vision transformer: a class token, then patches of 16 pixels, from the submodule ``block``; (N, 1 + S, 8)."""

    def __init__(self, patch: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 8, patch, stride=patch)
        self.block = nn.Identity()
        self.head = nn.Linear(8, 4)
        self.eval()

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = self.block(torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1))
        return self.head(tokens[:, 0])


def of_one_layer(name: str, layer: nn.Module, size: int) -> Model:
    """A network of the one layer ``maps``; it classifies nothing."""
    network = nn.Sequential()
    network.add_module("maps", layer)
    return Model(name, network.eval(), ("maps",), size)


def save_untrained(folder: Path) -> dict[str, str]:
    """Files of untrained ResNets by name: two alike, a deeper one of their width, a wider one."""
    made = {"a": ("resnet10", 4), "b": ("resnet10", 4), "deep": ("resnet18", 4), "wide": ("resnet10", 6)}
    for k, (name, (architecture, width)) in enumerate(made.items()):
        torch.manual_seed(k)
        save_weights(folder / f"{name}.weights.safetensors", ResNet(architecture, 10, width), {})
    return {name: str(folder / f"{name}.weights.safetensors") for name in made}
