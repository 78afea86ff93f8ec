"""Published data sets in the layouts they come in: which images there are, and what each shows. No pixel is read yet."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.images import ImageRef

# The nineteen classes of the benchmark Cityscapes, by their id in label images.
CLASSES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
_HIGHEST_ID = 33
_IMAGE, _LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png"

_EGOOBJECTS = "the annotations of EgoObjects: EgoObjectsV1_unified_{train,eval,metadata}.json beside a folder images"
# Video frames are a pixel off 16:9 at times; the next usual format, 3:2, is 16 % away.
_WIDE, _TOLERANCE = 16 / 9, 0.01


@dataclass(frozen=True)
class AnnotatedImages:
    """Images with the number of their objects of each class, (N, classes), or 1 and 0 where only that there are any is known.

    Images of one group come from the same recording: a query never retrieves from its group.
    """

    images: list[ImageRef]
    counts: NDArray[np.int64]
    groups: list[str]
    classes: list[str]


def find_cityscapes(root: Path, split: str) -> list[ImageRef]:
    """Images of a split of Cityscapes (Cordts et al., CVPR 2016), sorted by name.

    ``leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png``; the annotations of the split "test" are not public.
    """
    names = sorted(path.relative_to(root).as_posix() for path in root.glob(f"leftImg8bit/{split}/*/*{_IMAGE}"))
    if not names:
        raise FileNotFoundError(f"{root}: holds no leftImg8bit/{split}/<city>/*{_IMAGE}, the layout of Cityscapes")
    return [ImageRef(root, name, -1) for name in names]


def read_cityscapes(images: Iterable[ImageRef]) -> AnnotatedImages:
    """Which of the nineteen classes each image of `find_cityscapes` shows; a group is one sequence of one city.

    Read from ``gtFine/<split>/<city>/..._labelIds.png``, which hold what is visible.
    """
    chosen, names = list(images), list(CLASSES.values())
    counts = np.zeros((len(chosen), len(names)), dtype=np.int64)
    groups = []
    for row, image in zip(counts, chosen):
        stem = image.name.removeprefix("leftImg8bit/").removesuffix(_IMAGE)
        groups.append("_".join(Path(stem).name.split("_")[:2]))
        labels = image.container / "gtFine" / f"{stem}{_LABELS}"
        if not labels.is_file():
            raise FileNotFoundError(f"{image.name} has no annotation: there is no {labels}")
        row[[names.index(name) for name in _shown(labels)]] = 1
    return AnnotatedImages(chosen, counts, groups, names)


def _shown(path: Path) -> set[str]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(path.read_bytes())) as opened:
            mode = opened.mode
            found = set(np.unique(np.asarray(opened)).tolist())
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable label image ({error})") from None
    if mode not in ("L", "P") or max(found) > _HIGHEST_ID:
        what = f"one channel of 8 bits with ids 0 to {_HIGHEST_ID}, not {mode} up to {max(found)}"
        raise ValueError(f"{path}: needed are labelIds images, {what}")
    return {CLASSES[number] for number in found if number in CLASSES}


def read_egoobjects(root: Path, split: str = "test", *, wide_only: bool = True) -> AnnotatedImages:
    """Images of one split of EgoObjects (Zhu et al., ICCV 2023) that have an annotated category, sorted by id.

    ``root``, or ``root / "data"``, holds the three JSON files and the folder ``images``. The annotations follow LVIS: ``images``
    with ``id``, ``width``, ``height``, ``url`` (its last part is the file), ``group_id`` (the scene around a main object),
    ``video_id`` (which of the scene's videos; not unique by itself) and, for evaluation, ``subset``; ``annotations`` with
    ``image_id``, and with ``category_id`` where the object is annotated for category detection. A group is one video. Classes are
    the categories of the metadata file (``cat_det_cats``), sorted by id; annotations without one of them do not count, and images
    left without any are left out, as in the data set's interface. ``wide_only`` leaves out images that are not 16:9, as Wald et
    al. 2024, appendix D.1.
    """
    folder = next((f for f in (root, root / "data") if any(f.glob("EgoObjectsV1_unified_*.json"))), None)
    if folder is None:
        raise FileNotFoundError(f"{root}: found neither here nor in {root / 'data'} {_EGOOBJECTS}")
    path = folder / f"EgoObjectsV1_unified_{'train' if split == 'train' else 'eval'}.json"
    metadata = folder / "EgoObjectsV1_unified_metadata.json"
    content = _read_json(path)
    known = {_field(record, "id", int, where): (where, record) for where, record in _records(content, "images", path)}
    listed = _records(_read_json(metadata), "cat_det_cats", metadata)
    names = {_field(one, "id", int, where): _field(one, "name", str, where) for where, one in listed}
    columns = {number: column for column, number in enumerate(sorted(names))}
    counts: dict[int, NDArray[np.int64]] = {}
    for where, annotation in _records(content, "annotations", path):
        image_id = _field(annotation, "image_id", int, where)
        if image_id not in known:
            raise ValueError(f"{where} belongs to image {image_id}, which is not among the {len(known)} images")
        if "category_id" in annotation and (number := _field(annotation, "category_id", int, where)) in columns:
            counts.setdefault(image_id, np.zeros(len(columns), dtype=np.int64))[columns[number]] += 1
    images, rows, groups = [], [], []
    for image_id in sorted(counts):
        where, record = known[image_id]
        if split != "train" and _field(record, "subset", str, where) != split:
            continue
        width, height = (_field(record, side, int, where) for side in ("width", "height"))
        if min(width, height) < 1:
            raise ValueError(f"{where}: an image of {width} x {height} pixels")
        if wide_only and abs(width / height / _WIDE - 1) > _TOLERANCE:
            continue
        group, video = (str(_field(record, key, (str, int), where)) for key in ("group_id", "video_id"))
        groups.append(f"{group}/{video}")
        rows.append(counts[image_id])
        images.append(ImageRef(folder / "images", PurePosixPath(_field(record, "url", str, where)).name, -1))
    if not images:
        raise ValueError(f"{path}: no image of {split!r} with a counted object{' in 16:9' if wide_only else ''}")
    return AnnotatedImages(images, np.stack(rows), groups, [names[number] for number in columns])


def _read_json(path: Path) -> Any:
    """Content of one of the JSON files; errors name it, and what is needed."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; needed are {_EGOOBJECTS}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged ({error}); needed are {_EGOOBJECTS}") from None


def _field(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """``record[key]``, which must be there and of that type; ``where`` is the file and the place in it."""
    if not isinstance(record, dict) or key not in record:
        raise ValueError(f"{where} has no {key!r}")
    value = record[key]
    # A bool is an int to isinstance, and never meant here.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{where}: {key!r} is {value!r:.60}")
    return value


def _records(content: Any, key: str, path: Path) -> list[tuple[str, Any]]:
    """Each entry of the list ``content[key]`` after its place, as `_field` names it."""
    return [(f"{path}: {key}[{i}]", record) for i, record in enumerate(_field(content, key, list, str(path)))]
