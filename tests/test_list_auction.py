import numpy as np
import pytest

from semrsm_bench.solvers import get_solver, list_auction
from semrsm_bench.solvers.kernels.bidding import Assignment
from semrsm_bench.solvers.kernels.lists import Lists, list_rows, listed_best_two
from tests.test_auction import activations, corrected

NAMES = ["list-auction-coarse", "list-auction-fine"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [2, 20, 10**6])
@pytest.mark.parametrize("size", [2, 12, 16, 17, 63, 64, 100, 128, 500])
def test_a_list_and_its_bound_cover_the_row(dtype, levels, size):
    draw = np.random.default_rng(size)
    affinity = draw.integers(0, levels, (9, size)).astype(dtype)
    prices = draw.integers(0, max(2, levels // 10), size).astype(dtype)
    columns, values, bounds, _ = lists = Lists.empty(9, np.dtype(dtype))
    list_rows(affinity, prices, lists)
    for i in range(9):
        listed = values[i] > -np.inf
        kept = columns[i][listed]
        assert len(np.unique(kept)) == len(kept) >= min(size, 12)
        assert np.array_equal(values[i][listed], affinity[i, kept])
        rest = np.delete(affinity[i] - prices, kept)
        assert bounds[i] >= rest.max(initial=-np.inf)
        assert (affinity[i] - prices)[kept].max() == (affinity[i] - prices).max()
        column, best, second = listed_best_two(columns[i], values[i], prices)
        ordered = np.sort((affinity[i] - prices)[kept])
        assert (best, second) == (ordered[-1], ordered[-2])
        assert affinity[i, column] - prices[column] == best


@pytest.mark.parametrize("padded", [64, 200, 512])
def test_entries_of_minus_infinity_do_not_fill_a_list(padded):
    # Buckets of the matrix-free search are padded so; bisecting from minus infinity made every entry a candidate.
    affinity = np.random.default_rng(padded).normal(size=(40, 1024)).astype(np.float32)
    affinity[:, np.random.default_rng(0).permutation(1024)[:padded]] = -np.inf
    affinity[:, 5:1024:64] = -np.inf
    lists = Lists.empty(40, np.dtype(np.float32))
    list_rows(affinity, np.zeros(1024, np.float32), lists)
    listed = (lists.values > -np.inf).sum(axis=1)
    assert listed.min() >= 12
    assert listed.mean() < 15
    for row, columns, bound, number in zip(affinity, lists.columns, lists.bounds, listed):
        assert bound >= np.delete(row, columns[:number]).max()


def test_quality_of_the_named_solvers():
    for size in (700, 2304):
        problem = activations(size, 24)
        coarse, fine = (corrected(problem, get_solver(name).run(problem).perm) for name in NAMES)
        assert coarse >= 0.985
        assert fine >= 0.999


def test_no_trust_means_no_more_than_eps():
    problem = activations(800, 16)
    optimum = get_solver("exact-auction").run(problem).perm
    for eps in (0.1, 0.01):
        perm = get_solver("list-auction-fine").run(problem, rounds=((eps, 0.0),)).perm
        spread = (problem.affinity - problem.affinity.mean(axis=0)).std(axis=1).max()
        rows = np.arange(800)
        loss = problem.affinity[rows, optimum].sum(dtype=float) - problem.affinity[rows, perm].sum(dtype=float)
        assert 0 <= loss <= 800 * eps * spread


def test_the_seed_decides_the_sample_and_repeats():
    problem = activations(700, 6)
    solver = get_solver("list-auction-coarse")
    runs = [solver.run(problem, seed=seed).info for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("together", [1, 2, 7, 4096])
@pytest.mark.parametrize("left", [0, 1, 7, 8, 25])
def test_rows_left_over_get_the_free_columns_in_any_number_of_parts(monkeypatch, together, left):
    monkeypatch.setattr(list_auction, "_LEFTOVERS", together)
    problem, draw = activations(40, 5), np.random.default_rng(left)
    taken = draw.permutation(40)
    assignment = Assignment.empty(40)
    rows = np.sort(draw.permutation(40)[left:])
    assignment.column_of[rows], assignment.row_of[taken[rows]] = taken[rows], rows
    found = list_auction.settle_leftovers(
        problem.x, problem.y, np.zeros(40, np.float32), assignment, problem.x.dtype.type(0.1)
    )
    assert found == left
    assert np.array_equal(np.sort(assignment.column_of), np.arange(40))
    assert np.array_equal(assignment.row_of[assignment.column_of], np.arange(40))
    assert np.array_equal(assignment.column_of[rows], taken[rows])
