"""Cases of all benchmarks: frozen lists of solvers and sizes, and the problems behind them.

asv tells parameters apart by their place in these lists, also between commits, so the lists are literals: a solver that the
registry does not have in some commit is n/a there and moves nobody else. New names may stand anywhere in the list.
`tests/test_asv.py` holds them against the registry and the data.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
# An installed package has no checkout around it, and every commit is to be measured on the same data.
if (CHECKOUT / "data" / "manifest.json").is_file():
    os.environ.setdefault("SEMRSM_BENCH_DATA", str(CHECKOUT / "data"))

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


def from_checkout(name: str) -> ModuleType:
    """A module of the gate as it is in this checkout, whichever commit's package is installed.

    Measuring the past with the past's own yardstick would compare nothing.
    """
    known = f"_semrsm_bench_checkout_{name}"
    if known not in sys.modules:
        path = CHECKOUT / "semrsm_bench" / "bench" / "gate" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(known, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[known] = module
        spec.loader.exec_module(module)
    return sys.modules[known]


probe = from_checkout("probe")


class Case:
    """One problem as plain data, which any commit can read back."""

    def __init__(self, pair: str, x: np.ndarray, y: np.ndarray, k_opt: float | None, k_rand: float) -> None:
        self.pair, self.x, self.y, self.k_opt, self.k_rand = pair, x, y, k_opt, k_rand

    def problem(self):
        """The problem, without its affinity."""
        from semrsm_bench.solvers import MatchingProblem

        return MatchingProblem(self.x, self.y)

    def score(self, perm) -> tuple[float, float]:
        """k / k_opt and the chance-corrected quality, from k in float64."""
        if self.k_opt is None:
            raise NotImplementedError("no exact solver could prove an optimum here")
        k = float(np.einsum("sc,sc->", self.x.astype(np.float64), self.y[perm].astype(np.float64)))
        span = self.k_opt - self.k_rand
        corrected = (k - self.k_rand) / span if span > 1e-12 * abs(self.k_opt) else 1.0
        return (k / self.k_opt if self.k_opt > 0 else float("nan")), corrected


def load_cases() -> dict[tuple[int, str], list[Case]]:
    """All cases by (size, centring); optima are certified, and kept by the hash of the data."""
    problems = from_checkout("problems").load_problems(sizes=SIZES, centrings=CENTRINGS)
    cases: dict[tuple[int, str], list[Case]] = {}
    for p in problems:
        cases.setdefault((p.size, p.centring), []).append(Case(p.pair, p.x, p.y, p.k_opt, p.k_rand))
    return cases


def solver_for(name: str, size: int):
    """The registered solver; NotImplementedError, which asv shows as n/a, where it is not to be measured."""
    from semrsm_bench.solvers import get_solver

    if (name, size) in TOO_SLOW:
        raise NotImplementedError(f"{name} takes too long at S = {size}")
    try:
        solver = get_solver(name)
    except KeyError as error:
        raise NotImplementedError(str(error)) from None
    if not solver.available:
        raise NotImplementedError(f"{name}: {solver.reason}")
    if solver.max_size is not None and size > solver.max_size:
        raise NotImplementedError(f"{name} is meant for S up to {solver.max_size}")
    return solver
