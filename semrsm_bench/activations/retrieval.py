"""Queries and database for retrieval: composed scenes, EgoObjects or Cityscapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.annotated import AnnotatedImages
from semrsm_bench.activations.cityscapes import find_cityscapes, read_cityscapes
from semrsm_bench.activations.egoobjects import read_egoobjects
from semrsm_bench.activations.images import load_images
from semrsm_bench.activations.scenes import Kit, compose, stream

VIDEOS, FRAMES = 4, 2


@dataclass(frozen=True)
class Side:
    """Queries or database.

    Attributes
    ----------
    pixels : ndarray, (n, H, W, 3), uint8
    counts : ndarray, (n, classes), int64
        Objects of each class.
    groups : list of str
        What the images belong to; one is never retrieved from its own group.
    ids : list of str
    """

    pixels: NDArray[np.uint8]
    counts: NDArray[np.int64]
    groups: list[str]
    ids: list[str]

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class RetrievalData:
    """What is retrieved from what: two sides without an image in common.

    ``counted`` says whether counts are of objects, or only of which classes are there; ``source`` where the images come from, in
    words; ``shareable`` whether they may be shown in the project's own docs.
    """

    queries: Side
    database: Side
    classes: list[str]
    counted: bool
    source: str
    shareable: bool


def from_scenes(
    kit: Kit, queries: int, database: int, size: int, *, place: str = "scene", seed: int = 0
) -> RetrievalData:
    """Frames of composed scenes (see `compose`), four videos of two frames each, in a seeded draw; a group is a video."""
    number = math.ceil((queries + database) / (VIDEOS * FRAMES))
    made = compose(kit, scenes=number, videos=VIDEOS, frames=FRAMES, size=size, place=place, seed=seed)
    asking, asked = (
        Side(made.pixels[chosen], made.counts[chosen], [str(v) for v in made.videos[chosen]], [str(i) for i in chosen])
        for chosen in _drawn(len(made), [queries, database], seed, "frames")
    )
    return RetrievalData(asking, asked, kit.classes, True, f"{number} composed scenes: {kit.source}", kit.shareable)


def from_egoobjects(
    root: Path, queries: int, database: int, size: int, *, split: str = "test", any_format: bool = False,
    square: bool = False, seed: int = 0,
) -> RetrievalData:  # fmt: skip
    """Images of EgoObjects (see `read_egoobjects`) with a shorter side of ``size``; a group is a video.

    With ``any_format`` images that are not 16:9 take part; all are then cut to the square in the middle, as with ``square``.
    """
    found = read_egoobjects(root, split, wide_only=not any_format)
    frame = (size, size) if any_format or square else (size, round(size * 16 / 9))
    chosen = _drawn(len(found), [queries, database], seed, f"images of EgoObjects {split}")
    asking, asked = (_side(found.take(part.tolist()), frame) for part in chosen)
    source = f"EgoObjects, {split}, {'all formats' if any_format else '16:9'}"
    return RetrievalData(asking, asked, found.classes, True, source, shareable=False)


def from_cityscapes(
    root: Path, queries: int, database: int, size: int, *, square: bool = False, seed: int = 0
) -> RetrievalData:
    """Queries of Cityscapes' split val, database of train; a group is a sequence. Parameters as `from_egoobjects`."""
    sides: dict[str, Side] = {}
    classes: list[str] = []
    for split, count in (("val", queries), ("train", database)):
        images = find_cityscapes(root, split)
        (chosen,) = _drawn(len(images), [count], seed, f"images of Cityscapes {split}")
        found = read_cityscapes([images[i] for i in chosen], quiet=True)
        sides[split] = _side(found, (size, size) if square else (size, 2 * size))
        classes = found.classes
    source = "Cityscapes, queries of val, database of train"
    return RetrievalData(sides["val"], sides["train"], classes, False, source, shareable=False)


def _drawn(available: int, counts: Sequence[int], seed: int, what: str) -> list[NDArray[np.intp]]:
    """Seeded choices without an index in common."""
    if sum(counts) > available:
        asked = " and ".join(map(str, counts))
        raise ValueError(f"asked for {asked} {what}, there are {available}; choose fewer --queries or --database")
    order = stream(seed, 2).permutation(available)[: sum(counts)]
    return [part.astype(np.intp) for part in np.split(order, np.cumsum(counts)[:-1])]


def _side(found: AnnotatedImages, frame: tuple[int, int]) -> Side:
    pixels = load_images(found.images, frame, quiet=True)
    return Side(pixels, found.counts, found.groups, [image.id for image in found.images])
