"""The approximate auctions (dense, certified, on lists) and the batches: what each promises its caller."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers import (
    InvalidMatchingError,
    MatchingProblem,
    get_solver,
    list_auction,
    matching_value,
    random_value,
    solve,
)
from semrsm_bench.solvers import auction as auction_module
from semrsm_bench.solvers.kernels.batches import AuctionResults
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phases
from tests.hard_problems import KINDS, activations, best_value, corrected, hard_problem, rounding, shortfalls

DENSE = ["auction-coarse", "auction-fine"]
LISTED = ["list-auction-coarse", "list-auction-fine"]
ALL = [*DENSE, "auction-certified", *LISTED]
BATCHED = ["exact-auction", *DENSE]


@pytest.mark.parametrize(
    ("name", "size", "channels", "least"),
    [(name, size, 32, least) for name, least in zip(DENSE, (0.99, 0.999)) for size in (256, 700)]
    + [(name, size, 24, least) for name, least in zip(LISTED, (0.985, 0.999)) for size in (700, 2304)],
)
def test_quality_of_the_named_solvers(name, size, channels, least):
    problem = activations(size, channels)
    assert least <= corrected(problem, get_solver(name).run(problem).perm) <= 1 + 1e-9


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(60)
def test_hard_problems_end_with_a_permutation(name, kind):
    for size, channels in [(1, 2), (2, 1), (3, 5), (40, 3), (150, 2), (200, 35), (530, 2)]:
        problem = hard_problem(kind, size, channels, 1)
        assert np.array_equal(np.sort(get_solver(name).run(problem).perm), np.arange(size))


@pytest.mark.parametrize("name", DENSE)
def test_rows_that_no_bid_reached_are_matched_all_the_same(name):
    x = np.zeros((16, 4), np.float32)
    x[0, 0] = 1
    problem = MatchingProblem(x, np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32))
    solution = get_solver(name).run(problem, eps=(1e-4,))
    assert solution.info["left"] > 0
    assert np.array_equal(np.sort(solution.perm), np.arange(16))


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("exponent", [-37, -30, -24, -12, 0, 12, 20, 30, 37])
def test_near_constant_rows_of_any_scale_are_solved(name, exponent):
    draw = np.random.default_rng(0)
    x, y = (1 + 1e-6 * draw.normal(size=(30, 3)) for _ in range(2))
    problem = MatchingProblem((x * 10.0**exponent).astype(np.float32), y.astype(np.float32))
    perm = get_solver(name).run(problem).perm
    # What eps promises, in float64: float32 would see nothing but rounding in these rows.
    x, y = (z.astype(np.float64) / np.abs(z).max() for z in (problem.x, problem.y))
    affinity = x @ y.T
    rows, best = linear_sum_assignment(affinity, maximize=True)
    deviation = np.median((affinity - affinity.mean(axis=0)).std(axis=1))
    share = {"auction-coarse": 0.1, "auction-fine": 0.01, "exact-auction": 1e-4}[name]
    # The division has rounded these vectors, and so have the powers of ten those of the problem.
    rounding = 30 * np.finfo(np.float64).eps * np.abs(affinity).max()
    assert affinity[rows, best].sum() - affinity[rows, perm].sum() <= 30 * share * deviation + rounding


@pytest.mark.parametrize("rtol", [0.3, 0.1, 0.01, 0.001])
@pytest.mark.parametrize(
    "kind", ["normal", "relu", "duplicates", "huge row", "offset", "float64", "integers", "zero rows"]
)
def test_certified_auction_keeps_its_promise(kind, rtol):
    for seed in range(3):
        problem = hard_problem(kind, 90, 6, seed)
        solution = get_solver("auction-certified").run(problem, rtol=rtol)
        k, optimum, chance = matching_value(problem, solution.perm), best_value(problem), random_value(problem)
        assert ("k_upper" in solution.info) != (solution.info.get("exact") is True)
        # Ordinary numbers need no exact solver, even for the smallest rtol.
        assert "k_upper" in solution.info or kind in ("huge row", "offset")
        upper = solution.info.get("k_upper", optimum + rounding(problem))
        assert upper >= optimum
        assert upper - k <= rtol * (upper - chance) + ("exact" in solution.info) * 2 * rounding(problem)


def test_certified_auction_stops_early_when_it_may():
    problem = activations(400, 16)
    loose, strict = (get_solver("auction-certified").run(problem, rtol=rtol).info for rtol in (0.1, 0.002))
    assert loose["phases"] < strict["phases"]
    assert get_solver("auction-certified").run(problem, rtol=0.0).info["exact"] is True


@pytest.mark.parametrize("kind", ["relu", "duplicates", "huge row", "offset", "integers"])
def test_the_bound_of_the_best_prices_holds_in_spite_of_rounding(kind):
    for seed in range(8):
        problem = hard_problem(kind, 90, 6, seed)
        prepared, duals = auction_module.prepare(problem), get_solver("exact-auction").run(problem).duals
        prices = duals[1].astype(prepared.x.dtype)
        upper = auction_module._upper_value(prepared, prices)
        assert best_value(problem) <= upper <= best_value(problem) + 20 * rounding(problem)


@pytest.mark.parametrize("size", [300, 800])  # starting prices from column means, and from a sample
@pytest.mark.parametrize("rounds", [((0.1, 0.0),), ((0.01, 0.0),), ((0.1, 1.0), (0.02, 0.0))])
def test_every_row_of_lists_without_slack_ends_within_eps_of_its_best(size, rounds):
    problem = activations(size, 16)
    prepared = auction_module.prepare(problem)
    prices = list_auction.sampled_prices(prepared)
    assert np.array_equal(prices, prepared.start) == (size < 512)
    assignment, *_ = list_auction.bid_in_rounds(prepared, prices, rounds)
    assert np.array_equal(assignment.column_of, get_solver("list-auction-fine").run(problem, rounds=rounds).perm)
    moved = problem.affinity - problem.affinity.astype(np.float64).mean(axis=0)
    eps = rounds[-1][0] * np.median(moved.std(axis=1))
    # The promise, and that it is used: a smaller eps would only cost bids. The unit of eps is of 64 sampled rows.
    assert 0.8 * eps < shortfalls(problem.affinity, prices, assignment.column_of).max() < 1.2 * eps


@pytest.mark.parametrize(("name", "shares"), list(zip(DENSE, [(0.1,), (0.1, 0.01)])))
def test_every_row_of_the_dense_auctions_ends_within_eps_of_its_best(name, shares):
    problem = activations(300, 16)
    prepared, assignment = auction_module.prepare(problem), Assignment.empty(300)
    prices = prepared.start.copy()
    bids = dense_phases(prepared.affinity, prices, assignment, np.array(shares), prepared.scale, 200 * 300)
    solution = get_solver(name).run(problem)
    assert solution.info == {"bids": bids}
    assert np.array_equal(solution.perm, assignment.column_of)
    eps = shares[-1] * prepared.scale.deviation
    assert 0.5 * eps < shortfalls(problem.affinity, prices, assignment.column_of).max() < 1.001 * eps


def test_the_seed_decides_the_sample_and_repeats():
    problem = activations(700, 6)
    runs = [get_solver("list-auction-coarse").run(problem, seed=seed).info for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("name", "option", "values", "message"),
    [
        ("auction-coarse", "eps", [(), (0.1, 0.0), (-1.0,), (np.nan,)], "eps must be positive"),
        ("auction-certified", "rtol", [-0.1, 1.5, np.nan], "rtol must be between"),
        ("list-auction-coarse", "rounds", [(), ((0.0, 1.0),)], "eps must be positive"),
        ("list-auction-coarse", "sample", [0], "sample must be at least 1"),
    ],
)
def test_rejects_options_out_of_range(name, option, values, message):
    for value in values:
        with pytest.raises(ValueError, match=message):
            get_solver(name).run(activations(20, 3), **{option: value})


# Batches.


def in_a_batch(name, x, ys, **options):
    """Permutations, which problems were solved, and the permutations of the problems one by one."""
    solver, affinities = get_solver(name), np.array([x @ y.T for y in ys])
    perms, solved = solver.batch(x, ys, affinities, **{**solver.options, **options})
    alone = [solver.run(MatchingProblem.trusted(x, y, a), **options).perm for y, a in zip(ys, affinities)]
    return perms, solved, alone


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, 40, 150])
def test_a_batch_is_its_problems_one_by_one(name, kind, size):
    problems = [hard_problem(kind, size, 1 if size == 40 else 3, seed) for seed in (1, 3, 4)]
    dtype = np.result_type(*(p.x for p in problems))
    perms, solved, alone = in_a_batch(name, problems[0].x.astype(dtype), np.array([p.y for p in problems], dtype))
    assert perms.shape == (3, size)
    for perm, whole, expected in zip(perms, solved, alone):
        assert np.array_equal(perm, expected if whole else np.full(size, -1))


@pytest.mark.parametrize("name", BATCHED)
def test_ordinary_problems_are_solved_and_special_ones_left(name):
    x, y = activations(70, 6).x, activations(70, 6, 1).y
    assert in_a_batch(name, x, np.array([y, np.zeros_like(y), y[::-1]]))[1].tolist() == [True, False, True]
    # float32 tells these columns apart no better than their rounding: the function takes float64 instead.
    near = 1 + np.float32(1e-5) * x
    assert not in_a_batch(name, near, near[None])[1][0]


@pytest.mark.parametrize("size", [520, 2100])
def test_the_exact_batch_finds_the_optimum_with_and_without_lists(size):
    problem = activations(size, 12)
    perms, solved, (alone,) = in_a_batch("exact-auction", problem.x, problem.y[None])
    assert solved[0] == (size < 2048)
    for perm in (alone, perms[0] if solved[0] else alone):
        assert matching_value(problem, perm) == pytest.approx(
            matching_value(problem, solve(problem, "scipy")), rel=1e-7
        )


def test_options_reach_the_batch():
    problem = activations(60, 4)
    loose, fine = (in_a_batch("auction-coarse", problem.x, problem.y[None], eps=(e,))[0][0] for e in (2.0, 0.01))
    assert matching_value(problem, loose) < matching_value(problem, fine)
    assert not in_a_batch("exact-auction", problem.x, problem.y[None], tolerance=-1.0)[1][0]
    with pytest.raises(ValueError, match="eps must be positive"):
        in_a_batch("auction-coarse", problem.x, problem.y[None], eps=())


def test_what_a_kernel_left_unsolved_is_never_an_answer(monkeypatch):
    unsolved = AuctionResults(np.full((1, 20), -1), *np.zeros((3, 1), int))
    monkeypatch.setattr(auction_module, "auction_batch", lambda *arguments: unsolved)
    with pytest.raises(InvalidMatchingError, match="got -1"):
        get_solver("auction-fine").run(activations(20, 3))
