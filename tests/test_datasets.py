"""EgoObjects and Cityscapes in their published layouts: what counts, what is left out, and how damage is named."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from semrsm_bench.activations.datasets import CLASSES, find_cityscapes, read_cityscapes, read_egoobjects
from semrsm_bench.activations.images import load_images
from tests.data_sets import cityscapes_image, egoobjects

EVAL, METADATA = "EgoObjectsV1_unified_eval.json", "EgoObjectsV1_unified_metadata.json"


def test_counts_groups_names_formats_and_splits(tmp_path):
    folder = egoobjects(tmp_path / "data").parent
    found = read_egoobjects(folder)
    # By id of the category: 3 book, 7 mug, 200 keyboard. Image 6 has no counted object, 20 is upright, 21 is of val.
    assert found.classes == ["book", "mug", "keyboard"]
    assert [image.name for image in found.images] == [f"{n:06}.jpg" for n in (1, 2, 3, 4, 5)]
    np.testing.assert_array_equal(found.counts, [[1, 0, 0], [0, 2, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]])
    # The same video_id in two groups is two videos.
    assert found.groups == ["g1/02", "g1/01", "g2/02", "g2/01", "g2/02"]
    assert load_images(found.images, (18, 32)).shape == (5, 18, 32, 3)
    assert len(read_egoobjects(folder, wide_only=False).images) == 6
    assert [image.name for image in read_egoobjects(folder, "val").images] == ["000021.jpg"]
    # The training file has no subsets.
    (folder / "data" / EVAL).rename(folder / "data" / "EgoObjectsV1_unified_train.json")
    assert len(read_egoobjects(folder, "train").images) == 6


def change(name, what):
    """Damage to a JSON file of a data set: ``what`` is done to its content."""

    def damage(folder):
        content = json.loads((folder / name).read_text())
        what(content)
        (folder / name).write_text(json.dumps(content))

    return damage


@pytest.mark.parametrize(
    ("width", "height", "kept"), [(1920, 1080, 1), (1366, 768, 1), (1280, 960, 0), (1620, 1080, 0)]
)
def test_what_counts_as_wide(tmp_path, width, height, kept):
    folder = egoobjects(tmp_path)
    change(EVAL, lambda content: content["images"][0].update(width=width, height=height))(folder)
    assert len(read_egoobjects(folder).images) == 4 + kept


def overwrite(name, content):
    """Damage that replaces a file; None deletes it."""
    return lambda folder: (folder / name).unlink() if content is None else (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (overwrite(EVAL, None), "eval.json: no such file"),
        (overwrite(METADATA, None), "metadata.json: no such file"),
        (overwrite(EVAL, b'{"images": ['), "eval.json: damaged"),
        (overwrite(EVAL, b"\xff\xfe\x00"), "eval.json: damaged"),
        (overwrite(EVAL, b"[]"), "eval.json has no 'images'"),
        (change(EVAL, lambda c: c["images"][1].pop("video_id")), "eval.json: images[1] has no 'video_id'"),
        (change(EVAL, lambda c: c["images"][0].update(width="wide")), "eval.json: images[0]: 'width' is 'wide'"),
        (change(EVAL, lambda c: c["images"][0].update(height=0)), "images[0]: an image of 64 x 0 pixels"),
        (change(EVAL, lambda c: c["annotations"][0].update(image_id=99)), "annotations[0] belongs to image 99"),
        (change(EVAL, lambda c: c["annotations"][2].update(category_id=True)), "[2]: 'category_id' is True"),
        (change(METADATA, lambda c: c.pop("cat_det_cats")), "metadata.json has no 'cat_det_cats'"),
        (change(EVAL, lambda c: c["annotations"].clear()), "no image of 'test' with a counted object in 16:9"),
        (lambda folder: folder.rename(folder.with_name("elsewhere")), "found neither here nor in"),
        (overwrite("images/000003.jpg", b"no picture"), "000003.jpg: not a readable image"),
        (overwrite("images/000002.jpg", None), "000002.jpg"),
    ],
)
def test_a_damaged_copy_of_egoobjects_is_named(tmp_path, damage, message):
    folder = egoobjects(tmp_path / "ego")
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        load_images(read_egoobjects(folder).images, (18, 32))


def shown(folder, split="train"):
    found = read_cityscapes(find_cityscapes(folder, split))
    return [{found.classes[c] for c in np.flatnonzero(row)} for row in found.counts]


def test_classes_groups_and_images_of_cityscapes(tmp_path):
    # 0 to 6 are void, 18 a pole group, 29 a caravan: annotated, but none of the nineteen classes.
    cityscapes_image(tmp_path, "train", "ulm", 1, labels=[7, 26, 0, 3, 18, 29])
    cityscapes_image(tmp_path, "train", "aachen", 2, labels=[33, 33, 7, 23, 1])
    assert shown(tmp_path) == [{"bicycle", "road", "sky"}, {"road", "car"}]
    found = read_cityscapes(find_cityscapes(tmp_path, "train"))
    assert [image.name for image in found.images] == [
        f"leftImg8bit/train/{place}_000019_leftImg8bit.png" for place in ("aachen/aachen_000002", "ulm/ulm_000001")
    ]
    assert found.groups == ["aachen_000002", "ulm_000001"]
    assert set(np.unique(found.counts)) == {0, 1}


def test_every_class_is_found(tmp_path):
    for k, number in enumerate(CLASSES):
        cityscapes_image(tmp_path, "train", "ulm", k, labels=[number])
    assert shown(tmp_path) == [{name} for name in CLASSES.values()]
    assert len(CLASSES) == 19


def labels(pixels):
    """Damage that replaces a label image."""
    return lambda path: Image.fromarray(pixels).save(path)


def cut_short(path):
    labels(np.random.default_rng(0).integers(0, 34, (100, 200), dtype=np.uint8))(path)
    path.write_bytes(path.read_bytes()[:8000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "has no annotation: there is no .*labelIds.png"),
        (cut_short, "labelIds.png: not a readable label image"),
        (lambda path: path.write_bytes(b""), "labelIds.png: not a readable label image"),
        (labels(np.zeros((8, 8, 3), np.uint8)), "labelIds.png: needed are labelIds images, one channel.*not RGB"),
        (labels(np.full((8, 8), 26001, np.uint16)), "labelIds.png: needed are labelIds images.* up to 26001"),
        (labels(np.full((8, 8), 255, np.uint8)), "labelIds.png: .* ids 0 to 33, not L up to 255"),
        (None, r"holds no leftImg8bit/val/<city>/\*_leftImg8bit\.png"),
    ],
)
def test_a_damaged_copy_of_cityscapes_is_named(tmp_path, damage, message):
    stem = cityscapes_image(tmp_path, "train", "ulm", 1, labels=[7])
    if damage is not None:
        damage(tmp_path / "gtFine" / "train" / "ulm" / f"{stem}_gtFine_labelIds.png")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        shown(tmp_path, "val" if damage is None else "train")
