"""Scenes with several objects whose counts are known, composed from real pictures.

The structure is that of EgoObjects: a *scene* is a set of objects on a background; a *video* is one arrangement of them,
with places, sizes, flips and light of its own; the *frames* of a video differ by a small shift and in brightness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.scene_parts import Cutout, Pixels, SceneParts, stream

Box = tuple[int, int, int, int]

PLACES = ("scene", "video")
# Longer side of an object over the side of the scene, before objects are made smaller because they do not fit.
_EXTENT = (0.30, 0.46)
# Pixels of margin over the side of the scene: frames of one video are shifted by up to twice as much.
_MARGIN = 1 / 16
_ATTEMPTS = 30


@dataclass(frozen=True)
class Scenes:
    """Frames and what they show.

    Attributes
    ----------
    pixels : ndarray, (N, size, size, 3), uint8
    counts : ndarray, (N, classes), int64
        Objects of each class; all of them lie inside the frame and none covers another.
    videos : ndarray, (N,), int64
        Number of the video a frame belongs to; those of one scene are consecutive.
    boxes : list of lists of (left, top, right, bottom)
        Of every object, in pixels of the frame.
    """

    pixels: Pixels
    counts: NDArray[np.int64]
    videos: NDArray[np.int64]
    boxes: list[list[Box]]

    def __len__(self) -> int:
        return len(self.pixels)


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
    """Compose scenes, each seen in several videos of several frames.

    Parameters
    ----------
    parts : SceneParts
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
    pixels, counts, boxes = [], [], []
    for scene in range(scenes):
        rng = stream(seed, 0, scene)
        chosen = [parts.cutouts[i] for i in rng.integers(len(parts.cutouts), size=rng.integers(low, high + 1))]
        home = parts.backgrounds[rng.integers(len(parts.backgrounds))]
        count = np.bincount([cutout.label for cutout in chosen], minlength=len(parts.classes))
        for video in range(videos):
            arrangement = stream(seed, 0, scene, video)
            away = parts.backgrounds[arrangement.integers(len(parts.backgrounds))]
            background = home if place == "scene" else away
            canvas, places = _arrange(chosen, background, size, arrangement)
            for frame in range(frames):
                view, seen = _view(canvas, places, size, stream(seed, 0, scene, video, frame))
                pixels.append(view)
                boxes.append(seen)
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
