"""Cityscapes in its published layout: class sets from label images and polygons, and what damage is answered with."""

import numpy as np
import pytest
from PIL import Image

from semrsm_bench.activations.datasets import CLASSES, find_cityscapes, read_cityscapes
from tests.data_sets import cityscapes, cityscapes_image


def shown(folder, split="train"):
    found = read_cityscapes(find_cityscapes(folder, split))
    return [{found.classes[c] for c in np.flatnonzero(row)} for row in found.counts]


def test_label_images(tmp_path):
    # 0 to 6 are void, 18 a pole group, 29 a caravan: annotated, but none of the nineteen classes.
    cityscapes_image(tmp_path, "train", "ulm", 1, labels=[7, 26, 0, 3, 18, 29])
    cityscapes_image(tmp_path, "train", "aachen", 2, labels=[33, 33, 7, 23, 1])
    assert shown(tmp_path) == [{"bicycle", "road", "sky"}, {"road", "car"}]


def test_polygons_say_the_same_as_label_images(tmp_path):
    names = [("road", 0), ("cargroup", 0), ("polegroup", 0), ("ego vehicle", 0), ("caravangroup", 0), ("sky", 1)]
    cityscapes_image(tmp_path, "train", "ulm", 1, polygons=names)
    cityscapes_image(tmp_path, "train", "ulm", 2, labels=[7, 26, 18, 1, 29])
    assert shown(tmp_path) == [{"road", "car"}] * 2


def test_the_label_image_goes_first_because_it_says_what_is_visible(tmp_path):
    cityscapes_image(tmp_path, "train", "ulm", 1, labels=[7], polygons=[("road", 0), ("car", 0)])
    assert shown(tmp_path) == [{"road"}]


def test_every_class_and_its_polygon_label(tmp_path):
    for k, (number, name) in enumerate(CLASSES.items()):
        cityscapes_image(tmp_path, "train", "ulm", 2 * k, labels=[number])
        cityscapes_image(tmp_path, "train", "ulm", 2 * k + 1, polygons=[(name, 0)])
    assert shown(tmp_path) == [{name} for name in CLASSES.values() for _ in range(2)]
    assert len(CLASSES) == 19


def test_images_in_order_and_groups_by_sequence(tmp_path):
    folder = cityscapes(tmp_path, queries=2, database=3)
    stem = "leftImg8bit/train/ulm/ulm_00000"
    assert [image.name for image in find_cityscapes(folder, "train")] == [
        f"{stem}{k}_000019_leftImg8bit.png" for k in range(3)
    ]
    found = read_cityscapes(find_cityscapes(folder, "val"))
    assert found.groups == ["lindau_000000", "lindau_000001"]
    assert set(np.unique(found.counts)) == {0, 1}


def test_missing_folders(tmp_path):
    cityscapes(tmp_path, queries=2, database=0)
    with pytest.raises(FileNotFoundError, match=r"holds no leftImg8bit/train/<city>/\*_leftImg8bit\.png"):
        find_cityscapes(tmp_path, "train")


def cut_short(path):
    ids = np.random.default_rng(0).integers(0, 34, (100, 200), dtype=np.uint8)
    Image.fromarray(ids).save(path)
    path.write_bytes(path.read_bytes()[:8000])


def rgb(path):
    Image.new("RGB", (8, 8)).save(path)


def train_ids(path):
    Image.fromarray(np.full((8, 8), 255, dtype=np.uint8)).save(path)


def instance_ids(path):
    Image.fromarray(np.full((8, 8), 26001, dtype=np.uint16)).save(path)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda path: path.unlink(), FileNotFoundError, "has no annotation: neither .*labelIds.png nor ulm_000001"),
        (cut_short, ValueError, "labelIds.png: not a readable label image"),
        (lambda path: path.write_bytes(b""), ValueError, "labelIds.png: not a readable label image"),
        (rgb, ValueError, "labelIds.png: needed are labelIds images, one channel of 8 bits.*not RGB"),
        (instance_ids, ValueError, "labelIds.png: needed are labelIds images.* up to 26001"),
        (train_ids, ValueError, "labelIds.png: .* ids 0 to 33, not L up to 255"),
    ],
)
def test_damaged_label_images_are_named(tmp_path, damage, error, message):
    stem = cityscapes_image(tmp_path, "train", "ulm", 1, labels=[7])
    damage(tmp_path / "gtFine" / "train" / "ulm" / f"{stem}_gtFine_labelIds.png")
    with pytest.raises(error, match=message):
        shown(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "polygons.json: damaged"),
        ("{}", "polygons.json has no 'objects'"),
        ('{"objects": [{"deleted": 0}]}', r"polygons.json: objects\[0\] has no 'label'"),
        ('{"objects": [{"label": "road"}, {"label": "carrot"}]}', r"objects\[1\]: unknown label 'carrot'"),
    ],
)
def test_damaged_polygons_are_named(tmp_path, text, message):
    stem = cityscapes_image(tmp_path, "train", "ulm", 1, polygons=[])
    (tmp_path / "gtFine" / "train" / "ulm" / f"{stem}_gtFine_polygons.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        shown(tmp_path)
