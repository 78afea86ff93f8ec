"""What all benchmarks share: frozen lists of solvers and sizes, and the clock.

asv tells parameters apart by their place in these lists, also between commits, so the lists are literals: a solver that the
registry does not have in some commit is n/a there and moves nobody else. New names may stand anywhere in the list.
`tests/test_asv.py` holds them against the registry and the data.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

from .problems import CHECKOUT

# fmt: off
SOLVERS = (
    "ortools", "scipy", "lapjv", "lap", "lapx",
    "identity", "greedy", "topk-greedy-128", "topk-greedy-256", "topk-greedy-512",
    "batch-optimal-128", "batch-optimal-256", "batch-optimal-512", "batch-optimal-1024",
    "auction-fine", "auction-coarse", "auction-certified", "list-auction-fine", "list-auction-coarse",
    "exact-auction", "matrix-free-fine", "matrix-free-coarse",
)
# fmt: on
SIZES = (64, 256, 1024, 4096)
CENTRINGS = ("none", "channel")
# Pairs (solver, size) that would take longer than all others together.
TOO_SLOW = frozenset({("scipy", 4096), ("lapjv", 4096), ("lap", 4096), ("lapx", 4096)})


# Below this, inverse quality would be a number that means nothing.
LEAST_QUALITY = 1e-3
_MEMORY = 64 << 30


def from_checkout(name: str) -> ModuleType:
    """A part of the worker as it is in this checkout, whichever commit's package is installed.

    Measuring the past with the past's own yardstick would compare nothing.
    """
    known = f"_semrsm_bench_checkout_{name}"
    if known not in sys.modules:
        path = CHECKOUT / "semrsm_bench" / "bench" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(known, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[known] = module
        spec.loader.exec_module(module)
    return sys.modules[known]


worker, observe = from_checkout("worker"), from_checkout("observe")
_warmed_up: set = set()


def solver_for(name: str, size: int):
    """The registered solver; NotImplementedError, which asv shows as n/a, where it is not to be measured."""
    import semrsm_bench as sb

    if (name, size) in TOO_SLOW:
        raise NotImplementedError(f"{name} takes too long at S = {size}")
    try:
        solver = sb.get_solver(name)
    except KeyError as error:
        raise NotImplementedError(str(error)) from None
    if not solver.available:
        raise NotImplementedError(f"{name}: {solver.reason}")
    if solver.max_size is not None and size > solver.max_size:
        raise NotImplementedError(f"{name} is meant for S up to {solver.max_size}")
    return solver


def observed(solver: str, problem, *, timed: bool = True, seed: int = 0) -> SimpleNamespace:
    """A solver on a problem, as the worker measures it: every call gets the pair under a circular shift of its own.

    Parameters
    ----------
    timed : bool
        False: one call of the pair as it is, no warm-up.
    seed : int
        Another one, other shifts.

    Returns
    -------
    namespace
        ``perms`` (calls, S), of the pair as it was given; ``seconds`` of each call, without those in which another process had
        its core, and ``shared_seconds`` (of the affinity); ``peak_bytes`` of the first one.
    """
    clock = worker.Clock(lambda stage, size: None, _MEMORY, timed, _warmed_up)
    command = {"kind": "solver", "name": solver, "seed": seed}
    found = observe.observe(command, {"x": problem.x, "y": problem.y}, clock, None)
    if "message" in found:
        raise RuntimeError(f"{solver}: {found['message']}")
    return SimpleNamespace(
        perms=found["arrays"]["perms"],
        seconds=[s - w for s, w in zip(clock.seconds, clock.waited_seconds)],
        shared_seconds=clock.shared_seconds,
        peak_bytes=clock.peak_bytes,
    )


def relative_time(measure, reference, rounds: int = 5) -> float:
    """Least time of the solver over least time of the reference kernel, taken in turns.

    Parameters
    ----------
    measure : callable
        ``measure(round)`` gives seconds of some calls.
    reference : callable
        Gives seconds of the reference kernel.
    rounds : int
        Solvers that take over half a second get two.
    """
    solver, kernel = [], [reference()]
    while len(kernel) <= (rounds if not solver or min(solver) < 0.5 else 2):
        solver.append(min(measure(len(solver))))
        kernel.append(reference())
    return float(min(solver) / min(kernel))


def inverse_quality(chance_corrected: float) -> float:
    """1 / c, at least 1 for an exact solver and larger the worse: asv takes every increase for a regression."""
    return 1.0 / max(chance_corrected, LEAST_QUALITY)
