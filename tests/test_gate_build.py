"""`gate --build`: a solver whose work is done by C, the same Python file in all commits."""

import pytest

from semrsm_bench.bench.gate.sides import Repository as Sides
from semrsm_bench.bench.gate.sides import build
from tests.command_line import ended
from tests.gate_repository import Repository, texts_of

SOLVER = '''
import ctypes
from pathlib import Path

import numpy as np
import semrsm_bench as sb

order = ctypes.CDLL(str(Path(__file__).with_name("order.so"))).order


@sb.register_solver("compiled", kind="approximate")
def compiled(problem):
    """The best column for each row that is still free, or what C says."""
    affinity, free, perm = problem.affinity, np.ones(problem.size, bool), np.empty(problem.size, np.intp)
    for row in range(problem.size):
        perm[row] = np.argmax(np.where(free, order(1) * affinity[row], -np.inf))
        free[perm[row]] = False
    return perm
'''
BUILD = "cc -shared -fPIC -o order.so order.c && echo built >> {log}"
SMALL = ("--plugin", "solver.py", "--sizes", "64", "--centrings", "none", "--pairs", "2")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        made = Repository(folder / "repository")
        made.commit("good", {"solver.py": SOLVER, "order.c": "int order(int x) { return x; }\n"})
        made.commit("worst", {"order.c": "int order(int x) { return -x; }\n"})
        made.commit("broken", {"order.c": "int order(int x) { return y; }\n"})
        yield made


def test_each_side_is_built_from_its_own_source_once(repository, tmp_path):
    command = BUILD.format(log=tmp_path / "log")
    code, report = repository.gate("good", "worst", "--build", command, *SMALL)
    assert code == 1, report
    assert "compiled at S=64 (none): chance-corrected quality fell from" in texts_of(report, "regression")[0]
    made = Sides(repository.folder)
    for tag in ("good", "worst"):
        tree = made.export(made.commit(tag), command)
        build(tree, command)
        assert (tree / "order.so").is_file()
        assert not (made.export(made.commit(tag)) / "order.so").exists()
    assert (tmp_path / "log").read_text() == "built\n" * 2


def test_a_build_that_fails_is_said_with_its_last_lines(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository.folder)
    command = BUILD.format(log=tmp_path / "log")
    code, _, said = ended("gate", "good", "broken", "--build", command, "--summary", str(tmp_path / "gate.md"), *SMALL)
    assert code == 3
    for text in (said, (tmp_path / "gate.md").read_text()):
        assert f"the head cannot be measured: its build failed with exit code 1: {command}" in text
        assert "'y' undeclared" in text or "‘y’ undeclared" in text
    code, report = repository.gate("broken", "good", "--build", command, *SMALL)
    assert code == 4
    assert "the base cannot be measured: its build failed" in report["notices"][0]
