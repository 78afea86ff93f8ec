"""Files of features: what is read, and what is refused with which words."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import semrsm_bench as sb
from semrsm_bench.tasks.features import read_features
from semrsm_bench.tasks.registry import get_task

N = 12
RNG = np.random.default_rng(0)


def content(**changes):
    """Two groups, of two and one networks, with two layers; the second has positions."""
    arrays = {
        f"{network}/{layer}": RNG.standard_normal(shape).astype(np.float16)
        for network in ("a:1", "a:2", "b:1")
        for layer, shape in (("early", (N, 3)), ("late", (N, 4, 6)), ("logits", (N, 5)))
    }
    arrays |= {"labels": np.arange(N) % 5, "ids": np.array([f"picture {i}" for i in range(N)])}
    return {name: array for name, array in {**arrays, **changes}.items() if array is not None}


def written(path, arrays):
    np.savez(path, **arrays)
    return path


def test_groups_networks_and_layers_come_as_the_file_has_them(tmp_path):
    arrays = content()
    found = read_features([written(tmp_path / "some.npz", arrays)])
    assert {group: [n.name for n in networks] for group, networks in found.groups.items()} == {
        "a": ["1", "2"],
        "b": ["1"],
    }
    for network in found.networks:
        assert list(network.layers) == ["early", "late"]
        for layer, z in network.layers.items():
            np.testing.assert_array_equal(z, arrays[f"{network.path}/{layer}"])
        np.testing.assert_array_equal(network.logits, arrays[f"{network.path}/logits"])
        pooled = arrays[f"{network.path}/late"].astype(float).mean(axis=2)
        np.testing.assert_allclose(network.pooled["late"], pooled, rtol=1e-6)
    assert found.ids == tuple(arrays["ids"])
    assert found.labels.tolist() == arrays["labels"].tolist()


def test_a_safetensors_file_says_order_ids_and_grids_in_its_metadata(tmp_path):
    arrays = content(ids=None)
    path = tmp_path / "some.safetensors"
    said = {"layers": ["late", "early"], "ids": [f"x{i}" for i in range(N)], "grids": {"late": [2, 3]}}
    save_file(arrays, path, {name: json.dumps(value) for name, value in said.items()})
    found = read_features([path])
    assert [list(network.layers) for network in found.networks] == [["late", "early"]] * 3
    assert (found.ids, found.networks[0].grids) == (tuple(said["ids"]), {"late": (2, 3)})
    save_file({f"a:1/block{i}": np.ones((N, 2)) for i in (10, 9, 1)}, path)
    assert list(read_features([path]).networks[0].layers) == ["block1", "block9", "block10"]


def test_several_files_are_one_set_and_the_digest_is_of_their_content(tmp_path):
    arrays = content()
    one = {name: array for name, array in arrays.items() if not name.startswith("b")}
    other = {name: array for name, array in arrays.items() if not name.startswith("a")}
    whole = read_features([written(tmp_path / "whole.npz", arrays)])
    parts = read_features([written(tmp_path / "one.npz", one), written(tmp_path / "other.npz", other)])
    assert [n.path for n in parts.networks] == [n.path for n in whole.networks]
    changed = read_features([written(tmp_path / "c.npz", {**arrays, "a:1/early": arrays["a:1/early"] * 2})])
    assert changed.sha256 != whole.sha256 == read_features([tmp_path / "whole.npz"]).sha256


def test_a_part_has_the_first_networks_and_stimuli(tmp_path):
    found = read_features([written(tmp_path / "some.npz", content())])
    part = found.part(groups=("b", "a"), layers=("late",), networks=1, count=10)
    assert [network.path for network in part.networks] == ["b:1", "a:1"]
    assert [network.layers["late"].shape for network in part.networks] == [(10, 4, 6)] * 2
    assert [network.logits.shape for network in part.networks] == [(10, 5)] * 2
    assert (part.ids, part.labels.tolist()) == (found.ids[:10], found.labels[:10].tolist())
    for given, said in (
        ({"groups": ("c",)}, "no group 'c' here; there are a, b"),
        ({"layers": ("x",)}, "no layer 'x'"),
    ):
        with pytest.raises(ValueError, match=said):
            found.part(**given)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"a/early": np.ones((N, 2))}, "a/early: a name is GROUP:NETWORK/LAYER"),
        ({"a:1early": np.ones((N, 2))}, "a name is GROUP:NETWORK/LAYER"),
        ({":1/early": np.ones((N, 2))}, "a name is GROUP:NETWORK/LAYER"),
        ({"a:1/early": np.ones(N)}, r"a:1/early is \(12,\); needed are features"),
        ({"a:1/early": np.ones((N, 0))}, "needed are features"),
        ({"a:1/logits": np.ones((N, 5, 2))}, "a:1/logits is"),
        ({"a:1/early": np.full((N, 2), np.nan)}, "a:1/early has 24 non-finite entries"),
        ({"a:1/early": np.full((N, 2), 1j)}, "must hold real numbers"),
        ({"a:1/early": np.ones((N + 1, 2))}, r"some.npz: a:1/late has 12 stimuli, a:1/early of .*some.npz has 13: all"),
        ({"labels": np.ones(N - 1)}, "some.npz: labels has 11 stimuli"),
        ({"labels": np.arange(N) / 2}, r"some.npz: labels are float64 \[0.0, 0.5, 1.0\]...; needed are whole numbers"),
        ({"labels": np.array(["cat", "dog"] * (N // 2))}, r"some.npz: labels are <U3 \['cat', 'dog', 'cat'\]..."),
        ({"a:2/early": None}, r"other layers \(early\); the networks of a group have the same"),
        ({"ids": np.array(["one"] * N)}, "'one' is there twice"),
    ],
)
def test_what_is_no_set_of_features_is_refused(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        read_features([written(tmp_path / "some.npz", content(**changes))])


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    arrays = content()
    one = written(tmp_path / "one.npz", arrays)
    with pytest.raises(ValueError, match=r"a:1/early is there twice"):
        read_features([one, one])
    other = {"c:1/early": np.ones((N, 2)), "ids": arrays["ids"][::-1]}
    with pytest.raises(ValueError, match=r"two.npz: ids differ from those of .*one.npz.* say --align"):
        read_features([one, written(tmp_path / "two.npz", other)])


def test_a_file_with_ids_beside_one_without_says_so(tmp_path):
    one = written(tmp_path / "one.npz", content())
    plain = written(tmp_path / "two.npz", {"c:1/early": np.ones((N, 2))})
    with pytest.warns(UserWarning, match=r"two.npz has no ids and .*one.npz has: .* the same, in the same order"):
        read_features([one, plain])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_features([plain])


def test_files_are_aligned_by_id_on_request(tmp_path):
    arrays = content()
    order = np.random.default_rng(1).permutation(N)[: N - 1]
    other = {
        "c:1/early": np.arange(2.0 * N).reshape(N, 2)[order],
        "ids": arrays["ids"][order],
        "labels": arrays["labels"][order],
    }
    paths = [written(tmp_path / "one.npz", arrays), written(tmp_path / "two.npz", other)]
    found = read_features(paths, align=True)
    kept = np.sort(order)
    assert found.ids == tuple(arrays["ids"][kept])
    np.testing.assert_array_equal(found.labels, arrays["labels"][kept])
    layers = {network.path: network.layers["early"] for network in found.networks}
    np.testing.assert_array_equal(layers["a:1"], arrays["a:1/early"][kept])
    np.testing.assert_array_equal(layers["c:1"], np.arange(2.0 * N).reshape(N, 2)[kept])
    del other["ids"]
    with pytest.raises(ValueError, match=r"three.npz: it has no ids, by which --align"):
        read_features([paths[0], written(tmp_path / "three.npz", other)], align=True)
    strangers = {**other, "ids": np.array([f"new {i}" for i in range(N - 1)])}
    with pytest.raises(ValueError, match=r"one.npz.*four.npz: the 2 arrays have no id in common"):
        read_features([paths[0], written(tmp_path / "four.npz", strangers)], align=True)


def test_activations_are_networks_too(tmp_path):
    """Files of `run matching --data`: caches, arrays by layer, folders; what is compared is the same as of a file of features."""
    rng = np.random.default_rng(0)
    nets = {name: {layer: rng.normal(size=(N, 4, 3, 3)) for layer in ("early", "late")} for name in ("one", "two")}
    ids = [f"p{i}" for i in range(N)]
    for name, layers in nets.items():
        sb.save_activations(tmp_path / f"{name}.safetensors", layers, ids=ids, labels=np.arange(N), logits=np.eye(N))
        np.savez(tmp_path / f"{name}.npz", **layers)
    found = read_features([tmp_path / "one.safetensors", tmp_path / "two.safetensors"])
    assert [network.path for network in found.networks] == ["activations:one", "activations:two"]
    assert (found.ids, found.labels.tolist()) == (tuple(ids), list(range(N)))
    for network in found.networks:
        np.testing.assert_array_equal(network.logits, np.eye(N))
        assert network.grids == {"early": (3, 3), "late": (3, 3)}
        for layer, z in nets[network.name].items():
            np.testing.assert_allclose(network.pooled[layer], z.mean(axis=(2, 3)), atol=2e-3)
    plain = read_features([tmp_path / "one.npz", tmp_path / "two.npz"])
    np.testing.assert_array_equal(plain.networks[1].layers["late"], nets["two"]["late"].reshape(N, 4, 9))
    (tmp_path / "folder").mkdir()
    for name in ("one", "two"):
        np.savez(tmp_path / "folder" / f"{name}.npz", **nets[name])
    assert read_features([tmp_path / "folder"]).sha256 == plain.sha256
    order = np.random.default_rng(1).permutation(N)[:-1]
    sb.save_activations(
        tmp_path / "some.safetensors", {k: z[order] for k, z in nets["two"].items()}, ids=[ids[i] for i in order]
    )
    both = read_features([tmp_path / "one.safetensors", tmp_path / "some.safetensors"], align=True)
    assert both.ids == tuple(ids[i] for i in np.sort(order))
    tokens = rng.normal(size=(N, 10, 8))
    np.savez(tmp_path / "vit.npz", block=tokens)
    (vit,) = read_features([tmp_path / "vit.npz"], layout="channels_last", drop_tokens=1).networks
    np.testing.assert_allclose(vit.pooled["block"], tokens[:, 1:].mean(axis=1), rtol=1e-5)


def test_features_by_layer_are_one_network_in_any_kind_of_file(tmp_path):
    rng = np.random.default_rng(0)
    nets = {name: {layer: rng.normal(size=(N, 3)) for layer in ("early", "late")} for name in ("one", "two")}
    ids = np.array([f"p{i}" for i in range(N)])
    for name, layers in nets.items():
        np.savez(tmp_path / f"{name}.npz", **layers, labels=np.arange(N), ids=ids, logits=np.eye(N))
        torch = pytest.importorskip("torch")
        torch.save({layer: torch.tensor(z) for layer, z in layers.items()}, tmp_path / f"{name}.pt")
        np.save(tmp_path / f"{name}.npy", layers["late"])
    found = read_features([tmp_path / "one.npz", tmp_path / "two.npz"])
    assert (found.ids, found.labels.tolist()) == (tuple(ids), list(range(N)))
    assert [network.path for network in found.networks] == ["features:one", "features:two"]
    tensors = read_features([tmp_path / "one.pt", tmp_path / "two.pt"])
    for network, same in zip(found.networks, tensors.networks):
        np.testing.assert_array_equal(network.logits, np.eye(N))
        assert list(network.layers) == list(same.layers) == ["early", "late"]
        for layer, z in nets[network.name].items():
            np.testing.assert_array_equal(network.layers[layer], z)
            np.testing.assert_array_equal(same.layers[layer], z)
    alone = read_features([tmp_path / "one.npy", tmp_path / "two.npy"])
    np.testing.assert_array_equal(alone.networks[1].layers["features"], nets["two"]["late"])


def test_a_file_of_another_kind_is_named(tmp_path):
    np.savez(tmp_path / "flat.npz", **{"net/early": np.ones((N, 2))})
    with pytest.raises(ValueError, match=r"flat.npz: net/early: a name is GROUP:NETWORK/LAYER, numpy.savez\(path, "):
        read_features([tmp_path / "flat.npz"])
    np.savez(tmp_path / "mixed.npz", early=np.ones((N, 2)), late=np.ones((N, 2, 3)))
    with pytest.raises(ValueError, match=r"features \(N, P\) are for --features, in a file of their own"):
        read_features([tmp_path / "mixed.npz"])
    written(tmp_path / "some.npz", content()).rename(tmp_path / "some.safetensors")
    with pytest.raises(
        ValueError, match=r"some.safetensors: not a readable file of features .* an archive of arrays \(.npz\)"
    ):
        read_features([tmp_path / "some.safetensors"])


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("none.npz", None, FileNotFoundError, "no such file of features"),
        ("bad.npz", b"nothing", ValueError, r"not a readable file of features \(it is no .npz archive"),
        ("bad.safetensors", b"\xff" * 64, ValueError, "not a readable file of features"),
        ("features.pt", b"x", ValueError, "features of several networks are read from .npz and .safetensors files"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, text, error, said):
    if text is not None:
        Path(tmp_path / name).write_bytes(text)
    with pytest.raises(error, match=f"{name}.*{said}"):
        read_features([tmp_path / name])


def test_too_few_stimuli_or_none_are_refused(tmp_path):
    few = {"a:1/x": np.ones((9, 2)), "a:2/x": np.ones((9, 2))}
    with pytest.raises(ValueError, match=r"few.npz: at least 10 stimuli are needed, there are 9"):
        read_features([written(tmp_path / "few.npz", few)])
    with pytest.raises(ValueError, match=r"none.npz: there is no network"):
        read_features([written(tmp_path / "none.npz", {"labels": np.arange(N)})])


@pytest.mark.parametrize("task", ["layers", "exchange", "null", "samples"])
def test_one_network_alone_is_no_pair(tmp_path, task):
    path = written(tmp_path / "one.npz", {f"a:1/x{i}": np.ones((N, 2)) for i in range(3)})
    options = get_task(task).options(features=(path,))
    with pytest.raises(ValueError, match=f"{task} compares two networks of a group.*there is a:1"):
        list(get_task(task).cases(options))


def test_labels_of_whole_numbers_are_read_in_any_dtype(tmp_path):
    found = read_features([written(tmp_path / "some.npz", content(labels=np.arange(N, dtype=np.float32)))])
    assert found.labels.tolist() == list(range(N))
