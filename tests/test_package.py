"""What users import; wheel and sdist, and what they are worth away from the checkout."""

import fcntl
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import semrsm_bench
from tests import docs_commands as docs
from tests.gate_repository import CHECKOUT, git


def test_every_public_name_resolves():
    for name in semrsm_bench.__all__:
        assert getattr(semrsm_bench, name) is not None
    assert set(semrsm_bench.__all__) <= set(dir(semrsm_bench))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = semrsm_bench.nothing


def test_the_version_is_the_distributions():
    assert tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"] == semrsm_bench.__version__


def test_importing_the_package_imports_no_torch_and_no_plotting():
    code = "import sys, semrsm_bench; print(sorted({'torch', 'matplotlib', 'numba', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """What ``make wheels`` builds, and in ``site`` both wheels installed, without what they need: that is in this environment.

    Processes of pytest-xdist share it.
    """
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "dist"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            (folder / "venv").mkdir()
            environment = docs.ready_environment(folder / "venv", ["test"])
            command = ["make", "wheels", f"VENV={environment}", f"DIST={folder}"]
            done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            pip = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-index",
            ]
            subprocess.run([*pip, "--target", str(folder / "site"), *map(str, folder.glob("*.whl"))], check=True)
            (folder / "ready").touch()
    return folder


class Outside:
    """A folder away from the checkout, and a shell in it whose package is the installed one."""

    def __init__(self, folder, packages):
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if k != "SEMRSM_BENCH_DATA" and "PYTEST" not in k}
        path = f"{packages / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        caches = {"XDG_CACHE_HOME": str(folder / "user-cache"), "OMP_NUM_THREADS": "1"}
        self.environment = {**kept, **caches, "PATH": path, "PYTHONPATH": str(packages)}

    def __call__(self, line, code=0):
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == code, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr


@pytest.fixture
def outside(dist, tmp_path):
    return Outside(tmp_path, dist / "site")


def test_what_wheels_and_sdist_carry(dist):
    package, data = (
        set(zipfile.ZipFile(next(dist.glob(f"{n}-*.whl"))).namelist()) for n in ("semrsm_bench", "semrsm_bench_data")
    )
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"py.typed", "mini/manifest.json", "report/papers.csv", "examples/norm_sort.py", "examples/greedy.c"}
    assert {f"semrsm_bench/{name}" for name in needed} <= package & inside
    assert {name.partition("/")[0] for name in package} == {"semrsm_bench", f"{sdist.name[:-7]}.dist-info"}
    assert {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"} <= inside
    assert not any(name.startswith(("tests/", "data/", "docs/")) for name in inside)
    tracked = git(CHECKOUT, "ls-files", "data").splitlines()
    assert {name for name in data if "dist-info" not in name} == {f"semrsm_bench_{name}" for name in tracked}


def test_the_package_alone_has_the_mini_cache_and_says_where_more_is(dist, tmp_path):
    zipfile.ZipFile(next(dist.glob("semrsm_bench-*.whl"))).extractall(tmp_path / "site")
    alone = Outside(tmp_path, tmp_path / "site")
    code = "from semrsm_bench.activations.store import *; c = open_cache(find_data()); print(len(c), *c.layers)"
    assert alone(f"python -c '{code}'").split() == ["4", "layer1", "layer2", "layer3", "layer4"]
    assert "features-w16.safetensors is not here: it comes with" in alone("python -m semrsm_bench run layers", 2)


def without_a_checkout():
    page = (CHECKOUT / "docs" / "quick-start.md").read_text()
    section = page.partition("## Without a checkout")[2].partition("\n## ")[0]
    return [c for c in docs.commands(section) if c.startswith(("cp", "semrsm-bench"))]


def test_documented_commands_run_away_from_the_checkout(outside):
    commands = without_a_checkout()
    assert len(commands) == 3
    for command in commands:
        outside(command)
    assert "ok" in outside(
        "semrsm-bench data verify --data $(python -c 'import semrsm_bench_data as d; print(*d.__path__)')/outputs"
    )


def test_two_wheels_give_the_table_of_the_readme(outside, dist):
    readme = (CHECKOUT / "README.md").read_text()
    (options,) = re.findall(r"The table it makes \(`([^`]*)`", readme)
    shown = readme.partition("norm-sort-1,norm-sort-2")[2]
    outside(f"cp -r {dist}/site/semrsm_bench/examples .")
    out = outside(f"semrsm-bench run --plugin examples/norm_sort.py {options}")
    for name in ("batch-optimal-128", "norm-sort-1", "norm-sort-2"):
        # c and k/k_opt; times are of a machine.
        expected = re.search(rf"{name} +\S+ +(\S+) +(\S+)", shown).groups()
        found = next(
            re.search(rf"{name} +\S+ +(\S+) +(\S+)", line).groups() for line in out.splitlines() if f" {name} " in line
        )
        assert found == expected


def test_benchmark_files_of_another_repository(outside, dist, tmp_path):
    """The files of docs/track-your-solver.md under asv and pytest-benchmark, and `compare` of what they wrote."""
    page = (CHECKOUT / "docs" / "track-your-solver.md").read_text()
    solver, for_asv, for_pytest = (block.text for block in docs.blocks(page) if block.language == "python")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "row_by_row.py").write_text(for_asv.replace("[64, 256]", "[64]"))
    (tmp_path / "bench_solver.py").write_text(solver)
    (tmp_path / "speed.py").write_text(for_pytest.replace("[64, 256]", "[64]"))
    settings = {"version": 1, "project": "mine", "repo": ".", "branches": ["main"], "environment_type": "virtualenv"}
    settings |= {"results_dir": ".asv/results", "launch_method": "forkserver"}
    (tmp_path / "asv.conf.json").write_text(json.dumps(settings))
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", "bench_solver.py", "benchmarks", "speed.py")
    git(tmp_path, "commit", "--quiet", "--message", "solver")
    pytest.importorskip("asv")
    outside("HOME=$PWD asv machine --yes")
    commands = [c for c in docs.commands(page) if re.match("ASV|python -m pytest|semrsm-bench compare (.asv|speed)", c)]
    # In an environment that has the package ASV_PYTHONPATH need not name it. Two of all benchmarks at one size say as much.
    commands = [c.replace("ASV_PYTHONPATH=", f"ASV_PYTHONPATH={dist}/site:") for c in commands]
    commands[0] += ' -b "track_(solve_seconds|gap_percent)"'
    said = [outside(f"export HOME=$PWD; {command}") for command in commands]
    assert len(said) == 4
    for text in said[2:]:
        assert "time: 0 slower, 0 faster, 1 unchanged; gap: 0 worse, 0 better, 1 unchanged" in text
