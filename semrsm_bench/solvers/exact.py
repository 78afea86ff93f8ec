"""Exact solvers of other libraries, and the baseline that matches every position with itself."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation
from semrsm_bench.solvers.registry import register_solver

JONKER_VOLGENANT = "Jonker & Volgenant 1987, Computing 38"
# The libraries count the S*S entries in 32-bit integers.
_MAX_SIZE = 32768
# Precision of those that round: the largest loss measured is 4e-6, where one position is a thousand times as long as the rest.
ROUNDED = 1e-5
_ROWS_PER_PASS = 64
_LARGEST_KEPT = 4096
CUBIC: dict[str, Any] = {"kind": "exact", "complexity": "O(S^3)", "max_size": _MAX_SIZE, "slow_from": 4096}


@register_solver(
    "ortools",
    kind="exact",
    complexity="O(S^3 log(S L))",
    reference="Goldberg & Kennedy 1995, Math. Programming 71 (cost scaling push-relabel); OR-Tools SimpleLinearSumAssignment",
    requires=("ortools",),
    distribution="ortools",
    max_size=_MAX_SIZE,
    precision=ROUNDED,
)
def ortools(problem: MatchingProblem, *, levels: int = 2**24) -> Permutation:
    """Cost-scaling push-relabel of OR-Tools on integer costs.

    Parameters
    ----------
    levels : int
        Number of integer costs that the range of the affinity is rounded to. k falls short of the optimum by at most
        ``S * (max A - min A) / levels``; float32 affinities are not finer than the default.
    """
    costs = integer_costs(problem.affinity, levels)
    if costs is None:
        return np.arange(problem.size)
    from ortools.graph.python.linear_sum_assignment import SimpleLinearSumAssignment

    assignment = SimpleLinearSumAssignment()
    left, right = (_arcs if problem.size <= _LARGEST_KEPT else _arcs.__wrapped__)(problem.size)
    assignment.add_arcs_with_cost(left, right, costs.ravel())
    status = assignment.solve()
    if status != assignment.OPTIMAL:
        raise RuntimeError(f"OR-Tools gave up with status {status.name} at S={problem.size} and {levels} cost levels")
    return np.fromiter(map(assignment.right_mate, range(problem.size)), np.intp, problem.size)


@register_solver(
    "scipy",
    **CUBIC,
    reference="Crouse 2016, IEEE TAES 52 (shortest augmenting paths); scipy.optimize.linear_sum_assignment",
    distribution="scipy",
)
def scipy(problem: MatchingProblem) -> Permutation:
    """Shortest augmenting paths of SciPy, in float64."""
    from scipy.optimize import linear_sum_assignment

    columns: Permutation = linear_sum_assignment(problem.affinity, maximize=True)[1]
    return columns


@register_solver(
    "lapjv",
    **CUBIC,
    reference=f"{JONKER_VOLGENANT}; package lapjv (src-d)",
    requires=("lapjv",),
    distribution="lapjv",
    precision=ROUNDED,
)
def lapjv(problem: MatchingProblem, *, levels: int = 2**24) -> Permutation:
    """Jonker-Volgenant of the package lapjv on whole numbers in float64.

    Its row reduction has no limit: rows that compete for the same columns lower their prices by as little as they can tell
    apart, which takes minutes at S = 129 where the affinity has the digits of float64 and a rank near one.

    Parameters
    ----------
    levels : int
        As for `ortools`; the longest run time grows in proportion.
    """
    costs = integer_costs(problem.affinity, levels, np.float64)
    if costs is None:
        return np.arange(problem.size)
    import lapjv as library

    columns: Permutation = library.lapjv(costs, force_doubles=True)[0]
    return columns


@functools.cache
def _owner_of_module_lap() -> str:
    """Distribution whose files the module ``lap`` consists of: "lap", "lapx", or "" where there is none.

    Both may be recorded as installed while the later one has overwritten the other's ``lap/__init__.py``, so the version
    that the module states decides between them; where that is the same, that lapx alone has lapjvx.
    """
    versions = {}
    for name in ("lap", "lapx"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    if len(versions) < 2:
        return next(iter(versions), "")
    try:
        import lap as library
    except ImportError:
        return ""
    matching = [name for name, version in versions.items() if version == getattr(library, "__version__", "")]
    return matching[0] if len(matching) == 1 else ("lapx" if hasattr(library, "lapjvx") else "lap")


def _reason_without(wanted: str) -> str:
    owner = _owner_of_module_lap()
    if not owner:
        return f"needs the package {wanted!r}, which is not installed"
    return "" if owner == wanted else f"the module lap belongs to the package {owner!r} here; {wanted} would replace it"


def _lap_of(package: str) -> dict[str, Any]:
    return {
        **CUBIC,
        "precision": ROUNDED,
        "reference": f"{JONKER_VOLGENANT}; package {package}",
        "requires": ("lap",),
        "unavailable": functools.partial(_reason_without, package),
        "distribution": package,
    }


@register_solver("lapx", **_lap_of("lapx"))
@register_solver("lap", **_lap_of("lap"))
def lap(problem: MatchingProblem) -> Permutation:
    """Jonker-Volgenant of the module lap, in float64."""
    costs = unit_costs(problem.affinity)
    if costs is None:
        return np.arange(problem.size)
    import lap as library

    columns: Permutation = library.lapjv(costs, return_cost=False)[0]
    return columns


@register_solver(
    "identity",
    kind="baseline",
    matrix_free=True,
    takes_vectors=False,
    complexity="O(S)",
    reference="same-position matching, Wald et al. 2024",
)
def identity(problem: MatchingProblem) -> Permutation:
    """Every position with the one at the same place: no matching at all."""
    return np.arange(problem.size)


def integer_costs(affinity: Floats, levels: int, dtype: type[Any] = np.int64) -> NDArray[Any] | None:
    """Whole costs 0..levels that fall as the affinity rises, rounded to nearest; None where every permutation is as good.

    ValueError for ``levels`` below 2, or so many that the library's products with S^2 leave 64 bits.
    """
    size = len(affinity)
    most = 2**60 // max(1, size * (size + 1))
    if not 2 <= levels <= most:
        raise ValueError(f"levels must lie in 2..{most} at S={size}, got {levels}")
    span = _span(affinity)
    if span is None:
        return None
    top, width = span
    costs = np.empty((size, size), dtype=dtype)
    # A few rows at a time: the float64 in between stays in the cache.
    buffer = np.empty((_ROWS_PER_PASS, size))
    for start in range(0, size, _ROWS_PER_PASS):
        rows = slice(start, start + _ROWS_PER_PASS)
        part = np.subtract(top, affinity[rows], out=buffer[: size - start])
        part /= width
        part *= levels
        costs[rows] = np.rint(part, out=part)
    return costs


def unit_costs(affinity: Floats) -> NDArray[np.float64] | None:
    """float64 costs in [0, 1] that fall as the affinity rises; None where every permutation is as good.

    The module ``lap`` takes 1e6 for infinity, so costs must not keep the scale of the affinity; a power of two takes it
    away without rounding. The difference is taken in the precision of the affinity: Jonker and Volgenant's row reduction
    makes a step for every price it can tell apart, and with digits that a float32 affinity does not have it took twice
    as long at S = 1024.
    """
    span = _span(affinity)
    if span is None:
        return None
    top, width = span
    costs = (affinity.dtype.type(top) - affinity).astype(np.float64)
    np.ldexp(costs, -int(np.frexp(width)[1]), out=costs)
    return costs


def _span(affinity: Floats) -> tuple[np.float64, np.float64] | None:
    """Largest affinity and the range, or None for fewer than two positions and for a constant affinity.

    Those never reach a library: ``lap`` writes out of bounds at S = 0, ``lapjv`` refuses it.
    """
    if len(affinity) < 2:
        return None
    top, bottom = np.float64(affinity.max()), np.float64(affinity.min())
    width = top - bottom
    return (top, width) if width > 0 else None


@functools.lru_cache(maxsize=2)
def _arcs(size: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Ends of all arcs of the complete bipartite graph, read-only."""
    indices = np.arange(size, dtype=np.int32)
    arcs = np.repeat(indices, size), np.tile(indices, size)
    for array in arcs:
        array.flags.writeable = False
    return arcs
