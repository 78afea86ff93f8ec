"""Scenes with several objects whose counts are known, composed from real pictures.

The structure is that of EgoObjects: a *scene* is a set of objects on a background; a *video* is one arrangement of them,
with its places, sizes, flips and light; the *frames* of a video differ by a small shift and in brightness.
Objects and backgrounds are cut from photographs that packages ship, or are the user's pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.images import find_images, load_images
from semrsm_bench.activations.pictures import photographs

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

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
# Number of a user's pictures that become objects, for each class: enough for several scenes; and of backgrounds.
_PICTURES_PER_CLASS, _BLURRED = 2, 12
_SMALLEST = 32
# Longer side of an object over the side of the scene, before objects are made smaller because they do not fit.
_EXTENT = (0.30, 0.46)
# Pixels of margin over the side of the scene: frames of one video are shifted by up to twice as much.
_MARGIN = 1 / 16
_ATTEMPTS = 30


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


@dataclass(frozen=True)
class Scenes:
    """Frames (N, size, size, 3), objects of each class in them (N, classes), the video that each belongs to (N,).

    ``boxes`` are (left, top, right, bottom) of every object; all are inside the frame and none covers another.
    """

    pixels: Pixels
    counts: NDArray[np.int64]
    videos: NDArray[np.int64]
    boxes: list[list[Box]]


def stream(seed: int, *key: int) -> np.random.Generator:
    """Other random numbers for every key; unlike plain seeds, keys that differ by a zero at their end differ too."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def parts_of_packages() -> SceneParts:
    """Objects and backgrounds cut from the installed `photographs`, whose errors it raises."""
    known = dict(photographs())
    objects = [entry for entry in _OBJECTS if entry[1] in known]
    names = sorted(name for name, *_ in objects)
    cutouts = []
    for name, photograph, (left, top, right, bottom), outline in objects:
        # Opacity is one inside and falls to zero over the outermost tenth, so that no edge of the cutting stands out.
        y, x = np.meshgrid(*(np.abs(np.linspace(-1, 1, n)) for n in (bottom - top, right - left)), indexing="ij")
        distance = np.hypot(x, y) if outline == "ellipse" else np.maximum(x, y)
        opacity = np.clip((1 - distance) / 0.1, 0, 1).astype(np.float32)
        cutouts.append(Cutout(known[photograph][top:bottom, left:right], opacity, names.index(name)))
    backgrounds = [known[p][top:bottom, left:right] for p, (left, top, right, bottom) in _BACKGROUNDS if p in known]
    return SceneParts(names, cutouts, backgrounds, shareable=True)


def parts_of_pictures(
    images: Sequence[Path], *, objects: int = 20, size: int = 64, seed: int = 0, classes: Path | None = None
) -> SceneParts:
    """Whole pictures of a user as objects, their class directory as class; blurred ones as backgrounds.

    ``objects`` is how many classes take part (seeded choice), ``size`` the side to which pictures are read; images and classes
    as `find_images`.
    """
    from PIL import Image, ImageFilter

    found = find_images(images, classes)
    labels = np.unique([image.label for image in found if image.label >= 0])
    if len(labels) < 2:
        given = " ".join(path.name for path in images)
        raise ValueError(f"{given}: scenes need pictures of two classes, one folder for each; found {len(labels)}")
    rng = stream(seed, 1)
    names, cutouts = [], []
    for code, label in enumerate(np.sort(rng.permutation(labels)[:objects])):
        of_class = [image for image in found if image.label == label]
        chosen = [of_class[i] for i in np.sort(rng.permutation(len(of_class))[:_PICTURES_PER_CLASS])]
        opaque = np.ones((size, size), dtype=np.float32)
        cutouts += [Cutout(pixels, opaque, code) for pixels in load_images(chosen, size)]
        names.append(Path(chosen[0].name).parent.name)
    # Blurred so much that only the colours are left.
    blur = ImageFilter.GaussianBlur(size / 8)
    others = load_images([found[i] for i in rng.permutation(len(found))[:_BLURRED]], size)
    backgrounds = [np.asarray(Image.fromarray(pixels).filter(blur), dtype=np.uint8) for pixels in others]
    return SceneParts(names, cutouts, backgrounds, shareable=False)


def compose(
    parts: SceneParts,
    *,
    scenes: int,
    videos: int = 4,
    frames: int = 2,
    size: int = 64,
    objects: tuple[int, int] = (2, 4),
    place: str = "scene",
    seed: int = 0,
) -> Scenes:
    """Compose scenes, each seen in so many videos of so many frames, with the fewest and most ``objects`` given.

    A class may occur several times in a scene. The videos of a scene show parts of one background (``place="scene"``), or each
    shows another ("video"). Every scene, video and frame has its stream of random numbers: asking for more leaves the first
    ones as they are.
    """
    if size < _SMALLEST:
        raise ValueError(f"composed scenes have at least {_SMALLEST} pixels a side, got {size}")
    low, high = objects
    pixels, counts, boxes = [], [], []
    for scene in range(scenes):
        rng = stream(seed, 0, scene)
        chosen = [parts.cutouts[i] for i in rng.integers(len(parts.cutouts), size=rng.integers(low, high + 1))]
        home = parts.backgrounds[rng.integers(len(parts.backgrounds))]
        count = np.bincount([cutout.label for cutout in chosen], minlength=len(parts.classes))
        for video in range(videos):
            arrangement = stream(seed, 0, scene, video)
            away = parts.backgrounds[arrangement.integers(len(parts.backgrounds))]
            canvas, places = _arrange(chosen, home if place == "scene" else away, size, arrangement)
            for frame in range(frames):
                # A part of the canvas that holds every object whole, at a random brightness.
                rng = stream(seed, 0, scene, video, frame)
                left, top = (int(offset) for offset in rng.integers(canvas.shape[0] - size + 1, size=2))
                view: NDArray[Any] = canvas[top : top + size, left : left + size] * rng.uniform(0.9, 1.1)
                pixels.append(np.clip(np.rint(view), 0, 255).astype(np.uint8))
                boxes.append([(a - left, b - top, c - left, d - top) for a, b, c, d in places])
                counts.append(count)
    numbers = np.repeat(np.arange(scenes * videos, dtype=np.int64), frames)
    return Scenes(np.stack(pixels), np.stack(counts).astype(np.int64), numbers, boxes)


def _arrange(
    cutouts: Sequence[Cutout], background: Pixels, size: int, rng: np.random.Generator
) -> tuple[Pixels, list[Box]]:
    """A canvas with a margin around, the objects on it, and their boxes."""
    from PIL import Image

    margin = max(1, round(size * _MARGIN))
    side = size + 2 * margin
    # A random square part of the background, half of them flipped.
    part = round(min(background.shape[:2]) * rng.uniform(0.6, 1.0))
    top = int(rng.integers(background.shape[0] - part + 1))
    left = int(rng.integers(background.shape[1] - part + 1))
    square = background[top : top + part, left : left + part]
    square = np.ascontiguousarray(square[:, ::-1] if rng.random() < 0.5 else square)
    canvas = np.array(Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    boxes = _places([cutout.opacity.shape for cutout in cutouts], 2 * margin, size, rng)
    for cutout, (left, top, right, bottom) in zip(cutouts, boxes):
        shape = (right - left, bottom - top)
        pixels = np.asarray(Image.fromarray(cutout.pixels).resize(shape, Image.Resampling.LANCZOS), dtype=np.float32)
        opacity = np.asarray(Image.fromarray(cutout.opacity).resize(shape, Image.Resampling.BILINEAR))[..., None]
        if rng.random() < 0.5:
            pixels, opacity = pixels[:, ::-1], opacity[:, ::-1]
        under = canvas[top:bottom, left:right]
        under += opacity * (pixels - under)
    return np.clip(np.rint(canvas * rng.uniform(0.75, 1.15)), 0, 255).astype(np.uint8), boxes


def _places(shapes: Sequence[tuple[int, ...]], low: int, high: int, rng: np.random.Generator) -> list[Box]:
    """Boxes between ``low`` and ``high`` on both axes that do not meet: random sizes and places, smaller if they do not fit."""
    span = high - low
    scale = 1.0
    while True:
        sizes = []
        for height, width in shapes:
            extent = high * scale * rng.uniform(*_EXTENT) / max(height, width)
            sizes.append((max(4, round(width * extent)), max(4, round(height * extent))))
        for _ in range(_ATTEMPTS):
            boxes: list[Box] = []
            for width, height in sizes:
                left = low + int(rng.integers(max(span - width, 0) + 1))
                top = low + int(rng.integers(max(span - height, 0) + 1))
                boxes.append((left, top, left + width, top + height))
            apart = all(
                a[0] > b[2] or b[0] > a[2] or a[1] > b[3] or b[1] > a[3] for a, b in itertools.combinations(boxes, 2)
            )
            if apart and all(box[2] <= high and box[3] <= high for box in boxes):
                return boxes
        scale *= 0.93
