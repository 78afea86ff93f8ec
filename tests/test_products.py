"""Inner products on a processor's tile unit: as exact as float32, whatever the shape; by BLAS where the unit does not serve."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.solvers import MatchingProblem, get_solver, matching_value, products
from semrsm_bench.solvers.bounds import upper_bound
from semrsm_bench.solvers.centring import roundings, row_duals
from semrsm_bench.solvers.kernels.amx import has_tiles
from semrsm_bench.solvers.products import Affinities, inner_products
from tests.hard_problems import activations

UNIT = 2.0**-24


@pytest.fixture(autouse=True)
def _the_unit_at_every_size(monkeypatch):
    monkeypatch.setattr(products, "_LEAST_WORK", 0)


def vectors(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def errors(found, x, y):
    """Errors in roundings of the largest that the inner product could be."""
    exact, largest = x.astype(np.float64) @ y.T.astype(np.float64), np.abs(x.astype(np.float64)) @ np.abs(y.T)
    return np.abs(found - exact) / (UNIT * np.where(largest > 0, largest, 1.0))


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 100), st.integers(-8, 8), st.integers(0, 99))
def test_products_are_those_of_float32_at_any_shape_and_scale(n, m, channels, exponent, seed):
    x, y = vectors(seed, n, channels) * np.float32(10.0**exponent), vectors(seed + 1, m, channels)
    found = inner_products(x, y)
    assert found.shape == (n, m)
    assert found.dtype == np.float32
    # A sum of C terms in float32 may err by C roundings; of what the unit leaves out two are added.
    assert errors(found, x, y).max() <= channels + 2


def test_products_are_more_exact_than_those_of_numpy_on_average():
    if not has_tiles():
        pytest.skip("no tile unit here")
    x, y = vectors(0, 300, 256), vectors(1, 300, 256)
    assert errors(inner_products(x, y), x, y).mean() < errors(x @ y.T, x, y).mean()


def test_whole_numbers_give_exact_products():
    draw = np.random.default_rng(0)
    x, y = (draw.integers(-(2**11), 2**11, (90, 4)).astype(np.float32) for _ in "xy")
    assert np.array_equal(inner_products(x, y), (x.astype(np.float64) @ y.T.astype(np.float64)).astype(np.float32))
    big = np.array([[2.0**23 + 1, 1.0]], np.float32)
    assert np.array_equal(inner_products(big, np.array([[1.0, 0.0], [0.0, 3.0]], np.float32)), [[2.0**23 + 1, 3.0]])


@pytest.mark.parametrize("scale", [0.0, 1e-43, 1e-30, 1e-13, 1e16, 3e37])
def test_numbers_that_do_not_suit_the_unit_go_to_blas(scale):
    x, y = vectors(0, 40, 8) / 4 * np.float32(scale), vectors(1, 33, 8) / 4
    assert np.array_equal(inner_products(x, y), x @ y.T)
    assert np.array_equal(row_duals(x, y, np.zeros(33, np.float32)), (x @ y.T).max(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_layouts_and_types(dtype):
    x, y = vectors(0, 60, 80).astype(dtype)[::2, 1::2], vectors(1, 40, 33).astype(dtype).T
    x.flags.writeable = False
    assert inner_products(x, y) == pytest.approx(x @ y.T, rel=1e-4, abs=1e-5)
    assert inner_products(x, y).dtype == dtype


def test_where_there_is_no_unit_numpy_multiplies(monkeypatch):
    monkeypatch.setattr(products, "_unit", lambda: None)
    x, y = vectors(0, 50, 20), vectors(1, 70, 20)
    assert np.array_equal(inner_products(x, y), x @ y.T)
    assert roundings(x, y) == 20


def test_an_infinity_or_nan_is_not_lost():
    x, y = vectors(0, 40, 40), vectors(1, 40, 40)
    for bad in (np.nan, np.inf):
        x[3, 5] = bad
        found = inner_products(x, y)
        assert not np.isfinite(found[3]).any()
        assert np.isfinite(np.delete(found, 3, axis=0)).all()


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 70), st.integers(0, 99))
def test_row_duals_are_row_maxima_within_their_roundings(n, m, channels, seed):
    x, y, prices = vectors(seed, n, channels), vectors(seed + 1, m, channels), vectors(seed + 2, m)
    exact = (x.astype(np.float64) @ y.T.astype(np.float64) - prices).max(axis=1)
    norms = [np.linalg.norm(z, axis=1) for z in (x, y)]
    allowed = (roundings(x, y) + 2) * UNIT * (norms[0] * norms[1].max() + np.abs(prices).max())
    assert (np.abs(row_duals(x, y, prices) - exact) <= allowed).all()


@pytest.mark.parametrize("seed", range(4))
def test_bounds_hold_in_exact_arithmetic(seed):
    # Entries of many digits, near-ties, and an optimum that is found by trying.
    draw = np.random.default_rng(seed)
    x = (1 + draw.integers(0, 2**23, (5, 3)) / 2**23).astype(np.float32)
    problem = MatchingProblem(x, x[draw.permutation(5)] * np.float32(1 + 2.0**-20))
    rows = (
        [[Fraction(float(v)) for v in row] for row in problem.x],
        [[Fraction(float(v)) for v in row] for row in problem.y],
    )
    values = [[sum(a * b for a, b in zip(i, j)) for j in rows[1]] for i in rows[0]]
    best = max(sum(values[i][j] for i, j in enumerate(p)) for p in product(range(5), repeat=5) if len(set(p)) == 5)
    for effort in ("fast", "tight"):
        bound = Fraction(upper_bound(problem, effort))
        assert best <= bound <= best * (1 + Fraction(1, 10**4))


def test_products_of_many_images_pack_each_once(monkeypatch):
    x, y = vectors(0, 3, 50, 20), vectors(1, 4, 50, 20)
    made, expected = Affinities(), [[inner_products(one, other) for other in y] for one in x]
    packed, real = [], products.pack_for_unit
    monkeypatch.setattr(products, "pack_for_unit", lambda *given: packed.append(given) or real(*given))
    for i, js in product(range(3), ([0, 1], [3, 1, 2])):
        found = made.fill(x[i], js, y[js], np.empty((len(js), 50, 50), np.float32))
        for j, one in zip(js, found, strict=True):
            assert np.array_equal(one, expected[i][j])
    assert len(packed) == 4


def test_one_image_of_huge_numbers_does_not_spoil_the_others():
    x, y = vectors(0, 2, 40, 20), vectors(1, 2, 40, 20)
    x[1] *= np.float32(1e20)
    made = Affinities()
    for i in (0, 1, 0):
        found = made.fill(x[i], range(2), y, np.empty((2, 40, 40), np.float32))
        assert found == pytest.approx(x[i] @ y.swapaxes(1, 2), rel=1e-4, abs=1e-4 * float(np.abs(x[i]).max()))


@pytest.mark.parametrize("size", [1, 2, 300, 2500])
def test_the_certified_matching_proves_how_near_it_is(size):
    problem = activations(size, 12)
    solution = get_solver("hierarchical-certified").run(problem)
    assert not problem.has_affinity
    best = matching_value(problem, get_solver("exact-auction").run(problem).perm)
    k = matching_value(problem, solution.perm)
    assert k <= best * (1 + 1e-12)
    if size > 2:
        assert best <= solution.info["k_upper"] <= best + 0.02 * abs(best)
    if size <= 2048:
        assert k == pytest.approx(best, rel=1e-12)
