"""Overlapping crops, and batches of pictures that have nothing to do with each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.activations.pictures import Shift, batches, overlapping_crops, scene_side


@given(st.integers(8, 40), st.integers(0, 39), st.integers(0, 39))
def test_crops_share_the_pixels_that_their_shift_says(size, down, right):
    if down + right == 0 or max(down, right) >= size:
        with pytest.raises(ValueError, match="shift"):
            scene_side(size, [Shift(down, right)])
        return
    shift = Shift(down, right)
    side = scene_side(size, [shift])
    scenes = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    crops = overlapping_crops(scenes, size, shift)
    assert crops.shape == (4, size, size, 3)
    height, width = size - down, size - right
    np.testing.assert_array_equal(crops[:2, down:, right:], crops[2:, :height, :width])


def test_the_papers_crops_are_cut_from_an_84_pixel_picture():
    usual = Shift.usual(64)
    assert (usual.down, usual.right) == (20, 0)
    assert scene_side(64, [usual]) == 84


@pytest.mark.parametrize("shift", [(-3, 0), (0, -3), (0, 0)])
def test_a_shift_that_is_none_is_refused(shift):
    with pytest.raises(ValueError, match="a shift goes down, to the right or both"):
        Shift(*shift)


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
