"""Commits as sides of the gate: exported once, kept by the hash of their tree, each measured in its worker process."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from semrsm_bench.bench.environment import git, package_folder
from semrsm_bench.bench.pool import Observer, Scratch
from semrsm_bench.bench.process import CallLimits, Reply, WorkerProcess, WorkerSetup
from semrsm_bench.core.files import MachineError, explain, temporary_folder, user_cache_folder
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Arrays

_KEPT_TREES = 8
_BUILT, _LINES_OF_BUILD = ".semrsm-bench-built", 10
_REFERENCE_SECONDS, _DESCRIBE_SECONDS = 60.0, 120.0


class SideError(RuntimeError):
    """The side cannot be measured at all, as when its package does not import."""


class Repository:
    """The git repository around a folder, read only. ValueError where there is none, git refuses to read it, or there is no git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.root = Path(git(folder, "rev-parse", "--show-toplevel").decode().strip())
        except OSError as error:
            raise ValueError(f"git cannot be started ({error}); the gate reads both commits with it") from None
        except subprocess.CalledProcessError as error:
            stderr = error.stderr.decode(errors="replace").strip()
            if "dubious ownership" in stderr:
                place = re.search(r"repository at '(.*)'", stderr)
                why = (
                    f"git does not read {folder}: another user owns it. If you trust its content, allow it with: "
                    f"git config --global --add safe.directory {place[1] if place else folder.resolve()}"
                )
            elif "not a git repository" in stderr:
                why = f"{folder} is not inside a git repository; the gate compares two commits of one"
            else:
                why = f"git cannot read {folder}: {stderr}"
            raise ValueError(why) from None

    def _git(self, *arguments: str) -> bytes:
        try:
            return git(self.folder, *arguments)
        except subprocess.CalledProcessError as error:
            why = error.stderr.decode(errors="replace").strip() or f"exit code {error.returncode}"
            raise ValueError(f"git {arguments[0]} failed in {self.root}: {why}") from None

    def commit(self, revision: str) -> str:
        """Full hash of a revision; ValueError with a hint where there is no such commit."""
        if found := self._hash(revision):
            return found
        hint = "fetch it first, or give a branch, tag or hash that `git log` knows"
        if self._hash(f"origin/{revision}"):
            hint = f"did you mean 'origin/{revision}'?"
        elif self._git("rev-parse", "--is-shallow-repository").strip() == b"true":
            hint = "this clone is shallow: fetch its history (fetch-depth: 0 in a workflow)"
        raise ValueError(f"there is no commit {revision!r} in {self.root}; {hint}")

    def _hash(self, revision: str) -> str:
        try:
            found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except ValueError:
            return ""
        return found.decode().strip()

    @property
    def dirty(self) -> bool:
        """Whether files that git tracks were changed since the last commit."""
        return bool(self._git("status", "--porcelain", "--untracked-files=no"))

    def export(self, commit: str, command: str | None = None) -> Path:
        """Folder with the files of a commit, without ``data/``: both sides are measured on the same data.

        Compiled kernels stay in it, so that a commit compiles once, however often it is measured; what `build` makes in it is of
        one command.
        """
        tree = self._git("rev-parse", f"{commit}^{{tree}}").decode().strip()
        name = f"{tree}-{hashlib.sha256(f'{sys.version} {command}'.encode()).hexdigest()[:8]}" if command else tree
        folder = _kept("trees") / name
        if folder.is_dir():
            os.utime(folder)
            return folder
        # A commit's archive has a header that tarfile does not read alone.
        packed = self._git("archive", "--format=tar", tree)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as partial:
            target = Path(partial) / "tree"
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                wanted = [m for m in archive.getmembers() if not m.name.startswith("data/")]
                archive.extractall(target, members=wanted, filter="data")
            target.mkdir(exist_ok=True)  # a commit may have no files
            try:
                target.rename(folder)
            except OSError:
                if not folder.is_dir():  # another gate was faster
                    raise
        trees = sorted((p for p in folder.parent.glob("[!.]*")), key=lambda p: p.stat().st_mtime)
        for old in trees[:-_KEPT_TREES]:
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def plugin(self, tree: Path, file: Path) -> str | None:
        """A plugin file as an exported commit has it, None where it has none; one outside the repository serves all commits."""
        path = (self.folder / file).resolve()
        if path.is_relative_to(self.root.resolve()):
            path = tree / path.relative_to(self.root.resolve())
        elif not path.is_file():
            raise FileNotFoundError(f"plugin {file}: no such file")
        return str(path) if path.is_file() else None


def _kept(what: str) -> Path:
    """Folder that a later gate finds again: in the user's cache or, with a warning where that is not writable, a temporary one."""
    folder = user_cache_folder() / "gate" / what
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        folder = temporary_folder("gate") / what
        text = f"{explain(error)}; the gate keeps its {what} in {folder.parent}, which may be emptied"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    folder.mkdir(exist_ok=True)
    return folder


def build(tree: Path, command: str) -> None:
    """Run a shell command in an exported commit, once; SideError with the end of what it said where it fails."""
    if (tree / _BUILT).is_file():
        return
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, shell=True, cwd=tree, text=True, errors="replace", **streams)  # type: ignore[call-overload]
    if done.returncode:
        lines = done.stdout.strip().splitlines()[-_LINES_OF_BUILD:] or ["it said nothing"]
        raise SideError("\n  ".join([f"its build failed with exit code {done.returncode}: {command}", *lines]))
    (tree / _BUILT).touch()


def has_package(tree: Path) -> bool:
    """Whether the commit is one of this package; a repository may also only use it."""
    return (tree / "semrsm_bench" / "__init__.py").is_file()


def project_of(tree: Path) -> dict[str, Any]:
    """The commit's pyproject.toml; empty where it is missing or cannot be read."""
    try:
        return tomllib.loads((tree / "pyproject.toml").read_text())
    except (OSError, ValueError):
        return {}


def requirements_of(tree: Path) -> str:
    """Digest of what a commit wants installed."""
    project = project_of(tree).get("project", {})
    constraints = tree / "constraints.txt"
    wanted = [sorted(project.get("dependencies", [])), project.get("optional-dependencies", {}).get("lap", [])]
    pinned = constraints.read_text() if constraints.is_file() else ""
    return hashlib.sha256(f"{sys.version} {wanted} {pinned}".encode()).hexdigest()


def worker_setup(tree: Path, plugins: Iterable[str], *, isolated: bool, package: bool, core: int | None) -> WorkerSetup:
    """How the worker of an exported commit is started; ``isolated``: in an environment made from its requirements.

    ``package``: the repository is one of this package, which every commit must then have.
    """
    if package and not has_package(tree):
        raise SideError("it has no folder semrsm_bench, and the other commit has")
    python = _isolated_python(tree) if isolated else sys.executable
    search = (tree,) if package else (tree / "src", tree, package_folder().parent)
    return WorkerSetup(tuple(plugins), core, python, search, tree)


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


@dataclass(frozen=True)
class Sample:
    """One observation, and the seconds of the reference kernel around it: the smaller of right before and right after."""

    reply: Reply
    reference: float = math.nan

    @property
    def perms(self) -> Any:
        """The answers, (calls, S)."""
        return self.reply.value["arrays"]["perms"]

    @property
    def seconds(self) -> float:
        """Median of the calls, without what they waited for a core that another process had."""
        value = self.reply.value
        both = zip(value["seconds"], value["waited_seconds"], strict=True)
        return float(statistics.median(s - w for s, w in both))


class GateSide:
    """One side's worker, started here; ``known`` holds the declarations of its solvers by name. It does not close the worker.

    SideError: the package does not import, or was imported from elsewhere. MachineError: the machine failed, twice.
    """

    def __init__(self, worker: WorkerProcess, scratch: Scratch) -> None:
        self._worker, self._observe = worker, Observer(lambda method: worker, scratch)
        for _ in range(2):
            answer = worker.ask({"do": "describe", "kinds": ["solver"]}, _DESCRIBE_SECONDS)
            if not answer.machine:
                break
        search: Sequence[Path] = worker.setup.search or ()
        expected = next((p.resolve() for p in search if (p / "semrsm_bench").is_dir()), None)
        if worker.package and expected is not None and not Path(worker.package).is_relative_to(expected):
            raise SideError(f"semrsm_bench was imported from {worker.package} and not from {expected}")
        if answer.machine:
            raise MachineError(answer.message)
        if answer.status != "ok":
            raise SideError(answer.message)
        # One worker holds all solvers of a commit: those that need another interpreter, or stay, have no place there.
        self.known: dict[str, dict[str, Any]] = {
            entry["name"]: entry
            for entry in answer.value["declared"]
            if not entry.get("environment") and entry.get("facts", {}).get("program") != "persistent"
        }

    def measure(self, solver: str, arrays: Arrays, limits: CallLimits, seed: tuple[int, int, int]) -> Sample:
        """A solver on a pair, between two runs of the reference kernel; a process that died is started again first."""
        self._worker.timed_out = False  # it was another solver
        try:
            before = self._worker.ask({"do": "reference"}, _REFERENCE_SECONDS)
            if before.status != "ok":  # no solver has run
                return Sample(replace(before, machine=True))
            reply = self._observe(Declaration("solver", solver), arrays, limits, seed=seed)
            if reply.status != "ok":
                return Sample(reply)
            after = self._worker.ask({"do": "reference"}, _REFERENCE_SECONDS)
        except OSError as error:
            return Sample(Reply.of_the_machine(error))
        return Sample(reply, min(a.value["seconds"] for a in (before, after) if a.status == "ok"))
