"""Where a run was made: machine, libraries, code and data; nothing that tells whose machine it is."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from semrsm_bench.bench.results import plain
from semrsm_bench.solvers import get_solver, solver_names

SCHEMA = 1
# One thread in every library a solver may use; set before the worker imports any of them.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
PACKAGES = (
    "semrsm-bench",
    "numpy",
    "scipy",
    "numba",
    "llvmlite",
    "ortools",
    "lapjv",
    "lap",
    "lapx",
    "safetensors",
    "pandas",
)
# What must agree before rows of two sittings may stand in one run.
IDENTITY = ("cpu", "os", "python", "packages", "blas", "code_sha256", "data", "plugins")


def describe_environment(
    data: Iterable[tuple[str, str]] = (), plugins: Sequence[Path] = (), solvers: Iterable[str] | None = None
) -> dict[str, Any]:
    """Everything that figures depend on, as JSON-ready values.

    Parameters
    ----------
    data : iterable of (name, sha256)
        The caches measured.
    plugins : sequence of Path
        Files given with ``--plugin``; only their names and digests are kept.
    solvers : iterable of str, optional
        Default: all registered ones.

    Returns
    -------
    dict
        Keys ``schema started cpu memory_bytes threads blas os python packages commit dirty code_sha256 data plugins solvers``.
    """
    commit, dirty = commit_of(package_folder())
    names = solver_names() if solvers is None else list(solvers)
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "cpu": describe_cpu(),
        "memory_bytes": psutil.virtual_memory().total,
        "threads": 1,
        "blas": describe_blas(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": package_versions({get_solver(name).distribution for name in names}),
        "commit": commit,
        "dirty": dirty,
        "code_sha256": code_sha256(),
        "data": [{"name": name, "sha256": sha256} for name, sha256 in data],
        "plugins": [{"name": p.name, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in plugins],
        "solvers": {name: describe_solver(name) for name in names},
    }
    return {key: plain(value) for key, value in found.items()}


def describe_solver(name: str) -> dict[str, Any]:
    """What a table says about a solver, kept so that a run can be read where the solver is not installed."""
    solver = get_solver(name)
    return {
        "kind": solver.kind,
        "complexity": solver.complexity,
        "reference": solver.reference,
        "summary": solver.summary,
        "options": dict(solver.options),
        "version": solver.version,
        "matrix_free": solver.matrix_free,
        "max_size": solver.max_size,
        "available": solver.available,
        "reason": solver.reason,
    }


def describe_cpu() -> dict[str, Any]:
    """Model, physical and logical cores, and the frequency governor ("unknown" where the kernel tells none)."""
    return {
        "model": _cpu_model(),
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        "logical": psutil.cpu_count() or 1,
        "governor": governor(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "cpu model"):
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def governor(cpu: int = 0) -> str:
    """Frequency governor of a core; "unknown" where the kernel does not tell, as in most virtual machines."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return "unknown"


def describe_blas() -> list[dict[str, Any]]:
    """BLAS libraries that numpy and scipy load, without the paths where they lie."""
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401

    keep = {"internal_api": "api", "version": "version", "architecture": "architecture"}
    found = [{new: lib.get(old) for old, new in keep.items()} for lib in threadpool_info() if lib["user_api"] == "blas"]
    distinct = [lib for i, lib in enumerate(found) if lib not in found[:i]]
    return sorted(distinct, key=str)  # the loader's order differs from process to process


def package_versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Versions of the installed packages that can change a figure."""
    versions = {}
    for name in sorted({*PACKAGES, *more} - {""}):  # a bare plugin file belongs to no distribution
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def package_folder() -> Path:
    """Folder of the package's source."""
    return Path(__file__).resolve().parent.parent


@functools.cache
def code_sha256() -> str:
    """Digest of the code that measures: the package's ground floor and bench, so that edited code never joins an old run."""
    digest = hashlib.sha256()
    root = package_folder()
    for path in sorted(p for room in ("activations", "bench", "solvers") for p in (root / room).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def commit_of(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout that tracks ``folder``, and whether it was changed since; (None, None) outside of one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30, env=environment
        ).stdout.strip()

    try:
        # An installed copy may lie inside a checkout of something else, which does not track it.
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no") or git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(changed)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Keys of `IDENTITY` in which two environments differ; rows of such runs must not be mixed."""
    return [key for key in IDENTITY if old.get(key) != new.get(key)]
