"""What would make figures untrustworthy on this machine, as a list of findings with advice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

from semrsm_bench.activations.manifest import CacheError, mini_folder
from semrsm_bench.activations.store import open_caches
from semrsm_bench.bench.environment import (
    THREAD_VARIABLES,
    commit_of,
    describe_blas,
    governor,
    package_folder,
)
from semrsm_bench.bench.optimum import CANDIDATES
from semrsm_bench.bench.worker import ReferenceKernel
from semrsm_bench.solvers import get_solver, solver_names

Status = Literal["ok", "warn", "fail"]
_BUSY = 0.3
_JITTER = 1.15
_STEAL_PERCENT = 2.0
_ROOM_BYTES = 6 << 30


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at.

    Attributes
    ----------
    name : str
    status : {"ok", "warn", "fail"}
        "fail" where nothing can be measured at all.
    found : str
    advice : str
        What to do about it; empty when nothing.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def diagnose(data: Path | None = None) -> Iterator[Diagnosis]:
    """Look at everything, one finding after the other; takes about two seconds.

    Parameters
    ----------
    data : Path, optional
        As for ``semrsm-bench run``.
    """
    checks: tuple[Callable[[], Diagnosis], ...] = (
        check_cores,
        check_quota,
        check_threads,
        check_blas,
        check_governor,
        check_load,
        check_clock,
        check_jitter,
        check_memory,
        check_compiler,
        check_solvers,
        check_exact,
        lambda: check_data(data),
        check_code,
    )
    for check in checks:
        yield check()


def check_cores() -> Diagnosis:
    """Whether the timed process can have a core of its own."""
    if not hasattr(os, "sched_getaffinity"):
        return Diagnosis("cores", "warn", "this system cannot pin a process to a core", "measure on Linux")
    count = len(os.sched_getaffinity(0))
    if count < 2:
        return Diagnosis(
            "cores", "warn", "one core, shared by the timed process and everything else", "use two or more cores"
        )
    return Diagnosis("cores", "ok", f"{count} cores; the timed process is pinned to one, the rest moves to the others")


def check_quota(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> Diagnosis:
    """Whether a container's quota stops the process in the middle of a sample."""
    try:
        quota, period = cgroup.read_text().split()
    except (OSError, ValueError):
        return Diagnosis("cpu quota", "ok", "none known")
    if quota == "max":
        return Diagnosis("cpu quota", "ok", "none")
    cpus = int(quota) / int(period)
    return Diagnosis(
        "cpu quota", "warn", f"limited to {cpus:g} CPUs", "lift the container's CPU limit: it pauses samples"
    )


def check_threads() -> Diagnosis:
    """Whether libraries in a worker really keep to one thread."""
    code = (
        "import json, numpy, scipy.linalg, threadpoolctl as t;"
        "print(json.dumps([i['num_threads'] for i in t.threadpool_info()]))"
    )
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environment
        )
        most = max(json.loads(done.stdout), default=1)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Diagnosis("threads", "warn", f"could not be looked at: {error}", "check that numpy and scipy import")
    if most > 1:
        return Diagnosis(
            "threads", "warn", f"a library uses {most} threads in spite of the settings", "build it single-threaded"
        )
    return Diagnosis("threads", "ok", "one in every library of a worker")


def check_blas() -> Diagnosis:
    """Whether the affinity is computed by an optimised BLAS."""
    libraries = describe_blas()
    text = ", ".join(f"{lib['api']} {lib['version']} ({lib['architecture']})" for lib in libraries)
    if not libraries:
        return Diagnosis(
            "blas", "warn", "none recognised", "install numpy from its wheels: an unoptimised BLAS is 10x slower"
        )
    return Diagnosis("blas", "ok", text)


def check_governor() -> Diagnosis:
    """Whether the clock frequency follows the load."""
    found = governor()
    if found in ("powersave", "ondemand", "conservative", "schedutil"):
        return Diagnosis("governor", "warn", found, "sudo cpupower frequency-set -g performance")
    text = "unknown, as in most virtual machines: compare ratios, not seconds" if found == "unknown" else found
    return Diagnosis("governor", "ok", text)


def check_load(seconds: float = 0.5) -> Diagnosis:
    """Whether something else keeps the cores busy."""
    busy = psutil.cpu_percent(interval=seconds, percpu=True)
    cores = len(busy)
    average = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    text = f"cores busy {', '.join(f'{b:.0f} %' for b in busy[:16])}; load {average:.2f} on {cores} cores"
    if max(busy) > 100 * _BUSY or average > _BUSY * cores:
        return Diagnosis("load", "warn", text, "stop other programs: shared caches and memory slow the timed core too")
    return Diagnosis("load", "ok", text)


def check_clock() -> Diagnosis:
    """Whether the clock resolves a call of a tenth of a millisecond."""
    ticks = [time.perf_counter_ns() for _ in range(20_000)]
    steps = np.diff(ticks)
    step = int(steps[steps > 0].min(initial=10**9))
    if step > 1000:
        return Diagnosis(
            "clock", "warn", f"smallest step {step} ns", "a call of 0.1 ms is only good to 1 %: use another machine"
        )
    return Diagnosis("clock", "ok", f"smallest step {step} ns")


def check_jitter(samples: int = 300) -> Diagnosis:
    """How much the same millisecond of work varies, and whether a hypervisor takes time away."""
    work = ReferenceKernel()
    before = psutil.cpu_times()
    seconds = []
    for _ in range(samples):
        start = time.perf_counter_ns()
        work()
        seconds.append(time.perf_counter_ns() - start)
    after = psutil.cpu_times()
    steal = 100 * (getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)) / max(sum(after) - sum(before), 1e-9)
    low, middle, high = np.quantile(seconds, [0.05, 0.5, 0.95])
    text = f"95 % of samples within {high / middle:.2f} of the median, fastest {low / middle:.2f}; {steal:.1f} % stolen"
    if steal > _STEAL_PERCENT:
        return Diagnosis(
            "timing noise", "warn", text, "the host is overbooked: measure elsewhere, or compare ratios of one run"
        )
    if high / middle > _JITTER or low / middle < 1 / _JITTER:
        return Diagnosis(
            "timing noise", "warn", text, "stop other programs, fix the clock frequency, or measure more pairs"
        )
    return Diagnosis("timing noise", "ok", text)


def check_memory() -> Diagnosis:
    """Whether the largest cells of the quick profile fit."""
    memory = psutil.virtual_memory()
    text = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    if memory.available < _ROOM_BYTES:
        return Diagnosis(
            "memory", "warn", text, "S = 4096 needs about 2 GiB, a worker for each solver more: close programs"
        )
    return Diagnosis("memory", "ok", text)


def check_compiler() -> Diagnosis:
    """Whether numba is allowed to compile."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return Diagnosis(
            "numba", "warn", "NUMBA_DISABLE_JIT is set", "unset it: compiled solvers run 100x slower without"
        )
    return Diagnosis("numba", "ok", "compiles")


def check_solvers() -> Diagnosis:
    """Which registered solvers cannot run."""
    missing = {name: get_solver(name).reason for name in solver_names() if not get_solver(name).available}
    if missing:
        text = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        return Diagnosis("solvers", "warn", text, "install what is missing, or read the table without them")
    return Diagnosis("solvers", "ok", f"all {len(solver_names())} can run")


def check_exact() -> Diagnosis:
    """Whether k_opt can be found and proved."""
    usable = [name for name in CANDIDATES if name in solver_names() and get_solver(name).available]
    if not usable:
        return Diagnosis("optimum", "fail", "no exact solver can run", "install ortools or scipy: quality needs k_opt")
    return Diagnosis(
        "optimum", "ok", f"k_opt from {usable[0]}, proved by duals" + (f", else {usable[1]}" if usable[1:] else "")
    )


def check_data(data: Path | None) -> Diagnosis:
    """Whether there are activations, undamaged and enough of them."""
    try:
        caches = {cache.name: cache for cache in open_caches(data)}
    except CacheError as error:
        return Diagnosis("data", "fail", str(error), "semrsm-bench data verify")
    text = ", ".join(f"{c.name} ({len(c)} images, sha256 {c.sha256[:12]})" for c in caches.values())
    if any(c.path.parent == mini_folder() for c in caches.values()):
        return Diagnosis(
            "data", "warn", f"{text}: the mini cache of the package", "few pairs make wide intervals: give --data"
        )
    if any(len(cache) < 7 for cache in caches.values()):
        return Diagnosis("data", "warn", text, "fewer than 7 images give fewer than 20 pairs: extract more")
    return Diagnosis("data", "ok", text)


def check_code() -> Diagnosis:
    """Whether figures can be traced to a commit."""
    commit, dirty = commit_of(package_folder())
    if commit is None:
        return Diagnosis("code", "ok", "installed package; a digest of its source stands in each run")
    if dirty:
        return Diagnosis(
            "code", "warn", f"commit {commit[:10]} with local changes", "commit before you measure to publish"
        )
    return Diagnosis("code", "ok", f"commit {commit[:10]}, unchanged")
