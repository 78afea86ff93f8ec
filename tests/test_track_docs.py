"""The page for maintainers of other repositories, followed in one; its commands run in tests/test_docs_commands.py."""

import os
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml

from tests.docs_commands import tools
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


def test_the_workflow_passes_a_commit_that_changes_nothing(repository, tmp_path):
    # The smallest size says as much about the page and takes a tenth of the time.
    (line,) = re.findall(r"run: (semrsm-bench gate .*)", blocks("yaml")[1])
    line = line.replace("--sizes 64,256,1024", "--sizes 64").replace("gate.md", str(tmp_path / "gate.md"))
    done = run(repository, line, BASE="main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
    assert "| row-by-row | 64 | none |" in (tmp_path / "gate.md").read_text()


def test_the_action_fails_a_worse_commit_and_says_so_in_the_summary(repository, tmp_path):
    """The steps of action.yml in a shell, with what its expressions stand for."""
    action = yaml.safe_load((CHECKOUT / "action.yml").read_text())
    used = yaml.safe_load(blocks("yaml")[0])["jobs"]["gate"]["steps"][-1]["with"]
    inputs = {name: entry.get("default", "") for name, entry in action["inputs"].items()} | used
    values = {f"inputs.{name}": str(value) for name, value in inputs.items()} | {"runner.temp": str(tmp_path)}
    values |= {"inputs.base || github.event.pull_request.base.sha || github.event.before": "main", "inputs.sizes": "64"}
    values |= {"inputs.arguments": "--pairs 3 --quiet", "steps.gate.outputs.summary": str(tmp_path / "gate.md")}
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    environment = {**os.environ, **files, "GITHUB_ACTION_PATH": str(CHECKOUT), "PYTHONPATH": str(CHECKOUT)}
    environment["PATH"] = f"{tools(tmp_path)}:{environment['PATH']}"
    git(repository, "checkout", "--quiet", "worse")
    codes = []
    for step in action["runs"]["steps"][1:3]:
        given = {k: re.sub(r"\$\{\{ (.*?) \}\}", lambda m: values[m[1]], v) for k, v in step["env"].items()}
        shell = ["bash", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(shell, cwd=repository, env=environment | given, capture_output=True, text=True)
        codes.append(done.returncode)
    git(repository, "checkout", "--quiet", "main")
    assert codes == [1, 0], done.stdout + done.stderr
    summary = (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert summary.startswith("### Gate: FAIL: something got worse")
    assert "| row-by-row | 64 | none |" in summary
    assert (tmp_path / "GITHUB_OUTPUT").read_text() == f"summary={tmp_path / 'gate.md'}\n"


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
