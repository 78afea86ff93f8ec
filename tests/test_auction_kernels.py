"""The parts of the auctions, compiled or not, each against its definition in numpy."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from semrsm_bench.solvers import MatchingProblem, centring, list_auction
from semrsm_bench.solvers.auction import prepare
from semrsm_bench.solvers.centring import centre, row_duals
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phase, dense_phases, list_phase
from semrsm_bench.solvers.kernels.lists import Lists, list_rows, listed_best_two
from semrsm_bench.solvers.kernels.rows import best_two, best_two_of_four, best_value, column_maxima, row_maxima
from semrsm_bench.solvers.kernels.scale import Scale
from tests.hard_problems import activations, hard_problem, shortfalls, true_affinity

# Passes over rows.


@pytest.mark.parametrize(("dtype", "wider"), [("f4", "f4"), ("f8", "f8"), ("f4", "f8")])
@pytest.mark.parametrize("levels", [2, 1000])
@pytest.mark.parametrize("scale", [1, 1e-9])  # small prices: they decide between equal entries, in float64 alone
@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300])
def test_the_two_best_of_a_row_and_of_four(dtype, wider, levels, scale, size):
    draw = np.random.default_rng(size)
    rows, prices = (
        draw.integers(0, levels, (4, size)).astype(dtype),
        (scale * draw.integers(0, levels, size)).astype(wider),
    )
    found = [best_two(row, prices) for row in rows]
    if dtype == wider:
        columns, bests, seconds = np.empty(4, np.int64), np.empty(4, dtype), np.empty(4, dtype)
        best_two_of_four(*rows, prices, columns, bests, seconds)
        found += zip(columns, bests, seconds)
        assert [best_value(row, prices) for row in rows] == bests.tolist()
    for row, (column, best, second) in zip([*rows, *rows], found):
        ordered = np.sort(row - prices)
        assert best == ordered[-1] == row[column] - prices[column]
        assert second == (ordered[-2] if size > 1 else -np.inf)


@pytest.mark.parametrize("size", [3, 64, 100])
def test_row_and_column_maxima(size):
    affinity, (prices,) = (np.random.default_rng(size).normal(size=(n, size)).astype(np.float32) for n in (size, 1))
    duals = row_maxima(affinity, prices)
    assert np.array_equal(duals, (affinity - prices).max(axis=1))
    chosen = np.arange(size)[::2]
    expected = (affinity - duals[:, None])[chosen].max(axis=0)
    assert np.array_equal(column_maxima(affinity, chosen, duals[chosen]), expected)


@pytest.mark.parametrize("tile", [(1024, 4096), (7, 11), (1, 300)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 300), (300, 5), (1200, 900)])
def test_row_duals_are_row_maxima(monkeypatch, tile, rows, columns):
    monkeypatch.setattr(centring, "_BLOCK_BYTES", 8 * tile[0] * tile[1])
    monkeypatch.setattr(centring, "_COLUMNS", tile[1])
    draw = np.random.default_rng(rows)
    x, y, prices = draw.normal(size=(rows, 7)), draw.normal(size=(columns, 7)), draw.normal(size=columns)
    assert row_duals(x, y, prices) == pytest.approx((x @ y.T - prices).max(axis=1), rel=1e-12)


# Scale.


@pytest.mark.parametrize("loud", [slice(0), slice(75), slice(-75, None)])
@pytest.mark.parametrize(("size", "tolerance"), [(64, 1e-4), (65, 0.1), (300, 0.5)])
def test_the_unit_of_eps_is_the_median_deviation_of_a_row(loud, size, tolerance):
    plain = activations(size, 9)
    x = plain.x.copy()
    x[loud] *= 100
    problem = MatchingProblem(x, plain.y)
    moved = problem.affinity - problem.affinity.astype(np.float64).mean(axis=0)
    # Of more than 64 rows some are sampled, spread over all of them.
    assert prepare(problem).scale.deviation == pytest.approx(np.median(moved.std(axis=1)), rel=tolerance)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (2e-23, 1e18), (1e18, 2e-23), (1e-35, 1e35)])
def test_the_largest_affinity_is_never_underestimated(a, b):
    # The squares of some of these are zero in float32, those of others are not.
    x, y = np.full((20, 300), a, np.float32), np.full((20, 300), b, np.float32)
    x[:, 0] *= 2
    y[:, 1] *= 2
    x[::2, 2] = 0
    prepared = prepare(MatchingProblem(x, y))
    assert prepared.scale.largest >= np.abs(prepared.affinity).max()


def test_centring_keeps_differences_of_the_affinity():
    problem = hard_problem("beyond float32", 50, 4, 1)
    centred = centre(problem)
    affinity = true_affinity(MatchingProblem(problem.x - problem.x.mean(axis=0), problem.y - problem.y.mean(axis=0)))
    mine = np.ldexp(centred.x.astype(np.float64) @ centred.y.astype(np.float64).T, centred.exponent)
    assert mine == pytest.approx(affinity, rel=1e-4, abs=1e-6 * np.abs(affinity).max())


# Bidding.


@pytest.mark.parametrize("size", [65, 256])
@pytest.mark.parametrize("shares", [(0.3,), (0.1,), (0.2, 0.05), (0.1, 0.01)])
def test_every_row_ends_within_eps_of_its_best(size, shares):
    affinity = activations(size, 24, seed=size).affinity
    start = affinity.mean(axis=0)
    deviation = float(np.median((affinity - start).std(axis=1)))
    assignment, prices = Assignment.empty(size), start.copy()
    scale = Scale(deviation, 0.0, 0.0)  # no rounding: no floor under eps
    dense_phases(affinity, prices, assignment, np.array(shares), scale, 200 * size)
    short = shortfalls(affinity, prices, assignment.column_of).max()
    assert short <= shares[-1] * deviation * (1 + 1e-4) + 1e-4
    # And the promise is used: a smaller eps than asked for would only cost bids.
    assert short > 0.5 * shares[-1] * deviation


@pytest.mark.parametrize("seed", range(3))
def test_a_list_phase_frees_what_its_lists_do_not_allow(seed):
    """From a matching at random, whose columns stand on few lists, every row ends within eps of its best of all."""
    affinity = activations(200, 8, seed).affinity
    column_of, row_of = assignment = Assignment.empty(200)
    column_of[:] = np.random.default_rng(seed).permutation(200)
    row_of[column_of] = np.arange(200)
    prices, lists = affinity.mean(axis=0), Lists.empty(200, np.dtype(np.float32))
    list_rows(affinity, prices, lists)
    eps = np.float32(0.05 * affinity.std())
    assert list_phase(affinity, prices, lists, assignment, eps, np.float32(0), 200 * 200)[0] == 0
    assert np.array_equal(row_of[column_of], np.arange(200))
    assert shortfalls(affinity, prices, column_of).max() <= eps * (1 + 1e-3)


@pytest.mark.parametrize("most", [0, 1, 3, 7, 50])
def test_bids_are_bounded_and_what_was_bid_is_a_matching(most):
    affinity = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    column_of, row_of = assignment = Assignment.empty(40)
    left, bids = dense_phase(affinity, np.zeros(40, np.float32), assignment, np.float32(1e-4), most)
    # Rows bid in fours, so up to three bids more than allowed.
    assert most <= bids < most + 4
    matched = np.flatnonzero(column_of >= 0)
    assert len(matched) == 40 - left == (row_of >= 0).sum()
    assert np.array_equal(row_of[column_of[matched]], matched)


@pytest.mark.parametrize("together", [1, 2, 7, 4096])
@pytest.mark.parametrize("left", [0, 1, 7, 8, 25])
def test_rows_left_over_get_the_free_columns_in_any_number_of_parts(monkeypatch, together, left):
    monkeypatch.setattr(list_auction, "_LEFTOVERS", together)
    problem, draw = activations(40, 5), np.random.default_rng(left)
    taken = draw.permutation(40)
    column_of, row_of = assignment = Assignment.empty(40)
    rows = np.sort(draw.permutation(40)[left:])
    column_of[rows], row_of[taken[rows]] = taken[rows], rows
    free_rows, free_columns = np.flatnonzero(column_of < 0), np.flatnonzero(row_of < 0)
    # A slope over the columns, taken out again by the prices, changes nothing.
    y = np.column_stack([problem.y, np.arange(40)]).astype(np.float32)
    x, prices = np.column_stack([problem.x, np.full(40, 9)]).astype(np.float32), np.arange(40, dtype=np.float32) * 9
    assert list_auction.settle_leftovers(x, y, prices, assignment, np.float32(0.1)) == left
    assert np.array_equal(np.sort(column_of), np.arange(40))
    assert np.array_equal(row_of[column_of], np.arange(40))
    assert np.array_equal(column_of[rows], taken[rows])
    if together > left > 1:
        block, at = problem.affinity[np.ix_(free_rows, free_columns)], np.arange(left)
        mine = block[at, np.searchsorted(free_columns, column_of[free_rows])].sum()
        assert mine >= block[at, linear_sum_assignment(block, maximize=True)[1]].sum() - 0.1 * left - 1e-3


# Lists.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [2, 20, 10**6])
@pytest.mark.parametrize("size", [2, 12, 16, 17, 63, 64, 100, 128, 500])
def test_a_list_and_its_bound_cover_the_row(dtype, levels, size):
    draw = np.random.default_rng(size)
    affinity = draw.integers(0, levels, (9, size)).astype(dtype)
    prices = draw.integers(0, max(2, levels // 10), size).astype(dtype)
    columns, values, bounds = lists = Lists.empty(9, np.dtype(dtype))
    list_rows(affinity, prices, lists)
    for i, reduced in enumerate(affinity - prices):
        listed = values[i] > -np.inf
        kept = columns[i][listed]
        assert len(np.unique(kept)) == len(kept) >= min(size, 12)
        assert np.array_equal(values[i][listed], affinity[i, kept])
        assert bounds[i] >= np.delete(reduced, kept).max(initial=-np.inf)
        assert reduced[kept].max() == reduced.max()
        column, best, second = listed_best_two(columns[i], values[i], prices)
        assert [second, best] == np.sort(reduced[kept])[-2:].tolist()
        assert reduced[column] == best


@pytest.mark.parametrize("padded", [64, 200, 512])
def test_entries_of_minus_infinity_do_not_fill_a_list(padded):
    # Bisecting from minus infinity would make every entry a candidate.
    affinity = np.random.default_rng(padded).normal(size=(40, 1024)).astype(np.float32)
    affinity[:, np.random.default_rng(0).permutation(1024)[:padded]] = -np.inf
    affinity[:, 5:1024:64] = -np.inf
    lists = Lists.empty(40, np.dtype(np.float32))
    list_rows(affinity, np.zeros(1024, np.float32), lists)
    listed = (lists.values > -np.inf).sum(axis=1)
    assert 12 <= listed.min() <= listed.mean() < 15
    for row, columns, bound, number in zip(affinity, lists.columns, lists.bounds, listed):
        assert bound >= np.delete(row, columns[:number]).max()
