import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers import MatchingProblem, get_solver, matching_value
from semrsm_bench.solvers.bounds import dual_value
from semrsm_bench.solvers.kernels import exact as kernels
from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.kernels.bidding import Assignment
from semrsm_bench.solvers.kernels.exact import Finish, augment, check_tight, finish_exactly, make_lists
from semrsm_bench.solvers.kernels.scale import Scale
from tests.hard_problems import KINDS, hard_problem, true_affinity

SOLVER = get_solver("exact-auction")


def tolerance(problem):
    """What float32 affinities may cost: their own rounding, on both sides, for every row."""
    sizes = [np.abs(z.astype(np.float64)).max(initial=0.0) for z in (problem.x, problem.y)]
    return 8 * problem.size * problem.channels * np.finfo(problem.x.dtype).eps * sizes[0] * sizes[1]


def best_value(problem):
    affinity = true_affinity(problem)
    unit = np.abs(affinity).max(initial=0.0) or 1.0
    rows, columns = linear_sum_assignment(affinity / unit, maximize=True)
    return affinity[rows, columns].sum()


def assert_certified(problem, solution):
    u, v = solution.duals
    affinity = problem.affinity.astype(np.float64)
    scale = np.abs(affinity).max(initial=0.0) + np.abs(v).max(initial=0.0)
    slack = u[:, None] + v[None, :] - affinity
    allowed = 1e-6 if problem.x.dtype == np.float32 else 1e-12
    assert slack.min(initial=0.0) >= -allowed * scale
    matched = slack[np.arange(problem.size), solution.perm]
    assert np.abs(matched).max(initial=0.0) <= allowed * scale


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "channels"), [(2, 3), (3, 1), (7, 2), (16, 4), (33, 40), (65, 3), (130, 8)])
def test_is_optimal_on_hard_problems(kind, size, channels):
    for seed in range(4):
        problem = hard_problem(kind, size, channels, seed)
        solution = SOLVER.run(problem)
        assert matching_value(problem, solution.perm) >= best_value(problem) - tolerance(problem)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thousands_of_small_problems_of_small_integers(dtype):
    draw = np.random.default_rng(11)
    for _ in range(2000):
        size, channels, most = draw.integers(2, 24), draw.integers(2, 6), draw.integers(1, 4)
        x, y = (draw.integers(-most, most + 1, (size, channels)).astype(dtype) for _ in range(2))
        problem = MatchingProblem(x, y)
        affinity = true_affinity(problem)
        rows, columns = linear_sum_assignment(affinity, maximize=True)
        assert matching_value(problem, SOLVER.run(problem).perm) == affinity[rows, columns].sum()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_agrees_with_every_permutation(data):
    size = data.draw(st.integers(0, 6))
    channels = data.draw(st.integers(0, 4))
    values = st.integers(-3, 3) | st.sampled_from([0.1, -0.1, 1e3, 1e-3])
    x, y = (data.draw(hnp.arrays(np.float32, (size, channels), elements=values.map(float))) for _ in range(2))
    problem = MatchingProblem(x, y)
    affinity = true_affinity(problem)
    best = max(affinity[np.arange(size), list(p)].sum() for p in itertools.permutations(range(size)))
    assert matching_value(problem, SOLVER.run(problem).perm) >= best - max(tolerance(problem), 1e-12)


@pytest.mark.parametrize("kind", ["normal", "relu", "integers", "float64", "offset", "one channel"])
@pytest.mark.parametrize("size", [5, 100, 300])
def test_duals_prove_it(kind, size):
    draw = np.random.default_rng(size)
    if kind == "one channel":
        problem = MatchingProblem(draw.normal(size=(size, 1)), draw.normal(size=(size, 1)))
    else:
        problem = hard_problem(kind, size, 6, 1)
    solution = SOLVER.run(problem)
    assert "fallback" not in solution.info
    assert_certified(problem, solution)
    u, v = solution.duals
    assert matching_value(problem, solution.perm) == pytest.approx(u.sum() + v.sum(), rel=1e-5, abs=tolerance(problem))


def test_needs_no_fallback_and_has_no_slack_on_dense_activations():
    draw = np.random.default_rng(0)
    for size, channels in [(256, 64), (1024, 32), (2304, 16)]:
        basis = draw.normal(size=(8, channels))
        x, y = (np.maximum(draw.normal(size=(size, 8)) @ basis + 0.3, 0).astype(np.float32) for _ in range(2))
        problem = MatchingProblem(x, y)
        solution = SOLVER.run(problem)
        assert "fallback" not in solution.info
        # Prices are sums of float32 numbers: float64 holds them without a rounding, or with one.
        assert solution.info["slack"] <= np.spacing(np.abs(problem.affinity).max() + np.abs(solution.duals[1]).max())
        k = matching_value(problem, solution.perm)
        assert k <= dual_value(problem, solution.duals[1], dtype=np.float64) <= k * (1 + 1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_columns_that_differ_by_rounding_alone_are_told_apart(seed):
    draw = np.random.default_rng(seed)
    few = draw.normal(size=(12, 8)) + 2
    x, y = ((few[draw.integers(0, 12, 400)] + 3e-7 * draw.normal(size=(400, 8))).astype(np.float32) for _ in range(2))
    problem = MatchingProblem(x, y)
    solution = SOLVER.run(problem)
    assert "fallback" not in solution.info
    rows, columns = linear_sum_assignment(problem.affinity.astype(np.float64), maximize=True)
    mine, best = (problem.affinity.astype(np.float64)[rows, perm].sum() for perm in (solution.perm, columns))
    assert mine == pytest.approx(best, rel=1e-13)


def test_float64_keeps_what_float32_would_lose():
    draw = np.random.default_rng(5)
    x = 1 + 1e-9 * draw.normal(size=(60, 4))
    problem = MatchingProblem(x, x[draw.permutation(60)])
    centred = MatchingProblem(problem.x - 1, problem.y - 1)
    affinity = true_affinity(centred)
    rows, columns = linear_sum_assignment(affinity, maximize=True)
    perm = SOLVER.run(centred).perm
    assert affinity[rows, perm].sum() == pytest.approx(affinity[rows, columns].sum(), rel=1e-12)


FACTORS = [(1e100, 1e60), (1e-100, 1e-60), (1e300, 1e-10), (1e-300, 1e290), (1e290, 1e-290), (1e150, 1e140)]


@pytest.mark.parametrize(("a", "b"), FACTORS)
@pytest.mark.parametrize("size", [7, 40, 2048])
def test_is_optimal_and_proves_it_where_squares_leave_float64(a, b, size):
    draw = np.random.default_rng(size)
    x, y = draw.normal(size=(size, 6)), draw.normal(size=(6, size)).T ** 3
    best = best_value(MatchingProblem(x, y)) if size < 2048 else None
    problem = MatchingProblem(a * x, b * y)
    solution = SOLVER.run(problem)
    assert "fallback" not in solution.info
    reference = matching_value(MatchingProblem(x, y), solution.perm)
    if best is not None:
        assert reference == pytest.approx(best, rel=1e-11)
    u, v = solution.duals
    assert (u.sum() + v.sum()) / (a * b) == pytest.approx(reference, rel=1e-11)
    assert_certified(problem, solution)
    assert solution.info["slack"] <= 1e-11 * np.abs(problem.affinity).max()


@pytest.mark.parametrize(("a", "b"), [(1e-40, 1e38), (1e-23, 1e19), (1e38, 1e-30), (1e-22, 1.0), (3e-19, 1e18)])
def test_is_optimal_where_squares_leave_float32(a, b):
    draw = np.random.default_rng(0)
    x, y = (f * draw.normal(size=(50, 300)).clip(-3, 3) for f in (a, b))
    problem = MatchingProblem(x.astype(np.float32), y.astype(np.float32))
    solution = SOLVER.run(problem)
    assert "fallback" not in solution.info
    assert matching_value(problem, solution.perm) == pytest.approx(best_value(problem), rel=1e-6)
    assert_certified(problem, solution)


def unfinished(affinity, prices, width=16):
    """Nothing matched yet under these prices."""
    lists = make_lists(affinity, prices, 1e-4, width)
    return Finish(affinity, prices.astype(np.float64), prices, lists, 1e-4, Assignment.empty(len(prices)))


def test_infinite_prices_certify_nothing():
    x, y = np.random.default_rng(0).normal(size=(2, 20, 4))
    (affinity,) = read_only(x @ y.T)
    for price, certified in ((np.inf, False), (0.0, True)):
        state = unfinished(affinity, np.full(20, price), width=0)._replace(
            assignment=Assignment(np.arange(20), np.arange(20))
        )
        slack = finish_exactly(state, Scale(1.0, 1.0, 1e-16), 1e-12, np.empty(20))[2]
        assert np.isfinite(slack) == certified


def test_channel_centring_leaves_the_optimum():
    draw = np.random.default_rng(2)
    x, y = draw.normal(size=(2, 200, 5)) + draw.normal(size=5)
    shift = draw.normal(size=5) * 3
    problem, moved = MatchingProblem(x, y), MatchingProblem(x - shift, y - shift)
    assert matching_value(problem, SOLVER.run(moved).perm) == pytest.approx(
        matching_value(problem, SOLVER.run(problem).perm), rel=1e-12
    )


@pytest.mark.parametrize("size", [40, 2100])
def test_a_failed_certificate_falls_back_and_says_so(size):
    problem = hard_problem("normal", size, 5, 0)
    # No slack is below a negative tolerance.
    solution = SOLVER.run(problem, tolerance=-1.0)
    assert solution.info["fallback"] == "scipy"
    assert solution.duals is None
    assert matching_value(problem, solution.perm) >= best_value(problem) - tolerance(problem)


@pytest.mark.parametrize("kind", KINDS)
def test_paths_alone_find_the_optimum(kind):
    problem = hard_problem(kind, 60, 6, 1)
    unit = np.abs(problem.affinity).max() or problem.affinity.dtype.type(1)
    (affinity,) = read_only(problem.affinity / unit)
    column_of, row_of = (state := unfinished(affinity, np.zeros(60, affinity.dtype))).assignment
    assert augment(state) == 60
    assert np.array_equal(row_of[column_of], np.arange(60))
    rows, best = linear_sum_assignment(affinity.astype(np.float64), maximize=True)
    values = [affinity[rows, perm].sum(dtype=np.float64) for perm in (column_of, best)]
    assert values[0] == pytest.approx(values[1], rel=1e-12, abs=1e-12)


def test_paths_that_read_too_much_are_given_up(monkeypatch):
    problem = hard_problem("integers", 60, 6, 1)
    assert SOLVER.run(problem).info["paths"] > 0
    monkeypatch.setattr(kernels, "_MAX_WHOLE_ROWS", -1)
    assert augment.py_func(unfinished(problem.affinity, np.zeros(60, np.float32))) == -1
    monkeypatch.setattr(kernels, "augment", lambda state: -1)
    state = unfinished(problem.affinity, np.zeros(60, np.float32))
    assert finish_exactly.py_func(state, Scale(1.0, 9.0, 1e-7), 1e-12, np.empty(60))[2] == np.inf


def test_the_check_finds_a_swapped_pair():
    problem = hard_problem("normal", 50, 6, 3)
    solution = SOLVER.run(problem)
    u, v = solution.duals
    wrong = solution.perm.copy()
    wrong[[0, 1]] = wrong[[1, 0]]
    slack = check_tight(problem.affinity, v, v.astype(np.float32), wrong, 1e-5, np.empty(50))
    expected = (u + v[wrong] - problem.affinity.astype(np.float64)[np.arange(50), wrong]).max()
    assert slack == pytest.approx(expected, rel=1e-12)
    assert slack > 1e-3


def test_a_flat_half_of_an_image_needs_no_fallback():
    # Equal rows leave hundreds of rows to the shortest paths; the fallback is an order of magnitude slower on these.
    rng = np.random.default_rng(0)
    x, y = (np.maximum(rng.normal(size=(1024, 8)), 0).astype(np.float32) for _ in range(2))
    x[:512] = x[0]
    problem = MatchingProblem(x, y)
    solution = SOLVER.run(problem)
    assert "fallback" not in solution.info
    assert matching_value(problem, solution.perm) >= best_value(problem) - tolerance(problem)
    assert_certified(problem, solution)
