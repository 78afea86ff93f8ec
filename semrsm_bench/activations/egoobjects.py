"""EgoObjects (Zhu et al., ICCV 2023) in its published layout.

``EgoObjectsV1_unified_train.json``, ``EgoObjectsV1_unified_eval.json`` and ``EgoObjectsV1_unified_metadata.json`` beside a
folder ``images``, all of it in the folder named or in its ``data``. The annotations follow LVIS: ``images`` with ``id``,
``width``, ``height``, ``url`` (its last part is the file), ``group_id`` (the scene around a main object), ``video_id`` (which
of the scene's videos; not unique by itself) and, for evaluation, ``subset``; ``annotations`` with ``image_id``, and with
``category_id`` where the object is annotated for category detection.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.annotated import AnnotatedImages, field, read_json, records
from semrsm_bench.activations.images import ImageRef

SPLITS = ("train", "val", "test")
_WHAT = "the annotations of EgoObjects: EgoObjectsV1_unified_{train,eval,metadata}.json beside a folder images"
# Video frames are a pixel off 16:9 at times; the next usual format, 3:2, is 16 % away.
_TOLERANCE = 0.01
_WIDE = 16 / 9


def read_egoobjects(root: Path, split: str = "test", *, wide_only: bool = True) -> AnnotatedImages:
    """Images of one split that have an annotated category, their counts and videos.

    Parameters
    ----------
    root : Path
        Folder with the annotation files and ``images``, or with ``data`` that holds them.
    split : {"test", "val", "train"}
    wide_only : bool
        Leave out images that are not 16:9, as in Wald et al. 2024, appendix D.1.

    Returns
    -------
    AnnotatedImages
        Sorted by image id. A group is one video: ``group_id/video_id``. Classes are the categories of the metadata file
        (``cat_det_cats``), sorted by id; annotations without a category, or with one that is not among them, do not count,
        and images left without any are left out, as in the data set's own interface.

    Raises
    ------
    FileNotFoundError
        A file is missing, the images' files included; the message names it.
    ValueError
        Another split, a damaged file, a missing field, an annotation of an image that is not there, or no image left.
    """
    if split not in SPLITS:
        raise ValueError(f"EgoObjects has the splits {', '.join(SPLITS)}, got {split!r}")
    folders = [folder for folder in (root, root / "data") if any(folder.glob("EgoObjectsV1_unified_*.json"))]
    if not folders:
        raise FileNotFoundError(f"{root}: found neither here nor in {root / 'data'} {_WHAT}")
    path = folders[0] / f"EgoObjectsV1_unified_{'train' if split == 'train' else 'eval'}.json"
    content = read_json(path, _WHAT)
    known = {field(record, "id", int, where): (where, record) for where, record in records(content, "images", path)}
    categories = _categories(folders[0] / "EgoObjectsV1_unified_metadata.json")
    columns = {number: column for column, number in enumerate(sorted(categories))}
    counts = _counts(records(content, "annotations", path), known, columns)
    images, rows, groups = [], [], []
    for image_id in sorted(counts):
        where, record = known[image_id]
        if split != "train" and field(record, "subset", str, where) != split:
            continue
        width, height = (field(record, side, int, where) for side in ("width", "height"))
        if min(width, height) < 1:
            raise ValueError(f"{where}: an image of {width} x {height} pixels")
        if wide_only and abs(width / height / _WIDE - 1) > _TOLERANCE:
            continue
        group, video = (str(field(record, key, (str, int), where)) for key in ("group_id", "video_id"))
        groups.append(f"{group}/{video}")
        rows.append(counts[image_id])
        name = PurePosixPath(field(record, "url", str, where)).name
        images.append(ImageRef(folders[0] / "images", name, -1))
    if not images:
        raise ValueError(f"{path}: no image of {split!r} with a counted object{' in 16:9' if wide_only else ''}")
    if missing := [file for file in (image.container / image.name for image in images) if not file.is_file()]:
        others = f" and {len(missing) - 1} others that are missing" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{missing[0]}: no such image, but {path.name} lists it{others}")
    return AnnotatedImages(images, np.stack(rows), groups, [categories[number] for number in columns])


def _categories(path: Path) -> dict[int, str]:
    """Names of the categories by id."""
    listed = records(read_json(path, _WHAT), "cat_det_cats", path)
    if not listed:
        raise ValueError(f"{path}: 'cat_det_cats' is empty")
    return {field(one, "id", int, where): field(one, "name", str, where) for where, one in listed}


def _counts(
    annotations: list[tuple[str, Any]], known: Mapping[int, Any], columns: Mapping[int, int]
) -> dict[int, NDArray[np.int64]]:
    """Counts by category for every image that has a counted object."""
    counts: dict[int, NDArray[np.int64]] = {}
    for where, annotation in annotations:
        image_id = field(annotation, "image_id", int, where)
        if image_id not in known:
            raise ValueError(f"{where} belongs to image {image_id}, which is not among the {len(known)} images")
        if "category_id" in annotation and (number := field(annotation, "category_id", int, where)) in columns:
            counts.setdefault(image_id, np.zeros(len(columns), dtype=np.int64))[columns[number]] += 1
    return counts
