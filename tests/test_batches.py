"""Whole auctions in one compiled call: the same as one problem at a time, on everything that breaks solvers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semrsm_bench.solvers import MatchingProblem, get_solver, matching_value, solve, solve_many
from semrsm_bench.solvers.kernels.bidding import Assignment, bid, dense_phase
from semrsm_bench.solvers.kernels.rows import best_two, best_two_of_four
from tests.hard_problems import KINDS, hard_problem
from tests.test_auction import activations

NAMES = ["exact-auction", "auction-fine", "auction-coarse"]


def in_a_batch(name, x, ys, affinities=None, **options):
    solver = get_solver(name)
    if affinities is None:
        affinities = np.array([x @ y.T for y in ys])
    return (*solver.batch(x, ys, affinities, **{**solver.options, **options}), affinities)


def one_by_one(name, x, ys, affinities):
    return [get_solver(name).run(MatchingProblem.trusted(x, y, a)).perm for y, a in zip(ys, affinities)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, 40, 150])
@pytest.mark.timeout(120)
def test_a_batch_is_its_problems_one_by_one(name, kind, size):
    channels = 1 if size == 40 else 3
    problems = [hard_problem(kind, size, channels, seed) for seed in (1, 3, 5)]
    dtype = np.result_type(*(p.x for p in problems))
    x, ys = problems[0].x.astype(dtype), np.array([p.y for p in problems], dtype)
    perms, solved, affinities = in_a_batch(name, x, ys)
    assert perms.shape == (3, size)
    expected = one_by_one(name, x, ys, affinities)
    for perm, whole, alone in zip(perms, solved, expected):
        assert np.array_equal(np.sort(alone), np.arange(size))
        if whole:
            assert np.array_equal(perm, alone)


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_problems_are_solved_and_special_ones_left(name):
    plain = activations(70, 6)
    other = activations(70, 6, 1).y
    ys = np.array([plain.y, np.zeros_like(plain.y), other])
    perms, solved, affinities = in_a_batch(name, plain.x, ys)
    assert solved.tolist() == [True, False, True]
    for t in (0, 2):
        assert np.array_equal(perms[t], one_by_one(name, plain.x, ys, affinities)[t])
    # float32 tells these columns apart no better than their rounding: the function takes float64 instead.
    near = 1 + np.float32(1e-5) * plain.x
    assert not in_a_batch(name, near, near[None])[1][0]


def test_a_mixed_batch_keeps_its_problems_apart():
    draw = np.random.default_rng(0)
    x = np.maximum(draw.normal(size=(90, 5)), 0).astype(np.float32)
    ys = np.array([hard_problem(kind, 90, 5, 1).y for kind in ("normal", "relu", "zero rows", "integers", "huge row")])
    for name in NAMES:
        together, solved, affinities = in_a_batch(name, x, ys)
        for t in np.flatnonzero(solved):
            alone, _, _ = in_a_batch(name, x, ys[t : t + 1], affinities[t : t + 1])
            assert np.array_equal(together[t], alone[0])


@pytest.mark.parametrize("size", [520, 2100])
def test_the_exact_batch_finds_the_optimum_with_and_without_lists(size):
    problem = activations(size, 12)
    perms, solved, _ = in_a_batch("exact-auction", problem.x, problem.y[None])
    optimum = solve(problem, "lap")
    assert solved[0] == (size < 2048)
    found = perms[0] if solved[0] else solve(problem, "exact-auction")
    assert matching_value(problem, found) == pytest.approx(matching_value(problem, optimum), rel=1e-7)


def test_options_reach_the_batch():
    problem = activations(60, 4)
    loose, fine = (in_a_batch("auction-coarse", problem.x, problem.y[None], eps=(e,))[0][0] for e in (2.0, 0.01))
    assert matching_value(problem, loose) < matching_value(problem, fine)
    assert not in_a_batch("exact-auction", problem.x, problem.y[None], tolerance=-1.0)[1][0]
    with pytest.raises(ValueError, match="eps must be positive"):
        in_a_batch("auction-coarse", problem.x, problem.y[None], eps=())


@pytest.mark.parametrize("name", NAMES)
def test_threads_give_what_one_thread_gives_on_hard_problems(name):
    problems = [hard_problem(kind, size, 4, seed) for kind in KINDS for size in (2, 60) for seed in (0, 1)]
    for one, two in zip(*(solve_many(problems, name, n_jobs=jobs) for jobs in (1, 2))):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 31, 33, 64, 100])
@pytest.mark.parametrize("levels", [2, 1000])
def test_four_rows_at_once_are_four_rows(dtype, size, levels):
    draw = np.random.default_rng(size)
    rows, prices = draw.integers(0, levels, (4, size)).astype(dtype), draw.integers(0, levels, size).astype(dtype)
    columns, bests, seconds = np.empty(4, np.int64), np.empty(4, dtype), np.empty(4, dtype)
    best_two_of_four(*rows, prices, columns, bests, seconds)
    for row, column, best, second in zip(rows, columns, bests, seconds):
        ordered = np.sort(row - prices)
        assert best == ordered[-1] == row[column] - prices[column]
        assert second == (ordered[-2] if size > 1 else -np.inf)


@given(
    row=hnp.arrays(np.float32, st.integers(2, 70), elements=st.floats(-8, 8, width=32)),
    scale=st.sampled_from([1.0, 1e-9]),
)
def test_float64_prices_decide_between_float32_entries(row, scale):
    prices = scale * np.random.default_rng(0).normal(size=len(row))
    column, best, second = best_two(row, prices)
    ordered = np.sort(row.astype(np.float64) - prices)
    assert (best, second) == (ordered[-1], ordered[-2])
    assert np.float64(row[column]) - prices[column] == best


def test_a_bid_raises_the_price_and_evicts_the_owner_to_the_end_of_the_queue():
    column_of, row_of = np.array([2, -1, -1, 0]), np.array([3, -1, 0, -1])
    assignment, prices, queue = Assignment(column_of, row_of), np.ones(4), np.array([9, 9, 9, 2])
    # Row 1 has left place 2; row 2 waits at place 3.
    assert bid(1, 2, 0.5, prices, assignment, queue, 3, 1) == 2
    assert prices.tolist() == [1, 1, 1.5, 1]
    assert column_of.tolist() == [-1, 2, -1, 0]
    assert row_of.tolist() == [3, -1, 1, -1]
    assert queue[[3, 0]].tolist() == [2, 0]
    assert bid(2, 1, 0.5, prices, assignment, queue, 0, 1) == 1
    assert column_of.tolist() == [-1, 2, 1, 0]


@pytest.mark.parametrize("most", [0, 1, 3, 7, 50])
def test_bids_are_bounded_and_what_was_bid_is_a_matching(most):
    affinity = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    column_of, row_of = assignment = Assignment.empty(40)
    left, bids = dense_phase(affinity, np.zeros(40, np.float32), assignment, np.float32(1e-4), most)
    # Rows bid in fours, so up to three bids more than allowed.
    assert most <= bids < most + 4
    matched = np.flatnonzero(column_of >= 0)
    assert len(matched) == 40 - left
    assert np.array_equal(row_of[column_of[matched]], matched)
    assert (row_of >= 0).sum() == len(matched)
