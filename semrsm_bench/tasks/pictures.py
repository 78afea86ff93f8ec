"""Which pictures and networks a user may choose: options that several tasks share, so that a name means the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.pictures import Pictures, read_pictures
from semrsm_bench.core.options import check, option

# Side of pictures that rows keep to be shown.
_THUMBNAIL = 128


def thumbnails(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (..., H, W, 3) for a contact sheet, made smaller by a whole number so that the shorter side has about 128 pixels."""
    *front, height, width, colours = pixels.shape
    step = max(1, min(height, width) // _THUMBNAIL)
    rows, columns = height // step, width // step
    cut = pixels[..., : rows * step, : columns * step, :]
    blocks = cut.reshape(*front, rows, step, columns, step, colours)
    return np.asarray(blocks.mean(axis=(-4, -2)).round(), dtype=np.uint8)


@dataclass(frozen=True)
class PictureOptions:
    """What networks look at. None is what the profile says, or else the default in the help."""

    images: tuple[Path, ...] = option(
        (),
        help="Folder or zip archive of your own images, one folder a class; repeatable. Default: what packages ship.",
    )
    classes: Path | None = option(None, help="With --images: class directories in label order, one a line.")
    size: int | None = option(
        None, help="Side of the pictures in pixels, the shorter one. Default: the networks' own.", minimum=1
    )
    seed: int = option(0, help="Of the choice of pictures.", minimum=0)

    def __post_init__(self) -> None:
        check(self)
        if self.classes and not self.images:
            raise ValueError("--classes names the directories of your own images: give --images too, or leave it out")


@dataclass(frozen=True)
class NetworkOptions(PictureOptions):
    """Which networks look, and which of their layers are judged."""

    model: tuple[str, ...] = option(
        (),
        help="FILE.safetensors, torchvision:NAME or timm:NAME; repeatable. Default: networks that the project ships.",
        metavar="SPEC",
    )
    layers: tuple[str, ...] = option(
        (), help="Names of submodules; or last, stages, or all (every block). Default: the task's.", aliases=("layer",)
    )


@dataclass(frozen=True)
class CountOptions(NetworkOptions):
    """How many pictures."""

    count: int | None = option(
        None, help="Pictures, spread over classes or photographs; default: the profile's.", minimum=1
    )

    def pictures(self, size: int) -> Pictures:
        """The pictures, of that side; errors as `read_pictures`."""
        if self.count is None:
            raise ValueError("count: say how many pictures, or choose a profile")
        return read_pictures(self.images, count=self.count, size=size, seed=self.seed, classes=self.classes)
