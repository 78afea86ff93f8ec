"""Caches of activations: what is written is read back, damage is named, and the search for them has an order."""

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from semrsm_bench.activations.folders import CacheError
from semrsm_bench.activations.store import find_data, list_caches, open_cache, verify_folder, write_cache


def make_cache(path: Path, n: int = 3, seed: int = 0, layers=(("layer1", 4, 16), ("layer2", 6, 9))) -> Path:
    rng = np.random.default_rng(seed)
    values = {name: rng.normal(size=(n, c, s)).astype(np.float16) for name, c, s in layers}
    means = {name: v.astype(np.float64).mean(axis=0) for name, v in values.items()}
    write_cache(
        path, values, means, images=[f"i{k}" for k in range(n)], labels=np.arange(n), logits=rng.normal(size=(n, 5))
    )
    return path


@settings(deadline=None, max_examples=30)
@given(data=st.data(), n=st.integers(1, 4), c=st.integers(1, 5), s=st.integers(1, 9))
def test_what_is_written_is_read_back(tmp_path_factory, data, n, c, s):
    values = data.draw(arrays(np.float16, (n, c, s), elements=st.floats(-100, 100, width=16)))
    path = tmp_path_factory.mktemp("cache") / "c.safetensors"
    write_cache(
        path, {"a": values}, {"a": values.mean(axis=0)}, images=[str(i) for i in range(n)], metadata={"model": "m"}
    )
    cache = open_cache(path)
    assert cache.shape("a") == (n, c, s)
    assert cache.metadata["model"] == "m"
    for i in range(-n, n):
        np.testing.assert_array_equal(cache.activations("a", i), values[i])
    np.testing.assert_array_equal(cache.activations("a", slice(None)), values)
    np.testing.assert_array_equal(cache.activations("a", slice(1, None, 2)), values[1::2])
    np.testing.assert_array_equal(cache.activations("a", slice(2, 1)), values[2:1])
    np.testing.assert_array_equal(cache.activations("a", slice(None, None, -1)), values[::-1])
    np.testing.assert_array_equal(cache.positions("a", 0), values[0].T.astype(np.float32))


def test_centring_subtracts_what_it_says(tmp_path):
    cache = open_cache(make_cache(tmp_path / "c.safetensors"))
    raw = np.stack([cache.positions("layer1", i) for i in range(3)]).astype(np.float64)
    by_channel = np.stack([cache.positions("layer1", i, "channel") for i in range(3)])
    by_position = np.stack([cache.positions("layer1", i, "position") for i in range(3)])
    np.testing.assert_allclose(by_channel, raw - raw.mean(axis=(0, 1)), atol=1e-5)
    np.testing.assert_allclose(by_position, raw - raw.mean(axis=0), atol=1e-5)
    positions = cache.positions("layer1", 0, "channel")
    assert positions.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        positions[0, 0] = 1


def test_wrong_names_and_indices_say_what_there_is(tmp_path):
    cache = open_cache(make_cache(tmp_path / "c.safetensors"))
    with pytest.raises(ValueError, match="no layer 'layer9'; it has layer1, layer2"):
        cache.activations("layer9", 0)
    with pytest.raises(IndexError, match=r"images 0\.\.2, asked for 3"):
        cache.activations("layer1", 3)
    with pytest.raises(ValueError, match="centring must be one of"):
        cache.positions("layer1", 0, "median")


def test_a_cache_travels_to_another_process_by_its_path(tmp_path):
    cache = open_cache(make_cache(tmp_path / "c.safetensors"))
    again = pickle.loads(pickle.dumps(cache))
    np.testing.assert_array_equal(again.activations("layer2", 1), cache.activations("layer2", 1))


def test_one_image_does_not_load_the_file(tmp_path):
    path = make_cache(tmp_path / "c.safetensors", n=64, layers=(("layer1", 64, 4096),))
    cache = open_cache(path)
    cache.activations("layer1", 0)

    def anonymous_kib() -> int:
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

    before = anonymous_kib()
    one = cache.activations("layer1", 40)
    assert one.shape == (64, 4096)
    assert (anonymous_kib() - before) * 1024 < path.stat().st_size / 4


def flip_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-10] ^= 0xFF
    path.write_bytes(raw)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 7)


def swap(path: Path) -> None:
    other = make_cache(path.with_name("other.safetensors"), seed=1)
    shutil.copy(other, path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_byte, "damaged or swapped"),
        (truncate, "truncated"),
        (swap, "damaged or swapped"),
        (empty, "truncated"),
        (Path.unlink, "missing"),
    ],
)
def test_damage_names_the_file_and_the_command_that_repairs_it(tmp_path, damage, words):
    path = make_cache(tmp_path / "c.safetensors")
    open_cache(path)
    damage(path)
    with pytest.raises(CacheError, match=words) as caught:
        open_cache(path)
    assert str(path) in str(caught.value)
    assert "semrsm-bench data extract" in str(caught.value)
    assert dict(verify_folder(tmp_path))["c.safetensors"] == str(caught.value)


def test_in_a_checkout_the_command_that_repairs_is_git(tmp_path):
    (tmp_path / ".git").mkdir()
    path = make_cache(tmp_path / "data" / "c.safetensors")
    flip_byte(path)
    with pytest.raises(CacheError, match=r"git checkout -- data/c\.safetensors"):
        open_cache(path)


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "weights.safetensors")
    assert list_caches(tmp_path) == []
    with pytest.raises(CacheError, match="not a cache of activations"):
        open_cache(tmp_path / "weights.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(CacheError, match="not a readable safetensors file"):
        open_cache(tmp_path / "noise.safetensors")


def test_manifest_says_hash_size_and_shapes_and_is_named_where_it_is_damaged(tmp_path):
    path = make_cache(tmp_path / "c.safetensors")
    entry = json.loads((tmp_path / "manifest.json").read_text())["files"]["c.safetensors"]
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["bytes"] == path.stat().st_size
    assert (entry["shapes"]["layer1"], entry["shapes"]["layer1.mean"]) == ([3, 4, 16], [4, 16])
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(CacheError, match=r"manifest\.json is damaged"):
        open_cache(path)


def test_values_that_float16_cannot_hold_are_refused_with_their_image(tmp_path):
    values = np.ones((2, 1, 4))
    values[1, 0, 2] = 1e6
    with pytest.raises(ValueError, match="activations of image b are not finite in float16"):
        write_cache(tmp_path / "c.safetensors", {"a": values}, {"a": values[0]}, images=["a", "b"])
    assert not (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": ["a", "a"]}, "same id"),
        ({"images": ["a"]}, "do not fit 1 images"),
        ({"images": []}, "at least one image"),
        ({"labels": np.zeros(3)}, "do not fit 2 images"),
        ({"logits": np.zeros(2)}, "do not fit 2 images"),
    ],
)
def test_shapes_that_disagree_are_refused(tmp_path, change, words):
    given_ = {"images": ["a", "b"], **change}
    with pytest.raises(ValueError, match=words):
        write_cache(tmp_path / "c.safetensors", {"a": np.ones((2, 1, 4))}, {"a": np.ones((1, 4))}, **given_)


def test_search_order(tmp_path, monkeypatch):
    named, variable, user = (
        make_cache(tmp_path / d / "c.safetensors").parent for d in ("named", "variable", "xdg/semrsm_bench")
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(user.parent))
    monkeypatch.setattr("semrsm_bench.activations.folders.__file__", str(tmp_path / "site" / "p" / "a" / "folders.py"))
    monkeypatch.delenv("SEMRSM_BENCH_DATA", raising=False)
    assert find_data() == user
    checkout = make_cache(tmp_path / "site" / "data" / "c.safetensors").parent
    assert find_data() == checkout
    monkeypatch.setenv("SEMRSM_BENCH_DATA", str(variable))
    assert find_data() == variable
    assert find_data(named) == named
    with pytest.raises(CacheError, match=r"--data: .* does not exist"):
        find_data(tmp_path / "nowhere")
    (tmp_path / "hollow").mkdir()
    monkeypatch.setenv("SEMRSM_BENCH_DATA", str(tmp_path / "hollow"))
    with pytest.raises(CacheError, match=r"SEMRSM_BENCH_DATA: .* holds no cache"):
        find_data()


def test_a_folder_of_two_caches_asks_which(tmp_path):
    make_cache(tmp_path / "a.safetensors")
    make_cache(tmp_path / "b.safetensors")
    with pytest.raises(CacheError, match=r"2 caches \(a\.safetensors, b\.safetensors\): name the file"):
        open_cache(tmp_path)


def test_verify_finds_files_outside_of_the_manifest_and_values_that_are_not_finite(tmp_path):
    path = make_cache(tmp_path / "c.safetensors")
    assert dict(verify_folder(tmp_path)) == {"c.safetensors": ""}
    shutil.copy(path, tmp_path / "unknown.safetensors")
    assert "not in the manifest" in dict(verify_folder(tmp_path))["unknown.safetensors"]
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    for name, message in (("layer2.mean", "the mean of layer2 is not finite"), ("layer2", "layer2 of image i1 is not")):
        tensors = load_file(path)
        tensors[name][1, 0] = np.nan
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "d.safetensors", metadata=metadata)
        problems = dict(verify_folder(tmp_path / name / "d.safetensors"))
        assert message in problems["d.safetensors"]


def test_a_cache_may_be_read_by_whom_any_new_file_may_be(tmp_path):
    path = make_cache(tmp_path / "c.safetensors")
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.safetensors", "manifest.json", "plain"]
