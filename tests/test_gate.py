"""The gate end to end, on the smallest problems; `test_gate_proof.py` is the long version."""

import os
import re
import shutil

import pytest

from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.bench.gate.run import run_gate
from semrsm_bench.bench.gate.sides import Repository, SideError
from tests import gate_repository
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

SMALL = ("--sizes", "64", "--centrings", "none", "--pairs", "3")
SOLVER = "batch-optimal-128"
TWO = ("--solvers", f"{SOLVER},identity", *SMALL)
SMALLEST = GateOptions(methods=("identity",), sizes=(64,), centrings=("none",), pairs=1)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield ThrowAway(folder / "repository")


@pytest.mark.parametrize(
    ("tag", "change", "code", "said"),
    [
        ("slower", SLOWER.format(name=SOLVER, times=4), 1, "time relative to the reference kernel rose from"),
        ("worse", WORSE.format(name=SOLVER, share=0.05, every=1), 1, "chance-corrected quality fell from"),
        ("removed", REMOVED.format(name=SOLVER), 1, "removed"),
        ("missing", MISSING.format(name=SOLVER), 1, "no_such_library"),
        ("dying", DYING.format(name=SOLVER), 3, "exited with code 11"),
        # Its first call may compile for minutes before it counts as hanging.
        pytest.param("hanging", HANGING.format(name=SOLVER), 1, "no longer finishes", marks=pytest.mark.slow),
    ],
)
def test_what_got_worse_fails_is_said_and_costs_its_cells_only(repository, tag, change, code, said):
    repository.change(tag, change)
    found, report = repository.gate("base", tag, "--deadline", "2" if tag == "hanging" else "60", *TWO)
    assert found == code, report
    (text,) = texts_of(report, "regression" if code == 1 else "failure")
    assert text.startswith(f"{SOLVER} at S=64 (none): ")
    assert said in text
    cells = {cell["solver"]: cell for cell in report["cells"]}
    assert (cells["identity"]["head"]["status"], cells["identity"]["base"]["status"]) == ("ok", "ok")
    assert (cells[SOLVER]["attempts"] > 1) == (tag in ("slower", "worse")), "what got worse is measured again"


def test_a_new_solver_and_one_that_may_be_missing_pass(repository):
    repository.change("new", NEW + REMOVED.format(name=SOLVER))
    options = ("--allow-missing", SOLVER, "--solvers", f"{SOLVER},reverse,identity", *SMALL)
    code, report = repository.gate("base", "new", *options)
    assert (code, report["limits"]["missing"]) == (0, [SOLVER])
    removed, new = sorted(texts_of(report, "note"))
    assert "removed" in removed
    assert "reverse at S=64 (none): new, quality" in new


def test_no_change_passes_at_a_detached_head_and_a_dirty_tree_is_no_part_of_it(repository):
    git(repository.folder, "checkout", "--quiet", "--detach", "base")
    changed = repository.folder / "semrsm_bench" / "__init__.py"
    text = changed.read_text()
    changed.write_text("def\n")
    code, report = repository.gate("base", "HEAD", *TWO)
    changed.write_text(text)
    assert (code, report["findings"]) == (0, [])
    assert report["verdict"].startswith("PASS")
    assert ["uncommitted changes" in notice for notice in report["notices"]] == [True]
    assert all(cell["base"]["chance_corrected"] == cell["head"]["chance_corrected"] for cell in report["cells"])


def test_a_base_from_before_the_registries_of_all_kinds_is_measured(repository):
    repository.change("old", edits={"semrsm_bench/__init__.py": OLD_PACKAGE})
    _, report = repository.gate("old", "base", "--solvers", "identity,greedy,ortools", *SMALL)
    sides = {c["solver"]: (c["base"], c["head"]) for c in report["cells"]}
    statuses = {name: base["status"] for name, (base, _) in sides.items()}
    assert statuses == {"identity": "ok", "greedy": "ok", "ortools": "absent"}
    assert {head["status"] for _, head in sides.values()} == {"ok"}
    assert sides["identity"][0]["quality"] == sides["identity"][1]["quality"]
    assert sides["greedy"][0]["chance_corrected"] < sides["greedy"][1]["chance_corrected"]
    assert all(seconds > 0 for both in sides.values() for side in both for seconds in side["relative"])


def test_a_side_that_does_not_import_or_lacks_the_package_is_not_measured_with_another_one(repository):
    repository.change("broken", edits={"semrsm_bench/solvers/norm_order.py": "def\n"})
    git(repository.folder, "rm", "-r", "--quiet", "semrsm_bench")
    repository.commit("without")
    git(repository.folder, "checkout", "--quiet", "--detach", "base")
    for tag, why in (("broken", "SyntaxError"), ("without", "it has no folder semrsm_bench")):
        with pytest.raises(SideError, match=why):
            run_gate("base", tag, SMALLEST, folder=repository.folder, quiet=True)
        report = run_gate(tag, "base", SMALLEST, folder=repository.folder, quiet=True)
        assert report.exit_code == 4
        assert "the base cannot be measured" in report.notices[0]
        assert why in report.notices[0]
        assert {(cell.base.status, cell.head.status) for cell in report.cells} == {("absent", "ok")}
    code, _ = repository.gate("broken", "base", "--allow-broken-base", *TWO)
    assert code == 0
    code, message = repository.gate("base", "broken", *TWO)
    assert (code, "the head cannot be measured" in message) == (3, True)


def test_a_revision_that_is_not_there_is_refused_with_what_to_do(repository, tmp_path):
    origin = f"file://{repository.folder}"
    git(repository.folder, "branch", "--force", "aside", "base")
    git(tmp_path, "clone", "--quiet", "--depth", "1", "--branch", "aside", origin, "shallow")
    git(tmp_path, "clone", "--quiet", "--branch", "aside", origin, "whole")
    git(repository.folder, "branch", "--force", "other", "base")
    git(tmp_path / "whole", "fetch", "--quiet")
    for folder, revision, expected in (
        (repository.folder, "nowhere", "no commit 'nowhere' in .*; fetch it first"),
        (tmp_path, "base", "not inside a git repository"),
        (tmp_path / "shallow", "HEAD~1", "this clone is shallow: fetch its history"),
        (tmp_path / "whole", "other", re.escape("did you mean 'origin/other'?")),
    ):
        with pytest.raises(ValueError, match=expected):
            Repository(folder).commit(revision)


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
        Repository(repository.folder)


def test_a_repository_that_only_has_a_plugin(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mine = gate_repository.Repository(tmp_path / "mine")
    source = "import numpy as np\nimport semrsm_bench as sb\n\n\n@sb.register_solver('mine', kind='approximate')\n"
    source += "def mine(problem):\n    return np.argmax(problem.affinity, axis=1).argsort().argsort()\n"
    mine.commit("first")
    mine.commit("second", {"solver.py": source})
    mine.commit("third", {"solver.py": source.replace("affinity", "affinity * 0")})
    options = ("--plugin", "solver.py", *SMALL)
    code, report = mine.gate("first", "second", *options)
    assert code == 0, report
    assert [c["solver"] for c in report["cells"]] == ["mine"]
    assert "new, quality" in texts_of(report, "note")[0]
    (mine.folder / "new.py").write_text(source.replace("'mine'", "'new'"))
    found, words = mine.gate("second", "third", "--plugin", "new.py", *SMALL)
    assert (found, "plugin new.py is in neither commit: commit it" in words) == (2, True), words
    code, report = mine.gate("second", "third", *options)
    assert code == 1
    assert "chance-corrected quality fell" in texts_of(report, "regression")[0]


def test_the_trees_that_were_used_last_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = gate_repository.Repository(tmp_path / "small")
    (made.folder / "data").mkdir()
    repository, trees = Repository(made.folder), []
    for i in range(9):
        made.commit(f"tag-{i}", {"file": str(i), "data/x": "in no export"})
        trees.append(repository.export(repository.commit("HEAD")))
        os.utime(trees[-1], (i, i))
    assert [tree.is_dir() for tree in trees] == [False] + [True] * 8
    assert [(tree / "file").read_text() for tree in trees[1:]] == [str(i) for i in range(1, 9)]
    assert not any((tree / "data" / "x").exists() for tree in trees)
    assert repository.export(repository.commit("tag-1")) == trees[1]
    repository.export(repository.commit("tag-0"))
    assert [tree.is_dir() for tree in trees] == [True, True, False] + [True] * 6


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
