"""``semrsm-bench data``: extract, subset, large, list and verify, as a user calls them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from semrsm_bench.activations.resnet import ResNet, save_weights
from semrsm_bench.activations.store import open_cache
from semrsm_bench.cli import cli, main
from tests.image_files import image_zip
from tests.test_store import flip_byte, make_cache


def test_train_extract_list_verify(tmp_path):
    archive = image_zip(tmp_path / "pictures.zip", per_class=6, size=32)
    runner = CliRunner()
    network, out = tmp_path / "net.safetensors", tmp_path / "caches" / "mine.safetensors"
    small = ["--architecture", "resnet10", "--width", "4", "--phases", "32:1", "--batch", "4"]
    train = ["data", "train", str(archive), "--val", str(archive), *small, "--out", str(network)]
    done = runner.invoke(cli, train, catch_exceptions=False)
    assert done.exit_code == 0
    assert "top-1" in done.output
    extract = ["data", "extract", str(archive), "--model", str(network), "--count", "4", "--out", str(out)]
    done = runner.invoke(cli, extract, catch_exceptions=False)
    assert done.exit_code == 0
    assert "4 images" in done.output
    assert "the mean is over 12 images only" in done.output
    listed = json.loads(runner.invoke(cli, ["data", "list", "--data", str(out.parent), "--json"]).output)
    assert listed[0]["pairs"] == 6
    assert listed[0]["layers"]["layer1"] == [4, 4096]
    # Provenance names files, never the folders of the machine they came from.
    assert str(tmp_path) not in listed[0]["command"]
    assert listed[0]["command"].startswith("semrsm-bench data extract pictures.zip --model net.safetensors")
    assert runner.invoke(cli, ["data", "verify", "--data", str(out.parent)]).exit_code == 0
    flip_byte(out)
    verified = runner.invoke(cli, ["data", "verify", "--data", str(out.parent)])
    assert "FAILED  mine.safetensors" in verified.output


def python(code, *args):
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["data", "verify", "--data", "good"], 0, ""),
        (["data", "verify", "--data", "bad"], 1, "damaged or swapped"),
        (["data", "list", "--data", "nowhere"], 2, "does not exist"),
        (["dta"], 2, "Did you mean 'data'"),
        (["data", "extract", "a.zip", "--model", "other.pt", "--out", "o.safetensors"], 2, "not a ResNet state dict"),
    ],
)
def test_exit_codes_and_messages(tmp_path, monkeypatch, capsys, args, code, said):
    monkeypatch.chdir(tmp_path)
    make_cache(tmp_path / "good" / "c.safetensors")
    flip_byte(make_cache(tmp_path / "bad" / "c.safetensors"))
    image_zip(tmp_path / "a.zip", per_class=1)
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert (ended.value.code or 0) == code
    shown = capsys.readouterr()
    assert said in shown.out + shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    "args", [["--help"], ["data", "--help"], ["data", "train", "--help"], ["data", "extract", "-h"]]
)
def test_help_needs_no_torch(args):
    done = python(
        "import sys; sys.modules['torch'] = None; from semrsm_bench.cli import main; main(sys.argv[1:])", *args
    )
    assert (done.returncode, "Usage" in done.stdout) == (0, True)


def test_importing_the_package_imports_no_torch_and_no_plotting():
    heavy = "{'torch', 'matplotlib', 'numba', 'pandas'}"
    done = python(f"import sys, semrsm_bench; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout.strip() == "[]"


def test_a_part_of_a_cache_is_a_cache(tmp_path):
    whole = open_cache(make_cache(tmp_path / "c.safetensors"))
    done = CliRunner().invoke(
        cli, ["data", "subset", str(whole.path), "--count", "2", "--out", str(tmp_path / "p" / "part.safetensors")]
    )
    assert done.exit_code == 0
    part = open_cache(tmp_path / "p")
    assert part.images == whole.images[:2]
    assert part.metadata["part_of"] == whole.sha256
    np.testing.assert_array_equal(part.activations("layer2", 1), whole.activations("layer2", 1))
    np.testing.assert_array_equal(part.mean("layer2"), whole.mean("layer2"))


def test_large_images_from_the_pictures_that_packages_ship(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    save_weights(tmp_path / "net.weights.safetensors", ResNet("resnet18", 2, width=2), {})
    command = ["data", "large", "--model", str(tmp_path / "net.weights.safetensors"), "--size", "96", "--count", "1"]
    done = CliRunner().invoke(cli, [*command, str(image_zip(tmp_path / "a.zip", per_class=1))], catch_exceptions=False)
    assert done.exit_code == 0
    assert open_cache(tmp_path / "semrsm_bench" / "large" / "net-96px.safetensors").shape("layer1") == (1, 2, 96 * 96)
