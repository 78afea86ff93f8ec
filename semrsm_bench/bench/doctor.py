"""What would distort measurements on this machine: findings with advice."""

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

from semrsm_bench.activations.folders import CacheError, mini_folder
from semrsm_bench.activations.store import open_caches
from semrsm_bench.bench.environment import THREAD_VARIABLES, commit_of, describe_blas, governor, package_folder
from semrsm_bench.bench.optimum import CANDIDATES, OptimumCache
from semrsm_bench.bench.worker import ReferenceKernel
from semrsm_bench.solvers import MatchingProblem, get_solver, solver_names
from semrsm_bench.tasks.matching import MatchingOptions, MatchingTask

_BUSY = 0.3
_JITTER = 1.15
_STEAL_PERCENT = 2.0
_FREE_BYTES = 6 << 30
# Of images: fewer make fewer than 20 pairs.
_FEW = 7
_LARGEST_CHECKED = 1024


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
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


class CannotMeasureError(RuntimeError):
    """Nothing can be measured: what was found, and what to do."""


# What was found, and advice; "" where all is well.
Look = tuple[str, str]


def diagnose(data: Path | None = None) -> Iterator[Diagnosis]:
    """Look at everything, one finding after the other; takes about two seconds.

    Parameters
    ----------
    data : Path, optional
        As for ``semrsm-bench run``.
    """
    checks: dict[str, Callable[[], Look]] = {
        "cores": check_cores,
        "cpu quota": check_quota,
        "threads": check_threads,
        "blas": check_blas,
        "governor": check_governor,
        "load": check_load,
        "clock": check_clock,
        "timing noise": check_jitter,
        "memory": check_memory,
        "numba": check_compiler,
        "solvers": check_solvers,
        "optimum": check_exact,
        "data": lambda: check_data(data),
        "stored optima": lambda: check_optima(data),
        "code": check_code,
    }
    for name, check in checks.items():
        try:
            found, advice = check()
        except CannotMeasureError as error:
            yield Diagnosis(name, "fail", *error.args)
        else:
            yield Diagnosis(name, "warn" if advice else "ok", found, advice)


def check_cores() -> Look:
    """Whether the timed process can have a core of its own."""
    if not hasattr(os, "sched_getaffinity"):
        return "this system cannot pin a process to a core", "measure on Linux"
    count = len(os.sched_getaffinity(0))
    if count < 2:
        return "one core, shared by the timed process and everything else", "use two or more cores"
    return f"{count} cores; the timed process is pinned to one, the rest moves to the others", ""


def check_quota(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> Look:
    """Whether a container's quota stops the process in the middle of a sample."""
    try:
        quota, period = cgroup.read_text().split()
        if quota == "max":
            return "none", ""
        cpus = int(quota) / int(period)
    except (OSError, ValueError):
        return "none known", ""
    return f"limited to {cpus:g} CPUs", "lift the container's CPU limit: it pauses samples"


def check_threads() -> Look:
    """Whether libraries in a worker really keep to one thread."""
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
        return f"could not be looked at: {error}", "check that numpy and scipy import"
    if most > 1:
        return f"a library uses {most} threads in spite of the settings", "build it single-threaded"
    return "one in every library of a worker", ""


def check_blas() -> Look:
    """Whether the affinity is computed by an optimised BLAS."""
    libraries = describe_blas()
    if not libraries:
        return "none recognised", "install numpy from its wheels: an unoptimised BLAS is 10x slower"
    return ", ".join(f"{lib['api']} {lib['version']} ({lib['architecture']})" for lib in libraries), ""


def check_governor() -> Look:
    """Whether the clock frequency follows the load."""
    found = governor()
    if found in ("powersave", "ondemand", "conservative", "schedutil"):
        return found, "sudo cpupower frequency-set -g performance"
    return "unknown, as in most virtual machines: compare ratios, not seconds" if found == "unknown" else found, ""


def check_load(seconds: float = 0.5) -> Look:
    """Whether something else keeps the cores busy."""
    busy = psutil.cpu_percent(interval=seconds, percpu=True)
    cores = len(busy)
    average = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    text = f"cores busy {', '.join(f'{b:.0f} %' for b in busy[:16])}; load {average:.2f} on {cores} cores"
    high = max(busy) > 100 * _BUSY or average > _BUSY * cores
    return text, "stop other programs: shared caches and memory slow the timed core too" if high else ""


def check_clock() -> Look:
    """Whether the clock resolves a call of a tenth of a millisecond."""
    steps = np.diff([time.perf_counter_ns() for _ in range(20_000)])
    step = int(steps[steps > 0].min(initial=10**9))
    return (
        f"smallest step {step} ns",
        "a call of 0.1 ms is only good to 1 %: use another machine" if step > 1000 else "",
    )


def check_jitter(samples: int = 300) -> Look:
    """How much the same millisecond of work varies, and whether a hypervisor takes time away."""
    work = ReferenceKernel()
    before = psutil.cpu_times()
    seconds = [work.seconds(times=1) for _ in range(samples)]
    after = psutil.cpu_times()
    steal = 100 * (getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)) / max(sum(after) - sum(before), 1e-9)
    low, middle, high = np.quantile(seconds, [0.05, 0.5, 0.95])
    text = f"95 % of samples at most {high / middle:.2f} times the median, 5 % at most {low / middle:.2f}; {steal:.1f} % stolen"
    if steal > _STEAL_PERCENT:
        return text, "the host is overbooked: measure elsewhere, or compare ratios of one run"
    if high / middle > _JITTER or low / middle < 1 / _JITTER:
        return text, "stop other programs, fix the clock frequency, or measure more pairs"
    return text, ""


def check_memory() -> Look:
    """Whether the largest cells of the quick profile fit."""
    memory = psutil.virtual_memory()
    text = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    little = memory.available < _FREE_BYTES
    return text, "S = 4096 needs about 2 GiB, a worker for each solver more: close programs" if little else ""


def check_compiler() -> Look:
    """Whether numba is allowed to compile."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set", "unset it: compiled solvers run 100x slower without"
    return "compiles", ""


def check_solvers() -> Look:
    """Which registered solvers cannot run."""
    missing = [f"{name}: {solver.reason}" for name in solver_names() if (solver := get_solver(name)).reason]
    if missing:
        return "; ".join(missing), "install what is missing, or read the table without them"
    return f"all {len(solver_names())} can run", ""


def check_exact() -> Look:
    """Whether k_opt can be found and proved."""
    usable = [name for name in CANDIDATES if name in solver_names() and get_solver(name).available]
    if not usable:
        raise CannotMeasureError("no exact solver can run", "install ortools or scipy: quality needs k_opt")
    return f"k_opt from {', else '.join(usable[:2])}, proved by duals", ""


def check_data(data: Path | None) -> Look:
    """Whether there are activations, undamaged and enough of them."""
    try:
        caches = {cache.name: cache for cache in open_caches(data)}.values()
    except CacheError as error:
        raise CannotMeasureError(str(error), "semrsm-bench data verify") from None
    text = ", ".join(f"{c.name} ({len(c)} images, sha256 {c.sha256[:12]})" for c in caches)
    if any(c.path.parent == mini_folder() for c in caches):
        return f"{text}: the mini cache of the package", "few pairs make wide intervals: give --data"
    if any(len(cache) < _FEW for cache in caches):
        return text, f"fewer than {_FEW} images give fewer than 20 pairs: extract more"
    return text, ""


def check_optima(data: Path | None, cache: OptimumCache | None = None, seconds: float = 1.0) -> Look:
    """Whether what the cache of optima holds for these data proves what it claims: as many as so many seconds allow, by chance."""
    optima = cache or OptimumCache()
    try:
        cases = list(MatchingTask().cases(MatchingOptions(data=data, pairs={"": 20})))
    except (CacheError, ValueError):
        cases = []
    cases = [case for case in cases if case.size <= _LARGEST_CHECKED]
    end, looked, bad = time.monotonic() + seconds, 0, []
    for i in np.random.default_rng().permutation(len(cases)):
        if time.monotonic() > end:
            break
        arrays = cases[i].inputs()
        problem = MatchingProblem(arrays["x"], arrays["y"])
        proved = optima.check(problem)
        looked += proved is not None
        if proved is False:
            bad.append(optima.path(problem).name)
    if bad:
        advice = f"a run proves them anew with a warning; find out who writes to {optima.folder}, or delete it"
        return f"{len(bad)} of {looked} do not prove what they claim: {', '.join(bad[:3])}", advice
    return f"{looked} looked at, all of them proved" if looked else "none for these data so far", ""


def check_code() -> Look:
    """Whether figures can be traced to a commit."""
    commit, dirty = commit_of(package_folder())
    if commit is None:
        return "installed package; a digest of its source stands in each run", ""
    if dirty:
        return f"commit {commit[:10]} with local changes", "commit before you measure to publish"
    return f"commit {commit[:10]}, unchanged", ""
