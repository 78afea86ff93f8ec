"""A throw-away repository made of the project's own tree, and the changes that the gate is tried on."""

import contextlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.command_line import ended

CHECKOUT = Path(__file__).resolve().parent.parent
SOLVER_FILE = "semrsm_bench/solvers/norm_order.py"

# Appended to the module that registers a solver; then its function is called by another one, or the solver is changed.
WRAP = """

import dataclasses as _dataclasses
import functools as _functools

from semrsm_bench.solvers.registry import SOLVERS as _SOLVERS, get_solver as _get_solver


def _change(name, **fields):
    _SOLVERS._entries[name] = _dataclasses.replace(_get_solver(name), **fields)


def _wrap(name, around):
    old = _get_solver(name).function
    _change(name, function=_functools.wraps(old)(_functools.partial(around, old)))


def _times(count, solve, problem, options):
    return [solve(problem, **options) for _ in range(count)][-1]


_CALLS = []

"""
SLOWER = "_wrap({name!r}, lambda solve, problem, **options: _times({times}, solve, problem, options))\n"
# Slow on three calls of four: the least of several times would not see it.
MOSTLY_SLOWER = """
def _mostly_slower(solve, problem, **options):
    _CALLS.append(0)
    return _times(4 if len(_CALLS) % 4 else 1, solve, problem, options)


_wrap({name!r}, _mostly_slower)
"""
# The share of positions that no longer get what was found for them: c falls by about as much.
WORSE = """
def _worse(solve, problem, **options):
    perm = np.array(solve(problem, **options))
    _CALLS.append(0)
    if len(_CALLS) % {every} == 0:
        chosen = np.random.default_rng(0).permutation(len(perm))[: max(2, round({share} * len(perm)))]
        perm[chosen] = np.roll(perm[chosen], 1)
    return perm


_wrap({name!r}, _worse)
"""
HANGING = "_wrap({name!r}, lambda *given, **options: __import__('time').sleep(3600))\n"
DYING = "_wrap({name!r}, lambda *given, **options: __import__('os')._exit(11))\n"
MISSING = "_change({name!r}, requires=('no_such_library',))\n"
REMOVED = "_SOLVERS.forget({name!r})\n"
NEW = '''
@register_solver("reverse", kind="approximate")
def reverse(problem):
    """Last with first."""
    return np.arange(problem.size)[::-1]
'''

# All that the gate and the benchmarks may ask of a commit's package, as packages before the registries of all kinds had it.
OLD_PACKAGE = '''"""A package with these public names and nothing else."""

from functools import cached_property

import numpy as np


class MatchingProblem:
    def __init__(self, x, y):
        self.x, self.y, self.size = np.asarray(x), np.asarray(y), len(x)

    @property
    def has_affinity(self):
        return "affinity" in vars(self)

    @cached_property
    def affinity(self):
        return self.x @ self.y.T


class Solver:
    kind, options, matrix_free, reason, max_size = "approximate", {}, False, "", None

    def __init__(self, name, function, **facts):
        vars(self).update(name=name, function=function, **facts)


_SOLVERS = {
    "identity": Solver("identity", lambda problem: np.arange(problem.size), kind="baseline", matrix_free=True),
    "greedy": Solver("greedy", lambda problem: problem.affinity.max(axis=1).argsort().argsort()),
}


def get_solver(name):
    return _SOLVERS[name]


def solver_names():
    return list(_SOLVERS)


def load_plugin(path):
    return []
'''


def git(folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


class Repository:
    """An empty repository in a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        git(self.folder, "init", "--quiet", "--initial-branch=main")

    def commit(self, tag, files=None):
        """Commit the folder as it stands, with these files written, under a tag."""
        for name, content in (files or {}).items():
            (self.folder / name).write_text(content)
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", tag)
        git(self.folder, "tag", tag)

    def gate(self, base, head, *options):
        """Exit code and report of the gate, called in the folder; what it says on standard error where there is no report."""
        with contextlib.chdir(self.folder):
            code, out, err = ended("gate", base, head, "--json", "--quiet", *options)
        return code, json.loads(out) if out.startswith("{") else err


class ThrowAway(Repository):
    """A repository whose first commit, "base", is the project as it stands."""

    def __init__(self, folder):
        super().__init__(folder)
        skip = shutil.ignore_patterns("__pycache__", "mini")
        for name in ("semrsm_bench", "benchmarks"):
            shutil.copytree(CHECKOUT / name, self.folder / name, ignore=skip)
        for name in ("pyproject.toml", "asv.conf.json", "constraints.txt", "README.md", "LICENSE"):
            shutil.copy(CHECKOUT / name, self.folder / name)
        self.commit("base")

    def change(self, tag, appended="", edits=None):
        """Commit the base with something appended to the solvers' module, or files rewritten, under a tag."""
        git(self.folder, "checkout", "--quiet", "--detach", "base")
        if appended:
            edits = {SOLVER_FILE: (self.folder / SOLVER_FILE).read_text() + WRAP + appended}
        self.commit(tag, edits)
        git(self.folder, "checkout", "--quiet", "--detach", "base")

    def with_solver_in_the_middle(self, tag):
        """Commit a new solver between those that are there, in the registry and in the benchmarks' list."""
        modules = (self.folder / "semrsm_bench/solvers/registry.py").read_text()
        listed = (self.folder / "benchmarks/common.py").read_text()
        new = "import numpy as np\nfrom semrsm_bench.solvers.registry import register_solver\n"
        edits = {
            "semrsm_bench/solvers/middle.py": new + NEW,
            "semrsm_bench/solvers/registry.py": modules.replace('"norm_order"', '"middle", "norm_order"', 1),
            "benchmarks/common.py": re.sub(r'"greedy"', '"reverse", "greedy"', listed, count=1),
        }
        self.change(tag, edits=edits)


def texts_of(report, severity):
    """Texts of the findings of one severity."""
    return [f["text"] for f in report["findings"] if f["severity"] == severity]
