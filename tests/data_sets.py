"""EgoObjects and Cityscapes in their published layouts, with a few small made-up images."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

# Category ids as in the data set: neither consecutive nor sorted in the file.
CATEGORIES = {7: "mug", 3: "book", 200: "keyboard"}
# A category that only instances are annotated for.
OTHER = 55


def noise(path: Path, width: int, height: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def ego_image(number: int, group: str, video: str, subset: str = "test", size=(64, 36), **more):
    return {
        "id": number, "width": size[0], "height": size[1], "url": f"frames/{number:06}.jpg", "gaia_id": 9,
        "timestamp": [0.5], "stream_ids": ["1"], "group_id": group, "video_id": video, "frame_id": 3,
        "main_category": "mug", "main_category_instance_ids": [1], "subset": subset, "difficulty": "easy", **more,
    }  # fmt: skip


def ego_objects(image: int, *categories: int | None):
    """Annotations of an image; None is an object annotated for instances alone."""
    result = []
    for k, category in enumerate(categories):
        annotation = {
            "id": 100 * image + k, "image_id": image, "bbox": [1.0, 2.0, 8.0, 9.0], "area": 72.0,
            "instance_id": f"i{image}-{k}", "category_freeform": "thing",
        }  # fmt: skip
        result.append(annotation if category is None else {**annotation, "category_id": category})
    return result


def egoobjects(folder: Path, images=None, annotations=None) -> Path:
    """A data set of six wide test images, one of them without counted objects, one upright and one for validation."""
    if images is None:
        images = [
            *(ego_image(n, "g1" if n < 3 else "g2", f"0{n % 2 + 1}") for n in range(1, 7)),
            ego_image(20, "g3", "01", size=(36, 64)),
            ego_image(21, "g3", "02", "val"),
        ]
        annotations = [
            *ego_objects(2, 7, 7, 200, None), *ego_objects(1, 3, OTHER), *ego_objects(3, 200), *ego_objects(4, 3, 7),
            *ego_objects(5, 7), *ego_objects(6, None, OTHER), *ego_objects(20, 3), *ego_objects(21, 3),
        ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    names = [{"id": n, "name": name, "image_count": 1, "instance_count": 1} for n, name in CATEGORIES.items()]
    metadata = {
        "categories": [*names, {"id": OTHER, "name": "chair"}],
        "cat_det_cats": names,
        "inst_det_cats": [{"id": "i1-0"}],
    }
    content = {"info": {}, "categories": metadata["categories"], "images": images, "annotations": annotations}
    (folder / "EgoObjectsV1_unified_eval.json").write_text(json.dumps(content))
    (folder / "EgoObjectsV1_unified_metadata.json").write_text(json.dumps(metadata))
    for image in images:
        name = str(image.get("url", "x.jpg")).rsplit("/", 1)[-1]
        noise(folder / "images" / name, image.get("width", 8), image.get("height", 8), image["id"])
    return folder


def cityscapes_image(folder: Path, split: str, city: str, number: int, labels=None, polygons=None) -> str:
    """One image with a label image made of equal columns of the ids, or polygons of (label, deleted), or both; its stem."""
    stem = f"{city}_{number:06}_000019"
    noise(folder / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", 64, 32, number)
    truth = folder / "gtFine" / split / city
    truth.mkdir(parents=True, exist_ok=True)
    if labels is not None:
        columns = np.repeat(np.array(labels, dtype=np.uint8), 8)
        Image.fromarray(np.tile(columns, (16, 1))).save(truth / f"{stem}_gtFine_labelIds.png")
    if polygons is not None:
        objects = [
            {
                "label": label, "deleted": deleted, "verified": 1, "user": "u", "date": "01-Jan-2016 00:00:00", "id": k,
                "polygon": [[0, 0], [5, 0], [5, 5]],
            }
            for k, (label, deleted) in enumerate(polygons)
        ]  # fmt: skip
        content = {"imgHeight": 32, "imgWidth": 64, "objects": objects}
        (truth / f"{stem}_gtFine_polygons.json").write_text(json.dumps(content))
    return stem


def cityscapes(folder: Path, queries: int = 3, database: int = 7) -> Path:
    """A data set whose images show road, sky and two classes that change from one to the next."""
    ids = [26, 24, 11, 33, 21]
    for split, city, count in (("val", "lindau", queries), ("train", "ulm", database)):
        for k in range(count):
            cityscapes_image(folder, split, city, k, labels=[7, 23, 0, ids[k % 5], ids[(k + 1) % 5]])
    return folder
