"""EgoObjects in its published layout: what counts, what is left out, and what a damaged copy is answered with."""

import json

import numpy as np
import pytest

from semrsm_bench.activations.datasets import read_egoobjects
from semrsm_bench.activations.images import load_images
from tests.data_sets import ego_image, ego_objects, egoobjects

EVAL, METADATA = "EgoObjectsV1_unified_eval.json", "EgoObjectsV1_unified_metadata.json"


def change(folder, name, what):
    content = json.loads((folder / name).read_text())
    what(content)
    (folder / name).write_text(json.dumps(content))


def test_counts_groups_and_names(tmp_path):
    found = read_egoobjects(egoobjects(tmp_path))
    # By id of the category: 3 book, 7 mug, 200 keyboard. Image 6 has no counted object, 20 is upright, 21 is of val.
    assert found.classes == ["book", "mug", "keyboard"]
    assert [image.name for image in found.images] == [f"{n:06}.jpg" for n in (1, 2, 3, 4, 5)]
    np.testing.assert_array_equal(found.counts, [[1, 0, 0], [0, 2, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]])
    # The same video_id in two groups is two videos.
    assert found.groups == ["g1/02", "g1/01", "g2/02", "g2/01", "g2/02"]
    assert load_images(found.images, (18, 32)).shape == (5, 18, 32, 3)


def test_formats_and_splits(tmp_path):
    folder = egoobjects(tmp_path / "data").parent
    assert len(read_egoobjects(folder, wide_only=False).images) == 6
    assert [image.name for image in read_egoobjects(folder, "val").images] == ["000021.jpg"]
    # The training file has no subsets.
    (folder / "data" / EVAL).rename(folder / "data" / "EgoObjectsV1_unified_train.json")
    assert len(read_egoobjects(folder, "train").images) == 6


@pytest.mark.parametrize(
    ("width", "height", "kept"), [(1920, 1080, 1), (1366, 768, 1), (1280, 960, 0), (1620, 1080, 0)]
)
def test_what_counts_as_wide(tmp_path, width, height, kept):
    images = [ego_image(1, "g", "01"), ego_image(2, "g", "02")]
    folder = egoobjects(tmp_path, images, [*ego_objects(1, 7), *ego_objects(2, 3)])
    change(folder, EVAL, lambda content: content["images"][1].update(width=width, height=height))
    assert len(read_egoobjects(folder).images) == 1 + kept


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda f: (f / EVAL).unlink(), FileNotFoundError, r"EgoObjectsV1_unified_eval\.json: no such file"),
        (lambda f: (f / METADATA).unlink(), FileNotFoundError, r"EgoObjectsV1_unified_metadata\.json: no such file"),
        (
            lambda f: (f / EVAL).write_text((f / EVAL).read_text()[:500]),
            ValueError,
            r"EgoObjectsV1_unified_eval\.json: damaged",
        ),
        (lambda f: (f / EVAL).write_bytes(b"\xff\xfe\x00"), ValueError, r"eval\.json: damaged"),
        (lambda f: (f / EVAL).write_text("[]"), ValueError, r"eval\.json has no 'images'"),
        (
            lambda f: change(f, EVAL, lambda c: c["images"][1].pop("video_id")),
            ValueError,
            r"eval\.json: images\[1\] has no 'video_id'",
        ),
        (
            lambda f: change(f, EVAL, lambda c: c["images"][0].update(width="wide")),
            ValueError,
            r"eval\.json: images\[0\]: 'width' is 'wide'",
        ),
        (
            lambda f: change(f, EVAL, lambda c: c["images"][0].update(height=0)),
            ValueError,
            r"images\[0\]: an image of 64 x 0 pixels",
        ),
        (
            lambda f: change(f, EVAL, lambda c: c["annotations"][0].update(image_id=99)),
            ValueError,
            r"annotations\[0\] belongs to image 99, which is not among the 8 images",
        ),
        (
            lambda f: change(f, EVAL, lambda c: c["annotations"][2].update(category_id=True)),
            ValueError,
            r"annotations\[2\]: 'category_id' is True",
        ),
        (
            lambda f: change(f, METADATA, lambda c: c.pop("cat_det_cats")),
            ValueError,
            r"metadata\.json has no 'cat_det_cats'",
        ),
        (
            lambda f: change(f, EVAL, lambda c: c["annotations"].clear()),
            ValueError,
            r"no image of 'test' with a counted object in 16:9",
        ),
    ],
)
def test_damage_is_named(tmp_path, damage, error, message):
    folder = egoobjects(tmp_path)
    damage(folder)
    with pytest.raises(error, match=message):
        read_egoobjects(folder)


def test_another_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"found neither here nor in .*data the annotations of EgoObjects"):
        read_egoobjects(tmp_path)


def test_an_image_that_is_no_image_or_missing_is_named(tmp_path):
    folder = egoobjects(tmp_path)
    (folder / "images" / "000003.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"000003\.jpg: not a readable image"):
        load_images(read_egoobjects(folder).images, (18, 32))
    (folder / "images" / "000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"000002\.jpg"):
        load_images(read_egoobjects(folder).images, (18, 32))
