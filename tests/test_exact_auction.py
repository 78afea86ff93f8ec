"""The exact auction: its certificates on problems that break solvers, and the parts of its finish. See also test_exact.py."""

import numpy as np
import pytest

from semrsm_bench.solvers import MatchingProblem, get_solver, matching_value
from semrsm_bench.solvers import exact_auction as module
from semrsm_bench.solvers.bounds import dual_value
from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.kernels.bidding import Assignment
from semrsm_bench.solvers.kernels.exact import Finish, check_tight, correct, proven_slack
from semrsm_bench.solvers.kernels.lists import Lists, list_rows
from semrsm_bench.solvers.kernels.scale import Scale
from tests import hard_problems
from tests.hard_problems import KINDS, activations, best_columns, best_value, hard_problem, true_affinity

SOLVER = get_solver("exact-auction")


def assert_certified(problem, solution):
    """Feasible duals, tight on the matched pairs, whose sum is the value of the matching."""
    u, v = solution.duals
    affinity = problem.affinity.astype(np.float64)
    scale = np.abs(affinity).max(initial=0.0) + np.abs(v).max(initial=0.0)
    slack = u[:, None] + v[None, :] - affinity
    allowed = 1e-6 if problem.x.dtype == np.float32 else 1e-12
    assert slack.min(initial=0.0) >= -allowed * scale
    assert np.abs(slack[np.arange(problem.size), solution.perm]).max(initial=0.0) <= allowed * scale
    assert solution.info.get("slack", 0.0) <= 1e-11 * scale
    k = matching_value(problem, solution.perm)
    assert k == pytest.approx(u.sum() + v.sum(), rel=1e-5, abs=allowed * scale * problem.size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "channels"), [(2, 3), (3, 1), (7, 2), (16, 4), (33, 40), (65, 3), (130, 8), (300, 1)])
def test_is_optimal_and_proves_it_on_hard_problems(kind, size, channels):
    for seed in range(4):
        problem = hard_problem(kind, size, channels, seed)
        solution = SOLVER.run(problem)
        assert matching_value(problem, solution.perm) >= best_value(problem) - hard_problems.rounding(problem)
        assert "fallback" not in solution.info
        assert_certified(problem, solution)


@pytest.mark.parametrize(
    ("a", "b", "dtype"),
    [(a, b, "f8") for a, b in ((1e100, 1e60), (1e-100, 1e-60), (1e300, 1e-10), (1e-300, 1e290), (1e150, 1e140))]
    + [(a, b, "f4") for a, b in ((1e-40, 1e38), (1e-23, 1e19), (1e38, 1e-30), (1e-22, 1.0), (3e-19, 1e18))],
)
@pytest.mark.parametrize(("size", "channels"), [(7, 6), (50, 300), (2048, 6)])
def test_is_optimal_and_proves_it_where_squares_leave_the_precision(a, b, dtype, size, channels):
    draw = np.random.default_rng(size)
    x, y = draw.normal(size=(2, size, channels)).clip(-1, 1)
    problem = MatchingProblem((a * x).astype(dtype), (b * y).astype(dtype))
    solution = SOLVER.run(problem)
    assert "fallback" not in solution.info
    assert_certified(problem, solution)
    if size < 2048:
        assert matching_value(problem, solution.perm) == pytest.approx(best_value(problem), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thousands_of_small_problems_of_small_integers(dtype):
    draw = np.random.default_rng(11)
    for _ in range(2000):
        size, channels, most = draw.integers(2, 24), draw.integers(2, 6), draw.integers(1, 4)
        x, y = (draw.integers(-most, most + 1, (size, channels)).astype(dtype) for _ in range(2))
        problem = MatchingProblem(x, y)
        assert matching_value(problem, SOLVER.run(problem).perm) == best_value(problem)


def test_needs_no_fallback_on_dense_activations_of_any_size():
    for size, channels in ((256, 64), (2304, 16)):
        problem = activations(size, channels)
        solution = SOLVER.run(problem)
        assert "fallback" not in solution.info
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
    affinity, rows = problem.affinity.astype(np.float64), np.arange(400)
    best = affinity[rows, best_columns(affinity)].sum()
    assert affinity[rows, solution.perm].sum() == pytest.approx(best, rel=1e-13)


def test_a_flat_half_of_an_image_needs_no_fallback():
    x, y = np.maximum(np.random.default_rng(0).normal(size=(2, 1024, 8)), 0).astype(np.float32)
    x[:512] = x[0]
    problem = MatchingProblem(x, y)
    solution = SOLVER.run(problem)
    assert "fallback" not in solution.info
    assert matching_value(problem, solution.perm) >= best_value(problem) - hard_problems.rounding(problem)


@pytest.mark.parametrize("size", [40, 2100])
def test_a_failed_certificate_falls_back_and_says_so(size):
    problem = hard_problem("normal", size, 5, 0)
    # No slack is below a negative tolerance.
    solution = SOLVER.run(problem, tolerance=-1.0)
    assert solution.info == {"fallback": "scipy"}
    assert solution.duals is None
    assert matching_value(problem, solution.perm) >= best_value(problem) - hard_problems.rounding(problem)


# The finish.


def unfinished(affinity, prices, perm):
    """Some matching and prices."""
    assignment = Assignment(perm, np.argsort(perm))
    return Finish(affinity, prices.astype(np.float64), prices, 1e-4, assignment)


def new_lists(state):
    """Lists under its prices, with bounds that allow for the rounding."""
    lists = Lists.empty(len(state.prices), state.affinity.dtype)
    list_rows(state.affinity, state.rounded, lists)
    return lists._replace(bounds=lists.bounds + state.rounding)


@pytest.mark.parametrize(("price", "certified"), [(np.inf, False), (0.0, True)])
def test_infinite_prices_certify_nothing(price, certified):
    x, y = np.random.default_rng(0).normal(size=(2, 20, 4))
    (affinity,) = read_only(x @ y.T)
    state = unfinished(affinity, np.full(20, price), best_columns(affinity))
    correct(state, None, 0.0, 20 * 500)
    assert np.isfinite(proven_slack(state, None, Scale(1.0, 1.0, 1e-16), 1e-12, np.empty(20))) == certified


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_any_matching_is_corrected_to_the_optimum(kind, listed):
    problem = hard_problem(kind, 60, 6, 1)
    unit = np.abs(problem.affinity).max() or problem.affinity.dtype.type(1)
    (affinity,) = read_only(problem.affinity / unit)
    state = unfinished(affinity, np.zeros(60, affinity.dtype), np.random.default_rng(2).permutation(60))
    column_of, row_of = state.assignment
    waiting, looks, cycles = correct(state, new_lists(state) if listed else None, 1e-15, 60 * 500)
    assert waiting == 0 <= cycles <= looks
    assert np.array_equal(row_of[column_of], np.arange(60))
    mine, best = (affinity[np.arange(60), p].sum(dtype=np.float64) for p in (column_of, best_columns(affinity)))
    assert mine == pytest.approx(best, rel=1e-12, abs=1e-12)
    reduced = affinity.astype(np.float64) - state.prices
    assert (reduced.max(axis=1) - reduced[np.arange(60), column_of]).max() <= 2e-15 * (1 + state.prices.max())


@pytest.mark.parametrize("size", [400, 600, 2100])
def test_what_takes_too_many_looks_is_bid_for_again_with_bounded_work_and_given_up_in_the_end(size, monkeypatch):
    # Costs i j: the last row gets the first column (Machol and Wien).
    draw, number = np.random.default_rng(0), np.arange(1, size + 1)
    problem = MatchingProblem.from_costs(
        np.outer(draw.permutation(number), draw.permutation(number)).astype(np.float32)
    )
    solution = SOLVER.run(problem)
    assert solution.info["looks"] > 8 * size
    assert solution.info["looks"] <= (5 * 8 + 5000) * size
    assert solution.info["bids"] <= (3 * 200 + 6 * 6 * 20) * size
    assert -problem.affinity[np.arange(size), solution.perm].sum(dtype=np.float64) == (number * number[::-1]).sum()
    if size < 2100:
        monkeypatch.setattr(module, "_PHASES", 0)
        assert SOLVER.run(problem).info == {"fallback": "scipy"}


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("rounding", [1e-5, 10.0])
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_the_check_finds_a_swapped_pair_and_the_row_maxima(given, rounding, listed):
    problem = hard_problem("normal", 50, 6, 3)
    affinity, v = true_affinity(problem).astype(given), np.random.default_rng(0).normal(size=50)
    row_duals, wrong = np.empty(50), np.random.default_rng(1).permutation(50)
    lists = None
    if listed:  # under prices that have risen since, some of them by much
        state = unfinished(affinity, (v - np.random.default_rng(2).exponential(size=50)).astype(given), wrong)
        lists = new_lists(state)
        is_sure = affinity[np.arange(50), wrong] - v[wrong] >= lists.bounds
        assert 0 < is_sure.sum() < 50
    slack = check_tight(affinity, v, v.astype(given), lists, wrong, rounding, row_duals)
    reduced = affinity.astype(np.float64) - v
    assert row_duals == pytest.approx(reduced.max(axis=1), rel=1e-15)
    assert slack == pytest.approx((reduced.max(axis=1) - reduced[np.arange(50), wrong]).max(), rel=1e-12)
