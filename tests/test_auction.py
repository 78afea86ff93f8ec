import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers import MatchingProblem, chance_corrected, get_solver, matching_value, random_value, solve_many
from semrsm_bench.solvers import auction as auction_module
from semrsm_bench.solvers.auction import prepare
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phases
from semrsm_bench.solvers.kernels.rows import best_two, best_value, column_maxima, row_maxima
from semrsm_bench.solvers.kernels.scale import Scale
from tests.hard_problems import KINDS, hard_problem

DENSE = ["auction-coarse", "auction-fine", "auction-certified"]
ALL = [*DENSE, "list-auction-coarse", "list-auction-fine", "matrix-free-coarse", "matrix-free-fine"]


def activations(size, channels, seed=0):
    """Correlated, rectified position vectors, such as a convolution makes."""
    draw = np.random.default_rng(seed)
    basis = draw.normal(size=(8, channels))
    x, y = (np.maximum(draw.normal(size=(size, 8)) @ basis + 0.3, 0).astype(np.float32) for _ in range(2))
    return MatchingProblem(x, y)


def corrected(problem, perm):
    optimum = matching_value(problem, get_solver("exact-auction").run(problem).perm)
    return chance_corrected(matching_value(problem, perm), optimum, random_value(problem))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [2, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300])
def test_the_two_best_of_a_row(dtype, size):
    draw = np.random.default_rng(size)
    for levels in (2, 1000):
        row, prices = (draw.integers(0, levels, size).astype(dtype) for _ in range(2))
        column, best, second = best_two(row, prices)
        ordered = np.sort(row - prices)
        assert (best, second) == (ordered[-1], ordered[-2])
        assert row[column] - prices[column] == best
        assert best_value(row, prices) == best


@pytest.mark.parametrize("size", [3, 64, 100])
def test_row_and_column_maxima(size):
    draw = np.random.default_rng(size)
    affinity = draw.normal(size=(size, size)).astype(np.float32)
    prices = draw.normal(size=size).astype(np.float32)
    duals = row_maxima(affinity, prices)
    assert np.array_equal(duals, (affinity - prices).max(axis=1))
    assert np.array_equal(column_maxima(affinity, duals), (affinity - duals[:, None]).max(axis=0))


@pytest.mark.parametrize("size", [65, 256])
@pytest.mark.parametrize("shares", [(0.3,), (0.1,), (0.2, 0.05), (0.1, 0.01)])
def test_every_row_ends_within_eps_of_its_best(size, shares):
    problem = activations(size, 24, seed=size)
    affinity = problem.affinity.astype(np.float64)
    start = problem.affinity.mean(axis=0)
    deviation = float(np.median((affinity - start).std(axis=1)))
    assignment, prices = Assignment.empty(size), start.copy()
    scale = Scale(deviation, 0.0, 0.0)  # no rounding: no floor under eps
    dense_phases(problem.affinity, prices, assignment, np.array(shares), scale, 200 * size)
    own = affinity[np.arange(size), assignment.column_of] - prices[assignment.column_of]
    short = ((affinity - prices).max(axis=1) - own).max()
    assert short <= shares[-1] * deviation * (1 + 1e-4) + 1e-4
    # And the promise is used: a smaller eps than asked for would only cost bids.
    assert short > 0.5 * shares[-1] * deviation


@pytest.mark.parametrize("loud", [slice(0), slice(75), slice(-75, None)])
@pytest.mark.parametrize(("size", "tolerance"), [(64, 1e-4), (65, 0.1), (300, 0.5)])
def test_the_unit_of_eps_is_the_median_deviation_of_a_row(loud, size, tolerance):
    plain = activations(size, 9)
    x = plain.x.copy()
    x[loud] *= 100
    problem = MatchingProblem(x, plain.y)
    moved = problem.affinity - problem.affinity.astype(np.float64).mean(axis=0)
    expected = np.median(moved.std(axis=1))
    # Of more than 64 rows some are looked at, spread over all of them.
    assert prepare(problem).scale.deviation == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (2e-23, 1e18), (1e18, 2e-23), (1e-35, 1e35)])
def test_the_largest_affinity_is_never_underestimated(a, b):
    # The squares of some of these are zero in float32, those of others are not.
    x, y = np.full((20, 300), a, np.float32), np.full((20, 300), b, np.float32)
    x[:, 0] *= 2
    y[:, 1] *= 2
    x[::2, 2] = 0
    prepared = prepare(MatchingProblem(x, y))
    assert prepared.scale.largest >= np.abs(prepared.affinity).max()


@pytest.mark.parametrize("name", ["auction-fine", "auction-coarse"])
def test_rows_that_no_bid_reached_are_matched_all_the_same(name):
    x = np.zeros((16, 4), np.float32)
    x[0, 0] = 1
    problem = MatchingProblem(x, np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32))
    solution = get_solver(name).run(problem, eps=(1e-4,))
    assert solution.info["left"] > 0
    assert np.array_equal(np.sort(solution.perm), np.arange(16))


@pytest.mark.parametrize("name", ["auction-coarse", "auction-fine", "exact-auction"])
@pytest.mark.parametrize("exponent", [-40, -30, -24, -12, 0, 12, 20, 30, 37])
def test_near_constant_rows_of_any_scale_are_solved(name, exponent):
    draw = np.random.default_rng(0)
    x, y = (1 + 1e-6 * draw.normal(size=(30, 3)) for _ in range(2))
    x = (x * 10.0**exponent).astype(np.float32)
    if not x.any():
        pytest.skip("below the smallest float32")
    problem = MatchingProblem(x, y.astype(np.float32))
    solution = get_solver(name).run(problem)
    assert np.array_equal(np.sort(solution.perm), np.arange(30))
    # What eps promises, in float64: float32 would see nothing but rounding in these rows.
    x, y = (z.astype(np.float64) / np.abs(z).max() for z in (problem.x, problem.y))
    affinity = x @ y.T
    rows, best = linear_sum_assignment(affinity, maximize=True)
    deviation = np.median((affinity - affinity.mean(axis=0)).std(axis=1))
    share = {"auction-coarse": 0.1, "auction-fine": 0.01, "exact-auction": 1e-4}[name]
    assert affinity[rows, best].sum() - affinity[rows, solution.perm].sum() <= 30 * share * deviation


def test_what_a_kernel_left_unsolved_is_never_an_answer(monkeypatch):
    monkeypatch.setattr(auction_module, "auction_batch", lambda *arguments: None)
    with pytest.raises(RuntimeError, match="could not scale"):
        get_solver("auction-fine").run(activations(20, 3))
    perms, solved = auction_module.auction_many(*(np.ones(s, np.float32) for s in ((5, 2), (3, 5, 2), (3, 5, 5))))
    assert (perms == -1).all()
    assert not solved.any()


def test_quality_of_the_named_solvers():
    for size in (256, 700):
        problem = activations(size, 32)
        coarse, fine = (corrected(problem, get_solver(name).run(problem).perm) for name in DENSE[:2])
        assert coarse >= 0.99
        assert fine >= 0.999


@pytest.mark.parametrize("rtol", [0.3, 0.1, 0.01, 0.001])
@pytest.mark.parametrize(
    "kind", ["normal", "relu", "duplicates", "huge row", "offset", "float64", "integers", "zero rows"]
)
def test_certified_auction_keeps_its_promise(kind, rtol):
    for seed in range(3):
        problem = hard_problem(kind, 90, 6, seed)
        solution = get_solver("auction-certified").run(problem, rtol=rtol)
        k, optimum = (
            matching_value(problem, perm) for perm in (solution.perm, get_solver("exact-auction").run(problem).perm)
        )
        chance = random_value(problem)
        if "k_upper" in solution.info:
            upper = solution.info["k_upper"]
            assert upper >= optimum - 1e-9 * abs(optimum)
            assert upper - k <= rtol * (upper - chance)
        assert optimum - k <= rtol * (optimum - chance) + 1e-5 * abs(optimum)


def test_certified_auction_stops_early_when_it_may():
    problem = activations(400, 16)
    loose, strict = (get_solver("auction-certified").run(problem, rtol=rtol).info for rtol in (0.1, 0.002))
    assert loose["phases"] < strict["phases"]
    assert get_solver("auction-certified").run(problem, rtol=0.0).info["exact"] is True


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(60)
def test_hard_problems_end_with_a_permutation(name, kind):
    options = {"sample": 16} if name.startswith("matrix-free") else {}
    for size, channels in [(0, 2), (1, 2), (2, 1), (3, 5), (40, 3), (150, 2), (200, 35), (530, 2)]:
        if size:
            problem = hard_problem(kind, size, channels, 1)
        else:
            problem = MatchingProblem(np.empty((0, channels)), np.empty((0, channels)))
        perm = get_solver(name).run(problem, **options).perm
        assert np.array_equal(np.sort(perm), np.arange(size))


def test_centring_does_not_change_the_quality():
    problem = activations(300, 12)
    mean = problem.x.mean(axis=0)
    moved = MatchingProblem(problem.x - mean, problem.y - mean)
    for name in DENSE[:2]:
        raw, centred = (corrected(problem, get_solver(name).run(p).perm) for p in (problem, moved))
        assert raw == pytest.approx(centred, abs=0.004)


@pytest.mark.parametrize(
    ("name", "option", "values", "message"),
    [
        ("auction-coarse", "eps", [(), (0.1, 0.0), (-1.0,), (np.nan,)], "eps must be positive"),
        ("auction-certified", "rtol", [-0.1, 1.5, np.nan], "rtol must be between"),
        ("list-auction-coarse", "rounds", [(), ((0.0, 1.0),)], "eps must be positive"),
        ("list-auction-coarse", "sample", [0], "sample must be at least 1"),
        ("matrix-free-coarse", "probes", [0], "must be at least"),
        ("matrix-free-coarse", "eps", [0.0, np.nan], "must be at least"),
        ("matrix-free-coarse", "slack", [-1.0], "must be at least"),
        ("matrix-free-coarse", "renewals", [-1.0], "must be at least"),
        ("matrix-free-coarse", "sample", [1], "must be at least"),
    ],
)
def test_rejects_options_out_of_range(name, option, values, message):
    for value in values:
        with pytest.raises(ValueError, match=message):
            get_solver(name).run(activations(20, 3), **{option: value})


@pytest.mark.parametrize("name", ["auction-fine", "list-auction-fine", "exact-auction"])
def test_threads_give_what_one_thread_gives(name):
    problems = [activations(200 + 10 * i, 8, i) for i in range(8)]
    one, two = (solve_many(problems, name, n_jobs=jobs) for jobs in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two))
