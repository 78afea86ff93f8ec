"""Environments of their own: virtual ones, in which solvers run whose libraries cannot be installed beside ours."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from semrsm_bench.core.files import lock, user_cache_folder, writing

_INSTALLED = "installed.json"
_SHOWN_LINES = 2


class EnvironmentNotMadeError(RuntimeError):
    """pip, or venv, could not make an environment."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of these requirements, as pip takes them; numpy comes with it. The same requirements share one."""

    requirements: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its folder; other requirements and another Python have another."""
        about = f"{sys.version} {sys.platform} {self.requirements}"
        first = re.sub(r"[^A-Za-z0-9.]+", "-", self.requirements[0]).strip("-")
        return f"{first}-{hashlib.sha256(about.encode()).hexdigest()[:10]}"

    @property
    def folder(self) -> Path:
        """Where it is, in the user's cache."""
        return environments_folder() / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def is_here(self) -> bool:
        """Whether this process runs in it."""
        return Path(sys.prefix).resolve() == self.folder.resolve()

    @property
    def versions(self) -> dict[str, str]:
        """What is installed in it; empty where it is not there, or was not finished."""
        try:
            found = json.loads((self.folder / _INSTALLED).read_text())
        except (OSError, ValueError):
            return {}
        installed = len([*self.folder.glob("lib/python*/site-packages/*.*-info")])
        return dict(found) if self.python.exists() and installed >= len(found) else {}

    def create(self) -> bool:
        """Make it, unless it is there; whether it was made now.

        EnvironmentNotMadeError: another process is making it, or pip failed; what was left is removed then.
        """
        folder = self.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self.versions:
                return False
            wanted = [*self.requirements, *(() if any(map(_is_numpy, self.requirements)) else ("numpy",))]
            try:
                self._run("venv", sys.executable, "-m", "venv", "--clear", str(folder))
                pip = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install")
                self._run(f"pip install {' '.join(wanted)}", str(self.python), *pip, *wanted)
                versions = {
                    dist.name: dist.version
                    for dist in importlib.metadata.distributions(
                        path=[*map(str, folder.glob("lib/python*/site-packages"))]
                    )
                }
                with writing(folder / _INSTALLED) as partial:  # the last step: without it nothing counts
                    partial.write_text(json.dumps(versions, indent=1, sort_keys=True))
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return True

    def remove(self) -> None:
        """Remove it, and what was left of an attempt to make it."""
        with self._locked():
            (self.folder / _INSTALLED).unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.folder.with_name(f"{self.name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            if not lock(file.fileno(), path):
                raise EnvironmentNotMadeError(f"another process is making or removing {self.folder}")
            yield

    def _run(self, what: str, *command: str) -> None:
        variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=variables
        )
        if done.returncode:
            lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
            errors = [line for line in lines if line.lower().startswith("error")] or lines
            said = " ".join(errors[-_SHOWN_LINES:])[:500]
            advice = "without a network, put wheels into a folder and set PIP_NO_INDEX=1 and PIP_FIND_LINKS"
            raise EnvironmentNotMadeError(f"{what} failed: {said or f'exit code {done.returncode}'}; {advice}")


def environments_folder() -> Path:
    """Folder of all environments, in the user's cache."""
    return user_cache_folder() / "environments"


def left_over(wanted: set[str]) -> list[Path]:
    """Folders of environments that are none of these, by name: of earlier requirements, or of another Python."""
    folder = environments_folder()
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if path.is_dir() and path.name not in wanted]


def _is_numpy(requirement: str) -> bool:
    return re.match(r"numpy\b", requirement, re.IGNORECASE) is not None
