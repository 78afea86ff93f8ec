"""ResNets for 64x64 images, and their weights as files: a 3x3 stem and no pooling, so that four stages keep four spatial sizes.

For a 64x64 input the stages have S = 4096, 1024, 256 and 64 positions. The parameter names are those of torchvision's
``resnet18`` and its kin, so that state dicts move between the two wherever the shapes agree (everything but the
stem's ``conv1.weight``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from semrsm_bench.activations.folders import atomic_write
from semrsm_bench.activations.read import pickled_in

STAGES = ("layer1", "layer2", "layer3", "layer4")


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, Figure 5), or as a bottleneck 1x1, 3x3 and 1x1.

    The stride of a bottleneck sits on the 3x3, as in torchvision.
    """

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        if bottleneck:
            shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1)]
        else:
            shapes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        self.depth, self.outputs = len(shapes), shapes[-1][1]
        for number, shape in enumerate(shapes, 1):
            setattr(self, f"conv{number}", _conv(*shape))
            setattr(self, f"bn{number}", nn.BatchNorm2d(shape[1]))
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and inputs == self.outputs
        self.downsample = (
            None if same else nn.Sequential(_conv(inputs, self.outputs, 1, stride), nn.BatchNorm2d(self.outputs))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x
        for number in range(1, self.depth + 1):
            out = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(out))
            if number < self.depth:
                out = self.relu(out)
        shortcut = x if self.downsample is None else self.downsample(x)
        result: torch.Tensor = self.relu(out + shortcut)
        return result


ARCHITECTURES: dict[str, tuple[bool, tuple[int, int, int, int]]] = {
    "resnet10": (False, (1, 1, 1, 1)),
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
}
"""Whether the blocks are bottlenecks, and how many of them the stages have."""


class ResNet(nn.Module):
    """A residual network (He et al., CVPR 2016) whose first stage keeps the resolution of the image.

    ``architecture`` is a key of `ARCHITECTURES`; ``width`` are the channels of the stem and the first stage, 64 the full width.
    """

    def __init__(self, architecture: str = "resnet18", num_classes: int = 200, width: int = 64) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {architecture!r}; choose one of {', '.join(ARCHITECTURES)}")
        bottleneck, depths = ARCHITECTURES[architecture]
        self.architecture = architecture
        self.width = width
        self.conv1 = _conv(3, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        channels = width
        for stage, depth in enumerate(depths):
            blocks: list[Block] = []
            for i in range(depth):
                blocks.append(Block(channels, width * 2**stage, 2 if i == 0 and stage > 0 else 1, bottleneck))
                channels = blocks[-1].outputs
            setattr(self, STAGES[stage], nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Activations after each of the four stages, each (N, C, H, W)."""
        x = self.relu(self.bn1(self.conv1(x)))
        outputs = []
        for name in STAGES:
            x = getattr(self, name)(x)
            outputs.append(x)
        return outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(self.stages(x)[-1]), 1))
        return logits


def resnet_from_state(state: dict[str, torch.Tensor]) -> ResNet:
    """Build the network that a state dict belongs to, read from the names and shapes of its tensors, and load it."""
    try:
        classes = state["fc.weight"].shape[0]
        width, _, stem, _ = state["conv1.weight"].shape
    except (KeyError, ValueError) as error:
        expected = "conv1.weight (C, 3, 3, 3), layer1.0.conv1.weight, ..., fc.weight"
        found = ", ".join(f"{key} {tuple(state[key].shape)}" for key in list(state)[:3])
        raise ValueError(
            f"a state dict of another architecture: expected {expected}, found {len(state)} tensors: {found}, ... ({error}). A "
            "network of your own goes by module:PACKAGE.MODULE:FUNCTION"
        ) from None
    if stem != 3:
        raise ValueError(f"the stem is {stem}x{stem}; this family for 64x64 images has a 3x3 stem")
    depths = tuple(
        1 + max((int(k.split(".")[1]) for k in state if k.startswith(stage + ".")), default=-1) for stage in STAGES
    )
    kind = ("layer1.0.conv3.weight" in state, depths)
    name = next((name for name, known in ARCHITECTURES.items() if known == kind), None)
    if name is None:
        raise ValueError(f"no network of this family has {depths} blocks per stage")
    network = ResNet(name, classes, width)
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError as error:
        raise ValueError(f"the state dict looks like a {name} of width {width} but does not fit: {error}") from None
    return network


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """State dict of a ``.safetensors`` file, or of a ``.pt``/``.pth`` file of tensors alone, read with ``weights_only``."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except Exception as error:  # safetensors raises its own class, which it does not export
            raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
    if path.suffix not in (".pt", ".pth"):
        raise ValueError(f"{path}: weights must be .safetensors, .pt or .pth")
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "weights_only" not in str(error):
            raise ValueError(f"{path}: cannot be read ({str(error).splitlines()[0]}); write or copy it again") from None
        remedy = (
            "save its weights, torch.save(network.state_dict(), path), or give it by module:PACKAGE.MODULE:FUNCTION"
        )
        raise ValueError(f"{path} holds {pickled_in(error)}: {remedy}") from None
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise ValueError(f"{path}: does not hold a state dict of tensors")
    return {str(k).removeprefix("module."): v for k, v in loaded.items()}


def save_weights(path: Path, network: nn.Module, metadata: dict[str, Any]) -> None:
    """Write float16 weights with their metadata (values as JSON) in the header."""
    state = network.state_dict().items()
    tensors = {k: (v.half() if v.is_floating_point() else v).cpu().contiguous() for k, v in state}
    with atomic_write(path) as partial:
        save_file(tensors, partial, metadata={k: json.dumps(v) for k, v in metadata.items()})
