"""Scenes with several objects whose counts are known, composed from real pictures.

The structure is that of EgoObjects: a *scene* is a set of objects on a background; a *video* is one arrangement of them,
with places, sizes, flips and light of its own; the *frames* of a video differ by a small shift and in brightness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.cutouts import package_objects
from semrsm_bench.activations.images import ImageRef, find_images, load_images

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

PLACES = ("scene", "video")
# Longer side of an object over the side of the scene, before objects are made smaller because they do not fit.
_EXTENT = (0.30, 0.46)
# Pixels of margin over the side of the scene: frames of one video are shifted by up to twice as much.
_MARGIN = 1 / 16
_ATTEMPTS = 30
# Enough for a user's pictures to appear in several scenes each.
_PICTURES_PER_CLASS = 2


@dataclass(frozen=True)
class Cutout:
    """An object to paste: pixels (h, w, 3), opacity (h, w) in [0, 1] and the class it counts for."""

    pixels: Pixels
    opacity: NDArray[np.float32]
    label: int


@dataclass(frozen=True)
class Kit:
    """What scenes are made of; ``source`` says in words where the pictures come from, ``shareable`` whether docs may show them."""

    classes: list[str]
    cutouts: list[Cutout]
    backgrounds: list[Pixels]
    source: str
    shareable: bool


@dataclass(frozen=True)
class Scenes:
    """Frames and what they show.

    Attributes
    ----------
    pixels : ndarray, (N, size, size, 3), uint8
    counts : ndarray, (N, classes), int64
        Objects of each class; all of them lie inside the frame and none covers another.
    scenes, videos : ndarray, (N,), int64
        Frames with the same number show the same scene, or belong to the same video.
    boxes : list of lists of (left, top, right, bottom)
        Of every object, in pixels of the frame.
    """

    pixels: Pixels
    counts: NDArray[np.int64]
    scenes: NDArray[np.int64]
    videos: NDArray[np.int64]
    boxes: list[list[Box]]

    def __len__(self) -> int:
        return len(self.pixels)


def package_kit() -> Kit:
    """Objects and backgrounds cut from the photographs that installed packages ship; ImportError without any."""
    objects, backgrounds = package_objects()
    names = sorted({name for name, _, _ in objects})
    cutouts = [Cutout(pixels, opacity, names.index(name)) for name, pixels, opacity in objects]
    source = (
        "objects cut from photographs shipped by scikit-image, scikit-learn and matplotlib, pasted on parts of them"
    )
    return Kit(names, cutouts, backgrounds, source, shareable=True)


def pictures_kit(
    images: Sequence[Path], *, objects: int = 20, size: int = 64, seed: int = 0, classes: Path | None = None
) -> Kit:
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
    found = find_images(images, classes)
    labels = np.unique([image.label for image in found if image.label >= 0])
    if len(labels) < 2:
        raise ValueError(
            f"{' '.join(path.name for path in images)}: scenes need pictures of two classes or more, one folder for each; "
            f"found {len(labels)}"
        )
    rng = stream(seed, 1)
    chosen = np.sort(rng.permutation(labels)[:objects])
    refs: list[ImageRef] = []
    for label in chosen:
        of_class = [image for image in found if image.label == label]
        refs += [of_class[i] for i in np.sort(rng.permutation(len(of_class))[:_PICTURES_PER_CLASS])]
    pixels = load_images(refs, size, quiet=True)
    opaque = np.ones((size, size), dtype=np.float32)
    codes = {int(label): code for code, label in enumerate(chosen)}
    cutouts = [Cutout(picture, opaque, codes[ref.label]) for picture, ref in zip(pixels, refs)]
    names = {ref.label: Path(ref.name).parent.name for ref in refs}
    others = [found[i] for i in rng.permutation(len(found))[:12]]
    backgrounds = [_blurred(picture) for picture in load_images(others, size, quiet=True)]
    source = " ".join(path.name for path in images) + ": pictures pasted as objects on blurred ones"
    return Kit([names[int(label)] for label in chosen], cutouts, backgrounds, source, shareable=False)


def _blurred(picture: Pixels) -> Pixels:
    """So much that nothing can be made out and only the colours are left."""
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(picture.shape[0] / 8)), dtype=np.uint8)


def compose(
    kit: Kit,
    *,
    scenes: int,
    videos: int = 4,
    frames: int = 2,
    size: int = 64,
    objects: tuple[int, int] = (2, 4),
    place: str = "scene",
    seed: int = 0,
) -> Scenes:
    """Compose scenes, each seen in several videos of several frames.

    Parameters
    ----------
    kit : Kit
    scenes, videos, frames, size : int
        Scenes, videos of each, frames of each video; side of a frame in pixels.
    objects : (int, int)
        Fewest and most objects of a scene; a class may occur several times.
    place : {"scene", "video"}
        Whether the videos of a scene show parts of one background, or each has a background of its own.
    seed : int
        Another scene, video or frame takes a stream of its own: asking for more leaves the first ones as they are.

    Raises
    ------
    ValueError
        Not at least one of each, a frame under 32 pixels, no object, more than nine, or another ``place``.
    """
    low, high = objects
    if min(scenes, videos, frames) < 1 or size < 32 or not 1 <= low <= high <= 9:
        raise ValueError(
            "needed are at least 1 scene, video and frame, 32 pixels, and 1 to 9 objects; got "
            f"{scenes} scenes, {videos} videos, {frames} frames, {size} pixels, {low} to {high} objects"
        )
    if place not in PLACES:
        raise ValueError(f"place must be one of {', '.join(PLACES)}, got {place!r}")
    pixels, counts, owners, boxes = [], [], [], []
    for scene in range(scenes):
        rng = stream(seed, 0, scene)
        chosen = [kit.cutouts[i] for i in rng.integers(len(kit.cutouts), size=rng.integers(low, high + 1))]
        home = kit.backgrounds[rng.integers(len(kit.backgrounds))]
        count = np.bincount([cutout.label for cutout in chosen], minlength=len(kit.classes))
        for video in range(videos):
            arrangement = stream(seed, 0, scene, video)
            away = kit.backgrounds[arrangement.integers(len(kit.backgrounds))]
            background = home if place == "scene" else away
            canvas, places = _arrange(chosen, background, size, arrangement)
            for frame in range(frames):
                view, seen = _view(canvas, places, size, stream(seed, 0, scene, video, frame))
                pixels.append(view)
                boxes.append(seen)
                counts.append(count)
                owners.append((scene, scene * videos + video))
    numbers = np.array(owners, dtype=np.int64)
    return Scenes(np.stack(pixels), np.stack(counts).astype(np.int64), numbers[:, 0], numbers[:, 1], boxes)


def stream(seed: int, *key: int) -> np.random.Generator:
    """Random numbers of their own for every key; keys that differ by a zero at their end are told apart, unlike plain seeds."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _margin(size: int) -> int:
    return max(1, round(size * _MARGIN))


def _arrange(
    cutouts: Sequence[Cutout], background: Pixels, size: int, rng: np.random.Generator
) -> tuple[Pixels, list[Box]]:
    """A canvas with a margin around, the objects on it, and their boxes."""
    from PIL import Image

    margin = _margin(size)
    side = size + 2 * margin
    canvas = _background(background, side, rng).astype(np.float32)
    boxes = _places([cutout.opacity.shape for cutout in cutouts], 2 * margin, size, rng)
    for cutout, (left, top, right, bottom) in zip(cutouts, boxes):
        shape = (right - left, bottom - top)
        pixels = np.asarray(Image.fromarray(cutout.pixels).resize(shape, Image.Resampling.LANCZOS), dtype=np.float32)
        opacity = np.asarray(Image.fromarray(cutout.opacity).resize(shape, Image.Resampling.BILINEAR))[..., None]
        if rng.random() < 0.5:
            pixels, opacity = pixels[:, ::-1], opacity[:, ::-1]
        part = canvas[top:bottom, left:right]
        part += opacity * (pixels - part)
    return np.clip(np.rint(canvas * rng.uniform(0.75, 1.15)), 0, 255).astype(np.uint8), boxes


def _background(source: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    """A random square part of a background, half of it flipped, scaled to the canvas."""
    from PIL import Image

    short = min(source.shape[:2])
    part = round(short * rng.uniform(0.6, 1.0))
    top = int(rng.integers(source.shape[0] - part + 1))
    left = int(rng.integers(source.shape[1] - part + 1))
    square = source[top : top + part, left : left + part]
    if rng.random() < 0.5:
        square = square[:, ::-1]
    image = Image.fromarray(np.ascontiguousarray(square)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


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
            if all(box[2] <= high and box[3] <= high for box in boxes) and not _any_meet(boxes):
                return boxes
        scale *= 0.93


def _any_meet(boxes: Sequence[Box]) -> bool:
    """Whether two overlap or touch."""
    return any(
        a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
        for i, a in enumerate(boxes)
        for b in boxes[i + 1 :]
    )


def _view(canvas: Pixels, boxes: Sequence[Box], size: int, rng: np.random.Generator) -> tuple[Pixels, list[Box]]:
    """A frame of the canvas that holds every object whole, at a brightness of its own."""
    shift = canvas.shape[0] - size
    left, top = (int(offset) for offset in rng.integers(shift + 1, size=2))
    frame: NDArray[Any] = canvas[top : top + size, left : left + size] * rng.uniform(0.9, 1.1)
    seen = [(a - left, b - top, c - left, d - top) for a, b, c, d in boxes]
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8), seen
