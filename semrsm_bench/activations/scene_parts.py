"""What scenes are composed of: objects and backgrounds cut from photographs that packages ship, or the user's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.images import find_images, load_images
from semrsm_bench.activations.pictures import photographs

Pixels = NDArray[np.uint8]

# Class, photograph, box (left, top, right, bottom) in pixels of the photograph at a shorter side of 256, outline.
_OBJECTS = (
    ("astronaut", "astronaut", (66, 0, 156, 112), "ellipse"),
    ("cat", "chelsea", (62, 0, 318, 250), "ellipse"),
    ("cup", "coffee", (52, 2, 308, 248), "ellipse"),
    ("flower", "flower", (99, 47, 271, 219), "ellipse"),
    ("helmet", "astronaut", (144, 166, 252, 256), "box"),
    ("motorcycle", "motorcycle_left", (40, 36, 352, 236), "box"),
    ("officer", "grace_hopper", (68, 4, 196, 176), "ellipse"),
    ("pagoda", "china", (44, 10, 218, 236), "box"),
    ("retina", "retina", (0, 0, 256, 256), "ellipse"),
    ("rocket", "rocket", (160, 62, 222, 254), "box"),
    ("shuttle", "astronaut", (170, 0, 240, 140), "box"),
)
# Photograph and box: parts that show none of the objects.
_BACKGROUNDS = (
    ("coffee", (306, 90, 384, 256)),
    ("chelsea", (320, 60, 384, 256)),
    ("china", (222, 20, 330, 150)),
    ("china", (230, 160, 384, 256)),
    ("flower", (276, 0, 384, 170)),
    ("flower", (0, 60, 90, 256)),
    ("hubble_deep_field", (0, 0, 294, 256)),
    ("ihc", (0, 0, 256, 256)),
    ("motorcycle_left", (282, 0, 379, 72)),
    ("rocket", (220, 20, 330, 180)),
)
# Of a user's pictures: objects of each class, enough for each to appear in several scenes; and backgrounds.
_PICTURES_PER_CLASS, _BLURRED = 2, 12


@dataclass(frozen=True)
class Cutout:
    """An object to paste: pixels (h, w, 3), opacity (h, w) in [0, 1] and the class it counts for."""

    pixels: Pixels
    opacity: NDArray[np.float32]
    label: int


@dataclass(frozen=True)
class SceneParts:
    """Objects with the names of their classes, and backgrounds; ``shareable`` says whether docs may show them."""

    classes: list[str]
    cutouts: list[Cutout]
    backgrounds: list[Pixels]
    shareable: bool


def stream(seed: int, *key: int) -> np.random.Generator:
    """Random numbers of their own for every key; keys that differ by a zero at their end are told apart, unlike plain seeds."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def parts_of_packages() -> SceneParts:
    """Objects and backgrounds cut from the installed `photographs`, whose errors it raises."""
    known = dict(photographs())
    objects = [entry for entry in _OBJECTS if entry[1] in known]
    names = sorted(name for name, *_ in objects)
    cutouts = []
    for name, photograph, box, outline in objects:
        pixels = _cut(known[photograph], box)
        cutouts.append(Cutout(pixels, _opacity(pixels.shape[0], pixels.shape[1], outline), names.index(name)))
    backgrounds = [_cut(known[photograph], box) for photograph, box in _BACKGROUNDS if photograph in known]
    return SceneParts(names, cutouts, backgrounds, shareable=True)


def _cut(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]


def _opacity(height: int, width: int, outline: str) -> NDArray[np.float32]:
    """One inside, falling to zero over the outermost tenth, so that no edge of the cutting stands out."""
    y = np.abs(np.linspace(-1, 1, height))[:, None]
    x = np.abs(np.linspace(-1, 1, width))[None, :]
    distance = np.hypot(x, y) if outline == "ellipse" else np.maximum(x, y)
    return np.asarray(np.clip((1 - distance) / 0.1, 0, 1), dtype=np.float32)


def parts_of_pictures(
    images: Sequence[Path], *, objects: int = 20, size: int = 64, seed: int = 0, classes: Path | None = None
) -> SceneParts:
    """Whole pictures of a user as objects, their class directory as class; blurred ones as backgrounds.

    Parameters
    ----------
    images, classes
        See `find_images` and `read_classes`.
    objects, size : int
        How many classes take part (seeded choice), or all there are; side to which pictures are read.

    Raises
    ------
    ValueError
        Fewer than two classes.
    """
    from PIL import Image, ImageFilter

    found = find_images(images, classes)
    labels = np.unique([image.label for image in found if image.label >= 0])
    if len(labels) < 2:
        raise ValueError(
            f"{' '.join(path.name for path in images)}: scenes need pictures of two classes or more, one folder for each; "
            f"found {len(labels)}"
        )
    rng = stream(seed, 1)
    names, cutouts = [], []
    for code, label in enumerate(np.sort(rng.permutation(labels)[:objects])):
        of_class = [image for image in found if image.label == label]
        chosen = [of_class[i] for i in np.sort(rng.permutation(len(of_class))[:_PICTURES_PER_CLASS])]
        opaque = np.ones((size, size), dtype=np.float32)
        cutouts += [Cutout(pixels, opaque, code) for pixels in load_images(chosen, size, quiet=True)]
        names.append(Path(chosen[0].name).parent.name)
    # Blurred so much that only the colours are left.
    blur = ImageFilter.GaussianBlur(size / 8)
    others = load_images([found[i] for i in rng.permutation(len(found))[:_BLURRED]], size, quiet=True)
    backgrounds = [np.asarray(Image.fromarray(pixels).filter(blur), dtype=np.uint8) for pixels in others]
    return SceneParts(names, cutouts, backgrounds, shareable=False)
