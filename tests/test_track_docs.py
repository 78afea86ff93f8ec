"""The page for maintainers of other repositories, followed in one; its commands run in tests/test_docs_commands.py."""

import os
import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from tests.gate_repository import CHECKOUT, git

PAGE = (CHECKOUT / "docs" / "track-your-solver.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with the page's solver on main, and a branch on which it became worse."""
    folder = tmp_path_factory.mktemp("docs") / "mine"
    folder.mkdir()
    solver, *_ = blocks("python")
    (limits,) = blocks("toml")
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "bench_solver.py").write_text(solver)
    (folder / "pyproject.toml").write_text(limits)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "solver")
    git(folder, "checkout", "--quiet", "-b", "worse")
    (folder / "bench_solver.py").write_text(solver.replace("affinity[row], -np.inf", "np.zeros(problem.size), -np.inf"))
    git(folder, "commit", "--quiet", "--all", "--message", "worse")
    git(folder, "checkout", "--quiet", "main")
    return folder


def run(folder, line, **variables):
    """One line of shell, with the command line of this checkout."""
    tool = f"{shlex.quote(sys.executable)} -P -m semrsm_bench"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **variables}
    line = re.sub(r"^semrsm-bench", tool, line)
    return subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)


WORSE = "WORSE  row-by-row at S=64 (none): chance-corrected quality fell from"


@pytest.mark.parametrize(("branch", "code", "verdict"), [("main", 0, "PASS"), ("worse", 1, WORSE)])
def test_the_workflow_passes_a_commit_that_changes_nothing_and_fails_a_worse_one(
    repository, tmp_path, branch, code, verdict
):
    # The smallest size says as much about the page and takes a tenth of the time.
    (line,) = re.findall(r"run: (semrsm-bench gate .*)", blocks("yaml")[0])
    line = line.replace("--sizes 64,256,1024", "--sizes 64").replace("gate.md", str(tmp_path / "gate.md"))
    git(repository, "checkout", "--quiet", branch)
    done = run(repository, line, BASE="main")
    git(repository, "checkout", "--quiet", "main")
    assert done.returncode == code, done.stdout + done.stderr
    assert verdict in done.stdout
    assert "| row-by-row | 64 | none |" in (tmp_path / "gate.md").read_text()


def test_the_limits_are_read(repository):
    (limits,) = blocks("toml")
    assert tomllib.loads(limits)["tool"]["semrsm-bench"]["gate"]["solvers"]["row-by-row"]["time"] == 1.5
    (repository / "pyproject.toml").write_text(limits.replace("quality = 0.005", "quality = 0.9").replace("1.5", "99"))
    # On a branch of its own: other tests use "worse" as it is.
    git(repository, "checkout", "--quiet", "-b", "tolerant", "worse")
    git(repository, "commit", "--quiet", "--all", "--message", "tolerant")
    done = run(repository, "semrsm-bench gate main --plugin bench_solver.py --sizes 64 --quiet")
    git(repository, "checkout", "--quiet", "main")
    assert done.returncode == 0, done.stdout + done.stderr
