"""The sheet that shows pictures with their captions."""

import numpy as np
import pytest

from semrsm_bench.report.figures.parts import contact_sheet


def plain(colour, size=16):
    return np.tile(np.array(colour, dtype=np.uint8), (1, size, size, 1))


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
    assert [axes.get_xlabel() for axes in figure.axes] == ["red", "green\nsecond line", "blue"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["a", "", "b"]
    assert figure.get_suptitle() == "Colours"
    places = [axes.get_position() for axes in figure.axes]
    assert places[0].y0 == pytest.approx(places[1].y0)
    assert places[0].y0 > places[2].y1
    assert places[0].x0 == pytest.approx(places[2].x0)
    assert places[0].x0 < places[1].x0
