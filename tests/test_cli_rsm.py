"""The verb rsm, from files to files."""

import json

import numpy as np
import pytest

from semrsm_bench.activations.store import write_cache
from semrsm_bench.rsm import compute_rsm, store
from tests.command_line import call


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a cache of two layers and with arrays."""
    monkeypatch.chdir(tmp_path)
    z = np.random.default_rng(0).normal(size=(6, 4, 9)).astype(np.float16)
    layers = {"layer1": z, "layer2": z[:, :, :4]}
    means = {name: values.mean(axis=0) for name, values in layers.items()}
    write_cache(tmp_path / "net.safetensors", layers, means, images=list("abcdef"), labels=np.array([1, 0, 1, 0, 1, 0]))
    np.save("z.npy", z)
    np.save("tokens.npy", z.swapaxes(1, 2))
    return tmp_path


def run(words, code=0):
    """What ``semrsm-bench rsm WORDS`` prints, on standard output and on standard error."""
    return call("rsm", *words.split(), "--quiet", code=code)


def test_a_layer_of_a_cache_to_a_file_and_pictures(folder):
    kernels = "--kernel linear --kernel rbf"
    text, _ = run(f"{folder} --layer layer1 --matching scipy {kernels} --out k.npy --picture k.png")
    assert "scipy, rbf: 6 x 6" in text
    expected = compute_rsm(np.load("z.npy"), matching="scipy", kernel=["linear", "rbf"])
    np.testing.assert_array_equal(np.load("k.npy"), expected["linear"])
    np.testing.assert_array_equal(np.load("k.rbf.npy"), expected["rbf"])
    assert (folder / "k.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "k.npy.json").read_text())["labels"] == [1, 0, 1, 0, 1, 0]
    assert call("plot", "k.npy", "--out", "drawn", "--format", "svg")[0].strip() == "drawn/k.svg"
    assert "ordered by label" in (folder / "drawn" / "k.svg").read_text()


PLUGIN = """
import numpy as np, semrsm_bench as sb
@sb.register_solver("cli-test-rolling", kind="approximate")
def rolling(problem, *, by=0):
    return np.roll(np.arange(problem.size), by)
@sb.register_solver("cli-test-lying", kind="approximate")
def lying(problem):
    return np.zeros(problem.size, int)
"""


def test_options_of_the_call_reach_it(folder):
    (folder / "mine.py").write_text(PLUGIN)
    chosen = "--plugin mine.py --matching cli-test-rolling --option by=3 --centring channel --block 2 --json"
    text, _ = run(f"tokens.npy --layout channels_last --drop-tokens 1 {chosen}")
    z = np.load("z.npy")[:, :, 1:].astype(np.float32)
    z -= z.mean(axis=(0, 2), keepdims=True)
    upper = np.triu(np.einsum("ics,jcs->ij", z, np.roll(z, 3, axis=2)), 1)
    expected = upper + upper.T + np.diag((z**2).sum(axis=(1, 2)))
    assert json.loads(text)["results"][0]["mean"] == pytest.approx(expected.mean(), rel=1e-5)


def test_translation_with_a_grid_several_matchings_and_a_range_of_images(folder):
    results = json.loads(run("z.npy --matching identity --matching translation --grid 3x3 --json")[0])["results"]
    found = [(r["matching"], r["kernel"], r["shape"]) for r in results]
    assert found == [(matching, "linear", [6, 6]) for matching in ("identity", "translation")]
    z = np.load("z.npy").reshape(6, 4, 3, 3)
    assert results[1]["max"] == compute_rsm(z, matching="translation").max()
    ranged = "--layer layer1 --images 1:3 --images2 2: --matching identity --json"
    assert json.loads(run(f"{folder} {folder} {ranged}")[0])["results"][0]["shape"] == [2, 4]


def test_an_estimate_plans_for_images_that_are_not_there(folder):
    words = f"{folder} --layer layer1 --matching scipy --estimate --sample-seconds 0.1"
    cost = json.loads(run(f"{words} --count 2000 --count2 5000 --json")[0])
    assert (cost["pairs"], cost["result_bytes"], cost["input_bytes"]) == (10**7, 8 * 10**7, 7000 * 4 * 9 * 2)
    assert cost["seconds_low"] <= cost["seconds"] <= cost["seconds_high"]
    assert cost["seconds"] == pytest.approx(cost["seconds_per_pair"] * 10**7 / cost["workers"])
    assert not list(folder.glob("*.json.partial"))
    text, _ = run(words)
    assert "15 pairs" in text
    assert "ms a pair" in text


@pytest.mark.parametrize("matching", ["scipy", "cli-test-lying"])
def test_a_result_that_cannot_be_had_is_exit_code_3(folder, monkeypatch, matching):
    (folder / "mine.py").write_text(PLUGIN)
    write = store.Products.put
    monkeypatch.setattr(store.Products, "put", lambda self, tile, values: 0 if tile.top else write(self, tile, values))
    expected = "scipy, linear: 6 of 36 entries" if matching == "scipy" else matching
    assert expected in run(f"z.npy --plugin mine.py --matching {matching} --block 3 --kernel rbf", code=3)[1]
