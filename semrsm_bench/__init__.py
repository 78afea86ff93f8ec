"""Benchmark suite for matching algorithms and RSM metrics."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Names are resolved on first use, so that ``import semrsm_bench`` costs nothing and never needs an optional library.
_EXPORTS = {
    "dual_value": "semrsm_bench.solvers.bounds",
    "upper_bound": "semrsm_bench.solvers.bounds",
    "MatchingProblem": "semrsm_bench.solvers",
    "Solution": "semrsm_bench.solvers",
    "compute_rsm": "semrsm_bench.rsm",
    "get_solver": "semrsm_bench.solvers",
    "load_plugin": "semrsm_bench.solvers",
    "matching_value": "semrsm_bench.solvers",
    "register_solver": "semrsm_bench.solvers",
    "solve": "semrsm_bench.solvers",
    "solve_many": "semrsm_bench.solvers",
    "solver_names": "semrsm_bench.solvers",
}
_MODULES = ("metrics", "rsm", "solvers")

if TYPE_CHECKING:
    import semrsm_bench.metrics as metrics
    import semrsm_bench.rsm as rsm
    import semrsm_bench.solvers as solvers
    from semrsm_bench.rsm import compute_rsm
    from semrsm_bench.solvers import (
        MatchingProblem,
        Solution,
        get_solver,
        load_plugin,
        matching_value,
        register_solver,
        solve,
        solve_many,
        solver_names,
    )
    from semrsm_bench.solvers.bounds import dual_value, upper_bound

__all__ = [*_EXPORTS, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"semrsm_bench.{name}")
    raise AttributeError(f"module 'semrsm_bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
