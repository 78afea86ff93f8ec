"""What all benchmarks share: frozen lists of solvers and sizes, and how a solver is called on a problem.

asv tells parameters apart by their place in these lists, also between commits, so the lists are literals: a solver that the
registry does not have in some commit is n/a there and moves nobody else. New names may stand anywhere in the list.
`tests/test_asv.py` holds them against the registry and the data.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np

import semrsm_bench as sb

from .clock import alternating, ratio_of_least, timed

# fmt: off
SOLVERS = (
    "ortools", "scipy", "lapjv", "lap", "lapx",
    "identity", "scipy-sparse", "sinkhorn-rounded", "sliced-sort", "greedy",
    "topk-greedy-128", "topk-greedy-256", "topk-greedy-512",
    "batch-optimal-128", "batch-optimal-256", "batch-optimal-512", "batch-optimal-1024",
    "auction-fine", "auction-coarse", "auction-certified", "list-auction-fine", "list-auction-coarse",
    "exact-auction", "matrix-free-fine", "matrix-free-coarse",
)
# fmt: on
SIZES = (64, 256, 1024, 4096)
CENTRINGS = ("none", "channel")
# Other kinds of problems, S = 256, and who is measured on them.
FAMILIES = ("flat-maps", "machol-wien", "uniform-small")
FAMILY_SOLVERS = ("ortools", "scipy", "lapjv", "greedy", "auction-fine", "exact-auction")
# Pairs (solver, size) that would take longer than all others together.
TOO_SLOW = frozenset(
    {
        *((name, 4096) for name in ("scipy", "lapjv", "lap", "lapx", "sinkhorn-rounded")),
    }
)
# Below this, inverse quality would be a number that means nothing.
LEAST_QUALITY = 1e-3
# As in a run: calls of one problem at most, and seconds after which there are no more.
MOST_CALLS, ENOUGH_SECONDS, LARGE = 20, 0.02, 4096
_WARM: set = set()


def solver_for(name: str, size: int):
    """The registered solver; NotImplementedError, which asv shows as n/a, where it is not to be measured."""
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


def shifted(problem, shift: int, matrix_free: bool) -> tuple[object, float]:
    """The pair under a circular shift of the positions, the same for both images, and the seconds of its affinity."""
    given = sb.MatchingProblem(*(np.roll(side, shift, axis=0) for side in (problem.x, problem.y)))
    return given, 0.0 if matrix_free else timed(lambda: given.affinity)[1]


def answer_of(solver, given):
    """What a solver returns for a problem, as an array: what is timed includes making it."""
    result = solver.function(given, **solver.options)
    return np.array(getattr(result, "perm", result))


def unshifted(perm, shift: int):
    """The matching of the pair as it was before its shift, (S,) intp; ValueError where it is no permutation."""
    if not np.array_equal(np.sort(perm), np.arange(len(perm))):
        raise ValueError(f"the solver returned no permutation of {len(perm)} positions")
    return np.roll((perm.astype(np.intp) - shift) % max(1, len(perm)), -shift)


def matching_of(solver: str, problem):
    """One untimed matching of the pair as it is, (S,) intp."""
    registered = sb.get_solver(solver)
    return unshifted(answer_of(registered, shifted(problem, 0, registered.matrix_free)[0]), 0)


def observed(solver: str, problem, *, seed: int = 0) -> SimpleNamespace:
    """A solver on a problem; every timed call gets the pair under another shift, so that nothing remembered fits it.

    Returns
    -------
    namespace
        ``perms`` (calls, S), of the pair as it was given; ``seconds`` of each call; ``affinity_seconds`` likewise.
    """
    registered, size = sb.get_solver(solver), len(problem.x)
    last, *shifts = np.random.default_rng([size, seed]).permutation(size)[: (1 if size >= LARGE else MOST_CALLS) + 1]
    if (solver, problem.x.shape) not in _WARM:
        answer_of(registered, shifted(problem, last, registered.matrix_free)[0])  # compiles and imports
        _WARM.add((solver, problem.x.shape))
    found = SimpleNamespace(perms=[], seconds=[], affinity_seconds=[])
    for shift in shifts:
        given, affinity_seconds = shifted(problem, shift, registered.matrix_free)
        perm, seconds = timed(lambda given=given: answer_of(registered, given))
        found.perms.append(unshifted(perm, shift))
        found.seconds.append(seconds)
        found.affinity_seconds.append(affinity_seconds)
        if sum(found.seconds) >= ENOUGH_SECONDS:
            break
    return found


def relative_time(solver, kernel, rounds: int = 5) -> float:
    """Least time of a solver over least time of the reference kernel, taken alternately.

    Parameters
    ----------
    solver, kernel : callable
        ``solver(round)`` gives the seconds of some calls, ``kernel()`` those of the reference kernel.
    rounds : int
        Solvers that take over half a second get two.
    """
    numbers = itertools.count()
    samplers = {"kernel": kernel, "solver": lambda: min(solver(next(numbers)))}
    first = alternating(samplers, 1)
    more = alternating(samplers, rounds - 1 if first["solver"][0] < 0.5 else 1)
    return ratio_of_least({name: first[name] + more[name] for name in samplers}, "solver")


def inverse_quality(chance_corrected: float) -> float:
    """1 / c, at least 1 for an exact solver and larger the worse: asv takes every increase for a regression."""
    return 1.0 / max(chance_corrected, LEAST_QUALITY)
