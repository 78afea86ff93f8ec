"""What a user may choose about training and extraction; imports nothing heavy, so that help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from semrsm_bench.core.options import OptionError, check, option

# Fewer make a mean that is not worth centring with.
MEAN_IMAGES = 1000
_CLASSES_HELP = "Class directories in label order, one a line."


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How a ResNet is trained."""

    val: tuple[Path, ...] = option((), help="Images to report the top-1 on at the end; repeatable.")
    classes: Path | None = option(None, help=_CLASSES_HELP)
    architecture: str = option("resnet18", help="resnet10, resnet18, resnet34, resnet50 or resnet101.")
    width: int = option(64, help="Channels of the first stage; 16 is a quarter of the full width.", minimum=1)
    phases: str = option("32:5,64:2", help="Image size : epochs, in order.", metavar="SIZE:EPOCHS,...")
    batch: int = option(128, help="Images in one step.", minimum=2)
    lr: float = option(0.2, help="Peak learning rate.", positive=True)
    seed: int = option(0, help="Seed of the initial weights, the order and the augmentation.", minimum=0)
    init: Path | None = option(None, help="Weights to start from (safetensors or .pt).")
    compile: bool = option(False, help="Fuse with torch.compile (needs a C++ compiler).", negatable=True)
    threads: int | None = option(None, help="CPU threads; default: all.", minimum=1)
    out: Path = option(help="Weights, float16 safetensors. OUT.ckpt... beside it resumes.")

    def __post_init__(self) -> None:
        _check(self, self.out)


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """Options of `data extract`: which activations of a network are stored."""

    model: str = option(help="FILE.safetensors, FILE.pt, torchvision:NAME or timm:NAME.")
    layers: tuple[str, ...] = option((), help="Submodules to read; default: layer1,layer2,layer3,layer4.")
    classes: Path | None = option(None, help=_CLASSES_HELP)
    count: int | None = option(None, help="Store this many images, spread over the classes; default: all.", minimum=1)
    mean_images: int = option(MEAN_IMAGES, help="Images the mean is taken over.", minimum=1)
    size: int | None = option(None, help="Side of the images in pixels; default: what the model takes.", minimum=1)
    drop_tokens: int | None = option(
        None, help="Leading tokens to leave out; default: 1 where that leaves a square, else 0.", minimum=0
    )
    seed: int = option(0, help="Seed of the choice of images.", minimum=0)
    out: Path = option(help="The cache file, .safetensors.")

    def __post_init__(self) -> None:
        _check(self, self.out)


def _check(options: TrainOptions | ExtractOptions, out: Path) -> None:
    check(options)
    if out.suffix != ".safetensors":
        raise OptionError("out", f"{out} must end in .safetensors")
