"""Environments of their own: made whole or not at all, kept apart from this one, and measured in."""

import json
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.core.environments import Environment, EnvironmentNotMadeError, environments_folder
from semrsm_bench.core.method import UnavailableError
from tests.bench_data import Bench
from tests.command_line import call


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def wheel(folder, name, version, **files):
    """A wheel of pure Python, made by hand."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {f"{module}.py": text for module, text in files.items()} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """pip knows a folder of wheels alone, and no network."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "numpy", "0.0.1", numpy="")
    wheel(folder, "toy", "1.5", toy="")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_an_environment_is_made_once_with_numpy_and_removed(wheels):
    environment = Environment(("toy==1.5",))
    assert environment.versions == {}
    assert environment.create()
    assert {name: environment.versions[name] for name in ("toy", "numpy")} == {"toy": "1.5", "numpy": "0.0.1"}
    prefix = subprocess.run(
        [environment.python, "-c", "import toy, numpy, sys; print(sys.prefix)"], capture_output=True, text=True
    )
    assert Path(prefix.stdout.strip()).resolve() == environment.folder.resolve()
    assert not environment.create()  # it is there
    shutil.rmtree(*environment.folder.glob("lib/python*/site-packages/toy-1.5.dist-info"))
    assert environment.versions == {}
    assert environment.create()  # what was damaged is made anew
    (environment.folder / "installed.json").unlink()  # as where the making was cut off
    assert environment.versions == {}
    environment.remove()
    assert not environment.folder.exists()


def test_what_cannot_be_installed_is_said_and_leaves_nothing(wheels):
    environment = Environment(("toy==2.0",))
    with pytest.raises(EnvironmentNotMadeError, match=r"pip install toy==2.0 numpy failed: .*toy==2.0.*PIP_FIND_LINKS"):
        environment.create()
    assert not environment.folder.exists()


def test_two_processes_do_not_make_one_environment(wheels):
    environment = Environment(("toy==1.5",))
    with environment._locked(), pytest.raises(EnvironmentNotMadeError, match="another process"):
        environment.create()


def test_other_requirements_are_another_environment():
    names = {Environment(r).name for r in (("lap==1",), ("lap==2",), ("lap==1", "numpy<2"), ("lap @ file:///a/b c",))}
    assert len(names) == 4
    assert all(name.replace("-", "").replace(".", "").isalnum() for name in names)


SOLVERS = """
import numpy as np
import semrsm_bench as sb


@sb.register_solver("first", kind="approximate", environment="toy==1", distribution="toy")
def first(problem):
    import toy
    return toy.solve(problem)


@sb.register_solver("second", kind="approximate", environment=["toy==2", "numpy"], distribution="toy")
def second(problem):
    import toy
    return toy.solve(problem)


@sb.register_solver("greedy-there", kind="approximate", environment="toy==1")
def greedy_there(problem):
    try:
        import numba
    except ModuleNotFoundError:
        return np.arange(problem.size)


@sb.register_solver("spoils", kind="approximate", environment="toy==1")
def spoils(problem):
    import os
    os.abort()
"""


def made_by_hand(requirements, version, order):
    """An environment with a module ``toy`` and with this process's numpy, which pip cannot install without a network."""
    environment = Environment(requirements)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment.folder], check=True)
    (packages,) = environment.folder.glob("lib/python*/site-packages")
    ours = Path(np.__file__).parent
    for folder in (ours, ours.with_name("numpy.libs")):
        if folder.exists():
            (packages / folder.name).symlink_to(folder)
    (packages / "toy.py").write_text(
        f"import numpy as np\n\ndef solve(problem):\n    return np.arange(problem.size){order}\n"
    )
    versions = {"toy": version, "numpy": np.__version__}
    for name, number in versions.items():
        (packages / f"{name}-{number}.dist-info").mkdir()
    (environment.folder / "installed.json").write_text(json.dumps(versions))
    return environment


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "apart.py"
    path.write_text(textwrap.dedent(SOLVERS))
    return path


def test_two_versions_of_a_module_are_measured_side_by_side(tmp_path, plugin, monkeypatch):
    made_by_hand(("toy==1",), "1", "")
    made_by_hand(("toy==2", "numpy"), "2", "[::-1]")
    # What this process finds is not found there.
    (tmp_path / "toy.py").write_text("raise ImportError('the toy of this process')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    bench = Bench(tmp_path, sizes=(16,))
    found = bench("first", "second", "greedy-there", "spoils", "identity", plugins=(plugin,), pairs={"": 2})
    assert {name: {*counts} for name, counts in found.by_method.items()} == {
        **{name: {"ok"} for name in ("first", "second", "greedy-there", "identity")},
        "spoils": {"crashed"},
    }
    for one, other in zip(found.of("first"), found.of("identity"), strict=True):
        assert one["raw"]["k"] == other["raw"]["k"]
        assert (one["environment"], one["version"], other["environment"]) == ("toy==1", "1", "")
    assert found.of("second")[0]["version"] == "2"
    assert found.of("second")[0]["raw"]["k"] != found.of("first")[0]["raw"]["k"]
    assert all(row["seconds"] > 0 and row["peak_bytes"] is not None for row in found.of("first"))


def test_a_new_version_in_an_environment_is_measured_again(plugin):
    sb.load_plugin(plugin)
    environment = made_by_hand(("toy==1",), "1", "")
    solver = sb.get_solver("first")
    before = solver.declare().code
    assert solver.declare().code == before
    (environment.folder / "installed.json").write_text(json.dumps({"toy": "1.1"}))
    assert solver.declare().code != before


def test_without_its_environment_a_solver_is_listed_with_the_command_that_makes_it(tmp_path, plugin):
    (row,) = (
        r for r in json.loads(call("list", "solvers", "--plugin", str(plugin), "--json")[0]) if r["name"] == "first"
    )
    assert (row["available"], row["environment"]) == (False, "toy==1")
    assert row["reason"].endswith(f"make it with: semrsm-bench env create first --plugin {plugin}")
    said = []
    found = Bench(tmp_path, sizes=(16,))(plugins=(plugin,), pairs={"": 1}, budget=0.001, report=said.append)
    assert not found.of("first")
    assert any("semrsm-bench env create" in line and "first" in line for line in said)
    named = Bench(tmp_path, sizes=(16,))("first", plugins=(plugin,), pairs={"": 1}, fresh=True)
    assert [row["status"] for row in named.rows] == ["skipped"]


def test_a_solver_of_an_environment_does_not_run_in_this_process(plugin):
    sb.load_plugin(plugin)
    problem = sb.MatchingProblem(np.eye(3), np.eye(3))
    with pytest.raises(UnavailableError, match="env create first"):
        sb.solve(problem, "first")
    made_by_hand(("toy==1",), "1", "")
    with pytest.raises(UnavailableError, match="not in this process"):
        sb.solve(problem, "first")
    assert "first" not in sb.rsm_names()


def test_the_verb_makes_lists_and_removes(wheels, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOLVERS.replace("toy==1", "toy==1.5"))
    out = call("env", "create", "first", "--plugin", str(path))[0]
    assert "toy-1.5-" in out
    assert "made" in out
    known = json.loads(call("env", "list", "--plugin", str(path), "--json")[0])
    made = [e for e in known["environments"] if e["made"]]
    assert [(e["requirements"], e["solvers"]) for e in made] == [(["toy==1.5"], ["first", "greedy-there", "spoils"])]
    # Requirements that no solver has any more.
    (environments_folder() / "old-0").mkdir()
    assert "old-0" in call("env", "list", "--plugin", str(path))[0]
    call("env", "remove", "--all", "--plugin", str(path))
    assert [p for p in environments_folder().iterdir() if p.is_dir()] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create"], "name solvers, or give --all"),
        (["create", "scipy"], "no solver 'scipy' has an environment of its own"),
    ],
)
def test_the_verb_refuses(words, said):
    assert said in call("env", *words, code=2)[1]
