"""Exact solvers of other libraries, each in an environment of its own: they clash with each other, or are old versions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers import exact
from semrsm_bench.solvers.exact import CUBIC, JONKER_VOLGENANT, ROUNDED, unit_costs
from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation
from semrsm_bench.solvers.registry import register_solver
from semrsm_bench.solvers.sparse import candidate_edges

# S up to which slow ones are tried.
_SLOW = 256
# S up to which a choice of parameters by the data is not reliable.
_TINY = 8


def _apart(requirement: str, reference: str = "", **declared: Any) -> dict[str, Any]:
    """What an exact solver in an environment declares; the first word of the requirement is its distribution."""
    package = requirement.partition("==")[0]
    about = {
        "reference": f"{reference}; package {package}" if reference else f"package {package}",
        "precision": ROUNDED,
    }
    return {**CUBIC, **about, "environment": requirement, "distribution": package, **declared}


def _costs(affinity: Floats) -> Floats | None:
    """Costs that fall as the affinity rises, in its own precision; None where every permutation is as good."""
    if len(affinity) < 2:
        return None
    costs: Floats = affinity.max() - affinity
    return costs if costs.any() else None


def _perm_of(rows: NDArray[Any], columns: NDArray[Any]) -> Permutation:
    """Matched pairs, in any order, as a permutation; -1 where a row is not matched."""
    perm = np.full(len(rows), -1, dtype=np.intp)
    perm[rows] = columns
    return perm


@register_solver("lapx", **_apart("lapx==0.11.1", JONKER_VOLGENANT), grid={"function": ["lapjv", "lapjvx", "lapjvc"]})
def lapx(problem: MatchingProblem, *, function: str = "lapjv") -> Permutation:
    """A dense function of lapx, in float64.

    Parameters
    ----------
    function : {"lapjv", "lapjvx", "lapjvc"}
    """
    costs = unit_costs(problem.affinity)
    if costs is None:
        return np.arange(problem.size)
    import lap as library

    found = getattr(library, function)(costs, return_cost=False)
    columns: Permutation = found[0] if function == "lapjv" else _perm_of(*found)
    return columns


@register_solver("lapx-lapjvs", **_apart("lapx==0.11.1", JONKER_VOLGENANT), function="lapjvs")
@register_solver("lapx-lapjvr", **_apart("lapx==0.11.1", f"{JONKER_VOLGENANT}, in Rust"), function="lapjvr")
@register_solver("lapx-lapjvh", **_apart("lapx==0.11.1", f"{JONKER_VOLGENANT}, hybrid"), function="lapjvh")
def lapx_native(problem: MatchingProblem, *, function: str) -> Permutation:
    """A function of lapx that takes float32 as it is.

    Parameters
    ----------
    function : {"lapjvs", "lapjvr", "lapjvh"}
    """
    costs = _costs(problem.affinity)
    if costs is None:
        return np.arange(problem.size)
    import lap as library

    return _perm_of(*getattr(library, function)(costs, return_cost=False))


@register_solver(
    "lapx-lapmod",
    **_apart(
        "lapx==0.11.1",
        "Volgenant 1996, Computers & OR 23 (LAPMOD), on k candidates",
        kind="approximate",
        precision=None,
        complexity="O(S^2 + k S^2 log S)",
        slow_from=None,
    ),
)
def lapmod(problem: MatchingProblem, *, k: int = 32) -> Permutation:
    """The sparse function of lapx on the candidate graph, in float64; see `scipy-sparse`.

    Parameters
    ----------
    k : int
        Candidates of each row, and of each column.
    """
    costs = unit_costs(problem.affinity)
    if costs is None:
        return np.arange(problem.size)
    import lap as library

    rows, columns = candidate_edges(problem.affinity, k)
    ends = np.searchsorted(rows, np.arange(problem.size + 1))
    found: Permutation = library.lapmod(problem.size, costs[rows, columns], ends, columns, return_cost=False)[0]
    return found


@register_solver("lap-lapjv", **_apart("lap==0.5.13", JONKER_VOLGENANT))
def lap(problem: MatchingProblem) -> Permutation:
    """Jonker-Volgenant of lap, in float64: the same as the solver ``lap``, also where lapx has taken its place."""
    return exact.lap(problem)


@register_solver("laprust", **_apart("laprust==1.0.0", f"{JONKER_VOLGENANT}, in Rust"), module="laprust")
@register_solver("lapcpp", **_apart("lapcpp==1.0.0", f"{JONKER_VOLGENANT}, in C++"), module="lapcpp")
def native(problem: MatchingProblem, *, module: str) -> Permutation:
    """Jonker-Volgenant of the twins laprust and lapcpp, in the precision of the affinity."""
    costs = _costs(problem.affinity)
    if costs is None:
        return np.arange(problem.size)
    import importlib

    return _perm_of(*importlib.import_module(module).lapjv(costs, return_cost=False))


@register_solver(
    "acm1015",
    **_apart(
        "py-lap-solver==0.1.4",
        "Guthe & Thuerck 2021, ACM TOMS 47 (Algorithm 1015: shortest augmenting paths)",
        slow_from=None,  # 1 to 2 s a pair at S = 4096
    ),
)
def acm1015(problem: MatchingProblem) -> Permutation:
    """ACM Algorithm 1015, one thread: with OpenMP it returned no permutation here.

    Its choice of a first epsilon fails on some problems of S = 2 and 3, which then get no permutation: none is chosen there.
    """
    costs = _costs(problem.affinity)
    if costs is None:
        return np.arange(problem.size)
    from py_lap_solver.solvers import Lap1015Solver

    columns: Permutation = Lap1015Solver(use_openmp=False, use_epsilon=problem.size > _TINY).solve_single(costs)
    return columns


@register_solver("fastlap", **_apart("fastlap==0.4.0", JONKER_VOLGENANT), grid={"algorithm": ["lapjv", "lapjvsp"]})
@register_solver("fastlap-auction", **_apart("fastlap==0.4.0", "Bertsekas 1988, Annals of OR 14"), algorithm="auction")
@register_solver("fastlap-hungarian", **_apart("fastlap==0.4.0", "Kuhn 1955", max_size=_SLOW), algorithm="hungarian")
def fastlap(problem: MatchingProblem, *, algorithm: str) -> Permutation:
    """An algorithm of fastlap, in Rust and float64.

    Parameters
    ----------
    algorithm : {"lapjv", "lapjvsp", "auction", "hungarian"}
    """
    costs = unit_costs(problem.affinity)
    if costs is None:
        return np.arange(problem.size)
    import fastlap as library

    return np.asarray(library.solve_lap(costs, algorithm=algorithm)[1])


@register_solver(
    "pot-emd",
    **_apart("POT==0.9.7.post1", "Bonneel et al. 2011, ACM TOG 30 (network simplex)", complexity="O(S^3 log S)"),
)
def pot(problem: MatchingProblem) -> Permutation:
    """Network simplex of Python Optimal Transport, with all the steps that it needs."""
    costs = unit_costs(problem.affinity)
    if costs is None:
        return np.arange(problem.size)
    import ot

    weights = np.ones(problem.size)
    plan = ot.emd(weights, weights, costs, numItermax=2**62)
    return np.asarray(plan.argmax(axis=1))


@register_solver("nanolsap", **_apart("nanolsap==0.1.4", "Crouse 2016, IEEE TAES 52"), module="nanolsap")
@register_solver("minilsap", **_apart("minilsap==1.0.1", "Crouse 2016, IEEE TAES 52"), module="minilsap")
def like_scipy(problem: MatchingProblem, *, module: str) -> Permutation:
    """Shortest augmenting paths of SciPy, as small packages bring them."""
    import importlib

    return _perm_of(*importlib.import_module(module).linear_sum_assignment(problem.affinity, maximize=True))


@register_solver("munkres", **_apart("munkres==3.0.0", "Munkres 1957, J. SIAM 5", max_size=_SLOW))
def munkres(problem: MatchingProblem) -> Permutation:
    """The Hungarian method of munkres, in Python."""
    costs = unit_costs(problem.affinity)
    if costs is None:
        return np.arange(problem.size)
    from munkres import Munkres

    return _perm_of(*np.transpose(Munkres().compute(costs.tolist())))


@register_solver("scipy-2023", **_apart("scipy==1.11.4", "Crouse 2016, IEEE TAES 52; SciPy of 2023"))
def old_scipy(problem: MatchingProblem) -> Permutation:
    """SciPy of 2023."""
    return exact.scipy(problem)


@register_solver(
    "ortools-2023",
    **_apart("ortools==9.8.3296", "Goldberg & Kennedy 1995, Math. Programming 71; OR-Tools of 2023", slow_from=None),
)
def old_ortools(problem: MatchingProblem, *, levels: int = 2**24) -> Permutation:
    """OR-Tools of 2023; see `ortools`."""
    return exact.ortools(problem, levels=levels)
