"""Pictures: those of packages, the user's, overlapping crops of them, and batches whose pictures have nothing in common."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.activations.pictures import (
    batches,
    overlapping_crops,
    photographs,
    read_pictures,
    scene_side,
    usual_shift,
)
from tests.image_files import image_zip


def test_package_crops_are_cut_from_different_places_and_repeat_with_their_seed():
    pictures = read_pictures(count=40, seed=3)
    assert pictures.pixels.shape == (40, 64, 64, 3)
    assert pictures.pixels.dtype == np.uint8
    assert len(set(pictures.ids)) == 40
    assert pictures.shareable
    counts = np.bincount(pictures.labels)
    assert counts.max() - counts[counts > 0].min() <= 1
    assert read_pictures(count=40, seed=3).ids == pictures.ids != read_pictures(count=40, seed=4).ids
    # The id names the photograph and the corner that the crop was cut at.
    named = dict(photographs())
    for name, pixels in zip(pictures.ids, pictures.pixels, strict=True):
        photograph, corner = name.split("@")
        top, left = map(int, corner.split(","))
        np.testing.assert_array_equal(pixels, named[photograph][top : top + 64, left : left + 64])


def test_pictures_of_a_user_come_with_their_classes(tmp_path):
    pictures = read_pictures([image_zip(tmp_path / "mine.zip", per_class=4, size=32)], count=6)
    assert all(name.startswith("train/") for name in pictures.ids)
    assert not pictures.shareable
    assert sorted(np.bincount(pictures.labels)) == [3, 3]


@given(st.integers(8, 40), st.integers(-2, 39), st.integers(-2, 39))
def test_crops_share_the_pixels_that_their_shift_says(size, down, right):
    shift = down, right
    if min(shift) < 0 or down + right == 0 or max(shift) >= size:
        with pytest.raises(ValueError, match=r"a shift goes down, to the right or both|do not overlap"):
            scene_side(size, [shift])
        return
    side = scene_side(size, [shift])
    scenes = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    crops = overlapping_crops(scenes, size, shift)
    assert crops.shape == (4, size, size, 3)
    np.testing.assert_array_equal(crops[:2, down:, right:], crops[2:, : size - down, : size - right])
    # The paper's crops are cut from pictures of 84 pixels.
    assert scene_side(64, [usual_shift(64)]) == 84


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=60), st.integers(2, 10), st.integers(0, 5))
def test_batches_hold_every_picture_once(labels, size, seed):
    labels = np.array(labels)
    if len(labels) % size:
        with pytest.raises(ValueError, match="batches of"):
            batches(labels, size, seed)
        return
    found = batches(labels, size, seed)
    assert [len(batch) for batch in found] == [size] * (len(labels) // size)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(labels)))
    # A picture of unknown label is like no other.
    apart = np.where(labels < 0, 100 + np.arange(len(labels)), labels)
    np.testing.assert_array_equal(batches(apart, size, seed), found)


def test_pictures_of_one_photograph_do_not_share_a_batch_where_that_is_possible():
    labels = np.repeat(np.arange(10), 7)
    for batch in batches(labels, 10, seed=3):
        assert len(set(labels[batch].tolist())) == 10
