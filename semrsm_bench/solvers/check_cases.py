"""What every solver must pass: the cases of ``semrsm-bench check``, each a function that raises where the solver fails."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from semrsm_bench.core.checking import CheckFailedError, describe, require, without_global_randomness
from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation, matching_value, random_value
from semrsm_bench.solvers.registry import InvalidMatchingError, Solver
from semrsm_bench.solvers.registry import warm_up as solve_tiny_problems

Case = Callable[[Solver], None]


def features(size: int, channels: int, seed: int = 0, dtype: DTypeLike = np.float32) -> tuple[Floats, Floats]:
    """Two images' worth of ReLU-like position vectors with something in common."""
    rng = np.random.default_rng([seed, size, channels])
    common = rng.standard_normal((size, channels))
    x = np.maximum(common + 0.7 * rng.standard_normal((size, channels)), 0)
    y = np.maximum(common[rng.permutation(size)] + 0.7 * rng.standard_normal((size, channels)), 0)
    return x.astype(dtype), y.astype(dtype)


def solve_and_judge(solver: Solver, problem: MatchingProblem) -> Permutation:
    """Permutation, after checking that it is one, that the inputs are unchanged, that exact is exact, and that duals are feasible.

    Problems beyond the solver's ``max_size`` are not tried.
    """
    if solver.max_size is not None and problem.size > solver.max_size:
        return np.arange(problem.size)
    arrays = [problem.x, problem.y, *([problem.affinity] if problem.has_affinity else [])]
    before = [array.tobytes() for array in arrays]
    try:
        solution = solver.run(problem)
    except Exception as error:
        reason = str(error) if isinstance(error, InvalidMatchingError) else describe(error)
        raise CheckFailedError(f"{problem!r}: {reason}") from error
    require(before == [array.tobytes() for array in arrays], f"{problem!r}: the solver changed its input")
    x, y = (z.astype(np.float64) for z in (problem.x, problem.y))
    # How much k may differ because affinities are rounded to the precision of the problem.
    lengths = [float(np.linalg.norm(z, axis=1).max(initial=0.0)) for z in (x, y)]
    rounding = 4.0 * problem.size * float(np.finfo(problem.x.dtype).eps) * lengths[0] * lengths[1]
    if solver.kind == "exact":
        k, best = matching_value(problem, solution.perm), optimum(problem)
        allowed = (solver.precision or 0.0) * (best - random_value(problem)) + rounding
        require(
            best - k <= allowed, f"{problem!r}: registered as exact, but k = {k:.17g} is below the optimum {best:.17g}"
        )
    if solution.duals is not None:
        u, v = (np.asarray(d, dtype=np.float64) for d in solution.duals)
        shape = (problem.size,)
        require(u.shape == v.shape == shape, f"{problem!r}: duals have shapes {u.shape} and {v.shape}, not {shape}")
        require(bool(np.isfinite([u, v]).all()), f"{problem!r}: the duals are not finite")
        exact = x @ y.T
        short = float((exact - u[:, None] - v).max(initial=0.0))
        slack = rounding + 1e-5 * float(np.abs(exact).max(initial=0.0))
        require(short <= slack, f"{problem!r}: the duals are infeasible, u_i + v_j is below A_ij by {short:.3g}")
    return solution.perm


def optimum(problem: MatchingProblem) -> float:
    """Optimum k_opt, by trying every permutation up to S = 6 and by SciPy in float64 beyond."""
    affinity = problem.x.astype(np.float64) @ problem.y.astype(np.float64).T
    if problem.size <= 6:
        rows = np.arange(problem.size)
        return max(float(affinity[rows, list(p)].sum()) for p in itertools.permutations(range(problem.size)))
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        words = "the optimum of S > 6 is found by SciPy, which is not here; add scipy to the solver's environment to check it"
        raise CheckFailedError(words) from None
    return matching_value(problem, linear_sum_assignment(affinity, maximize=True)[1])


Pairs = Iterable[tuple[Any, Any]]


def _scaled(*factors: tuple[float, float]) -> Pairs:
    """Pairs of either precision, each image times a factor."""
    for a, b in factors:
        for dtype in (np.float32, np.float64):
            x, y = features(70, 8, dtype=dtype)
            yield x * dtype(a), y * dtype(b)


def _small() -> Pairs:
    rng = np.random.default_rng(7)
    for _ in range(30):
        shape = (int(rng.integers(2, 7)), int(rng.integers(1, 4)))
        yield rng.standard_normal(shape), rng.standard_normal(shape)


def _ties() -> Pairs:
    rng = np.random.default_rng(3)
    x, y = rng.integers(-1, 2, (2, 60, 2)).astype(np.float32)
    yield x, y
    x, y = rng.standard_normal((2, 5, 4)).astype(np.float32)[:, rng.integers(0, 5, 90)]
    yield from [(x, y), (x, x)]


def _zero_rows() -> Pairs:
    x, y = features(90, 6)
    x[::3] = 0
    y[::4] = 0
    nothing = np.zeros((40, 6), np.float32)
    return [(x, y), (nothing, nothing), (nothing, y[:40])]


def _constant() -> Pairs:
    x, y = features(50, 3, dtype=np.float64)
    ones, none = np.ones((50, 3)), np.empty((50, 0))
    return [(ones, ones), (-ones, ones), (ones, y), (x, ones), (none, none)]


def _outlier() -> Pairs:
    x, y = features(120, 8, dtype=np.float64)
    x[17] *= 1000
    return [(x, y), (y, x)]


def _moved(size: int, channels: int, by: float, sign: float) -> Pairs:
    x, y = features(size, channels, dtype=np.float64)
    return [(x + by, sign * (y + by))]


# Share of the range from chance to the optimum by which the matchings of two precisions may differ.
_PRECISIONS_APART = 0.1
_CORNERS = np.array([[1.0, 0.0], [0.0, 1.0]])
# What cases solve: a line that says why, and pairs of images.
_PAIRS: dict[str, tuple[str, Callable[[], Pairs]]] = {
    "empty": (
        "S = 0 gives an empty permutation.",
        lambda: [(np.empty((0, 3), dtype), np.empty((0, 3), dtype)) for dtype in (np.float32, np.float64)],
    ),
    "one": ("S = 1.", lambda: [(np.full((1, 2), a), np.full((1, 2), 1.0)) for a in (-1.0, 0.0, 1.0)]),
    "two": (
        "S = 2, with either order the better one.",
        lambda: [(_CORNERS, _CORNERS), (_CORNERS, _CORNERS[::-1]), (-_CORNERS, _CORNERS)],
    ),
    "small": ("Many problems of 2 to 6 positions; exact solvers against every permutation.", _small),
    "float32": ("float32 activations.", lambda: [features(131, 16)]),
    "float64": ("float64 activations.", lambda: [features(131, 16, dtype=np.float64)]),
    "odd sizes": (
        "Sizes around blocks of 64 and 128 that are no multiples of them.",
        lambda: [features(size, 5) for size in (3, 63, 65, 127, 129, 300)],
    ),
    "larger than blocks": ("S = 1100: more than any block of the built-in solvers.", lambda: [features(1100, 12)]),
    "ties": ("Small whole numbers and repeated positions: many matchings are equally good.", _ties),
    "zero rows": ("Positions that a ReLU switched off, and images of nothing else.", _zero_rows),
    "constant": ("Affinities that are all the same, or the same along rows: every permutation is optimal.", _constant),
    "tiny": ("Activations of 1e-30, whose products leave float32.", lambda: _scaled((1e-30, 1e-30))),
    "huge": ("Activations of 1e30, whose products leave float32.", lambda: _scaled((1e30, 1e30))),
    "mixed scales": ("One image of 1e-30 and the other of 1e30.", lambda: _scaled((1e-30, 1e30), (1e30, 1e-30))),
    "negative": ("Affinities below zero, so that k_opt is negative.", lambda: _moved(80, 6, 0.1, -1.0)),
    "outlier": ("One position a thousand times as strong as the rest.", _outlier),
    "offset": ("A large offset common to all positions.", lambda: _moved(100, 8, 1000.0, 1.0)),
    "one channel": (
        "A single channel, where the affinity has rank one.",
        lambda: [features(100, 1, dtype=dtype) for dtype in (np.float64, np.float32)],
    ),
    "many channels": ("More channels than positions.", lambda: [features(20, 300)]),
}


def _judge_all(why: str, pairs: Callable[[], Pairs]) -> Case:
    def case(solver: Solver) -> None:
        for x, y in pairs():
            solve_and_judge(solver, MatchingProblem(x, y))

    case.__doc__ = why
    return case


def _affinity_made_before(solver: Solver) -> None:
    """The runner may have made the affinity already."""
    problem = MatchingProblem(*features(150, 8))
    _ = problem.affinity
    solve_and_judge(solver, problem)


def _either_precision(solver: Solver) -> None:
    """The same activations in float32 and in float64 are matched equally well: the affinity is read as what it is.

    Approximations too: who reads float64 as float32 finds a random matching.
    """
    x, y = features(90, 8, 11)
    problems = [MatchingProblem(x.astype(dtype), y.astype(dtype)) for dtype in (np.float32, np.float64)]
    single, double = (matching_value(problems[1], solve_and_judge(solver, problem)) for problem in problems)
    span = optimum(problems[1]) - random_value(problems[1])
    require(
        abs(single - double) <= _PRECISIONS_APART * span,
        f"k is {single:.6g} for float32 and {double:.6g} for float64 of the same values: does it look at affinity.dtype?",
    )


def _matrices(solver: Solver) -> None:
    """Plain matrices of either precision, and whole costs with ties, for solvers that take no position vectors."""
    rng = np.random.default_rng(13)
    for dtype in (np.float32, np.float64):
        for size in () if solver.takes_vectors else (1, 5, 70):
            solve_and_judge(solver, MatchingProblem.from_affinity(rng.standard_normal((size, size)).astype(dtype)))
            costs = rng.integers(0, 9, (size, size)).astype(dtype)
            solve_and_judge(solver, MatchingProblem.from_costs(costs))


def _deterministic(solver: Solver) -> None:
    """The same problem has the same answer: at once, after another one, and made anew."""
    for seed in range(3):
        x, y = features(140, 2, seed)
        first = solve_and_judge(solver, MatchingProblem(x, y))
        solve_and_judge(solver, MatchingProblem(*features(90, 3, seed, np.float64)))
        for again in range(3):
            same = np.array_equal(first, solve_and_judge(solver, MatchingProblem(x, y)))
            require(same, f"the answer changed when the same problem was solved again (repeat {again + 1})")


def _global_random_state(solver: Solver) -> None:
    """The solver neither reads nor moves the process-wide random generators."""
    x, y = features(140, 4, 5)
    without_global_randomness(lambda: solve_and_judge(solver, MatchingProblem(x, y)), np.array_equal)


def _threads(solver: Solver) -> None:
    """Two threads at a time give what one gives."""
    pairs = [features(size, 6, seed) for seed in range(3) for size in (40, 133, 200)]
    alone = [solve_and_judge(solver, MatchingProblem(x, y)) for x, y in pairs]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda pair: solve_and_judge(solver, MatchingProblem(*pair)), pairs))
    for one_way, other in zip(alone, together):
        require(np.array_equal(one_way, other), "two threads at a time give another answer than one; is state shared?")


def _never_makes_the_affinity(solver: Solver) -> None:
    """What is registered as matrix-free makes no affinity matrix."""
    if solver.matrix_free:
        problem = MatchingProblem(*features(300, 6))
        solve_and_judge(solver, problem)
        require(not problem.has_affinity, "registered as matrix_free, but it made problem.affinity")


CASES: dict[str, Case] = {
    **{name: _judge_all(*given) for name, given in _PAIRS.items()},
    "affinity made before": _affinity_made_before,
    "either precision": _either_precision,
    "matrices": _matrices,
    "deterministic": _deterministic,
    "global random state": _global_random_state,
    "threads": _threads,
    "never makes the affinity": _never_makes_the_affinity,
}


def warm_up(solver: Solver) -> None:
    """Compile and import what the first calls need."""
    for dtype in (np.float32, np.float64):
        solve_tiny_problems(solver.name, dtype)
