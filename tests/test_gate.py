"""The gate end to end, on the smallest problems; `test_gate_proof.py` is the long version."""

import re
import shutil

import pytest

from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.bench.gate.run import run_gate
from semrsm_bench.bench.gate.sides import Repository, SideError
from tests.gate_repository import (
    DYING,
    HANGING,
    MISSING,
    NEW,
    OLD_PACKAGE,
    REMOVED,
    SLOWER,
    WORSE,
    ThrowAway,
    git,
    texts_of,
)

SMALL = ("--solvers", "batch-optimal-128,identity", "--sizes", "64", "--centrings", "none", "--pairs", "3")

SMALLEST = GateOptions(methods=("identity",), sizes=(64,), centrings=("none",), pairs=1)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield ThrowAway(folder / "repository")


@pytest.mark.parametrize(
    ("tag", "change", "said"),
    [
        ("slower", SLOWER.format(name="batch-optimal-128", times=4), "time relative to the reference kernel rose from"),
        ("worse", WORSE.format(name="batch-optimal-128", share=0.05, every=1), "chance-corrected quality fell from"),
    ],
)
def test_what_got_worse_is_measured_again_fails_and_is_said(repository, tag, change, said):
    repository.change(tag, change)
    code, report = repository.gate("base", tag, *SMALL)
    assert code == 1
    assert f"batch-optimal-128 at S=64 (none): {said}" in " ".join(texts_of(report, "regression"))
    assert {c["solver"]: c["attempts"] > 1 for c in report["cells"]}["batch-optimal-128"]


def test_no_change_passes_at_a_detached_head_and_a_dirty_tree_is_no_part_of_it(repository):
    git(repository.folder, "checkout", "--quiet", "--detach", "base")
    changed = repository.folder / "semrsm_bench" / "__init__.py"
    text = changed.read_text()
    changed.write_text("def\n")
    code, report = repository.gate("base", "HEAD", *SMALL)
    changed.write_text(text)
    assert (code, report["findings"]) == (0, [])
    assert report["verdict"].startswith("PASS")
    assert ["uncommitted changes" in notice for notice in report["notices"]] == [True]
    assert all(cell["base"]["chance_corrected"] == cell["head"]["chance_corrected"] for cell in report["cells"])


def test_a_base_from_before_the_registries_of_all_kinds_is_measured(repository):
    repository.change("old", edits={"semrsm_bench/__init__.py": OLD_PACKAGE})
    _, report = repository.gate("old", "base", "--solvers", "identity,greedy,ortools", *SMALL[2:])
    sides = {c["solver"]: (c["base"], c["head"]) for c in report["cells"]}
    assert {name: [side["status"] for side in both] for name, both in sides.items()} == {
        "identity": ["ok", "ok"],
        "greedy": ["ok", "ok"],
        "ortools": ["absent", "ok"],
    }
    assert sides["identity"][0]["quality"] == sides["identity"][1]["quality"]
    assert sides["greedy"][0]["chance_corrected"] < sides["greedy"][1]["chance_corrected"]
    assert all(seconds > 0 for both in sides.values() for side in both for seconds in side["relative"])


def test_new_removed_and_unavailable_solvers(repository):
    repository.change("new", NEW.format(kind="approximate"))
    code, report = repository.gate("base", "new", "--solvers", "identity,reverse", *SMALL[2:])
    assert code == 0
    assert "reverse at S=64 (none): new, quality" in texts_of(report, "note")[0]
    for change, tag, text in ((REMOVED, "removed", "removed"), (MISSING, "missing", "no_such_library")):
        repository.change(tag, change.format(name="batch-optimal-128"))
        code, report = repository.gate("base", tag, *SMALL)
        assert (code, text in texts_of(report, "regression")[0]) == (1, True)
    code, report = repository.gate("base", "removed", "--allow-missing", "batch-optimal-128", *SMALL)
    assert (code, report["limits"]["missing"]) == (0, ["batch-optimal-128"])
    assert "removed" in texts_of(report, "note")[0]


def test_a_solver_that_dies_costs_its_own_cells_only(repository):
    repository.change("dying", DYING.format(name="batch-optimal-128"))
    code, report = repository.gate("base", "dying", *SMALL)
    assert code == 3
    assert "exited with code 11" in texts_of(report, "failure")[0]
    assert {c["solver"]: c["head"]["status"] for c in report["cells"]} == {
        "batch-optimal-128": "crashed",
        "identity": "ok",
    }


@pytest.mark.slow  # the first call of a solver may compile for minutes before it counts as hanging
def test_a_solver_that_hangs(repository):
    repository.change("hanging", HANGING.format(name="batch-optimal-128"))
    code, report = repository.gate("base", "hanging", "--deadline", "2", *SMALL)
    assert code == 1
    assert "no longer finishes" in texts_of(report, "regression")[0]


def test_sides_that_do_not_import(repository):
    repository.change("broken", edits={"semrsm_bench/solvers/norm_order.py": "def\n"})
    code, report = repository.gate("broken", "base", "--allow-broken-base", *SMALL)
    assert code == 0
    assert "the base cannot be measured" in report["notices"][0]
    assert all(cell["head"]["status"] == "ok" for cell in report["cells"])
    code, message = repository.gate("base", "broken", *SMALL)
    assert code == 3
    assert "the head cannot be measured" in message
    assert "SyntaxError" in message


def test_a_commit_without_the_package_is_not_measured_with_another_ones(repository):
    git(repository.folder, "checkout", "--quiet", "--detach", "base")
    git(repository.folder, "rm", "-r", "--quiet", "semrsm_bench")
    git(repository.folder, "commit", "--quiet", "--message", "without")
    git(repository.folder, "tag", "without")
    git(repository.folder, "checkout", "--quiet", "--detach", "base")
    code, report = repository.gate("without", "base", *SMALL)
    assert code == 4
    assert "it has no folder semrsm_bench" in report["notices"][0]
    assert {cell["base"]["status"] for cell in report["cells"]} == {"absent"}
    with pytest.raises(SideError, match="it has no folder semrsm_bench"):
        run_gate("base", "without", SMALLEST, folder=repository.folder, quiet=True)


def test_wrong_use(repository, tmp_path):
    code, message = repository.gate("base", "base", "--sizes", "77")
    assert (code, "no layer with S = 77" in message) == (2, True)
    for base, folder, expected in (
        ("nowhere", repository.folder, "no commit 'nowhere' in .*; fetch it first"),
        ("base", tmp_path, "not inside a git repository"),
    ):
        with pytest.raises(ValueError, match=expected):
            run_gate(base, "base", SMALLEST, folder=folder)


def test_a_clone_is_told_what_it_lacks(repository, tmp_path):
    origin = f"file://{repository.folder}"
    git(repository.folder, "branch", "--force", "aside", "base")
    git(tmp_path, "clone", "--quiet", "--depth", "1", "--branch", "aside", origin, "shallow")
    git(tmp_path, "clone", "--quiet", "--branch", "aside", origin, "whole")
    git(repository.folder, "branch", "--force", "other", "base")
    git(tmp_path / "whole", "fetch", "--quiet")
    for folder, revision, expected in (
        ("shallow", "HEAD~1", "this clone is shallow: fetch its history"),
        ("whole", "other", "did you mean 'origin/other'?"),
    ):
        with pytest.raises(ValueError, match=re.escape(expected)):
            run_gate(revision, "HEAD", SMALLEST, folder=tmp_path / folder)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {git} -c safe.directory= $@", "config --global --add safe.directory"),
        ("echo broken index >&2; exit 128", "git cannot read .*: broken index"),
        (None, "git cannot be started"),
    ],
)
def test_a_git_that_refuses_is_quoted(repository, tmp_path, monkeypatch, script, expected):
    """The git that the gate finds is this script, or none."""
    if script:
        fake = tmp_path / "git"
        variables = "GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null"
        fake.write_text(f"#!/bin/sh\nexport {variables}\n{script.format(git=shutil.which('git'))}\n")
        fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=expected):
        run_gate("base", "base", SMALLEST, folder=repository.folder)


def test_a_repository_that_only_has_a_plugin(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    source = "import numpy as np\nimport semrsm_bench as sb\n\n\n@sb.register_solver('mine', kind='approximate')\n"
    source += "def mine(problem):\n    return np.argmax(problem.affinity, axis=1).argsort().argsort()\n"
    for name, body in (("first", None), ("second", source), ("third", source.replace("affinity", "affinity * 0"))):
        (folder / "README").write_text(name)
        if body:
            (folder / "solver.py").write_text(body)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", name)
        git(folder, "tag", name)
    options = ("--plugin", "solver.py", *SMALL[2:])
    gate = ThrowAway.gate
    there = type("Folder", (), {"folder": folder})()
    code, report = gate(there, "first", "second", *options)
    assert code == 0, report
    assert [c["solver"] for c in report["cells"]] == ["mine"]
    assert "new, quality" in texts_of(report, "note")[0]
    (folder / "new.py").write_text(source.replace("'mine'", "'new'"))
    found, words = gate(there, "second", "third", "--plugin", "new.py", *SMALL[2:])
    assert (found, "plugin new.py is in neither commit: commit it" in words) == (2, True), words
    code, report = gate(there, "second", "third", *options)
    assert code == 1
    assert "chance-corrected quality fell" in texts_of(report, "regression")[0]


def test_commits_are_kept_elsewhere_where_the_cache_cannot_be_written(repository, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    made = Repository(repository.folder)
    with pytest.warns(RuntimeWarning, match="the gate keeps its trees in"):
        tree = made.export(made.commit("HEAD"))
    assert tree.is_relative_to(tmp_path / "temporary")
    assert (tree / "semrsm_bench" / "__init__.py").is_file()
