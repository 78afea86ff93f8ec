"""Designed training sets: how many labels are drawn anew, how often a dot tells the truth, and that its colour names its class."""

import numpy as np
import pytest

from semrsm_bench.activations.designs import add_dots, dot_classes, misleading_dots, redraw_labels

N, CLASSES = 20_000, 10
LABELS = np.arange(N) % CLASSES


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_labels_is_drawn_anew(share):
    redrawn = redraw_labels(LABELS, share, CLASSES, seed=3)
    # One in ten of those drawn anew is what it was.
    assert np.mean(redrawn != LABELS) == pytest.approx(share * 0.9, abs=0.01)
    assert np.sum(redrawn != LABELS) <= share * N
    np.testing.assert_allclose(np.bincount(redrawn, minlength=CLASSES) / N, 0.1, atol=0.01)
    np.testing.assert_array_equal(redrawn, redraw_labels(LABELS, share, CLASSES, seed=3))
    assert not share or (redrawn != redraw_labels(LABELS, share, CLASSES, seed=4)).any()


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_a_dot_tells_the_truth_as_often_as_it_should(probability):
    shown = dot_classes(LABELS, probability, CLASSES, seed=1)
    assert np.mean(shown == LABELS) == pytest.approx(probability + (1 - probability) / CLASSES, abs=0.01)
    # What it shows where it is wrong says nothing.
    wrong = shown[shown != LABELS]
    assert not wrong.size or np.allclose(np.bincount(wrong, minlength=CLASSES) / wrong.size, 0.1, atol=0.01)


@pytest.mark.parametrize("classes", [2, 50, 200])
@pytest.mark.parametrize("side", [32, 64])
def test_the_colour_of_a_dot_names_its_class_and_its_place_does_not(classes, side):
    pixels = np.random.default_rng(0).integers(0, 256, (400, side, side, 3)).astype(np.uint8)
    before = pixels.copy()
    shown = np.arange(len(pixels)) % classes
    dotted = add_dots(pixels, shown, classes, seed=5)
    np.testing.assert_array_equal(pixels, before)
    colours, middles = {}, []
    for new, old, label in zip(dotted, pixels, shown):
        changed = np.argwhere((new != old).any(axis=2))
        # A whole disc inside of the picture, of one colour.
        assert len(changed) == pytest.approx(np.pi * (0.09 * side) ** 2, rel=0.25)
        (colour,) = {tuple(new[row, column]) for row, column in changed}
        assert colours.setdefault(label, colour) == colour
        middles.append(changed.mean(axis=0))
    assert len(set(colours.values())) == len(colours) == classes
    # Anywhere, whatever the class.
    assert np.ptp(middles, axis=0).min() > 0.75 * side
    np.testing.assert_array_equal(dotted, add_dots(pixels, shown, classes, seed=5))
    assert (dotted != add_dots(pixels, shown, classes, seed=6)).any()


def test_misleading_dots_agree_by_chance():
    pixels = np.zeros((2000, 8, 8, 3), dtype=np.uint8)
    dotted, shown = misleading_dots(pixels, LABELS[:2000], CLASSES)
    assert np.mean(shown == LABELS[:2000]) == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(dotted, add_dots(pixels, shown, CLASSES, seed=0))
