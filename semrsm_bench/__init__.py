"""Benchmark suite for matching algorithms and RSM metrics."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from semrsm_bench.core import __version__

# Names are resolved on first use, so that ``import semrsm_bench`` costs nothing and never needs an optional library.
_EXPORTS = {
    "semrsm_bench.activations.extract": ("extract",),
    "semrsm_bench.activations.layouts": ("LayoutWarning",),
    "semrsm_bench.activations.store": ("save_activations",),
    "semrsm_bench.core.identity": ("align", "with_ids"),
    "semrsm_bench.core.misleading": ("MisleadingWarning",),
    "semrsm_bench.core.registry": ("load_plugin",),
    "semrsm_bench.core.task": ("Answer", "Case", "Profile", "Result", "Score", "Scored", "Task"),
    "semrsm_bench.metrics.registry": ("get_metric", "metric_names", "register_metric"),
    "semrsm_bench.metrics.instances": ("get_instance", "instance_names", "register_instance"),
    "semrsm_bench.rsm": ("compute_rsm", "load_rsm"),
    "semrsm_bench.rsm.registry": ("get_rsm", "register_rsm", "rsm_names"),
    "semrsm_bench.solvers": (
        *("MatchingProblem", "Solution", "get_solver", "matching_value", "register_solver", "solve", "solve_many"),
        "solver_names",
    ),
    "semrsm_bench.solvers.bounds": ("dual_value", "upper_bound"),
    "semrsm_bench.solvers.command": ("register_command",),
    "semrsm_bench.tasks.registry": ("get_task", "register_task", "task_names"),
}
_PLACES = {name: module for module, names in _EXPORTS.items() for name in names}
_MODULES = ("interop", "metrics", "rsm", "solvers", "testing")

if TYPE_CHECKING:
    import semrsm_bench.interop as interop
    import semrsm_bench.metrics as metrics
    import semrsm_bench.rsm as rsm
    import semrsm_bench.solvers as solvers
    import semrsm_bench.testing as testing
    from semrsm_bench.activations.extract import extract
    from semrsm_bench.activations.layouts import LayoutWarning
    from semrsm_bench.activations.store import save_activations
    from semrsm_bench.core.identity import align, with_ids
    from semrsm_bench.core.misleading import MisleadingWarning
    from semrsm_bench.core.registry import load_plugin
    from semrsm_bench.core.task import Answer, Case, Profile, Result, Score, Scored, Task
    from semrsm_bench.metrics.instances import get_instance, instance_names, register_instance
    from semrsm_bench.metrics.registry import get_metric, metric_names, register_metric
    from semrsm_bench.rsm import compute_rsm, load_rsm
    from semrsm_bench.rsm.registry import get_rsm, register_rsm, rsm_names
    from semrsm_bench.solvers import (
        MatchingProblem,
        Solution,
        get_solver,
        matching_value,
        register_solver,
        solve,
        solve_many,
        solver_names,
    )
    from semrsm_bench.solvers.bounds import dual_value, upper_bound
    from semrsm_bench.solvers.command import register_command
    from semrsm_bench.tasks.registry import get_task, register_task, task_names

__all__ = [*_PLACES, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"semrsm_bench.{name}")
    raise AttributeError(f"module 'semrsm_bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
