"""Matching between classes of equal position vectors, against SciPy and against the auction of single positions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_bench.solvers import MatchingProblem, get_solver
from semrsm_bench.solvers.auction import prepare
from semrsm_bench.solvers.classes import match_classes
from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.kernels.classes import (
    Classes,
    Holdings,
    block_of,
    classes_phase,
    correct_classes,
    count_repeats,
    keys_of,
)
from tests.hard_problems import activations, best_columns

SOLVER = get_solver("exact-auction")


def repeated(draw, size, channels, classes, spread):
    """Vectors of so many classes, whose sizes differ the more, the smaller the spread."""
    vectors = np.maximum(draw.normal(size=(classes, channels)), -0.3)
    return vectors[draw.choice(classes, size, p=draw.dirichlet(np.full(classes, spread)))]


def value(affinity, perm):
    return affinity[np.arange(len(affinity)), perm].sum(dtype=np.float64)


def assert_optimal(given, results):
    perm, (u, v) = results.perms[0], results.duals[0]
    assert np.array_equal(np.sort(perm), np.arange(len(given)))
    affinity = given.astype(np.float64)
    unit = np.abs(affinity).max() + np.abs(v).max()
    best = value(affinity, best_columns(affinity))
    assert value(affinity, perm) == pytest.approx(best, rel=1e-12, abs=1e-12 * unit)
    assert (u[:, None] + v - affinity).min() >= -1e-14 * unit
    assert np.abs(u + v[perm] - affinity[np.arange(len(given)), perm]).max() <= 1e-11 * unit


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(30, 260),
    channels=st.integers(2, 9),
    sizes=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    spread=st.sampled_from([0.03, 0.3, 3.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_classes_are_matched_to_the_optimum_and_prove_it(seed, size, channels, sizes, spread, dtype):
    draw = np.random.default_rng(seed)
    x, y = (repeated(draw, size, channels, min(number, size), spread).astype(dtype) for number in sizes)
    prepared = prepare(MatchingProblem(x, y))
    results = match_classes(prepared, 1e-12)
    if results is not None:
        assert_optimal(prepared.affinity, results)
    else:
        assert sum(len(np.unique(z, axis=0)) for z in (x, y)) > 2 * size - size / 16


@pytest.mark.parametrize("half", ["rows", "columns", "both"])
@pytest.mark.parametrize("size", [256, 1024, 2100])
def test_pictures_that_are_half_flat_take_no_price_war(size, half):
    draw = np.random.default_rng(size)
    x, y = np.maximum(draw.normal(size=(2, size, 12)), 0).astype(np.float32)
    if half != "columns":
        x[: size // 2] = x[0]
    if half != "rows":
        y[size // 2 :] = y[-1]
    problem = MatchingProblem(x, y)
    solution = SOLVER.run(problem)
    assert value(problem.affinity, solution.perm) == pytest.approx(
        value(problem.affinity, best_columns(problem.affinity)), rel=1e-12
    )
    assert solution.info["bids"] <= 25 * size
    assert solution.info["looks"] <= 30 * size


@pytest.mark.parametrize("kind", ["all equal", "two values", "half zero", "itself"])
def test_degenerate_pictures_take_few_bids(kind):
    draw = np.random.default_rng(5)
    x, y = np.maximum(draw.normal(size=(2, 1024, 10)), 0).astype(np.float32)
    if kind == "all equal":
        x[:], y[:] = x[0], y[0]
    if kind == "two values":
        x, y = x[draw.integers(0, 2, 1024)], y[draw.integers(0, 2, 1024)]
    if kind == "half zero":
        x[::2], y[1::2] = 0, 0
    if kind == "itself":
        y = x.copy()
    problem = MatchingProblem(x, y)
    solution = SOLVER.run(problem)
    assert value(problem.affinity, solution.perm) == pytest.approx(
        value(problem.affinity, best_columns(problem.affinity)), rel=1e-12
    )
    assert solution.info["bids"] <= 10 * 1024
    assert solution.info["looks"] <= 10 * 1024


@pytest.mark.parametrize("size", [300, 2100])
def test_products_of_equal_vectors_that_differ_in_their_last_digit_are_told_apart(size):
    draw = np.random.default_rng(1)
    x, y = (repeated(draw, size, 6, size // 3, 0.2).astype(np.float32) for _ in range(2))
    affinity = x @ y.T
    up = draw.random(affinity.shape) < 0.01
    affinity[up] = np.nextafter(affinity[up], np.float32(np.inf))
    problem = MatchingProblem.trusted(x, y, affinity)
    solution = SOLVER.run(problem)
    assert "fallback" not in solution.info
    assert value(problem.affinity, solution.perm) == pytest.approx(
        value(problem.affinity, best_columns(affinity)), rel=1e-13
    )


def test_vectors_that_repeat_are_counted():
    vectors = activations(300, 20).x
    assert count_repeats(*read_only(vectors)) == 0
    flat = np.random.default_rng(0).permutation(np.concatenate((vectors[:180], np.tile(vectors[40], (120, 1)))))
    assert count_repeats(*read_only(flat)) == 120
    assert count_repeats(*read_only(np.zeros((300, 3), np.float32))) == 299
    # Most sums are near zero beside the largest.
    flat[0] = 1e9
    assert 100 <= count_repeats(*read_only(flat)) <= 120


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_keys_tell_rows_apart(dtype):
    bits = np.random.default_rng(0).integers(0, 3, (4000, 5)).astype(dtype)
    keys = keys_of(bits)
    rows, labels = np.unique(bits, axis=0, return_inverse=True)
    numbers, of_keys = np.unique(keys, return_inverse=True)
    assert len(rows) == len(numbers)
    assert len(np.unique(np.stack((labels.ravel(), of_keys)), axis=1).T) == len(rows)


@pytest.mark.parametrize("seed", range(8))
def test_any_matching_of_classes_is_corrected_to_the_optimum(seed):
    draw = np.random.default_rng(seed)
    sizes = [draw.multinomial(90, draw.dirichlet(np.ones(number))) + 1 for number in (30, 20)]
    sizes[1][0] += 10
    rows, columns = (np.concatenate(([0], np.cumsum(one))) for one in sizes)
    assert rows[-1] == columns[-1] == 120
    affinity = draw.normal(size=(30, 20)).astype(np.float32)
    of_rows, of_columns = (np.repeat(np.arange(len(one)), one) for one in sizes)
    assert np.array_equal(block_of(affinity, of_rows, of_columns), affinity[np.ix_(of_rows, of_columns)])
    classes = Classes(*read_only(affinity), rows, columns, of_columns)
    prices = np.zeros(20, np.float32)
    holdings = Holdings(prices, np.empty(120, np.float32), *np.empty((3, 120), np.int64), np.empty(30, np.int64))
    # So large an eps allows almost any matching.
    assert classes_phase(classes, holdings, np.float32(20), 10_000)[0] == 0
    assert np.array_equal(np.bincount(holdings.owners, minlength=30), sizes[0])
    exact, held = prices.astype(np.float64), of_columns[holdings.held]
    waiting, _, cycles = correct_classes(classes, holdings, exact, 1e-3, held, 0.0, 500 * 30)
    assert waiting == 0 < cycles
    full = affinity.astype(np.float64)[np.ix_(of_rows, of_columns)]
    found = affinity[of_rows, held].sum(dtype=np.float64)
    assert found == pytest.approx(full[np.arange(120), best_columns(full)].sum(), rel=1e-12)
    assert np.array_equal(np.bincount(held, minlength=20), sizes[1])
    # Who owns what is the same from both sides.
    assert np.array_equal(*(np.sort(a * 20 + b) for a, b in ((of_rows, held), (holdings.owners, of_columns))))
