"""Queries and database for retrieval: composed scenes, EgoObjects or Cityscapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.datasets import AnnotatedImages, find_cityscapes, read_cityscapes, read_egoobjects
from semrsm_bench.activations.images import load_images
from semrsm_bench.activations.scenes import SceneParts, compose, stream

_VIDEOS, _FRAMES = 4, 2


@dataclass(frozen=True)
class RetrievalSide:
    """Queries or database: pixels (n, H, W, 3) and numbers of objects of each class (n, classes).

    An image is never retrieved from its group.
    """

    pixels: NDArray[np.uint8]
    counts: NDArray[np.int64]
    groups: list[str]
    ids: list[str]

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class RetrievalData:
    """What is retrieved from what: two sides without an image in common, or one that is both.

    ``counted`` says whether counts are of objects, or only of which classes are there; ``shareable`` whether the images may be
    shown in the project's docs.
    """

    queries: RetrievalSide
    database: RetrievalSide
    classes: list[str]
    counted: bool
    shareable: bool


def from_labels(labels: NDArray[np.int64], ids: Sequence[str]) -> RetrievalData:
    """Images, without their pixels, that show one object each, of their class (n,); all of them look for the others.

    ValueError where one has no class.
    """
    if (labels < 0).any():
        raise ValueError(f"{ids[int(np.argmax(labels < 0))]} has no label, so nothing says which images show the same")
    classes, places = np.unique(labels, return_inverse=True)
    counts = np.eye(len(classes), dtype=np.int64)[places]
    side = RetrievalSide(np.empty((len(labels), 0, 0, 3), dtype=np.uint8), counts, list(ids), list(ids))
    return RetrievalData(side, side, [f"class {label}" for label in classes], counted=True, shareable=False)


def from_scenes(
    parts: SceneParts, queries: int, database: int, size: int, *, place: str = "scene", seed: int = 0
) -> RetrievalData:
    """Frames of composed scenes (see `compose`), four videos of two frames each, in a seeded draw; a group is a video."""
    number = math.ceil((queries + database) / (_VIDEOS * _FRAMES))
    made = compose(parts, scenes=number, videos=_VIDEOS, frames=_FRAMES, size=size, place=place, seed=seed)
    sides = [
        RetrievalSide(made.pixels[i], made.counts[i], list(map(str, made.videos[i])), list(map(str, i)))
        for i in _draw(len(made.pixels), [queries, database], seed, "frames")
    ]
    return RetrievalData(sides[0], sides[1], parts.classes, counted=True, shareable=parts.shareable)


def from_egoobjects(
    root: Path, queries: int, database: int, size: int, *, split: str = "test", any_format: bool = False,
    square: bool = False, seed: int = 0,
) -> RetrievalData:  # fmt: skip
    """Images of EgoObjects (see `read_egoobjects`) with a shorter side of ``size``; a group is a video.

    With ``any_format`` images that are not 16:9 take part; all are then cut to the square in the middle, as with ``square``.
    """
    found = read_egoobjects(root, split, wide_only=not any_format)
    frame = (size, size) if any_format or square else (size, round(size * 16 / 9))
    chosen = _draw(len(found.images), [queries, database], seed, f"images of EgoObjects {split}")
    sides = [_side(found, i, frame) for i in chosen]
    return RetrievalData(sides[0], sides[1], found.classes, counted=True, shareable=False)


def from_cityscapes(
    root: Path, queries: int, database: int, size: int, *, square: bool = False, seed: int = 0
) -> RetrievalData:
    """Queries of Cityscapes' split val, database of train; a group is a sequence. Parameters as `from_egoobjects`."""
    sides = []
    for split, count in (("val", queries), ("train", database)):
        images = find_cityscapes(root, split)
        (chosen,) = _draw(len(images), [count], seed, f"images of Cityscapes {split}")
        found = read_cityscapes(images[i] for i in chosen)
        sides.append(_side(found, np.arange(count), (size, size) if square else (size, 2 * size)))
    return RetrievalData(sides[0], sides[1], found.classes, counted=False, shareable=False)


def _draw(available: int, counts: Sequence[int], seed: int, what: str) -> list[NDArray[np.intp]]:
    """Seeded choices without an index in common."""
    if sum(counts) > available:
        asked = " and ".join(map(str, counts))
        raise ValueError(f"asked for {asked} {what}, there are {available}; choose fewer --queries or --database")
    order = stream(seed, 2).permutation(available)[: sum(counts)]
    return [part.astype(np.intp) for part in np.split(order, np.cumsum(counts)[:-1])]


def _side(found: AnnotatedImages, chosen: NDArray[np.intp], frame: tuple[int, int]) -> RetrievalSide:
    images = [found.images[i] for i in chosen]
    groups = [found.groups[i] for i in chosen]
    return RetrievalSide(load_images(images, frame), found.counts[chosen], groups, [i.name for i in images])
