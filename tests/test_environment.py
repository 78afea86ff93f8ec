"""What a run records of the machine, the libraries and the code, and what it leaves out."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from semrsm_bench.bench import environment as env
from semrsm_bench.bench.pool import claimed_core
from semrsm_bench.bench.results import IDENTITY, SessionOptions, open_run
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


def test_it_does_not_tell_whose_machine_it_is():
    text = json.dumps(env.describe_environment())
    for secret in (os.uname().nodename, str(Path.home()), str(env.package_folder()), os.environ.get("USER", "")):
        assert len(secret) < 4 or secret not in text
    assert "/lib" not in text


@pytest.mark.parametrize("key", list(env.describe_environment()))
def test_rows_of_two_sessions_stand_in_one_run_if_the_place_is_the_same(tmp_path, key):
    session = SessionOptions(tmp_path, "mine")
    for _ in range(2):
        with open_run(session, {"profile": "quick"}, env.describe_environment()):
            pass
    # Code, libraries and data are in the rows' own keys; when it was is no part of the place.
    elsewhere = {**env.describe_environment(), key: "other"}
    if key not in ("cpu", "os", "python", "blas"):
        with open_run(session, {"profile": "quick"}, elsewhere):
            return
    with pytest.raises(ValueError, match=f"these differ from when it was started: {key};"):
        open_run(session, {"profile": "quick"}, elsewhere)


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
    def git(*arguments):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (tmp_path / "data.txt").write_text("1")
    git("init", "-q")
    git("config", "user.email", "nobody@example.org")
    git("config", "user.name", "Nobody")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return package


def test_the_commit_and_whether_it_was_changed(checkout):
    commit, dirty = env.commit_of(checkout)
    assert len(commit) == 40
    assert dirty is False
    (checkout.parent / "notes.txt").write_text("lies beside the package")
    assert env.commit_of(checkout) == (commit, False)
    (checkout / "new.py").write_text("")
    assert env.commit_of(checkout) == (commit, True)
    (checkout / "new.py").unlink()
    (checkout.parent / "data.txt").write_text("2")
    assert env.commit_of(checkout) == (commit, True)


def test_a_package_that_the_checkout_does_not_track_has_no_commit(checkout, tmp_path_factory):
    installed = checkout.parent / "venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert env.commit_of(installed) == (None, None)
    outside = tmp_path_factory.mktemp("outside")
    assert env.commit_of(outside) == (None, None)


def test_variables_of_a_git_hook_do_not_mislead(checkout, monkeypatch):
    commit, _ = env.commit_of(checkout)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert env.commit_of(checkout)[0] == commit


def test_a_core_is_claimed_once_and_given_back(tmp_path):
    allowed = os.sched_getaffinity(0)
    with claimed_core(tmp_path) as first:
        assert first == max(allowed)
        assert os.sched_getaffinity(0) == ((allowed - {first}) or allowed)
    assert os.sched_getaffinity(0) == allowed
    with claimed_core(tmp_path) as again:
        assert again == first


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot be shared out")
def test_a_second_run_takes_another_core(tmp_path):
    import fcntl

    allowed = sorted(os.sched_getaffinity(0))
    with (tmp_path / f"core-{allowed[-1]}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with claimed_core(tmp_path) as core:
            assert core == allowed[-2]
