"""Where a run was made: machine, libraries, code and data; nothing that says whose machine it is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.row import plain

SCHEMA = 2
# One thread in every library a solver may use; set before the worker imports any of them.
THREAD_VARIABLES = (
    *(f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA")),
    "VECLIB_MAXIMUM_THREADS",
)
# What may change a figure, where it is installed.
PACKAGES = (
    *("lap", "lapjv", "lapx", "llvmlite", "numba", "numpy", "ortools", "pandas", "safetensors", "scipy"),
    "semrsm-bench",
)


def describe_environment(
    data: Iterable[tuple[str, str]] = (), plugins: Sequence[Path] = (), methods: Iterable[Declaration] = ()
) -> dict[str, Any]:
    """Everything that figures depend on, as JSON-ready values.

    ``data`` are pairs of (name, SHA-256); of plugins only names and digests are kept. Methods are described so that a run
    can be read where one of them is not installed.
    """
    commit, dirty = commit_of(package_folder())
    described = {
        f"{m.kind}:{m.name}": {k: plain(v) for k, v in asdict(m).items() if k not in ("plugins", "files", "defaults")}
        for m in methods
    }
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "cpu": {
            "model": _cpu_model(),
            "cores": psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
            "logical": psutil.cpu_count() or 1,
            "governor": governor(),
        },
        "memory_bytes": psutil.virtual_memory().total,
        "threads": 1,
        "blas": describe_blas(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": commit,
        "dirty": dirty,
        "data": [{"name": name, "sha256": sha256} for name, sha256 in data],
        "plugins": [{"name": p.name, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in plugins],
    }
    return {**{key: plain(value) for key, value in found.items()}, "methods": described}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "cpu model"):
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def governor() -> str:
    """Frequency governor; "unknown" where the kernel does not report it, as in most virtual machines."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return "unknown"


def describe_blas() -> list[dict[str, Any]]:
    """BLAS libraries that numpy and scipy load, without their paths."""
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401

    keep = {"api": "internal_api", "version": "version", "architecture": "architecture"}
    found = [{new: lib.get(old) for new, old in keep.items()} for lib in threadpool_info() if lib["user_api"] == "blas"]
    distinct = [lib for i, lib in enumerate(found) if lib not in found[:i]]
    return sorted(distinct, key=str)  # the loader's order differs from process to process


def package_folder() -> Path:
    """Folder of the package's source."""
    return Path(__file__).resolve().parent.parent


def git(folder: Path, *arguments: str) -> bytes:
    """Output of a git command in a folder, in English, whatever variables a git hook has set; SubprocessError if it fails."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {"LC_ALL": "C"}
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=120, env=environment).stdout


def commit_of(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout that tracks ``folder``, and whether it was changed since; (None, None) outside of one."""
    status = ("status", "--porcelain")
    try:
        # An installed copy may be inside a checkout of something else, which does not track it.
        git(folder, "ls-files", "--error-unmatch", "__init__.py")
        commit = git(folder, "rev-parse", "HEAD").decode().strip()
        changed = git(folder, *status, "--untracked-files=no") or git(folder, *status, "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(changed)
