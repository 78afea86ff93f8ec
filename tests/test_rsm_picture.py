"""Pictures of RSMs."""

import matplotlib.image
import numpy as np
import pytest

from semrsm_bench.report.rsm_picture import rsm_figure, save_rsm_picture
from semrsm_bench.rsm import compute_rsm


def shown(figure, panel=0):
    """What the image of a panel holds, and its colour limits."""
    image = [axes.images[0] for axes in figure.axes if axes.images][panel]
    return image.get_array(), image.get_clim()


@pytest.mark.parametrize("columns", [4, 3])
def test_images_are_ordered_by_label_and_equal_labels_keep_their_order(columns):
    rsm = np.arange(4.0 * columns).reshape(4, columns)
    values, limits = shown(rsm_figure({"k": rsm}, labels=[7, 3, 7, 3]))
    order = [1, 3, 0, 2]
    # Of a query x database RSM only the rows have labels.
    np.testing.assert_array_equal(values, rsm[order][:, order] if columns == 4 else rsm[order])
    assert limits == ((1, 14) if columns == 4 else (0, 11))


def test_colours_span_the_entries_off_the_diagonal_and_are_even_around_zero():
    rsm = np.array([[100.0, 2.0], [3.0, 100.0]])
    assert shown(rsm_figure({"k": rsm}))[1] == (2, 3)
    assert shown(rsm_figure({"k": rsm - 2.5}))[1] == (-0.5, 0.5)


def test_entries_not_computed_yet_are_masked():
    rsm = np.array([[1.0, np.nan], [np.nan, 1.0]])
    values, _ = shown(rsm_figure({"k": rsm, "all": np.full((2, 2), np.nan)}))
    assert values.mask.tolist() == [[False, True], [True, False]]


def test_a_file_is_drawn_and_one_that_holds_no_rsm_is_named(tmp_path):
    compute_rsm(np.random.default_rng(0).normal(size=(4, 2, 3)), matching="scipy", out=tmp_path / "k.npy")
    save_rsm_picture(tmp_path / "k.npy", tmp_path / "k.png")
    assert matplotlib.image.imread(tmp_path / "k.png").std() > 0
    save_rsm_picture({"k": np.load(tmp_path / "k.npy")}, tmp_path / "k.svg")
    assert "<svg" in (tmp_path / "k.svg").read_text()
    with (tmp_path / "k.npy").open("wb") as file:
        np.savez(file, k=np.eye(2))
    with pytest.raises(ValueError, match=r"holds no RSM: it is an \.npz archive of several arrays"):
        save_rsm_picture(tmp_path / "k.npy", tmp_path / "k.png")
    for content in (b"nonsense", b""):
        (tmp_path / "k.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"holds no RSM: it is no \.npy file"):
            save_rsm_picture(tmp_path / "k.npy", tmp_path / "k.png")


@pytest.mark.parametrize(
    ("rsms", "labels", "message"),
    [
        ({}, None, "no RSM"),
        ({"k": np.ones(3)}, None, "matrix"),
        ({"k": np.ones((2, 2))}, [1, 2, 3], "labels do not fit"),
    ],
)
def test_what_cannot_be_drawn_is_named(rsms, labels, message):
    with pytest.raises(ValueError, match=message):
        rsm_figure(rsms, labels=labels)
