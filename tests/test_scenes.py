"""Composed scenes: do the pixels show what the counts say?"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from semrsm_bench.activations.scenes import Cutout, SceneParts, compose, parts_of_packages, parts_of_pictures, stream
from tests.image_files import image_zip


def plain_parts(backgrounds=(0,)):
    """Objects of one colour channel each, of three shapes, on grey."""
    shapes = ((20, 20), (30, 12), (10, 40))
    cutouts = []
    for channel, (height, width) in enumerate(shapes):
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        pixels[..., channel] = 200
        cutouts.append(Cutout(pixels, np.ones((height, width), dtype=np.float32), channel))
    grounds = [np.full((50, 70, 3), level, dtype=np.uint8) for level in backgrounds]
    return SceneParts(["red", "green", "blue"], cutouts, grounds, shareable=True)


def seen(frame):
    """Connected patches of each colour, counted in the pixels."""
    return [label(frame[..., channel] > 60)[1] for channel in range(3)]


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(32, 100), low=st.integers(1, 9), more=st.integers(0, 8), videos=st.integers(1, 3),
    frames=st.integers(1, 3), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_pixels_show_what_the_counts_say(size, low, more, videos, frames, seed):
    high = min(9, low + more)
    made = compose(plain_parts(), scenes=2, videos=videos, frames=frames, size=size, objects=(low, high), seed=seed)
    assert made.pixels.shape == (2 * videos * frames, size, size, 3)
    assert made.pixels.dtype == np.uint8
    for frame, counts, boxes in zip(made.pixels, made.counts, made.boxes, strict=True):
        assert seen(frame) == counts.tolist()
        assert low <= counts.sum() == len(boxes) <= high
        for left, top, right, bottom in boxes:
            assert 0 <= left < right <= size
            assert 0 <= top < bottom <= size
    # One set of objects a scene; videos are numbered in order.
    np.testing.assert_array_equal(made.videos, np.repeat(range(2 * videos), frames))
    for counts in np.split(made.counts, 2):
        assert (counts == counts[0]).all()


def test_frames_of_a_video_are_shifted_and_videos_arranged_anew():
    made = compose(plain_parts(), scenes=6, videos=2, frames=2, size=64, seed=3)
    for scene in range(6):
        first, second, other, _ = map(np.array, made.boxes[4 * scene : 4 * scene + 4])
        shifts, apart = first - second, first - other
        np.testing.assert_array_equal(shifts, np.tile(shifts[:1, :2], (len(first), 2)))
        assert np.abs(shifts).max() <= 8
        assert len(apart) == 1 or (apart != apart[0]).any()


def test_an_object_is_flipped_with_its_outline():
    # Red where it is opaque, green where nothing of it may be seen.
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[:, :16, 1], pixels[:, 16:, 0] = 255, 255
    opacity = np.zeros((40, 40), dtype=np.float32)
    opacity[:, 24:] = 1
    parts = SceneParts(["half"], [Cutout(pixels, opacity, 0)], [np.zeros((50, 50, 3), dtype=np.uint8)], shareable=True)
    made = compose(parts, scenes=8, videos=1, frames=1, size=96)
    red, green = made.pixels[..., 0].max(axis=(1, 2)), made.pixels[..., 1].max(axis=(1, 2))
    assert red.min() > 150
    assert green.max() < 50


def test_a_seed_repeats_and_more_scenes_leave_the_first_as_they_are():
    one = compose(parts_of_packages(), scenes=2, size=48, seed=5)
    again = compose(parts_of_packages(), scenes=3, size=48, seed=5)
    np.testing.assert_array_equal(one.pixels, again.pixels[: len(one.pixels)])
    np.testing.assert_array_equal(one.counts, again.counts[: len(one.counts)])
    other = compose(parts_of_packages(), scenes=2, size=48, seed=6)
    assert (one.pixels != other.pixels).any(axis=(1, 2, 3)).all()


def test_where_the_background_comes_from():
    levels = (20, 45)
    grounds = {}
    for place in ("scene", "video"):
        made = compose(plain_parts(levels), scenes=12, videos=4, frames=1, size=64, place=place, seed=1)
        # Brightness changes objects and background by one factor, so their ratio tells the backgrounds apart.
        ratio = np.median(made.pixels, axis=(1, 2, 3)) / made.pixels.max(axis=(1, 2, 3))
        grounds[place] = np.where(ratio < 0.16, *levels).reshape(12, 4)
    assert all(len(set(row)) == 1 for row in grounds["scene"])
    assert set(grounds["scene"].ravel()) == set(levels)
    assert any(len(set(row)) == 2 for row in grounds["video"])


def test_package_objects_are_cut_whole_and_opaque_in_the_middle():
    parts = parts_of_packages()
    assert len(set(parts.classes)) == 11
    assert sorted(cutout.label for cutout in parts.cutouts) == list(range(11))
    for cutout in parts.cutouts:
        height, width = cutout.opacity.shape
        assert cutout.pixels.shape[:2] == (height, width)
        assert min(height, width) >= 60
        assert (cutout.opacity[height // 2, width // 2], cutout.opacity[0, 0]) == (1, 0)
    assert all(min(ground.shape[:2]) >= 60 for ground in parts.backgrounds)
    assert parts.shareable


def test_pictures_become_objects_of_their_class(tmp_path):
    archive = image_zip(tmp_path / "mine.zip", ("dark", "light", "middle"), per_class=3)
    parts = parts_of_pictures([archive], objects=2, seed=1)
    assert len(parts.classes) == 2
    assert set(parts.classes) < {"dark", "light", "middle"}
    assert [cutout.label for cutout in parts.cutouts] == [0, 0, 1, 1]
    expected = {"dark": 70, "light": 130, "middle": 190}
    for cutout in parts.cutouts:
        assert cutout.pixels.mean() == pytest.approx(expected[parts.classes[cutout.label]], abs=4)
        assert (cutout.opacity == 1).all()
    # Blurred: next to nothing is left of the noise.
    assert all(ground.std() < 12 for ground in parts.backgrounds)
    assert not parts.shareable


def test_what_makes_no_scenes_is_named(tmp_path, monkeypatch):
    archive = image_zip(tmp_path / "mine.zip", ("only",), per_class=3)
    with pytest.raises(
        ValueError, match=r"mine\.zip: scenes need pictures of two classes, one folder for each; found 1"
    ):
        parts_of_pictures([archive])
    with pytest.raises(ValueError, match="at least 32 pixels a side, got 31"):
        compose(plain_parts(), scenes=1, size=31)
    monkeypatch.setattr("semrsm_bench.activations.pictures.package_pictures", lambda: [Path("x/matplotlib/y.jpg")])
    with pytest.raises(ImportError, match=r"pip install semrsm-bench\[study\]"):
        parts_of_packages()


def test_streams_differ_even_by_a_zero_at_the_end():
    assert len({stream(7, *key).random() for key in ((0,), (0, 0), (0, 0, 0), (1,), (0, 1), (1, 0))}) == 6
