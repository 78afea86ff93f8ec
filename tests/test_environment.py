"""What a run records of the machine, the libraries and the code, and what it leaves out."""

import fcntl
import json
import os
import subprocess

import pytest

from semrsm_bench.bench import environment as env
from semrsm_bench.bench.pool import claimed_core
from semrsm_bench.bench.results import IDENTITY
from semrsm_bench.core.method import Declaration
from semrsm_bench.solvers import get_solver, solver_names


def test_everything_that_figures_depend_on_is_there_and_is_json():
    declared = [get_solver(name).declare() for name in solver_names()]
    found = env.describe_environment([("tiny", "ab" * 32)], methods=declared)
    assert set(IDENTITY) <= set(found)
    assert {"started", "threads", "memory_bytes", "packages", "commit", "dirty"} <= set(found)
    assert json.loads(json.dumps(found)) == found
    assert found["cpu"]["logical"] >= found["cpu"]["cores"] >= 1
    assert found["packages"]["numpy"]
    assert list(found["methods"]) == [f"solver:{name}" for name in solver_names()]
    assert found["methods"]["solver:scipy"]["category"] == "exact"
    assert found["data"] == [{"name": "tiny", "sha256": "ab" * 32}]


def test_options_that_json_does_not_know_are_described():
    odd = Declaration("solver", "odd", options={"key": object(), "far": 10**5000, "nan": float("nan")})
    text = json.dumps(env.describe_environment(methods=[odd]), allow_nan=False)
    assert "an integer of" in text


def test_plugins_are_named_by_their_content(tmp_path):
    plugin = tmp_path / "mine.py"
    found = []
    for text in ("a = 1", "a = 2", "a = 1"):
        plugin.write_text(text)
        found += env.describe_environment(plugins=[plugin])["plugins"]
    assert {entry["name"] for entry in found} == {"mine.py"}
    assert found[0] == found[2] != found[1]


@pytest.fixture
def checkout(tmp_path):
    """A package in a repository with one commit, with another file beside it."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (tmp_path / "data.txt").write_text("1")
    who = ("-c", "user.email=author@example.org", "-c", "user.name=Author")
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)
    return package


@pytest.mark.parametrize(
    ("file", "dirty"), [("", False), ("notes.txt", False), ("package/new.py", True), ("data.txt", True)]
)
def test_the_commit_and_whether_it_was_changed(checkout, monkeypatch, file, dirty):
    """Files that lie beside the package and are not tracked do not count; nor do the variables of a git hook."""
    commit, _ = env.commit_of(checkout)
    if file:
        (checkout.parent / file).write_text("2")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert env.commit_of(checkout) == (commit, dirty)
    assert len(commit) == 40


def test_a_package_that_the_checkout_does_not_track_has_no_commit(checkout, tmp_path_factory):
    installed = checkout.parent / "venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert env.commit_of(installed) == env.commit_of(tmp_path_factory.mktemp("outside")) == (None, None)


def test_a_core_is_claimed_and_given_back(tmp_path):
    allowed = os.sched_getaffinity(0)
    for _ in range(2):
        with claimed_core(tmp_path) as core:
            assert core == max(allowed)
            assert os.sched_getaffinity(0) == ((allowed - {core}) or allowed)
        assert os.sched_getaffinity(0) == allowed


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot be shared out")
def test_a_second_run_takes_another_core(tmp_path):
    allowed = sorted(os.sched_getaffinity(0))
    with (tmp_path / f"core-{allowed[-1]}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with claimed_core(tmp_path) as core:
            assert core == allowed[-2]
