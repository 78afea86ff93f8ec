"""Pictures that must be there without a data set, the user's own, and what networks make of them in memory."""

import numpy as np
import pytest

from semrsm_bench.activations.pictures import photographs, read_pictures
from tests.image_files import image_zip

torch = pytest.importorskip("torch")

from semrsm_bench.activations.extract import activations_of  # noqa: E402
from semrsm_bench.activations.models import Model  # noqa: E402


def test_package_crops_are_cut_from_different_places_and_repeat_with_their_seed():
    pictures = read_pictures(count=40, seed=3)
    assert pictures.pixels.shape == (40, 64, 64, 3)
    assert pictures.pixels.dtype == np.uint8
    assert len(set(pictures.ids)) == 40
    assert pictures.shareable
    counts = np.bincount(pictures.labels)
    assert counts.max() - counts[counts > 0].min() <= 1
    again = read_pictures(count=40, seed=3)
    np.testing.assert_array_equal(again.pixels, pictures.pixels)
    assert read_pictures(count=40, seed=4).ids != pictures.ids
    # The id names the photograph and the corner that the crop was cut at.
    named = dict(photographs())
    name, corner = pictures.ids[7].split("@")
    top, left = map(int, corner.split(","))
    np.testing.assert_array_equal(pictures.pixels[7], named[name][top : top + 64, left : left + 64])


def test_more_crops_than_there_are_is_an_error_that_says_how_many():
    with pytest.raises(ValueError, match=r"installed photographs give \d+"):
        read_pictures(count=100_000)


def test_own_pictures_come_with_their_classes(tmp_path):
    archive = image_zip(tmp_path / "mine.zip", per_class=4, size=32)
    pictures = read_pictures([archive], count=6)
    assert all(name.startswith("train/") for name in pictures.ids)
    assert not pictures.shareable
    assert sorted(np.bincount(pictures.labels)) == [3, 3]


def tiny_model(layers=("first", "last")):
    torch.manual_seed(0)
    network = torch.nn.Sequential()
    network.add_module("first", torch.nn.Conv2d(3, 5, 4, stride=4))
    network.add_module("last", torch.nn.Conv2d(5, 7, 2, stride=2))
    network.add_module("pool", torch.nn.AdaptiveAvgPool2d(1))
    network.add_module("flat", torch.nn.Flatten())
    return Model("tiny", network.eval(), tuple(layers))


def test_activations_do_not_depend_on_the_batch_they_came_in():
    pixels = read_pictures(count=40).pixels
    found = activations_of(tiny_model(), pixels)
    assert found.layers["first"].shape == (40, 5, 256)
    assert found.grids == {"first": (16, 16), "last": (8, 8)}
    alone = activations_of(tiny_model(), pixels[37:38])
    np.testing.assert_allclose(alone.layers["last"][0], found.layers["last"][37], rtol=1e-4, atol=1e-5)
    # The classifier of this network is the mean over positions of its last layer.
    np.testing.assert_allclose(found.logits, found.layers["last"].mean(axis=2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert activations_of(tiny_model(), pixels[:2], ["last"]).layers.keys() == {"last"}


def test_a_network_without_logits_has_no_probabilities():
    model = tiny_model()
    found = activations_of(Model("maps", model.network[:2], ("first",)), np.zeros((1, 64, 64, 3), np.uint8))
    assert found.logits is None
    with pytest.raises(ValueError, match="no logits"):
        _ = found.probabilities
