"""Queries and database of the retrieval study: composed scenes, EgoObjects or Cityscapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.annotated import AnnotatedImages
from semrsm_bench.activations.cityscapes import find_cityscapes, read_cityscapes
from semrsm_bench.activations.egoobjects import read_egoobjects
from semrsm_bench.activations.images import load_images
from semrsm_bench.activations.scenes import compose, package_kit, pictures_kit, stream

Indices = NDArray[np.intp]

VIDEOS, FRAMES = 4, 2


@dataclass(frozen=True)
class Side:
    """Queries or database: pixels (n, H, W, 3), counts (n, classes), and the group of each image."""

    pixels: NDArray[np.uint8]
    counts: NDArray[np.int64]
    groups: list[str]

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class RetrievalData:
    """What is retrieved from what.

    Attributes
    ----------
    queries, database : Side
        Without an image in common.
    classes : list of str
    scores : tuple of str
        "f1" where objects are counted, and "iou".
    source : str
        Where the images come from, in words.
    grouped : str
        What a group is, in words.
    shareable : bool
        Whether the pictures may be shown in the project's own docs.
    """

    queries: Side
    database: Side
    classes: list[str]
    scores: tuple[str, ...]
    source: str
    grouped: str
    shareable: bool

    def provenance(self) -> dict[str, Any]:
        """What goes into ``inputs`` of the study."""
        return {
            "source": self.source,
            "queries": len(self.queries),
            "database": len(self.database),
            "classes": len(self.classes),
            "groups": self.grouped,
            "size": list(self.queries.pixels.shape[1:3]),
        }


@dataclass(frozen=True)
class Source:
    """Which images, before any is read.

    Attributes
    ----------
    images, classes
        A user's pictures for scenes and the order of their classes; without them the package photographs.
    egoobjects, cityscapes : Path, optional
        Folder of one of these data sets instead of scenes.
    split : str
        Of EgoObjects.
    any_format : bool
        Whether images of EgoObjects that are not 16:9 take part; all are then cut to squares.
    frame : {"whole", "square"}
        Whether images of the two data sets keep their format or are cut to the square in their middle.
    place : {"scene", "video"}
        Whether all videos of a composed scene have the same background, seen elsewhere, or each one of its own.
    object_classes : int
        Classes of the user's pictures that scenes are made of.
    """

    images: Sequence[Path] = ()
    classes: Path | None = None
    egoobjects: Path | None = None
    cityscapes: Path | None = None
    split: str = "test"
    any_format: bool = False
    frame: str = "whole"
    place: str = "scene"
    object_classes: int = 20

    def __post_init__(self) -> None:
        if sum((bool(self.images), self.egoobjects is not None, self.cityscapes is not None)) > 1:
            raise ValueError("give one of --images, --egoobjects and --cityscapes")

    def read(self, queries: int, database: int, size: int, seed: int = 0, *, quiet: bool = False) -> RetrievalData:
        """Draw queries and database (seeded, without an image in common) and read their pixels.

        Parameters
        ----------
        queries, database : int
        size : int
            Shorter side of the images.
        seed : int

        Raises
        ------
        ValueError
            Fewer images than asked for, and as the loaders do.
        FileNotFoundError
            As the loaders do.
        """
        if min(queries, database) < 1:
            raise ValueError(f"needed are at least one query and one database image, got {queries} and {database}")
        if self.egoobjects is not None:
            return self._egoobjects(self.egoobjects, queries, database, size, seed, quiet)
        if self.cityscapes is not None:
            return self._cityscapes(self.cityscapes, queries, database, size, seed, quiet)
        return self._scenes(queries, database, size, seed)

    def _scenes(self, queries: int, database: int, size: int, seed: int) -> RetrievalData:
        if self.images:
            kit = pictures_kit(self.images, objects=self.object_classes, size=64, seed=seed, classes=self.classes)
        else:
            kit = package_kit()
        number = math.ceil((queries + database) / (VIDEOS * FRAMES))
        made = compose(kit, scenes=number, videos=VIDEOS, frames=FRAMES, size=size, place=self.place, seed=seed)
        asking, asked = (
            Side(made.pixels[chosen], made.counts[chosen], [str(video) for video in made.videos[chosen]])
            for chosen in _drawn(len(made), queries, database, seed, "frames")
        )
        source = f"{number} scenes composed by the study: {kit.source}"
        return RetrievalData(asking, asked, kit.classes, ("f1", "iou"), source, "frames of one video", kit.shareable)

    def _egoobjects(self, root: Path, queries: int, database: int, size: int, seed: int, quiet: bool) -> RetrievalData:
        found = read_egoobjects(root, self.split, wide_only=not self.any_format)
        frame = (size, size) if self.any_format or self.frame == "square" else (size, round(size * 16 / 9))
        drawn = _drawn(len(found), queries, database, seed, f"images of EgoObjects {self.split}")
        asking, asked = (_side(found.take(chosen.tolist()), frame, quiet) for chosen in drawn)
        source = f"EgoObjects, {self.split}" + (", all formats" if self.any_format else ", 16:9")
        return RetrievalData(
            asking, asked, found.classes, ("f1", "iou"), source, "frames of one video", shareable=False
        )

    def _cityscapes(self, root: Path, queries: int, database: int, size: int, seed: int, quiet: bool) -> RetrievalData:
        frame = (size, size) if self.frame == "square" else (size, 2 * size)
        sides = {}
        for split, count in (("val", queries), ("train", database)):
            found = find_cityscapes(root, split)
            (chosen,) = _drawn(len(found), count, None, seed, f"images of Cityscapes {split}")
            sides[split] = read_cityscapes([found[i] for i in chosen], quiet=quiet)
        asking, asked = (_side(sides[split], frame, quiet) for split in ("val", "train"))
        source = "Cityscapes, queries of val, database of train"
        grouped = "images of one sequence"
        return RetrievalData(asking, asked, sides["val"].classes, ("iou",), source, grouped, shareable=False)


def _drawn(available: int, first: int, second: int | None, seed: int, what: str) -> list[Indices]:
    """One or two seeded choices without an index in common."""
    counts = [first] if second is None else [first, second]
    if sum(counts) > available:
        asked = " and ".join(map(str, counts))
        raise ValueError(f"asked for {asked} {what}, there are {available}; choose fewer --queries or --database")
    order = stream(seed, 2).permutation(available)[: sum(counts)]
    return [part.astype(np.intp) for part in np.split(order, np.cumsum(counts)[:-1])]


def _side(found: AnnotatedImages, frame: tuple[int, int], quiet: bool) -> Side:
    return Side(load_images(found.images, frame, quiet=quiet), found.counts, found.groups)
