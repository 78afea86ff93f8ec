"""EgoObjects and Cityscapes in their published layouts, with a few small images of noise and only the fields that are read."""

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


def egoobjects(folder: Path) -> Path:
    """Six wide test images, one of them without counted objects, one upright and one for validation."""
    # Categories of each image; None is an object annotated for instances alone.
    objects = {
        2: [7, 7, 200, None], 1: [3, OTHER], 3: [200], 4: [3, 7], 5: [7], 6: [None, OTHER], 20: [3], 21: [3],
    }  # fmt: skip
    images, annotations = [], []
    for number, categories in objects.items():
        group, video = ("g3", f"0{number - 19}") if number > 6 else ("g1" if number < 3 else "g2", f"0{number % 2 + 1}")
        width, height = (36, 64) if number == 20 else (64, 36)
        noise(folder / "images" / f"{number:06}.jpg", width, height, number)
        images.append(
            {
                "id": number, "width": width, "height": height, "url": f"frames/{number:06}.jpg", "group_id": group,
                "video_id": video, "subset": "val" if number == 21 else "test",
            }
        )  # fmt: skip
        for category in categories:
            annotations.append({"image_id": number, **({} if category is None else {"category_id": category})})
    content = {"info": {}, "images": images, "annotations": annotations}
    (folder / "EgoObjectsV1_unified_eval.json").write_text(json.dumps(content))
    names = [{"id": n, "name": name} for n, name in CATEGORIES.items()]
    metadata = {"categories": [*names, {"id": OTHER, "name": "chair"}], "cat_det_cats": names}
    (folder / "EgoObjectsV1_unified_metadata.json").write_text(json.dumps(metadata))
    return folder


def cityscapes_image(folder: Path, split: str, city: str, number: int, labels) -> str:
    """One image with a label image made of equal columns of the ids; its stem."""
    stem = f"{city}_{number:06}_000019"
    noise(folder / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", 64, 32, number)
    truth = folder / "gtFine" / split / city
    truth.mkdir(parents=True, exist_ok=True)
    columns = np.repeat(np.array(labels, dtype=np.uint8), 8)
    Image.fromarray(np.tile(columns, (16, 1))).save(truth / f"{stem}_gtFine_labelIds.png")
    return stem


def cityscapes(folder: Path, queries: int = 3, database: int = 7) -> Path:
    """A data set whose images show road, sky and two classes that change from one to the next."""
    ids = [26, 24, 11, 33, 21]
    for split, city, count in (("val", "lindau", queries), ("train", "ulm", database)):
        for k in range(count):
            cityscapes_image(folder, split, city, k, labels=[7, 23, 0, ids[k % 5], ids[(k + 1) % 5]])
    return folder
