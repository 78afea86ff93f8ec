"""Families that are made: the shapes they promise, pictures that are flat, and what is said where something is missing."""

import builtins

import numpy as np
import pytest

pytest.importorskip("torch")

from semrsm_bench.activations import recipes
from semrsm_bench.activations.pictures import drawn_pictures
from semrsm_bench.tasks.families import FAMILIES
from tests.command_line import call


def test_families_that_are_made_have_recipes():
    made = {name for name, family in FAMILIES.items() if family.command == f"semrsm-bench data family {name}"}
    assert made == recipes.RECIPES.keys()


@pytest.mark.parametrize("name", ["self", "flat", "vit"])
def test_a_family_that_is_made_is_found_with_the_shapes_it_names(name, user_cache, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr(recipes, "COUNT", 3)
    call("data", "family", name)
    places = FAMILIES[name].places()
    assert {(place.size, place.channels) for place in places} == set(FAMILIES[name].shapes)
    for place in (place for place in places if place.size <= 256):
        first, second = [instance.arrays("none") for instance in place.instances(2)]
        assert first["x"].shape == (place.size, place.channels)
        assert not np.array_equal(first["y"], second["y"])
        k = [float((a["x"].astype(np.float64) * a["y"]).sum()) for a in (first, second)]
        assert all(np.isfinite(k))


def test_the_tokens_with_the_class_token_are_those_without_it_and_one_more(user_cache, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr(recipes, "COUNT", 2)
    call("data", "family", "vit")
    with_class, without = (
        next(iter(place.instances(1))).arrays("none")["x"]
        for size in (197, 196)
        for place in FAMILIES["vit"].places()
        if place.size == size
    )
    np.testing.assert_array_equal(with_class[1:], without)


def test_pictures_that_are_drawn_have_large_equal_parts_and_are_the_same_in_every_run():
    drawn, again = drawn_pictures(8, 64), drawn_pictures(8, 64)
    assert len({name.rpartition("-")[0] for name in drawn}) == 4
    assert len({picture.tobytes() for picture in drawn.values()}) == 8
    for name, picture in drawn.items():
        np.testing.assert_array_equal(picture, again[name])
        _, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
        assert counts.max() >= 0.25 * 64 * 64


def test_a_family_without_a_recipe_or_without_its_wheels_says_what_to_do(user_cache, monkeypatch):
    assert "is no family that is made so; there are resnet18-quarter" in call("data", "family", "resnet19", code=2)[1]
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("efficientnet"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'semrsm-bench[families]'" in call("data", "family", "efficientnet-lite0", code=2)[1]
