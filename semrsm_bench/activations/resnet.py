"""ResNets for 64x64 images: a 3x3 stem and no pooling, so that four stages keep four spatial sizes.

For a 64x64 input the stages have S = 4096, 1024, 256 and 64 positions. The parameter names are those of torchvision's
``resnet18`` and its kin, so that state dicts move between the two wherever the shapes agree (everything but the
stem's ``conv1.weight``).
"""

from __future__ import annotations

import torch
from torch import nn

STAGES = ("layer1", "layer2", "layer3", "layer4")


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, Figure 5 left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        out: torch.Tensor = self.relu(self.bn2(self.conv2(x)) + shortcut)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; the stride sits on the 3x3 (as in torchvision)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: torch.Tensor = self.relu(self.bn3(self.conv3(x)) + shortcut)
        return out


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


ARCHITECTURES: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet10": (BasicBlock, (1, 1, 1, 1)),
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """A residual network whose first stage keeps the resolution of the image.

    Parameters
    ----------
    architecture : {"resnet10", "resnet18", "resnet34", "resnet50", "resnet101"}
        Depth and kind of block.
    num_classes : int
        Width of the classifier.
    width : int
        Channels of the stem and the first stage; 64 is the full width, 16 the quarter width.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """

    def __init__(self, architecture: str = "resnet18", num_classes: int = 200, width: int = 64) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {architecture!r}; choose one of {', '.join(ARCHITECTURES)}")
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        block, depths = ARCHITECTURES[architecture]
        self.architecture = architecture
        self.width = width
        self.conv1 = _conv(3, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        channels = width
        for stage, depth in enumerate(depths):
            blocks: list[nn.Module] = []
            for i in range(depth):
                stride = 2 if i == 0 and stage > 0 else 1
                blocks.append(block(channels, width * 2**stage, stride))
                channels = width * 2**stage * block.expansion
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

    def classify(self, last: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes) from the activations of the last stage."""
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(last), 1))
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.stages(x)[-1])


def resnet_from_state(state: dict[str, torch.Tensor]) -> ResNet:
    """Build the network that a state dict belongs to and load it.

    Architecture, width and number of classes are read from the names and shapes of the tensors.

    Raises
    ------
    ValueError
        When the state dict is not one of this family (the message says what differs).
    """
    try:
        classes = state["fc.weight"].shape[0]
        width = state["conv1.weight"].shape[0]
        stem = state["conv1.weight"].shape[2]
    except KeyError as error:
        raise ValueError(f"not a ResNet state dict: it has no tensor {error}") from None
    if stem != 3:
        raise ValueError(f"the stem is {stem}x{stem}; this family for 64x64 images has a 3x3 stem")
    depths = tuple(
        1 + max((int(k.split(".")[1]) for k in state if k.startswith(stage + ".")), default=-1) for stage in STAGES
    )
    bottleneck = "layer1.0.conv3.weight" in state
    for name, (block, known) in ARCHITECTURES.items():
        if known == depths and (block is Bottleneck) == bottleneck:
            network = ResNet(name, classes, width)
            try:
                network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
            except RuntimeError as error:
                raise ValueError(
                    f"the state dict looks like a {name} of width {width} but does not fit: {error}"
                ) from None
            return network
    raise ValueError(f"no network of this family has {depths} blocks per stage")
