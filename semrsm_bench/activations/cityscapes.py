"""Cityscapes (Cordts et al., CVPR 2016) in its published layout.

``leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png`` beside
``gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png`` and ``..._gtFine_polygons.json``; one of the two
annotations is enough.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.annotated import AnnotatedImages, field, read_json, records
from semrsm_bench.activations.images import ImageRef
from semrsm_bench.progress import progress_bar

# The nineteen classes of the benchmark, by their id in label images.
CLASSES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
# Annotated, but not evaluated by the benchmark.
_OTHERS = {
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "parking",
    "rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer", "license plate",
}  # fmt: skip
_HIGHEST_ID = 33
_IMAGE, _LABELS, _POLYGONS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_polygons.json"


def find_cityscapes(root: Path, split: str) -> list[ImageRef]:
    """Images of a split ("train" or "val"; the annotations of "test" are not public) of a folder, sorted by name.

    Raises
    ------
    FileNotFoundError
        There is no folder ``leftImg8bit/<split>``, or no image in it.
    """
    folder = root / "leftImg8bit" / split
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; Cityscapes has leftImg8bit/<split>/<city>/*{_IMAGE}")
    names = sorted(path.relative_to(root).as_posix() for path in folder.glob(f"*/*{_IMAGE}"))
    if not names:
        raise FileNotFoundError(f"{folder}: holds no <city>/*{_IMAGE}")
    return [ImageRef(root, name, -1) for name in names]


def read_cityscapes(images: Iterable[ImageRef], *, quiet: bool = False) -> AnnotatedImages:
    """Which of the nineteen evaluated classes each image of `find_cityscapes` shows; a group is one sequence of one city.

    ``counts`` are 1 and 0, read from the label image where there is one, which holds what is visible; else from the polygons.

    Raises
    ------
    FileNotFoundError
        An image has neither annotation; the message names both files.
    ValueError
        A damaged annotation, or an unknown label or id in it; the message names the file.
    """
    chosen, names = list(images), list(CLASSES.values())
    counts = np.zeros((len(chosen), len(names)), dtype=np.int64)
    groups = []
    with progress_bar(len(chosen), "reading labels", unit="image", quiet=quiet or len(chosen) < 100) as bar:
        for row, image in zip(counts, chosen):
            stem = image.name.removeprefix("leftImg8bit/").removesuffix(_IMAGE)
            groups.append("_".join(Path(stem).name.split("_")[:2]))
            labels, polygons = (image.container / "gtFine" / f"{stem}{ending}" for ending in (_LABELS, _POLYGONS))
            if labels.is_file():
                shown = _of_label_image(labels)
            elif polygons.is_file():
                shown = _of_polygons(polygons)
            else:
                raise FileNotFoundError(
                    f"{image.container / image.name} has no annotation: neither {labels} nor {polygons.name}"
                )
            row[[names.index(name) for name in shown]] = 1
            bar.update()
    return AnnotatedImages(chosen, counts, groups, names)


def _of_label_image(path: Path) -> set[str]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(path.read_bytes())) as opened:
            mode = opened.mode
            ids: NDArray[Any] = np.asarray(opened)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable label image ({error})") from None
    if mode not in ("L", "P") or ids.ndim != 2:
        raise ValueError(f"{path}: a label image has one channel of 8 bits, this one is {mode}")
    found = set(np.unique(ids).tolist())
    if max(found) > _HIGHEST_ID:
        raise ValueError(
            f"{path}: id {max(found)} is none of Cityscapes' 0 to {_HIGHEST_ID}; needed are labelIds images"
        )
    return {CLASSES[number] for number in found if number in CLASSES}


def _of_polygons(path: Path) -> set[str]:
    names = set(CLASSES.values())
    shown = set()
    for where, record in records(read_json(path, "the polygons of Cityscapes"), "objects", path):
        label = field(record, "label", str, where)
        if record.get("deleted"):
            continue
        # Several that cannot be told apart are one object "cargroup"; a "polegroup" is a class of its own.
        single = label if label in names | _OTHERS else label.removesuffix("group")
        if single not in names | _OTHERS:
            raise ValueError(f"{where}: unknown label {label!r}")
        shown.add(single)
    return shown & names
