"""Statistics of pictures whose values follow from how they are made; and the sheet that shows pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.studies.contact_sheet import contact_sheet
from semrsm_bench.studies.image_statistics import STATISTICS, image_statistics


def plain(colour, size=16):
    return np.tile(np.array(colour, dtype=np.uint8), (1, size, size, 1))


def one(pixels):
    return {name: float(values[0]) for name, values in image_statistics(pixels).items()}


@pytest.mark.parametrize(
    ("colour", "brightness", "colourfulness"),
    [
        ((0, 0, 0), 0, 0),
        ((255, 255, 255), 1, 0),
        ((90, 90, 90), 90 / 255, 0),
        ((255, 0, 0), 0.299, 0.3 * np.hypot(255, 127.5)),
        ((0, 0, 255), 0.114, 0.3 * 255),
    ],
)
def test_plain_pictures(colour, brightness, colourfulness):
    found = one(plain(colour))
    assert found["brightness"] == pytest.approx(brightness)
    assert found["colourfulness"] == pytest.approx(colourfulness)
    assert found["contrast"] == pytest.approx(0, abs=1e-12)
    assert found["edge density"] == 0


def test_a_step_has_an_edge_two_pixels_wide_and_the_largest_contrast():
    pixels = plain((0, 0, 0))
    pixels[:, :, 8:] = 255
    found = one(pixels)
    assert found["edge density"] == pytest.approx(2 / 16)
    assert found["contrast"] == pytest.approx(0.5)
    assert found["brightness"] == pytest.approx(0.5)


def test_a_slope_is_an_edge_from_a_tenth_of_the_scale_per_pixel():
    steep, gentle = plain((0, 0, 0), 10), plain((0, 0, 0), 10)
    steep[0, :, :, :] = (np.arange(10) * 28)[None, :, None]
    gentle[0, :, :, :] = (np.arange(10) * 24)[None, :, None]
    # The border columns see half the slope, since the picture is mirrored there.
    assert one(steep)["edge density"] == pytest.approx(0.8)
    assert one(gentle)["edge density"] == 0


@given(seed=st.integers(0, 2**32), size=st.integers(1, 12))
def test_ranges_and_what_changes_nothing(seed, size):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (2, size, size + 1, 3), dtype=np.uint8)
    found = image_statistics(pixels)
    assert tuple(found) == STATISTICS
    for turned in (pixels[:, ::-1], pixels[:, :, ::-1], pixels.swapaxes(1, 2)):
        for name, values in image_statistics(turned).items():
            np.testing.assert_allclose(values, found[name], atol=1e-9)
    assert (found["edge density"] <= 1).all()
    assert (found["contrast"] <= 0.5).all()
    grey = np.repeat(pixels[..., :1], 3, axis=3)
    np.testing.assert_allclose(image_statistics(grey)["colourfulness"], 0, atol=1e-9)


BAD = [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)), np.zeros((0, 4, 4, 3), np.uint8)]


@pytest.mark.parametrize("pixels", BAD, ids=["no axis of pictures", "floats", "none"])
def test_other_pixels_are_refused(pixels):
    with pytest.raises(ValueError, match="pixels must be"):
        image_statistics(pixels)
    with pytest.raises(ValueError, match="pixels must be"):
        contact_sheet(pixels, [], 2)


def test_a_sheet_shows_every_picture_at_its_place_with_its_caption():
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    pixels = np.concatenate([plain(c) for c in colours])
    figure = contact_sheet(pixels, ["red", "green\nsecond line", "blue"], 2, "Colours", row_labels=["a", "b"])
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    assert [axes.images[0].get_array()[0, 0].tolist() for axes in figure.axes] == [list(c) for c in colours]
    height, width = drawn.shape[:2]
    for axes, colour in zip(figure.axes, colours, strict=True):
        box = axes.get_position()
        middle = drawn[int((1 - box.y0 - box.height / 2) * height), int((box.x0 + box.width / 2) * width)]
        assert middle.tolist() == list(colour)
    assert {"red", "green\nsecond line", "blue", "Colours", "a", "b"} == {text.get_text() for text in figure.texts}
    places = [axes.get_position() for axes in figure.axes]
    assert places[0].y0 == places[1].y0 > places[2].y1
    assert places[0].x0 == places[2].x0 < places[1].x0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((["a"], 2), "1 captions do not fit 3"),
        ((["a", "b", "c"], 0), "at least 1"),
        ((["a", "b", "c"], 2, "", ["x"]), "1 row labels do not fit 2 rows"),
    ],
)
def test_texts_that_do_not_fit_are_refused(arguments, match):
    captions, columns, *rest = arguments
    pixels = np.concatenate([plain((0, 0, 0))] * 3)
    with pytest.raises(ValueError, match=match):
        contact_sheet(pixels, captions, columns, *rest[:1], row_labels=rest[1] if len(rest) > 1 else ())
