"""Commits as folders: exported once, kept by the hash of their tree, with an interpreter that fits their requirements."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from semrsm_bench.activations.locate import user_cache_folder
from semrsm_bench.bench.environment import package_folder
from semrsm_bench.bench.gate.side import Commit, SideError

EnvironmentChoice = Literal["auto", "shared", "isolated"]
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
        It is not one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.root = Path(self.git("rev-parse", "--show-toplevel"))
        except (subprocess.CalledProcessError, OSError):
            raise ValueError(f"{folder} is not inside a git repository; the gate compares two commits of one") from None

    def git(self, *arguments: str) -> str:
        """Output of a git command."""
        return self._run(arguments).decode().strip()

    def _run(self, arguments: Sequence[str]) -> bytes:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, check=True, env=environment).stdout

    def commit(self, revision: str) -> str:
        """Full hash of a revision; a ValueError that helps where there is none."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except subprocess.CalledProcessError:
            shallow = self.git("rev-parse", "--is-shallow-repository") == "true"
            hint = "this clone is shallow: fetch its history (fetch-depth: 0 in a workflow)" if shallow else (
                "fetch it first, or give a branch, tag or hash that `git log` knows"
            )  # fmt: skip
            raise ValueError(f"there is no commit {revision!r} in {self.root}; {hint}") from None

    @property
    def dirty(self) -> bool:
        """Whether files that git tracks were changed since the last commit."""
        return bool(self.git("status", "--porcelain", "--untracked-files=no"))

    def export(self, commit: str) -> Path:
        """Folder with the files of a commit, without ``data/``: both sides are measured on the same data.

        Compiled kernels stay in it, so that a commit compiles once, however often it is measured.
        """
        tree = self.git("rev-parse", f"{commit}^{{tree}}")
        folder = user_cache_folder() / "gate" / "trees" / tree
        if folder.is_dir():
            os.utime(folder)
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        packed = self._run(["archive", "--format=tar", commit])
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as partial:
            target = Path(partial) / "tree"
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                wanted = [m for m in archive.getmembers() if not m.name.startswith("data/")]
                archive.extractall(target, members=wanted, filter="data")
            try:
                target.rename(folder)
            except OSError:
                if not folder.is_dir():  # another gate was faster
                    raise
        _prune(folder.parent)
        return folder


def _prune(folder: Path) -> None:
    """Keep the trees used last."""
    trees = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.stat().st_mtime)
    for old in trees[:-_KEPT_TREES]:
        shutil.rmtree(old, ignore_errors=True)


def prepare(repository: Repository, revision: str, label: str, plugins: Sequence[Path], isolated: bool) -> Commit:
    """One side, exported and with an interpreter.

    Parameters
    ----------
    repository : Repository
    revision : str
    label : str
        "base" or "head".
    plugins : sequence of Path
        Files that register solvers; one inside the repository is taken from each commit, one outside serves both.
    isolated : bool
        Make a virtual environment with what the commit asks for, instead of using this interpreter.

    Raises
    ------
    SideError
        Its requirements cannot be installed.
    """
    tree = repository.export(repository.commit(revision))
    found = tuple(path for path in (_plugin(repository, tree, p) for p in plugins) if path is not None)
    python = _isolated_python(tree, label) if isolated else sys.executable
    return Commit(label, tree, python, _search(tree), found)


def wants_isolation(repository: Repository, revisions: tuple[str, str], environment: EnvironmentChoice) -> bool:
    """Whether the sides get a virtual environment each: asked for, or because they want different packages ("auto")."""
    if environment != "auto":
        return environment == "isolated"
    trees = [repository.export(repository.commit(revision)) for revision in revisions]
    return own_package(trees[1]) and requirements_of(trees[0]) != requirements_of(trees[1])


def own_package(tree: Path) -> bool:
    """Whether the commit is one of this package, and not of a repository that uses it."""
    return (tree / "semrsm_bench" / "__init__.py").is_file()


def _search(tree: Path) -> tuple[Path, ...]:
    if own_package(tree):
        return (tree,)
    return (*([tree / "src"] if (tree / "src").is_dir() else []), tree, package_folder().parent)


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


def settings_of(tree: Path) -> dict[str, Any]:
    """The commit's ``[tool.semrsm-bench.gate]`` in pyproject.toml; empty where there is none."""
    try:
        content = tomllib.loads((tree / "pyproject.toml").read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    found = content.get("tool", {}).get("semrsm-bench", {}).get("gate", {})
    return dict(found)


def requirements_of(tree: Path) -> str:
    """Digest of what a commit wants installed."""
    try:
        project = tomllib.loads((tree / "pyproject.toml").read_text()).get("project", {})
    except (OSError, tomllib.TOMLDecodeError):
        project = {}
    constraints = tree / "constraints.txt"
    wanted = [sorted(project.get("dependencies", [])), project.get("optional-dependencies", {}).get("lap", [])]
    pinned = constraints.read_text() if constraints.is_file() else ""
    return hashlib.sha256(f"{sys.version} {wanted} {pinned}".encode()).hexdigest()


def _isolated_python(tree: Path, label: str) -> str:
    """Interpreter of a virtual environment with the commit's requirements; made once for each set of them."""
    folder = user_cache_folder() / "gate" / "environments" / requirements_of(tree)[:16]
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
            words = [line for line in done.stderr.splitlines() if line.strip()]
            raise SideError(f"{label} cannot be installed: {words[-1] if words else 'no message'}")
    (folder / "ready").touch()
    return str(python)
