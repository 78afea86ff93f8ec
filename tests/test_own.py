"""Activations in files of other libraries: read as they were written, or refused with what the file is and what is needed."""

import io
import json
import pickle
import re
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

import semrsm_bench as sb
from semrsm_bench.activations.folders import CacheError
from semrsm_bench.activations.own import open_own
from semrsm_bench.activations.store import open_cache, open_caches, verify_folder
from semrsm_bench.rsm import CacheLayer
from tests.command_line import call

RNG = np.random.default_rng(0)
LAYERS = {
    "early": RNG.normal(size=(12, 6, 4, 4)).astype(np.float32),
    "late": RNG.normal(size=(12, 5, 6)),
}
KNOWN = {
    "labels": np.repeat(np.arange(4), 3),
    "ids": np.array([f"picture-{i}" for i in range(12)]),
    "logits": RNG.normal(size=(12, 7)).astype(np.float32),
}


def npz(path):
    np.savez(path, **LAYERS, **KNOWN)


def npz_compressed(path):
    np.savez_compressed(path, **LAYERS, **KNOWN)


def torch_file(path):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in LAYERS.items()}
    tensors |= {name: torch.from_numpy(KNOWN[name]) for name in ("labels", "logits")}
    torch.save({**tensors, "ids": KNOWN["ids"].tolist()}, path)


def hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["early"] = LAYERS["early"]
        file.create_dataset("late", data=LAYERS["late"], compression="gzip")
        file["labels"], file["logits"] = KNOWN["labels"], KNOWN["logits"]
        file["ids"] = KNOWN["ids"].tolist()


def zarr_store(path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w")
    for name, array in {**LAYERS, **{name: KNOWN[name] for name in ("labels", "logits")}}.items():
        group[name] = array
    group["ids"] = np.array([one.encode() for one in KNOWN["ids"].tolist()])


def folder(path):
    path.mkdir()
    for name, array in {**LAYERS, **KNOWN}.items():
        np.save(path / f"{name}.npy", array)
    (path / "notes.txt").write_text("not data")


WRITERS = {
    "net.npz": npz, "small.npz": npz_compressed, "net.pt": torch_file, "net.h5": hdf5, "net.zarr": zarr_store, "net": folder,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*Zarr V3 specification")
@pytest.mark.parametrize("name", WRITERS)
def test_what_other_libraries_write_is_read_as_it_was(tmp_path, name):
    WRITERS[name](tmp_path / name)
    (cache,) = open_caches(tmp_path / name)
    again = pickle.loads(pickle.dumps(cache))
    for one in (cache, again):
        assert (sorted(one.layers), one.images) == (sorted(LAYERS), KNOWN["ids"].tolist())
        np.testing.assert_array_equal(one.labels, KNOWN["labels"])
        np.testing.assert_array_equal(one.logits, KNOWN["logits"])
        assert (one.grid("early"), one.grid("late")) == ((4, 4), None)
        for layer, array in LAYERS.items():
            flat = array.reshape(*array.shape[:2], -1)
            np.testing.assert_array_equal(one.activations(layer, slice(2, 9, 3)), flat[2:9:3])
            positions = one.positions(layer, 5)
            np.testing.assert_array_equal(positions, flat[5].T)
            assert positions.dtype == array.dtype
            np.testing.assert_allclose(one.positions(layer, 5, "position"), (flat[5] - flat.mean(axis=0)).T, atol=1e-6)
    expected = sb.compute_rsm(LAYERS["late"], matching="scipy")
    sent = pickle.dumps(CacheLayer(cache, "late"))  # as it goes to workers
    assert len(sent) < 2000
    found = sb.compute_rsm(pickle.loads(sent), matching="scipy", block=4)
    np.testing.assert_array_equal(found, expected)
    assert found.ids == tuple(KNOWN["ids"])


def test_a_plain_safetensors_file_is_read_and_what_lies_in_it_is_mapped(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_tensors

    half = torch.randn(12, 3, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    tensors = {name: torch.from_numpy(array) for name, array in LAYERS.items()}
    save_tensors({**tensors, "half": half}, tmp_path / "net.safetensors")
    cache = open_cache(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(cache.activations("half", slice(None)), half.float().numpy())
    np.testing.assert_array_equal(cache.activations("late", 3), LAYERS["late"][3])
    assert isinstance(cache.activations("late", slice(0, 12)).base, np.ndarray | np.memmap)
    assert (cache.images, cache.has_ids) == ([str(i) for i in range(12)], False)
    assert sb.compute_rsm(CacheLayer(cache, "late"), matching="identity").__class__ is np.ndarray


def test_a_mean_that_came_with_the_images_is_what_centring_subtracts(tmp_path):
    z = LAYERS["early"]
    mean = RNG.normal(size=z.shape[1:])
    np.savez(tmp_path / "a.npz", early=z, **{"early.mean": mean})
    layer = CacheLayer(tmp_path / "a.npz", "early")
    np.testing.assert_allclose(
        sb.compute_rsm(layer, matching="identity", centring="position"),
        sb.compute_rsm(z - mean.astype(np.float32), matching="identity"),
        rtol=1e-5,
    )
    np.savez(tmp_path / "b.npz", early=z, **{"early.mean": mean[0]})
    with pytest.raises(
        CacheError, match=r"early\.mean has shape \(4, 4\); the mean of early is finite, of shape \(6, 4, 4\)"
    ):
        open_cache(tmp_path / "b.npz").mean("early")


def test_tokens_are_read_as_they_are_said_to_lie_and_make_other_data(tmp_path):
    tokens = RNG.normal(size=(6, 21, 8)).astype(np.float32)
    np.savez(tmp_path / "vit.npz", block=tokens)
    cache = open_cache(tmp_path / "vit.npz", "channels_last", 5)
    assert (cache.shape("block"), cache.grid("block")) == ((6, 8, 16), (4, 4))
    np.testing.assert_array_equal(cache.positions("block", 1), tokens[1, 5:])
    assert cache.sha256 != open_cache(tmp_path / "vit.npz", "channels_last").sha256
    shown = call("data", "list", "--data", tmp_path / "vit.npz", "--layout", "channels_last", "--drop-tokens", "5")[0]
    assert "6 images, block 8x16" in shown
    words = ("--layout", "channels_last", "--drop-tokens", "5", "--matching", "translation", "--json", "--quiet")
    found = json.loads(call("rsm", tmp_path / "vit.npz", *words)[0])["results"][0]
    expected = sb.compute_rsm(tokens[:, 5:], matching="translation", layout="channels_last", grid=(4, 4))
    assert found["mean"] == pytest.approx(expected.mean())


def test_a_file_of_ones_own_goes_to_the_matching_table_in_one_command(tmp_path, monkeypatch, kept_workers, user_cache):
    monkeypatch.chdir(tmp_path)
    npz(tmp_path / "mine.npz")
    monkeypatch.setattr("semrsm_bench.report.figures.draw_all", lambda *_, **__: [])
    shown, _ = call("run", "--data", "mine.npz", "--methods", "scipy,greedy", "--pairs", "2")
    assert "mine" in shown
    assert "scipy" in shown
    rows = [
        json.loads(line) for path in tmp_path.glob("results/*/rows.jsonl") for line in path.read_text().splitlines()
    ]
    solved = {(row["cell"]["layer"], row["cell"]["size"]) for row in rows if row["status"] == "ok"}
    assert solved == {("early", 16), ("late", 6)}


def test_a_folder_without_caches_is_read_and_beside_caches_own_files_do_not_count(tmp_path):
    npz(tmp_path / "a.npz")
    np.save(tmp_path / "first.npy", LAYERS["early"])
    np.save(tmp_path / "second.npy", LAYERS["late"])
    found = open_caches(tmp_path)
    assert [(cache.name, sorted(cache.layers)) for cache in found] == [
        (tmp_path.name, ["first", "second"]), ("a", ["early", "late"]),
    ]  # fmt: skip
    names = (tmp_path.name, "a.npz", "first.npy", "second.npy")
    assert dict(verify_folder(tmp_path)) == dict.fromkeys(names, "")
    sb.save_activations(tmp_path / "cache.safetensors", {"late": LAYERS["late"]})
    assert [cache.name for cache in open_caches(tmp_path)] == ["cache"]


def test_changed_files_are_opened_anew(tmp_path):
    np.save(tmp_path / "z.npy", LAYERS["late"])
    first = open_own(tmp_path / "z.npy")
    assert open_own(tmp_path / "z.npy") is first
    np.save(tmp_path / "z.npy", LAYERS["late"][:5])
    assert len(open_own(tmp_path / "z.npy")) == 5


def archive(path, names):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"\xff\xd8\xff")


def cut(path, keep=0.6):
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw))])


def cut_npz(path):
    npz(path)
    cut(path)


def cut_npy(path):
    np.save(path, LAYERS["early"])
    cut(path)


def cut_safetensors(path):
    save_file(LAYERS, path)
    cut(path)


def rsm_file(path):
    sb.compute_rsm(LAYERS["late"], matching="identity", out=path)


def picture_folder(path):
    path.mkdir()
    for i in range(3):
        (path / f"{i}.jpg").write_bytes(b"\xff\xd8\xff\xe0")


def torch_saves(content):
    def write(path):
        torch = pytest.importorskip("torch")
        torch.save(content(torch), path)

    return write


REFUSED = {
    "features.npz": (lambda p: np.savez(p, **{"g:net/layer": np.ones((12, 3))}), "a file of features .* --features"),
    "two.npz": (lambda p: np.savez(p, fc=np.ones((12, 3))), r"fc has shape \(12, 3\).*features \(N, P\) are for --features"),
    "odd.npz": (lambda p: np.savez(p, z=LAYERS["late"], y=np.ones(12)), r"y has shape \(12,\); .* labels \(N,\)"),
    "uneven.npz": (lambda p: np.savez(p, a=LAYERS["late"], b=LAYERS["late"][:4]), r"different numbers of images \(a 12, b 4\)"),
    "objects.npz": (lambda p: np.savez(p, z=np.array([{}, 1], object)), "z.npy is a pickled array of objects"),
    "objects.npy": (
        lambda p: np.save(p, np.array([{}, 1], object), allow_pickle=True),
        r"objects.npy: it is a pickled array of objects, which may run code and is not opened: give it a dtype .*\)$",
    ),
    "text.npz": (lambda p: np.savez(p, z=np.array([[["a"]]])), "z is of dtype <U1"),
    "none.npz": (lambda p: np.savez(p, labels=np.arange(3)), "has labels and no layer"),
    "twice.npz": (lambda p: np.savez(p, z=LAYERS["late"], ids=["a"] * 12), "ids: 'a' is there twice, at 0 and 1"),
    "few.npz": (lambda p: np.savez(p, z=LAYERS["late"], ids=["a"]), "ids: there are 1 ids for 12 samples"),
    "half.npz": (lambda p: np.savez(p, z=LAYERS["late"], labels=np.full(12, 0.5)), "labels are float64 .* 12 whole numbers"),
    "nan.npz": (
        lambda p: np.savez(p, z=np.where(np.arange(6) == 4, np.nan, LAYERS["late"]), ids=KNOWN["ids"]),
        "z is not finite in image picture-0, channel 0, position 4",
    ),
    "pictures.npz": (lambda p: archive(p, ["a/b.jpg"]), "a zip archive of pictures: .* data extract"),
    "zip.npz": (lambda p: archive(p, ["a.csv"]), "a zip archive, but no .npz: it holds a.csv"),
    "cut.npz": (cut_npz, "zip archive .* cut off or damaged"),
    "cut.npy": (cut_npy, "an array .* cannot be read"),
    "cut.safetensors": (cut_safetensors, "cut off: .* bytes instead of"),
    "empty.npy": (lambda p: p.touch(), r"is empty \(0 bytes\)"),
    "empty.safetensors": (lambda p: p.touch(), r"is empty \(0 bytes\)"),
    "words.pt": (lambda p: p.write_text("layer1 0.3"), "is no file of arrays .*activations are read from .npy, .npz"),
    "pickle.pkl": (lambda p: p.write_bytes(pickle.dumps({"z": 1})), "a pickle, which may run code"),
    "picture.png": (lambda p: p.write_bytes(b"\x89PNG\r\n"), r"a picture \(PNG\): .* data extract"),
    "rsm.npy": (rsm_file, "is an RSM .* not activations"),
    "pictures": (picture_folder, "a folder of pictures: .* data extract"),
    "hollow": (lambda p: p.mkdir(), "an empty folder"),
    "weights.safetensors": (
        lambda p: save_file({"conv1.weight": np.ones((2, 3, 3, 3))}, p),
        "weights of a network .it has conv1.weight.* data extract --model",
    ),
    "weights.pt": (
        torch_saves(lambda torch: torch.nn.Linear(2, 3).state_dict()), "weights of a network .it has weight|w.*eight",
    ),
    "nested.pt": (torch_saves(lambda torch: {"state_dict": {"w": torch.ones(2)}}), "'state_dict' is a dict with weights"),
    "states.pt": (torch_saves(lambda torch: (torch.ones(2, 3, 4),) * 3), "holds a tuple of 3; needed is a tensor or a dict"),
    "objects.pt": (
        torch_saves(lambda torch: torch.nn.Linear(2, 3)),
        r"a pickled Python object \(torch.nn.modules.linear.Linear\), .*: save a tensor .*"
        r"of a network, `semrsm-bench data extract --model` makes activations",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_activations_says_what_it_is(tmp_path, name):
    write, words = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(CacheError, match=words) as caught:
        open_caches(tmp_path / name)
    assert name in str(caught.value)


def test_the_command_line_says_it_in_one_line_and_verify_counts_it(tmp_path):
    np.savez(tmp_path / "bad.npz", z=np.ones((2, 3)))
    for verb in (
        ("rsm", tmp_path / "bad.npz"),
        ("run", "matching", "--data", tmp_path / "bad.npz"),
        ("data", "list", "--data", tmp_path),
    ):
        error = call(*verb, code=2)[1]
        assert error.count("\n") == 1
        assert "z has shape (2, 3)" in error
    assert "1 file(s) failed" in call("data", "verify", "--data", tmp_path, code=1)[1]


def test_verify_names_every_file_that_is_wrong_and_what_does_not_belong_together(tmp_path):
    np.savez(tmp_path / "flat.npz", z=np.ones((2, 3)))
    np.save(tmp_path / "nan.npy", np.full((4, 3, 5), np.nan))
    np.save(tmp_path / "fine.npy", np.ones((4, 3, 5)))
    np.save(tmp_path / "labels.npy", np.arange(4))
    (tmp_path / "cut.npz").write_bytes(b"PK")
    found = dict(verify_folder(tmp_path))
    assert {name for name, problem in found.items() if problem} == {"flat.npz", "nan.npy", "cut.npz"}
    assert {name for name, problem in found.items() if not problem} == {"fine.npy", "labels.npy"}
    for name in ("flat.npz", "nan.npy", "cut.npz"):
        (tmp_path / name).unlink()
    np.save(tmp_path / "labels.npy", np.arange(5))
    found = dict(verify_folder(tmp_path))
    assert "labels" in found.pop(tmp_path.name)
    assert found == {"fine.npy": "", "labels.npy": ""}


@pytest.mark.parametrize("kind", ["arrays", "caches"])
def test_a_file_that_is_wrong_in_a_folder_is_named_with_the_way_on(tmp_path, kind):
    for name in "abc":
        if kind == "arrays":
            np.savez(tmp_path / f"{name}.npz", z=LAYERS["late"])
        else:
            sb.save_activations(tmp_path / f"{name}.safetensors", {"z": LAYERS["late"]})
    wrong = next(tmp_path.glob("b.*"))
    wrong.write_bytes(wrong.read_bytes()[:-300])
    words = rf"{re.escape(str(wrong))}.*: mend the file or (move|take) it out of {re.escape(str(tmp_path))}"
    with pytest.raises(CacheError, match=words):
        open_caches(tmp_path)
    wrong.unlink()
    if kind == "caches":
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        del manifest["files"][wrong.name]
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert [cache.name for cache in open_caches(tmp_path)] == ["a", "c"]


def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
        file.writestr("a/data.pkl", b"")
    for suffix, module, words in (
        ("h5", "h5py", "pip install h5py"), ("zarr", "zarr", "pip install zarr"), ("pt", "torch", r"semrsm-bench\[torch\]"),
    ):  # fmt: skip
        with monkeypatch.context() as patched:
            patched.setitem(__import__("sys").modules, module, None)
            with pytest.raises(CacheError, match=words):
                open_cache(tmp_path / f"a.{suffix}")


def test_saved_activations_are_a_cache_of_what_was_given(tmp_path):
    path = tmp_path / "mine.safetensors"
    tokens = RNG.normal(size=(12, 17, 8))
    sb.save_activations(
        path, {"block": tokens}, layout="channels_last", drop_tokens=1, ids=KNOWN["ids"], labels=KNOWN["labels"]
    )
    cache = open_cache(path)
    np.testing.assert_array_equal(
        cache.activations("block", slice(None)), tokens[:, 1:].swapaxes(1, 2).astype(np.float16)
    )
    np.testing.assert_allclose(cache.mean("block"), tokens[:, 1:].mean(axis=0).T, rtol=1e-6)
    assert (cache.images, cache.grid("block"), cache.has_ids) == (KNOWN["ids"].tolist(), (4, 4), True)
    sb.save_activations(path, {"late": LAYERS["late"]}, grids={"late": (2, 3)}, metadata={"model": "m"})
    cache = open_cache(path)
    assert (cache.grid("late"), cache.has_ids, cache.metadata["model"]) == ((2, 3), False, "m")
    assert dict(verify_folder(tmp_path)) == {"mine.safetensors": ""}
    for names in (["dog", "cat", "cat"] * 4, np.array(["dog", "cat", "cat"] * 4, object)):
        sb.save_activations(path, {"late": LAYERS["late"]}, labels=names)
        assert open_cache(path).labels.tolist() == [1, 0, 0] * 4
    assert CacheLayer(cache, "late").ids is None


@pytest.mark.parametrize(
    ("layers", "more", "words"),
    [
        ({"a": 1e6 * LAYERS["late"]}, {}, "not finite in float16"),
        ({"a": 1e-6 * LAYERS["late"]}, {}, "image 0 reaches only .* too little for float16"),
        ({"a": LAYERS["late"]}, {"ids": ["x"] * 12}, "'x' is there twice"),
        ({"a": LAYERS["late"]}, {"ids": ["x"]}, "1 ids for 12"),
        (
            {"a": LAYERS["late"]},
            {"labels": np.arange(3)},
            r"labels are int64 of shape \(3,\); needed are 12 whole numbers, .* or names of classes",
        ),
        ({"a": LAYERS["late"]}, {"labels": np.full(12, 0.5)}, "labels are float64 .*; needed are 12 whole numbers"),
        ({"a": LAYERS["late"]}, {"grids": {"a": (4, 4)}}, "does not hold the 6 positions"),
        ({"a": np.ones((3, 4))}, {}, "features .* have no positions"),
        ({}, {}, "at least one image and one layer"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_leaves_no_file(tmp_path, layers, more, words):
    with pytest.raises(ValueError, match=words):
        sb.save_activations(tmp_path / "a.safetensors", layers, **more)
    assert not list(tmp_path.iterdir())


def test_a_cache_says_itself_how_it_is_laid_out(tmp_path):
    sb.save_activations(tmp_path / "a.safetensors", {"late": LAYERS["late"]})
    with pytest.raises(ValueError, match="leave out layout and drop_tokens"):
        open_cache(tmp_path / "a.safetensors", "channels_last")


def test_a_path_is_a_source_where_it_holds_one_layer(tmp_path):
    np.savez(tmp_path / "one.npz", z=LAYERS["late"])
    found = sb.compute_rsm(tmp_path / "one.npz", matching="identity")
    np.testing.assert_array_equal(found, sb.compute_rsm(LAYERS["late"], matching="identity"))
    npz(tmp_path / "many.npz")
    with pytest.raises(ValueError, match="holds the layers early, late: name one"):
        sb.compute_rsm(tmp_path / "many.npz")
    assert "--layer: early, late" in call("rsm", tmp_path / "many.npz", code=2)[1]


def test_numbers_of_an_archive_are_the_same_mapped_and_read(tmp_path):
    """Order of memory and long names do not matter, nor whether an archive is compressed."""
    arrays = {"f": np.asfortranarray(LAYERS["early"]), "long" * 40: LAYERS["late"].astype(np.float16)}
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **arrays)
        (tmp_path / "a.npz").write_bytes(stream.getvalue())
        cache = open_cache(tmp_path / "a.npz")
        for name, array in arrays.items():
            np.testing.assert_array_equal(cache.activations(name, slice(None)), array.reshape(*array.shape[:2], -1))


def test_what_a_mac_leaves_beside_each_file_is_no_data(tmp_path):
    np.save(tmp_path / "layer.npy", np.random.default_rng(0).random((4, 3, 2, 2)))
    (tmp_path / "._layer.npy").write_bytes(b"\0\5\x16\7" * 9)
    (cache,) = open_caches(tmp_path)
    assert list(cache.layers) == ["layer"]
