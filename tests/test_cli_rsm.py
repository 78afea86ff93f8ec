"""The verb rsm, from files to files."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from semrsm_bench.activations.store import write_cache
from semrsm_bench.cli import cli, main
from semrsm_bench.rsm import compute_rsm, store


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, 4, 9)).astype(np.float16)
    layers, means = {"layer1": z, "layer2": z[:, :, :4]}, {"layer1": z.mean(axis=0), "layer2": z[:, :, :4].mean(axis=0)}
    write_cache(tmp_path / "net.safetensors", layers, means, images=list("abcdef"), labels=np.array([1, 0, 1, 0, 1, 0]))
    np.save(tmp_path / "z.npy", z)
    np.save(tmp_path / "tokens.npy", z.swapaxes(1, 2))
    return tmp_path


def run(*arguments):
    """Exit code, standard output, standard error."""
    result = CliRunner().invoke(cli, ["rsm", *map(str, arguments)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.return_value, result.stdout, result.stderr


def test_a_layer_of_a_cache_to_a_file_and_pictures(folder):
    code, text, _ = run(
        folder, "--layer", "layer1", "--matching", "scipy", "--kernel", "linear", "--kernel", "rbf",
        "--out", folder / "k.npy", "--picture", folder / "k.png", "--quiet",
    )  # fmt: skip
    assert code == 0
    assert "scipy, rbf: 6 x 6" in text
    expected = compute_rsm(np.load(folder / "z.npy"), matching="scipy", kernel=["linear", "rbf"])
    np.testing.assert_array_equal(np.load(folder / "k.npy"), expected["linear"])
    np.testing.assert_array_equal(np.load(folder / "k.rbf.npy"), expected["rbf"])
    assert (folder / "k.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "k.npy.json").read_text())["labels"] == [1, 0, 1, 0, 1, 0]
    drawn = ["plot", str(folder / "k.npy"), "--out", str(folder / "drawn"), "--format", "svg"]
    result = CliRunner().invoke(cli, drawn, catch_exceptions=False)
    assert "ordered by label" in (folder / "drawn" / "k.svg").read_text()
    assert result.stdout.strip() == str(folder / "drawn" / "k.svg")


LYING = """
import numpy as np, semrsm_bench as sb
@sb.register_solver('cli-test-lying', kind='approximate')
def lying(problem):
    return np.zeros(problem.size, int)
"""


def test_options_of_the_call_reach_it(folder, tmp_path):
    plugin = tmp_path / "reversing.py"
    plugin.write_text(
        "import numpy as np, semrsm_bench as sb\n"
        "@sb.register_solver('cli-test-reversing', kind='approximate')\n"
        "def reversing(problem, *, by=0):\n"
        "    return np.roll(np.arange(problem.size), by)\n"
    )
    _, text, _ = run(
        folder / "tokens.npy", "--layout", "channels_last", "--class-token", "drop", "--plugin", plugin,
        "--matching", "cli-test-reversing", "--option", "by=3", "--centring", "channel", "--block", "2", "--json", "--quiet",
    )  # fmt: skip
    z = np.load(folder / "z.npy")[:, :, 1:].astype(np.float32)
    z -= z.mean(axis=(0, 2), keepdims=True)
    values = np.einsum("ics,jcs->ij", z, np.roll(z, 3, axis=2))
    upper = np.triu(values, 1)
    expected = upper + upper.T + np.diag((z**2).sum(axis=(1, 2)))
    assert json.loads(text)["results"][0]["mean"] == pytest.approx(expected.mean(), rel=1e-5)


def test_translation_with_a_grid_several_matchings_and_a_range_of_images(folder):
    both = ["--matching", "identity", "--matching", "translation", "--grid", "3x3"]
    _, text, _ = run(folder / "z.npy", *both, "--json", "--quiet")
    results = json.loads(text)["results"]
    assert [(r["matching"], r["kernel"], r["shape"]) for r in results] == [
        (matching, "linear", [6, 6]) for matching in ("identity", "translation")
    ]
    z = np.load(folder / "z.npy").reshape(6, 4, 3, 3)
    assert results[1]["max"] == compute_rsm(z, matching="translation").max()
    ranged = ["--layer", "layer1", "--images", "1:3", "--images2", "2:", "--matching", "identity", "--json", "--quiet"]
    _, text, _ = run(folder, folder, *ranged)
    assert json.loads(text)["results"][0]["shape"] == [2, 4]


def test_an_estimate_plans_for_images_that_are_not_there(folder):
    arguments = ["--layer", "layer1", "--matching", "scipy", "--estimate", "--sample-seconds", "0.1"]
    _, text, _ = run(folder, *arguments, "--count", "2000", "--count2", "5000", "--json")
    cost = json.loads(text)
    assert cost["pairs"] == 10**7
    assert cost["result_bytes"] == 8 * 10**7
    assert cost["input_bytes"] == 7000 * 4 * 9 * 2
    assert cost["seconds_low"] <= cost["seconds"] <= cost["seconds_high"]
    assert cost["seconds"] == pytest.approx(cost["seconds_per_pair"] * 10**7 / cost["workers"])
    assert not list(folder.glob("*.json.partial"))
    _, text, _ = run(folder, *arguments)
    assert "15 pairs" in text
    assert "ms a pair" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.safetensors"], "name a layer"),
        (["net.safetensors", "--layer", "layer9"], "no layer 'layer9'"),
        (["z.npy", "--layer", "layer1"], "are for caches"),
        (["z.npy", "--matching", "batch-optimal-128", "--option", "blok_solver=scipy"], "block_solver"),
        (["z.npy", "--option", "b"], "NAME=VALUE"),
        (["z.npy", "--grid", "3"], "HxW"),
        (["net.safetensors", "--layer", "layer1", "--images", "3"], "A:B"),
        (["z.npy", "--count", "3"], "--estimate"),
        (["z.npy", "--estimate", "--sample-seconds", "0"], "--sample-seconds: 0.0 is not larger than 0"),
        (["z.npy", "--estimate", "--matching", "identity", "--matching", "scipy"], "one matching at a time"),
        (["z.npy", "--kernel", "gauss"], "kernel: 'gauss' is not one of"),
        (["z.npy", "--matching", "identity", "--picture", "k.tiff9"], "tiff9"),
        (["z.npy", "--plugin", "missing.py"], "no such file"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as stopped:
        main(["rsm", *arguments, "--quiet"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("matching", ["scipy", "cli-test-lying"])
def test_a_result_that_cannot_be_had_is_exit_code_3(folder, monkeypatch, capsys, matching):
    (folder / "lying.py").write_text(LYING)
    write = store.Products.put
    monkeypatch.setattr(store.Products, "put", lambda self, tile, values: 0 if tile.top else write(self, tile, values))
    arguments = ["--plugin", str(folder / "lying.py"), "--matching", matching, "--block", "3", "--kernel", "rbf"]
    with pytest.raises(SystemExit) as stopped:
        main(["rsm", str(folder / "z.npy"), *arguments, "--quiet"])
    assert stopped.value.code == 3
    expected = "scipy, linear: 6 of 36 entries" if matching == "scipy" else matching
    assert expected in capsys.readouterr().err
