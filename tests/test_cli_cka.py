"""``semrsm-bench cka``, against the CKA of features and of semantic RSMs."""

import json

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.activations.store import open_cache, write_cache
from tests.command_line import call


@pytest.fixture
def caches(tmp_path):
    """Two networks on twelve images, with layers of 3 x 3 positions."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for path, layers in zip(paths, (("one", "two"), ("one", "two", "three"))):
        values = {name: rng.normal(size=(12, 4, 9)) for name in layers}
        means = {name: z.mean(axis=0) for name, z in values.items()}
        write_cache(path, values, means, images=[f"{i}.png" for i in range(12)])
    return paths


def test_layers_of_one_cache(caches):
    cache = open_cache(caches[0])
    flat = [cache.activations(layer, slice(None)).astype(float).reshape(12, -1) for layer in ("one", "two")]
    found = json.loads(call("cka", caches[0], "--json")[0])
    assert found["rows"] == found["columns"] == ["one", "two"]
    np.testing.assert_allclose(
        found["values"], sb.metrics.cka_matrix(flat, kernel="linear", estimator="debiased"), atol=1e-5
    )
    table = call("cka", caches[0], "--estimator", "biased")[0].splitlines()
    expected = sb.metrics.cka_matrix(flat, kernel="linear")
    assert table[1].split() == ["one", "1.000", f"{expected[0, 1]:.3f}"]


def test_layers_of_two_caches_by_semantic_rsms_and_the_heat_map(caches, tmp_path):
    words = ["--matching", "exact-auction", "--kernel", "cosine", "--picture", tmp_path / "map.svg"]
    found = json.loads(call("cka", *caches, *words, "--json")[0])
    rsms = [
        [
            sb.compute_rsm(cache.activations(layer, slice(None)), matching="exact-auction", kernel="cosine")
            for layer in cache.layers
        ]
        for cache in map(open_cache, caches)
    ]
    np.testing.assert_allclose(found["values"], sb.metrics.cka_matrix(*rsms, estimator="debiased"), atol=1e-9)
    assert found["columns"] == ["one", "two", "three"]
    assert "three" in (tmp_path / "map.svg").read_text()
    assert json.loads(call("cka", *caches, "--layers", "two", "--json")[0])["rows"] == ["two"]


def test_other_images_are_refused(caches, tmp_path):
    whole = open_cache(caches[0])
    layers, means = {"one": whole.activations("one", slice(None))}, {"one": whole.mean("one")}
    swapped = [whole.images[i] for i in (0, 2, 1, *range(3, 12))]
    write_cache(tmp_path / "c.safetensors", layers, means, images=swapped)
    said = call("cka", caches[0], tmp_path / "c.safetensors", code=2)[1]
    assert "in another order: at 1 is '1.png' in" in said
    assert "; extract both from the same pictures, or say --align" in said
    sb.save_activations(tmp_path / "few.safetensors", {"one": layers["one"][:11]})
    assert "the first has 12 and the second 11" in call("cka", caches[0], tmp_path / "few.safetensors", code=2)[1]
    assert "a has no layer 'absent'" in call("cka", caches[0], "--layers", "absent", code=2)[1]


def test_a_file_with_ids_beside_one_without_says_so(caches, tmp_path):
    layers = {"one": open_cache(caches[1]).activations("one", slice(None))}
    np.savez(tmp_path / "plain.npz", **layers)
    said = "taken for the same, in the same order"
    for words in ((caches[0], tmp_path / "plain.npz"), (tmp_path / "plain.npz", caches[0])):
        out, error = call("cka", *words, "--layers", "one")
        assert f"{caches[0]} says which images it holds and {tmp_path / 'plain.npz'} does not: they are {said}" in error
        assert error.count("\n") == 1
        assert "one" in out
    assert said not in call("cka", *caches)[1]
    assert said not in call("cka", tmp_path / "plain.npz", tmp_path / "plain.npz")[1]


def test_images_in_another_order_are_aligned_by_id_on_request(tmp_path):
    rng = np.random.default_rng(1)
    z, names, order = rng.normal(size=(8, 3, 4)), [f"p{i}" for i in range(8)], rng.permutation(8)[:7]
    sb.save_activations(tmp_path / "a.safetensors", {"one": z}, ids=names)
    sb.save_activations(tmp_path / "b.safetensors", {"one": z[order]}, ids=[names[i] for i in order])
    words = ("cka", tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert "say --align" in call(*words, code=2)[1]
    assert json.loads(call(*words, "--align", "--json")[0])["values"] == [[pytest.approx(1)]]
