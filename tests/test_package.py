"""What users import, and what the wheel carries."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import semrsm_bench

ROOT = Path(__file__).resolve().parent.parent


def test_every_public_name_resolves():
    for name in semrsm_bench.__all__:
        assert getattr(semrsm_bench, name) is not None
    assert set(semrsm_bench.__all__) <= set(dir(semrsm_bench))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = semrsm_bench.nothing


def test_the_version_is_the_distributions():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == semrsm_bench.__version__


def test_importing_the_package_imports_no_torch_and_no_plotting():
    code = "import sys, semrsm_bench; print(sorted({'torch', 'matplotlib', 'numba', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_the_wheel_carries_the_mini_cache_and_the_type_marker(tmp_path):
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"semrsm_bench/py.typed", "semrsm_bench/mini/manifest.json"} <= names
    assert not any(name.startswith(("tests/", "data/", "benchmarks/")) for name in names)
    unpacked = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(unpacked)
    # Away from the checkout and without a user cache, the mini cache is what is found.
    code = "from semrsm_bench.activations.store import *; c = open_cache(find_data()); print(len(c), *c.layers)"
    environment = {"PYTHONPATH": str(unpacked), "HOME": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["4", "layer1", "layer2", "layer3", "layer4"], done.stderr
