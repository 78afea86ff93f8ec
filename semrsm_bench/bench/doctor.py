"""What would distort measurements on this machine: findings with advice."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

from semrsm_bench.activations.folders import CacheError, mini_folder
from semrsm_bench.activations.store import open_caches
from semrsm_bench.bench.drift import steadiness
from semrsm_bench.bench.environment import THREAD_VARIABLES, commit_of, describe_blas, governor, package_folder
from semrsm_bench.bench.optimum import CANDIDATES, OptimumCache
from semrsm_bench.bench.results import SessionOptions, load_rows
from semrsm_bench.bench.worker import ReferenceKernel
from semrsm_bench.core.files import user_cache_folder
from semrsm_bench.solvers import MatchingProblem, get_solver, solver_names
from semrsm_bench.tasks.matching import MatchingOptions, MatchingTask


@dataclass(frozen=True)
class Diagnosis:
    """What one check found: "fail" where nothing can be measured at all; and what to do, unless all is well."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


class CannotMeasureError(RuntimeError):
    """Nothing can be measured: what was found, and what to do."""


# What was found, and advice; "" where all is well.
Look = tuple[str, str]

# Where a run writes, the MiB that it needs there, whether it stops without, and what to do
_PLACES: dict[str, tuple[Callable[[], Path], int, bool, str]] = {
    "results": (lambda: SessionOptions.out, 64, True, "make room, or give --out another folder"),
    "temporary": (
        lambda: Path(os.environ.get("TMPDIR") or tempfile.gettempdir()),
        256,
        True,
        "make room, or set TMPDIR",
    ),
    "cache": (user_cache_folder, 16, False, "optima are found anew every time: make room, or set XDG_CACHE_HOME"),
    "compiled code": (
        lambda: Path(os.environ.get("NUMBA_CACHE_DIR") or user_cache_folder()),
        16,
        False,
        "set NUMBA_CACHE_DIR",
    ),
    "shared memory": (lambda: Path("/dev/shm"), 16, False, "rsm -j N needs it: make room, or use -j 1"),
}
# Limits of ulimit, and what a run needs
_LIMITS = {"f": (resource.RLIMIT_FSIZE, 64 << 20), "v": (resource.RLIMIT_AS, 4 << 30)}
_LIMITS |= {"n": (resource.RLIMIT_NOFILE, 256), "u": (resource.RLIMIT_NPROC, 128)}


def diagnose(data: Path | None = None, run: Path | None = None) -> Iterator[Diagnosis]:
    """All checks, one after the other, in about two seconds. ``data`` as in `semrsm-bench run`; ``run``: the folder of a run."""
    checks: dict[str, Callable[[], Look]] = {
        "cores": check_cores,
        "threads": check_threads,
        "governor": check_governor,
        "load": check_load,
        "timing noise": check_jitter,
        "memory": check_memory,
        "limits": check_limits,
        **{name: partial(check_folder, name) for name in _PLACES},
        "encoding": check_encoding,
        "solvers": check_solvers,
        "data": lambda: check_data(data),
        "stored optima": lambda: check_optima(data),
        "code": check_code,
        **({"drift": partial(check_drift, run)} if run else {}),
    }
    for name, check in checks.items():
        try:
            found, advice = check()
        except CannotMeasureError as error:
            yield Diagnosis(name, "fail", *error.args)
        else:
            yield Diagnosis(name, "warn" if advice else "ok", found, advice)


def check_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> Look:
    """Whether the timed process can have a core to itself, all of the time."""
    if not hasattr(os, "sched_getaffinity"):
        return "this system cannot pin a process to a core", "measure on Linux"
    count = len(os.sched_getaffinity(0))
    if count < 2:
        return "one core, shared by the timed process and everything else", "use two or more cores"
    try:
        share, period = map(int, quota.read_text().split())
    except (OSError, ValueError):  # none, or "max"
        return f"{count} cores; the timed process is pinned to one, the rest moves to the others", ""
    return f"{count} cores, limited to {share / period:g} CPUs", "lift the container's CPU limit: it pauses samples"


def check_threads() -> Look:
    """Whether libraries in a worker really keep to one thread, and numpy has an optimised BLAS."""
    code = (
        "import json, numpy, scipy.linalg, threadpoolctl as t;"
        "print(json.dumps([i['num_threads'] for i in t.threadpool_info()]))"
    )
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
        most = max(json.loads(done.stdout), default=1)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return f"could not be checked: {error}", "check that numpy and scipy import"
    if most > 1:
        return f"a library uses {most} threads in spite of the settings", "build it single-threaded"
    blas = ", ".join(f"{lib['api']} {lib['version']} ({lib['architecture']})" for lib in describe_blas())
    if not blas:
        return "no BLAS recognised", "install numpy from its wheels: an unoptimised BLAS is 10x slower"
    return f"one in every library of a worker; {blas}", ""


def check_governor() -> Look:
    """Whether the clock frequency follows the load."""
    found = governor()
    if found in ("powersave", "ondemand", "conservative", "schedutil"):
        return found, "sudo cpupower frequency-set -g performance"
    return "unknown, as in most virtual machines: compare ratios, not seconds" if found == "unknown" else found, ""


def check_load() -> Look:
    """Whether something else keeps the cores busy."""
    busy, average = psutil.cpu_percent(interval=0.5, percpu=True), os.getloadavg()[0]
    text = f"cores busy {', '.join(f'{b:.0f} %' for b in busy[:16])}; load {average:.2f} on {len(busy)} cores"
    high = max(busy) > 30 or average > 0.3 * len(busy)
    return text, "stop other programs: shared caches and memory slow the timed core too" if high else ""


def check_jitter(samples: int = 300) -> Look:
    """How much the same millisecond of work varies, and whether a hypervisor takes time away."""
    work = ReferenceKernel()
    before = psutil.cpu_times()
    seconds = [work.seconds(times=1) for _ in range(samples)]
    after = psutil.cpu_times()
    steal = 100 * (getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)) / max(sum(after) - sum(before), 1e-9)
    low, middle, high = np.quantile(seconds, [0.05, 0.5, 0.95])
    text = f"95 % of samples at most {high / middle:.2f} times the median, 5 % at most {low / middle:.2f}; {steal:.1f} % stolen"
    if steal > 2:
        return text, "the host is overbooked: measure elsewhere, or compare ratios of one run"
    if max(high / middle, middle / low) > 1.15:
        return text, "stop other programs, fix the clock frequency, or measure more pairs"
    return text, ""


def check_memory() -> Look:
    """Whether the largest cells of the quick profile fit."""
    memory = psutil.virtual_memory()
    text = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    little = memory.available < 6 << 30
    return text, "S = 4096 needs about 2 GiB, a worker for each solver more: close programs" if little else ""


def check_limits() -> Look:
    """Whether the limits of this shell leave a run what it needs."""
    low = []
    for name, (kind, needed) in _LIMITS.items():
        soft, unit = resource.getrlimit(kind)[0], 1024 if name in "fv" else 1
        if 0 <= soft < needed:  # -1 where there is none
            low.append(f"ulimit -{name} is {soft // unit}, a run needs {needed // unit}")
    if low:
        raise CannotMeasureError("; ".join(low), "raise what is too low, in this shell or where it is set")
    return "files, memory, open files and processes: enough for a run", ""


def check_folder(name: str) -> Look:
    """Whether a folder of `_PLACES`, or the nearest above it, can be written and has room; that of the results can lock files."""
    wanted, needed, stops, advice = _PLACES[name]
    folder = next(p for p in (wanted().absolute(), *wanted().absolute().parents) if os.path.isdir(p))
    try:
        state = os.statvfs(folder)
        free = state.f_bavail * state.f_frsize >> 20
        found = f"{folder}: {free} MiB free"
        trouble = f"{found}, {needed} are needed" if free < needed else ""
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if not trouble and name == "results":
                    return f"{folder}: no locks here ({error.strerror})", "let no second process write the same run"
    except OSError as error:
        trouble = f"{folder} cannot be written: {error.strerror}"
    if trouble and stops:
        raise CannotMeasureError(trouble, advice)
    return (trouble, advice) if trouble else (found, "")


def check_encoding() -> Look:
    """Whether names and tables can be written as they are."""
    for what, name in (("of file names", sys.getfilesystemencoding()), ("of output", sys.stdout.encoding)):
        if name.lower().replace("-", "") != "utf8":
            return f"{name} is the encoding {what}: signs that it lacks become ?", "export PYTHONUTF8=1"
    return "utf-8", ""


def check_solvers() -> Look:
    """Which registered solvers cannot run, whether they are compiled, and whether k_opt can be found and proved."""
    solvers = map(get_solver, solver_names())
    reasons = {solver.name: solver.reason for solver in solvers if not solver.environment}
    exact = [name for name in CANDIDATES if reasons.get(name) == ""]
    if not exact:
        raise CannotMeasureError("no exact solver can run", "install ortools or scipy: quality needs k_opt")
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set", "unset it: compiled solvers run 100x slower without"
    if missing := [f"{name}: {reason}" for name, reason in reasons.items() if reason]:
        return "; ".join(missing), "install what is missing, or read the table without them"
    return f"all {len(reasons)} can run; k_opt from {', else '.join(exact[:2])}, proved by duals", ""


def check_data(data: Path | None) -> Look:
    """Whether there are activations, undamaged and enough of them."""
    try:
        caches = {cache.name: cache for cache in open_caches(data)}.values()
    except CacheError as error:
        raise CannotMeasureError(str(error), "semrsm-bench data verify") from None
    text = ", ".join(f"{c.name} ({len(c)} images, sha256 {c.sha256[:12]})" for c in caches)
    if any(c.path.parent == mini_folder() for c in caches):
        return f"{text}: the mini cache of the package", "few pairs make wide intervals: give --data"
    if any(len(cache) < 6 for cache in caches):
        return text, "fewer than 6 images give fewer than the 12 pairs of quick: extract more"
    return text, ""


def check_optima(data: Path | None, cache: OptimumCache | None = None, seconds: float = 1.0) -> Look:
    """Whether what the cache of optima holds for these data proves what it claims: as many as so many seconds allow, by chance."""
    optima = cache or OptimumCache()
    try:
        cases = [c for c in MatchingTask().cases(MatchingOptions(data=data, pairs={"": 20})) if c.size <= 1024]
    except (CacheError, ValueError):
        cases = []
    end, checked, bad = time.monotonic() + seconds, 0, []
    for i in np.random.default_rng().permutation(len(cases)):
        if time.monotonic() > end:
            break
        arrays = cases[i].inputs()
        problem = MatchingProblem(arrays["x"], arrays["y"])
        proved = optima.check(problem)
        checked += proved is not None
        if proved is False:
            bad.append(optima.path(problem).name)
    if bad:
        advice = f"a run proves them anew with a warning; find out who writes to {optima.folder}, or delete it"
        return f"{len(bad)} of {checked} do not prove what they claim: {', '.join(bad[:3])}", advice
    return f"{checked} checked, all of them proved" if checked else "none for these data so far", ""


def check_code() -> Look:
    """Whether figures can be traced to a commit."""
    commit, dirty = commit_of(package_folder())
    if commit is None:
        return "installed package; a digest of its source is in each run", ""
    advice = "commit before you measure to publish" if dirty else ""
    return f"commit {commit[:10]}{' with local changes' if dirty else ', unchanged'}", advice


def check_drift(run: Path) -> Look:
    """Whether the machine kept its speed through a run."""
    found = steadiness(load_rows(run))
    if found is None:
        return "too short, or too old, to say whether the machine kept its speed", ""
    return str(found), "read ratios of these rows with care, or measure on a quieter machine" if found.off else ""
