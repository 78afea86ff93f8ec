"""Caches of activations: what is written is read back, damage is named, and the search for them has an order."""

import hashlib
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from semrsm_bench.activations.folders import CacheError, shipped_data
from semrsm_bench.activations.store import find_data, list_caches, open_cache, verify_folder, write_cache

LAYERS = (("layer1", 4, 16), ("layer2", 6, 9))


def make_cache(path: Path, n: int = 3, seed: int = 0, layers=LAYERS) -> Path:
    rng = np.random.default_rng(seed)
    values = {name: rng.normal(size=(n, c, s)).astype(np.float16) for name, c, s in layers}
    means = {name: v.astype(np.float64).mean(axis=0) for name, v in values.items()}
    ids = [f"i{k}" for k in range(n)]
    write_cache(path, values, means, images=ids, labels=np.arange(n), logits=rng.normal(size=(n, 5)))
    return path


@settings(max_examples=30)
@given(data=st.data(), n=st.integers(1, 4), c=st.integers(1, 5), s=st.integers(1, 9))
def test_what_is_written_is_read_back_in_this_process_and_another(tmp_path_factory, data, n, c, s):
    values = data.draw(arrays(np.float16, (n, c, s), elements=st.floats(-100, 100, width=16)))
    path = tmp_path_factory.mktemp("cache") / "c.safetensors"
    ids = [str(i) for i in range(n)]
    write_cache(path, {"a": values}, {"a": values.mean(axis=0)}, images=ids, metadata={"model": "m"})
    cache = pickle.loads(pickle.dumps(open_cache(path)))
    assert (cache.shape("a"), cache.metadata["model"], cache.images) == ((n, c, s), "m", ids)
    for index in [*range(-n, n), slice(None), slice(1, None, 2), slice(2, 1), slice(None, None, -1)]:
        np.testing.assert_array_equal(cache.activations("a", index), values[index])
    np.testing.assert_array_equal(cache.positions("a", 0), values[0].T.astype(np.float32))
    assert cache.grid("a") == {1: (1, 1), 4: (2, 2), 9: (3, 3)}.get(s)


@pytest.mark.parametrize(("centring", "axes"), [("channel", (0, 1)), ("position", (0,))])
def test_centring_subtracts_what_it_says(tmp_path, centring, axes):
    cache = open_cache(make_cache(tmp_path / "c.safetensors"))
    raw = np.stack([cache.positions("layer1", i) for i in range(3)]).astype(np.float64)
    centred = [cache.positions("layer1", i, centring) for i in range(3)]
    np.testing.assert_allclose(centred, raw - raw.mean(axis=axes), atol=1e-5)
    assert centred[0].flags.c_contiguous
    assert not centred[0].flags.writeable


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


ONES = np.ones((1, 4))


def flip_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-10] ^= 0xFF
    path.write_bytes(raw)


DAMAGE = {
    "flipped": (flip_byte, "damaged or swapped"),
    "short": (lambda path: os.truncate(path, path.stat().st_size - 7), "truncated"),
    "swapped": (lambda path: shutil.copy(make_cache(path.with_name("other.safetensors"), seed=1), path), "swapped"),
    "empty": (lambda path: path.write_bytes(b""), "truncated"),
    "missing": (Path.unlink, "missing"),
    "manifest": (lambda path: path.with_name("manifest.json").write_text("{"), r"manifest\.json is damaged"),
}


@pytest.mark.parametrize("checkout", [False, True])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_names_the_file_and_the_command_that_repairs_it(tmp_path, damage, checkout):
    if checkout:
        (tmp_path / ".git").mkdir()
    path = make_cache(tmp_path / "data" / "c.safetensors")
    open_cache(path)
    before = path.stat().st_mtime_ns
    change, words = DAMAGE[damage]
    change(path)
    if path.exists():
        # Clocks of file systems are coarse, and a digest is computed once for each time of change.
        os.utime(path, ns=(before, before + 10**9))
    with pytest.raises(CacheError, match=words) as caught:
        open_cache(path)
    name = "manifest.json" if damage == "manifest" else "c.safetensors"
    assert str(path.with_name(name)) in str(caught.value)
    assert (f"git checkout -- data/{name}" if checkout else "semrsm-bench data extract") in str(caught.value)
    if damage != "manifest":
        assert dict(verify_folder(path.parent))[name] == str(caught.value)


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "weights.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 100)
    assert list_caches(tmp_path) == []
    for name, words in (("weights", r"w has shape \(3,\); needed are activations"), ("noise", "no file of arrays")):
        with pytest.raises(CacheError, match=words):
            open_cache(tmp_path / f"{name}.safetensors")


def test_a_folder_holds_readable_caches_and_a_manifest_of_them(tmp_path):
    path = make_cache(tmp_path / "c.safetensors")
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.safetensors", "manifest.json", "plain"]
    entry = json.loads((tmp_path / "manifest.json").read_text())["files"]["c.safetensors"]
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["bytes"] == path.stat().st_size
    assert (entry["shapes"]["layer1"], entry["shapes"]["layer1.mean"]) == ([3, 4, 16], [4, 16])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": {"a": np.stack([ONES, 1e6 * ONES])}}, "activations of image b are not finite in float16"),
        ({"images": ["a", "a"]}, "same id"),
        ({"images": ["a"]}, "do not fit 1 images"),
        ({"images": []}, "at least one image"),
        ({"labels": np.zeros(3)}, "do not fit 2 images"),
        ({"logits": np.zeros(2)}, "do not fit 2 images"),
    ],
)
def test_what_makes_no_cache_is_refused(tmp_path, change, words):
    content = {"layers": {"a": np.stack([ONES, ONES])}, "means": {"a": ONES}, "images": ["a", "b"], **change}
    with pytest.raises(ValueError, match=words):
        write_cache(tmp_path / "c.safetensors", **content)
    assert not (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda cache: cache.activations("layer9", 0), ValueError, "no layer 'layer9'; it has layer1, layer2"),
        (lambda cache: cache.activations("layer1", 3), IndexError, r"images 0\.\.2, asked for 3"),
        (lambda cache: cache.positions("layer1", 0, "median"), ValueError, "centring must be one of"),
        (lambda cache: open_cache(cache.path.parent), CacheError, r"2 caches \(a\.safetensors, b\.safetensors\)"),
    ],
)
def test_wrong_names_say_what_there_is(tmp_path, wrong, error, words):
    make_cache(tmp_path / "b.safetensors")
    with pytest.raises(error, match=words):
        wrong(open_cache(make_cache(tmp_path / "a.safetensors")))


def test_search_order(tmp_path, monkeypatch):
    named, variable = (make_cache(tmp_path / d / "c.safetensors").parent for d in ("named", "variable"))
    user = tmp_path / "xdg" / "semrsm_bench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(user.parent))
    monkeypatch.setattr("semrsm_bench.activations.folders.__file__", str(tmp_path / "site" / "p" / "a" / "folders.py"))
    monkeypatch.delenv("SEMRSM_BENCH_DATA", raising=False)
    for place, shipped in (("site/p/mini", False), ("lib/semrsm_bench_data", True), ("xdg/semrsm_bench/data", True)):
        folder = make_cache(tmp_path / place / "c.safetensors").parent
        monkeypatch.syspath_prepend(tmp_path / "lib")
        assert find_data() == folder
        assert shipped_data() == (folder if shipped else None)
    make_cache(user / "c.safetensors")
    assert (find_data(), shipped_data()) == (user, user / "data")
    checkout = make_cache(tmp_path / "site" / "data" / "c.safetensors").parent
    assert find_data() == shipped_data() == checkout
    monkeypatch.setenv("SEMRSM_BENCH_DATA", str(variable))
    assert find_data() == variable
    assert find_data(named) == named
    with pytest.raises(CacheError, match=r"--data: .* does not exist"):
        find_data(tmp_path / "nowhere")
    (tmp_path / "hollow").mkdir()
    monkeypatch.setenv("SEMRSM_BENCH_DATA", str(tmp_path / "hollow"))
    with pytest.raises(CacheError, match=r"SEMRSM_BENCH_DATA: .* holds no cache"):
        find_data()


def test_folders_inside_are_verified_and_kept_apart(tmp_path):
    (tmp_path / ".git").mkdir()
    make_cache(tmp_path / "data" / "a.safetensors")
    inner = make_cache(tmp_path / "data" / "outputs" / "b.safetensors")
    assert [path.name for path in list_caches(tmp_path / "data")] == ["a.safetensors"]
    assert dict(verify_folder(tmp_path / "data")) == {"a.safetensors": "", "outputs/b.safetensors": ""}
    inner.unlink()
    problem = dict(verify_folder(tmp_path / "data"))["outputs/b.safetensors"]
    assert "is missing" in problem
    assert "git checkout -- data/outputs/b.safetensors" in problem


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors["layer2.mean"].fill(np.nan), "the mean of layer2 is not finite"),
        (lambda tensors: tensors["layer2"][1].fill(np.inf), "layer2 of image i1 is not finite"),
        (lambda tensors: tensors.pop("layer1.mean"), "tensors missing or unexpected: layer1.mean"),
        (lambda tensors: tensors.update(layer1=np.zeros((2, 4, 16))), r"layer1 has shape \(2, 4, 16\) .* for 3 images"),
    ],
)
def test_verify_reads_every_value_and_finds_files_outside_of_the_manifest(tmp_path, change, words):
    path, other = make_cache(tmp_path / "c.safetensors"), tmp_path / "other.safetensors"
    assert dict(verify_folder(tmp_path)) == {"c.safetensors": ""}
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, other, metadata=metadata)
    assert "not in the manifest" in dict(verify_folder(tmp_path))["other.safetensors"]
    assert re.search(words, dict(verify_folder(other))["other.safetensors"])
