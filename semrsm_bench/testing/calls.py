"""How a benchmark calls a solver: each timed call gets other bytes, each answer is scored against a proved optimum.

Public names of the package and NumPy only: linked into ``benchmarks/``, the same file measures every commit.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

import semrsm_bench as sb

from .clock import ReferenceKernel, alternating, ratio_of_least, timed

# Below this, inverse quality would be a number that means nothing.
LEAST_QUALITY = 1e-3
# As in a run: calls of one problem at most, and seconds after which there are no more.
MOST_CALLS, ENOUGH_SECONDS, LARGE = 20, 0.02, 4096
_WARM: set[Any] = set()


class Problem:
    """One pair of images as plain data: position vectors x and y, (S, C), and k_opt, which its matchings are scored against."""

    def __init__(self, pair: str, x: Any, y: Any, k_opt: float) -> None:
        self.pair, self.x, self.y, self.k_opt = pair, x, y, k_opt
        self.k_rand = float(x.sum(axis=0, dtype=np.float64) @ y.sum(axis=0, dtype=np.float64)) / len(x)

    def score(self, perm: Any) -> tuple[float, float]:
        """Ratio k / k_opt and the chance-corrected quality, from k in float64; ValueError where it is no permutation."""
        if not np.array_equal(np.sort(perm), np.arange(len(self.x))):
            raise ValueError(f"pair {self.pair}: it returned no permutation of {len(self.x)} positions")
        k = float(np.einsum("sc,sc->", self.x.astype(np.float64), self.y[perm].astype(np.float64)))
        span = self.k_opt - self.k_rand
        corrected = (k - self.k_rand) / span if span > 1e-12 * abs(self.k_opt) else 1.0
        return (k / self.k_opt if self.k_opt > 0 else math.nan), corrected


def proved_optimum(problem: Any) -> float:
    """Value k of an exact matching; ValueError where the duals of another solver do not prove it."""
    k, bound = sb.matching_value(problem, sb.solve(problem, "ortools")), sb.upper_bound(problem, effort="exact")
    if not abs(bound - k) <= 1e-6 * max(abs(k), 1.0):
        raise ValueError(f"k = {k!r} is not the bound {bound!r}")
    return k


def solver_for(name: str, size: int) -> Any:
    """The registered solver; NotImplementedError, which asv shows as n/a, where it is not to be measured."""
    try:
        solver = sb.get_solver(name)
    except KeyError as error:
        raise NotImplementedError(str(error)) from None
    if not solver.available:
        raise NotImplementedError(f"{name}: {solver.reason}")
    slow_from = getattr(solver, "slow_from", None)  # older commits do not have it
    if slow_from is not None and size >= slow_from:
        raise NotImplementedError(f"{name} takes too long at S = {size}")
    if solver.max_size is not None and size > solver.max_size:
        raise NotImplementedError(f"{name} is meant for S up to {solver.max_size}")
    return solver


def shifted(problem: Any, shift: int, matrix_free: bool) -> tuple[Any, float]:
    """The pair under a circular shift of the positions, the same for both images, and the seconds of its affinity."""
    given = sb.MatchingProblem(*(np.roll(side, shift, axis=0) for side in (problem.x, problem.y)))
    return given, 0.0 if matrix_free else timed(lambda: given.affinity)[1]


def answer_of(solver: Any, given: Any) -> Any:
    """What a solver returns for a problem, as an array: what is timed includes making it."""
    result = solver.function(given, **solver.options)
    return np.array(getattr(result, "perm", result))


def unshifted(perm: Any, shift: int) -> Any:
    """The matching of the pair as it was before its shift, (S,) intp; ValueError where it is no permutation."""
    if not np.array_equal(np.sort(perm), np.arange(len(perm))):
        raise ValueError(f"the solver returned no permutation of {len(perm)} positions")
    return np.roll((perm.astype(np.intp) - shift) % max(1, len(perm)), -shift)


def matching_of(solver: str, problem: Any) -> Any:
    """One untimed matching of the pair as it is, (S,) intp."""
    registered = sb.get_solver(solver)
    return unshifted(answer_of(registered, shifted(problem, 0, registered.matrix_free)[0]), 0)


def observed(solver: str, problem: Any, *, seed: int = 0) -> SimpleNamespace:
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
        perm, seconds = timed(lambda given=given: answer_of(registered, given))  # type: ignore[misc]
        found.perms.append(unshifted(perm, shift))
        found.seconds.append(seconds)
        found.affinity_seconds.append(affinity_seconds)
        if sum(found.seconds) >= ENOUGH_SECONDS:
            break
    return found


def relative_time(solver: Callable[[int], list[float]], kernel: Callable[[], float], rounds: int = 5) -> float:
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


def solved_in_kernels(solver: str, problem: Any) -> float:
    """A solver's time on a problem in units of a fixed kernel, which varies less from machine to machine than seconds do."""
    return relative_time(lambda number: observed(solver, problem, seed=number).seconds, ReferenceKernel().seconds)


def inverse_quality(chance_corrected: float) -> float:
    """1 / c, at least 1 for an exact solver and larger the worse: asv takes every increase for a regression."""
    return 1.0 / max(chance_corrected, LEAST_QUALITY)


def measure(benchmark: Any, solver: str, problems: Sequence[Problem], *, centring: str = "none") -> None:
    """Measure a solver with the fixture of pytest-benchmark: times of the first problem, quality of all of them.

    The entry says what `semrsm-bench compare` reads. ``problems`` are of one size. pytest.skip where the solver is not to be
    measured; AssertionError where it beats the optimum, or promises the optimum and misses it.
    """
    import pytest

    size = len(problems[0].x)
    try:
        registered = solver_for(solver, size)
    except NotImplementedError as error:
        pytest.skip(str(error))
    scores = {problem.pair: problem.score(matching_of(solver, problem)) for problem in problems}
    ratios = [ratio for ratio, _ in scores.values()]
    shifts = itertools.count(1)  # every call gets other bytes
    corrected = statistics.fmean(c for _, c in scores.values())
    benchmark.extra_info.update(
        solver=solver,
        size=size,
        centring=centring,
        pair=problems[0].pair,
        quality=None if any(map(math.isnan, ratios)) else statistics.fmean(ratios),
        chance_corrected=corrected,
        gap=1.0 - corrected,
        gap_of_pair={pair: 1.0 - c for pair, (_, c) in scores.items()},
    )
    benchmark.pedantic(
        lambda given: registered.function(given, **registered.options),
        setup=lambda: ((shifted(problems[0], next(shifts), registered.matrix_free)[0],), {}),
        rounds=max(3, len(observed(solver, problems[0]).seconds)),
    )
    assert all(c <= 1 + 1e-6 for _, c in scores.values()), "it beats the optimum"
    assert registered.kind != "exact" or all(c >= 1 - 1e-6 for _, c in scores.values()), "it promises the optimum"
