"""What a user may choose about training and extraction; imports nothing heavy, so that help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semrsm_bench.core.options import OptionError, check, option

# Fewer make a mean that is not worth centring with.
MEAN_IMAGES = 1000
LayerLayout = Literal["auto", "channels_first", "channels_last", "sequence_first"]
_CLASSES_HELP = "Class directories in label order, one a line."


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How a ResNet is trained."""

    val: tuple[Path, ...] = option((), help="Images to report the top-1 on at the end; repeatable.")
    classes: Path | None = option(None, help=_CLASSES_HELP)
    architecture: str = option("resnet18", help="resnet10, resnet18, resnet34, resnet50 or resnet101.")
    width: int = option(64, help="Channels of the first stage; 16 is a quarter of the full width.", minimum=1)
    phases: str = option(
        "32:5,64:2", help="Image size : epochs, in order; no epochs: untrained.", metavar="SIZE:EPOCHS,..."
    )
    batch: int = option(128, help="Images in one step.", minimum=2)
    lr: float = option(0.2, help="Peak learning rate.", positive=True)
    seed: int = option(0, help="Seed of the initial weights, the order, the augmentation and the design.", minimum=0)
    augmentation: Literal["none", "weak", "strong"] = option(
        "weak", help="weak: flipped and moved; strong: also cropped, recoloured, greyed and noisy."
    )
    random_labels: float = option(0.0, help="Share of the training labels that are drawn anew, 0..1.", minimum=0)
    shortcut: float | None = option(
        None, help="Put a dot on each picture whose colour shows its class with this probability; default: no dots."
    )
    init: Path | None = option(None, help="Weights to start from (safetensors or .pt).")
    compile: bool = option(False, help="Fuse with torch.compile (needs a C++ compiler).", negatable=True)
    threads: int | None = option(None, help="CPU threads; default: all.", minimum=1)
    out: Path = option(help="Weights, float16 safetensors. OUT.ckpt... beside it resumes.")

    def __post_init__(self) -> None:
        _check(self, self.out)
        for name, value in (("random_labels", self.random_labels), ("shortcut", self.shortcut or 0.0)):
            if not 0 <= value <= 1:
                raise OptionError(name, f"{value!r} is not in 0..1")


@dataclass(frozen=True, kw_only=True)
class NetworksOptions:
    """Which groups of networks are trained."""

    group: tuple[str, ...] = option(help="w16, w8, resnet10, labels, shortcuts, augmentation, untrained or half.")
    val: tuple[Path, ...] = option((), help="Images to report the top-1 on; repeatable.")
    classes: Path | None = option(None, help=_CLASSES_HELP)
    first: int | None = option(None, help="Train the first networks of each group; default: all.", minimum=1)
    threads: int | None = option(None, help="CPU threads; default: all.", minimum=1)
    out: Path = option(help="Folder of the weights.")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class FeaturesOptions:
    """Which features of which networks are stored."""

    networks: Path = option(help="Folder of weights, as `data networks` writes it.")
    group: tuple[str, ...] = option(help="Groups or families of groups, see `data networks`.")
    classes: Path | None = option(None, help=_CLASSES_HELP)
    first: int | None = option(
        None, help="Take the first networks of each group; default: all that are there.", minimum=1
    )
    layers: tuple[str, ...] = option((), help="stem, layer1, layer1.0, ...; default: the stem and all blocks.")
    count: int | None = option(None, help="Take this many images, spread over the classes; default: all.", minimum=1)
    size: int = option(32, help="Side of the images in pixels.", minimum=1)
    seed: int = option(0, help="Seed of the choice of images.", minimum=0)
    positions: bool = option(False, help="Keep all positions, (n, C, S), instead of their mean, (n, C).")
    out: Path = option(help="Folder of the files, features-GROUP.safetensors or positions-GROUP.safetensors.")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What is said of a network: its layers and how they are read, its preprocessing where that is not its own."""

    layers: tuple[str, ...] = option(
        (),
        help="Submodules, as `data layers` lists them; blocks.* are all blocks. Default: layer1,layer2,layer3,layer4.",
    )
    size: int | None = option(None, help="Side of the images in pixels; default: what the model takes.", minimum=1)
    mean: tuple[float, ...] = option((), help="Of the channels, scale 0..1; default: what the model says.")
    std: tuple[float, ...] = option((), help="Of the channels, scale 0..1; default: what the model says.")
    layout: LayerLayout = option(
        "auto",
        help="Axes of what layers return: (N, C, H, W) or (N, C, S); (N, H, W, C) or (N, T, D); (T, N, D). auto: what the shapes "
        "prove, or else an error.",
    )
    drop_tokens: int | None = option(
        None,
        help="Leading tokens (class, registers) to leave out; default: those the model says, or 1 where that leaves a square.",
        minimum=0,
    )

    def __post_init__(self) -> None:
        check(self)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and (len(values) != 3 or (name == "std" and min(values) <= 0)):
                what = "three numbers above 0" if name == "std" else "three numbers"
                raise OptionError(name, f"{','.join(map(str, values))} is not {what}")


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(ModelOptions):
    """Options of `data extract`: which activations of a network are stored."""

    model: str = option(
        help="FILE.safetensors or FILE.pt of `data train`, hf:NAME or hf:FOLDER (transformers), timm:NAME, torchvision:NAME, or "
        "module:PACKAGE.MODULE:FUNCTION, which returns a torch module."
    )
    classes: Path | None = option(None, help=_CLASSES_HELP)
    count: int | None = option(None, help="Store this many images, spread over the classes; default: all.", minimum=1)
    mean_images: int = option(MEAN_IMAGES, help="Images the mean is taken over.", minimum=1)
    seed: int = option(0, help="Seed of the choice of images, and of changes.", minimum=0)
    changes: tuple[str, ...] = option((), help="Store the images again after these: shift-PIXELS, flip, noise.")
    out: Path = option(help="The cache file, .safetensors.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, self.out)


def _check(options: TrainOptions | ExtractOptions, out: Path) -> None:
    check(options)
    if out.suffix != ".safetensors":
        raise OptionError("out", f"{out} must end in .safetensors")
