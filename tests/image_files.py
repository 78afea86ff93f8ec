"""Small pictures for tests, in the ImageFolder layout."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (64, 64), brightness: int = 128) -> bytes:
    noise = np.random.default_rng(seed).integers(-60, 60, (size[1], size[0], 3))
    pixels = np.clip(noise + brightness, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def image_zip(path: Path, classes: tuple[str, ...] = ("dark", "light"), per_class: int = 8, size: int = 64) -> Path:
    """An archive with folders of noise, one brightness a class."""
    levels = np.linspace(70, 190, len(classes)).astype(int)
    with zipfile.ZipFile(path, "w") as archive:
        for c, name in enumerate(classes):
            for i in range(per_class):
                archive.writestr(f"train/{name}/{name}_{i}.png", picture(100 * c + i, (size, size), int(levels[c])))
    return path
