"""Commits as folders: exported once, kept by the hash of their tree, with an interpreter that fits their requirements."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semrsm_bench.activations.locate import user_cache_folder
from semrsm_bench.bench.environment import git, package_folder
from semrsm_bench.bench.gate.side import SideError
from semrsm_bench.bench.process import WorkerSetup
from semrsm_bench.core.files import explain, temporary_folder

_KEPT_TREES = 8


class Repository:
    """A git repository, read only.

    Parameters
    ----------
    folder : Path
        Anywhere inside it.

    Raises
    ------
    ValueError
        It is none, git refuses to read it, or there is no git.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.root = Path(git(folder, "rev-parse", "--show-toplevel").decode().strip())
        except OSError as error:
            raise ValueError(f"git cannot be started ({error}); the gate reads both commits with it") from None
        except subprocess.CalledProcessError as error:
            raise ValueError(_why_unreadable(folder, error.stderr.decode(errors="replace"))) from None

    def git(self, *arguments: str) -> bytes:
        """Output of a git command.

        Raises
        ------
        ValueError
            It failed; the message ends with git's own.
        """
        try:
            return git(self.folder, *arguments)
        except subprocess.CalledProcessError as error:
            why = error.stderr.decode(errors="replace").strip() or f"exit code {error.returncode}"
            raise ValueError(f"git {arguments[0]} failed in {self.root}: {why}") from None

    def commit(self, revision: str) -> str:
        """Full hash of a revision.

        Raises
        ------
        ValueError
            There is no such commit; the message says what may help.
        """
        if found := self._hash(revision):
            return found
        hint = "fetch it first, or give a branch, tag or hash that `git log` knows"
        if self._hash(f"origin/{revision}"):
            hint = f"did you mean 'origin/{revision}'?"
        elif self.git("rev-parse", "--is-shallow-repository").strip() == b"true":
            hint = "this clone is shallow: fetch its history (fetch-depth: 0 in a workflow)"
        raise ValueError(f"there is no commit {revision!r} in {self.root}; {hint}")

    def _hash(self, revision: str) -> str:
        """Full hash of a revision; "" where there is no such commit."""
        try:
            found = self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except ValueError:
            return ""
        return found.decode().strip()

    @property
    def dirty(self) -> bool:
        """Whether files that git tracks were changed since the last commit."""
        return bool(self.git("status", "--porcelain", "--untracked-files=no"))

    def export(self, commit: str) -> Path:
        """Folder with the files of a commit, without ``data/``: both sides are measured on the same data.

        Compiled kernels stay in it, so that a commit compiles once, however often it is measured.
        """
        tree = self.git("rev-parse", f"{commit}^{{tree}}").decode().strip()
        folder = _kept("trees") / tree
        if folder.is_dir():
            os.utime(folder)
            return folder
        packed = self.git("archive", "--format=tar", commit)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as partial:
            target = Path(partial) / "tree"
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                wanted = [m for m in archive.getmembers() if not m.name.startswith("data/")]
                archive.extractall(target, members=wanted, filter="data")
            target.mkdir(exist_ok=True)  # of a commit without files
            try:
                target.rename(folder)
            except OSError:
                if not folder.is_dir():  # another gate was faster
                    raise
        trees = sorted((p for p in folder.parent.glob("[!.]*")), key=lambda p: p.stat().st_mtime)
        for old in trees[:-_KEPT_TREES]:
            shutil.rmtree(old, ignore_errors=True)
        return folder


def _kept(what: str) -> Path:
    """The folder of what a later gate can use again: in the user's cache, or a temporary one, with a warning, where it cannot be
    written.
    """
    folder = user_cache_folder() / "gate" / what
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        instead = temporary_folder("gate")
        warnings.warn(
            f"{explain(error)}; the gate keeps its {what} in {instead}, where they may not stay",
            RuntimeWarning,
            stacklevel=3,
        )
    (instead / what).mkdir(exist_ok=True)
    return instead / what


def _why_unreadable(folder: Path, stderr: str) -> str:
    if "dubious ownership" in stderr:
        place = re.search(r"repository at '(.*)'", stderr)
        return (
            f"git does not read {folder}: another user owns it. If you trust its content, allow it with: "
            f"git config --global --add safe.directory {place[1] if place else folder.resolve()}"
        )
    if "not a git repository" in stderr:
        return f"{folder} is not inside a git repository; the gate compares two commits of one"
    return f"git cannot read {folder}: {stderr.strip()}"


def prepare(
    repository: Repository, revision: str, *, plugins: Sequence[Path], isolated: bool, own: bool, core: int | None
) -> WorkerSetup:
    """How the worker of a commit is started: its files exported, its interpreter there.

    Parameters
    ----------
    repository : Repository
    revision : str
    plugins : sequence of Path
        Files that register solvers; one inside the repository is taken from each commit, one outside serves both.
    isolated : bool
        Make a virtual environment with what the commit asks for, instead of using this interpreter.
    own : bool
        The repository is one of this package, and every commit must bring it.
    core : int or None
        The core that the worker is pinned to.

    Raises
    ------
    SideError
        The commit lacks the package, or its requirements cannot be installed.
    """
    tree = repository.export(repository.commit(revision))
    if own and not own_package(tree):
        raise SideError(f"the commit {revision} has no folder semrsm_bench, and the other one has")
    found = tuple(str(path) for p in plugins if (path := _plugin(repository, tree, p)) is not None)
    python = _isolated_python(tree) if isolated else sys.executable
    above = [p for p in (tree / "src",) if p.is_dir()]
    search = (tree,) if own else (*above, tree, package_folder().parent)
    return WorkerSetup(found, core, python, search, tree)


def own_package(tree: Path) -> bool:
    """Whether the commit is one of this package, and not of a repository that uses it."""
    return (tree / "semrsm_bench" / "__init__.py").is_file()


def _plugin(repository: Repository, tree: Path, plugin: Path) -> Path | None:
    path = plugin if plugin.is_absolute() else repository.folder / plugin
    try:
        inside = path.resolve().relative_to(repository.root.resolve())
    except ValueError:
        if not path.is_file():
            raise FileNotFoundError(f"plugin {plugin}: no such file") from None
        return path.resolve()
    found = tree / inside
    return found if found.is_file() else None


def _project(tree: Path) -> dict[str, Any]:
    """The commit's pyproject.toml; empty where there is none that can be read."""
    try:
        return tomllib.loads((tree / "pyproject.toml").read_text())
    except (OSError, ValueError):
        return {}


def settings_of(tree: Path) -> dict[str, Any]:
    """The commit's ``[tool.semrsm-bench.gate]`` in pyproject.toml; empty where there is none."""
    return dict(_project(tree).get("tool", {}).get("semrsm-bench", {}).get("gate", {}))


def requirements_of(tree: Path) -> str:
    """Digest of what a commit wants installed."""
    project = _project(tree).get("project", {})
    constraints = tree / "constraints.txt"
    wanted = [sorted(project.get("dependencies", [])), project.get("optional-dependencies", {}).get("lap", [])]
    pinned = constraints.read_text() if constraints.is_file() else ""
    return hashlib.sha256(f"{sys.version} {wanted} {pinned}".encode()).hexdigest()


def _isolated_python(tree: Path) -> str:
    """Interpreter of a virtual environment with the commit's requirements; made once for each set of them."""
    folder = _kept("environments") / requirements_of(tree)[:16]
    python = folder / "bin" / "python"
    if (folder / "ready").is_file():
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    constraints = ["-c", str(tree / "constraints.txt")] if (tree / "constraints.txt").is_file() else []
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *constraints, f"{tree}[lap]"],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise SideError(f"its requirements cannot be installed: {lines[-1] if lines else 'no message'}")
    (folder / "ready").touch()
    return str(python)
