"""RSMs of features and the bandwidth rules."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from semrsm_bench.metrics import bandwidth, cosine_rsm, linear_rsm, rbf_rsm, squared_distances
from semrsm_bench.metrics.kernels import BANDWIDTH_RULES

finite = st.floats(-100, 100, allow_subnormal=False)


@settings(deadline=None, max_examples=60)
@given(arrays(float, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=finite))
def test_squared_distances_against_the_definition(X):
    D = squared_distances(X)
    np.testing.assert_allclose(D, cdist(X, X, "sqeuclidean"), rtol=1e-9, atol=1e-300)
    np.testing.assert_array_equal(D, D.T)
    assert (D >= 0).all()
    assert (np.diag(D) == 0).all()


@pytest.mark.parametrize("together", [1, 130, 2**16])
def test_close_pairs_far_from_the_origin_keep_their_digits(monkeypatch, together):
    monkeypatch.setattr(sys.modules["semrsm_bench.metrics.kernels"], "_BLOCK_ENTRIES", together)
    rng = np.random.default_rng(0)
    X = 1e6 + rng.standard_normal((40, 8))
    X[1] = X[0]
    X[3] = X[2] + 1e-7
    X[39] = X[30]
    D = squared_distances(X)
    assert D[0, 1] == D[1, 0] == D[30, 39] == D[39, 30] == 0.0
    np.testing.assert_allclose(D, cdist(X, X, "sqeuclidean"), rtol=1e-8)
    np.testing.assert_allclose(squared_distances(X, X[:5]), cdist(X, X[:5], "sqeuclidean"), rtol=1e-8)


def test_many_equal_stimuli_are_done_in_pieces():
    X = np.tile(np.arange(3000.0), (60, 1))
    X[-1] += 1.0
    D = squared_distances(X)
    np.testing.assert_array_equal(D[:-1, :-1], 0.0)
    np.testing.assert_allclose(D[-1, :-1], 3000.0, rtol=1e-12)


def test_linear_and_cosine_entry_by_entry():
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((6, 4)), rng.standard_normal((3, 4))
    for i in range(6):
        for j in range(3):
            dot = sum(a * b for a, b in zip(X[i], Y[j], strict=True))
            assert linear_rsm(X, Y)[i, j] == pytest.approx(dot)
            assert cosine_rsm(X, Y)[i, j] == pytest.approx(dot / np.sqrt((X[i] ** 2).sum() * (Y[j] ** 2).sum()))
    np.testing.assert_allclose(np.diag(cosine_rsm(X)), 1.0)
    np.testing.assert_array_equal(linear_rsm(X), X @ X.T)


def test_rbf_is_the_kernel_of_the_distances_with_that_sigma():
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((9, 4)), rng.standard_normal((5, 4))
    np.testing.assert_allclose(rbf_rsm(X, sigma=2.0), np.exp(-cdist(X, X, "sqeuclidean") / 8))
    np.testing.assert_allclose(rbf_rsm(X, sigma=2.0, t=0.5), np.exp(-cdist(X, X, "sqeuclidean") / 2))
    D = cdist(X, Y, "sqeuclidean")
    np.testing.assert_allclose(rbf_rsm(X, Y), np.exp(-D / (2 * np.median(D))))
    assert (np.diag(rbf_rsm(X)) == 1).all()


def test_bandwidth_rules_on_distances_small_enough_to_do_by_hand():
    # Off the diagonal 1, 4, 9, 16, 25, 0; the zero is a pair of equal stimuli.
    D = np.zeros((4, 4))
    D[np.triu_indices(4, 1)] = [1, 4, 9, 16, 25, 0]
    D += D.T
    assert bandwidth(D) == pytest.approx(np.sqrt(6.5))
    assert bandwidth(D, "offdiag_median", t=2.0) == pytest.approx(2 * np.sqrt(6.5))
    # All sixteen: 0 x 6, 1 1 4 4 9 9 16 16 25 25: the middle two are 1 and 4.
    assert bandwidth(D, "kornblith") == pytest.approx(np.sqrt((1 + 4) / 2))
    assert bandwidth(D, "kornblith", t=0.5) == pytest.approx(0.5 * np.sqrt((1 + 4) / 2))
    assert bandwidth(D, "wald_code") == pytest.approx(3 + 1e-3)
    # Roots off the diagonal, twice each: 0 1 2 3 4 5.
    assert bandwidth(D, "wald_paper") == pytest.approx(np.sqrt(2.5))
    assert bandwidth(D, 1.25) == 1.25


@pytest.mark.parametrize("rule", BANDWIDTH_RULES)
@pytest.mark.parametrize("n", [2, 3, 4, 5, 12, 13])
def test_rbf_by_rule_is_that_of_the_whole_matrix_of_distances(rule, n):
    rng = np.random.default_rng(n)
    X = rng.integers(0, 3, (n, 3)).astype(float) + [0, 0, 1e-3] * rng.standard_normal((n, 3))
    D = squared_distances(X)
    if rule == "kornblith" and n == 2:
        assert bandwidth(D, rule) == pytest.approx(np.sqrt(D[0, 1] / 2))
    np.testing.assert_allclose(rbf_rsm(X, sigma=rule, t=0.7), np.exp(-D / (2 * bandwidth(D, rule, t=0.7) ** 2)))


def test_lower_median_of_an_even_number():
    D = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert bandwidth(D, "wald_code") == pytest.approx(np.sqrt(2.0) + 1e-3)


def test_equal_stimuli_count_as_equal_whatever_rounding_left_of_their_distance():
    D = np.array([[0.0, 1e-15, 2.0], [1e-15, 0.0, 3.0], [2.0, 3.0, 1e-15]])
    assert bandwidth(D, "wald_code") == pytest.approx(np.sqrt(2.0) + 1e-3)


def test_query_by_database_counts_all_distances_even_if_square():
    D = np.array([[1.0, 2.0, 9.0], [3.0, 4.0, 9.0], [9.0, 9.0, 5.0]])
    assert bandwidth(D, query_database=True) ** 2 == pytest.approx(np.median(D))
    assert bandwidth(D) ** 2 == pytest.approx(np.median([2, 9, 3, 9, 9, 9]))
    assert bandwidth(D[:2]) ** 2 == pytest.approx(np.median(D[:2]))
    with pytest.raises(ValueError, match="no diagonal"):
        bandwidth(D[:2], query_database=False)


def test_one_sigma_for_two_rsms_keeps_their_order():
    rng = np.random.default_rng(3)
    K_far = squared_distances(rng.standard_normal((12, 6)))
    K_near = K_far * rng.uniform(0.2, 1, K_far.shape) * (1 - np.eye(12))
    K_near = np.minimum(K_near, K_near.T)
    shared = bandwidth([K_far, K_near])
    assert (np.exp(-K_near / (2 * shared**2)) >= np.exp(-K_far / (2 * shared**2))).all()
    own = [bandwidth(D) for D in (K_near, K_far)]
    assert own[0] < shared < own[1]
    assert (np.exp(-K_near / (2 * own[0] ** 2)) < np.exp(-K_far / (2 * own[1] ** 2))).any()


@pytest.mark.parametrize("rule", ["offdiag_median", "kornblith", "wald_paper", "wald_code"])
def test_equal_stimuli_have_no_bandwidth(rule):
    with pytest.raises(ValueError, match="rule"):
        rbf_rsm(np.ones((5, 3)), sigma=rule)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "median"}, "offdiag_median, kornblith"),
        ({"rule": 0.0}, "positive"),
        ({"rule": -1.0}, "positive"),
        ({"rule": float("nan")}, "positive"),
        ({"t": 0.0}, "t must be"),
    ],
)
def test_bad_bandwidths(arguments, message):
    with pytest.raises(ValueError, match=message):
        bandwidth(np.array([[0.0, 1.0], [1.0, 0.0]]), **arguments)


def test_negative_distances_and_single_stimuli():
    with pytest.raises(ValueError, match="squared distances"):
        bandwidth(np.array([[0.0, -1.0], [-1.0, 0.0]]))
    with pytest.raises(ValueError, match="single stimulus"):
        bandwidth(np.zeros((1, 1)))


def test_zero_rows_and_unequal_widths():
    X = np.ones((4, 3))
    X[2] = 0
    with pytest.raises(ValueError, match="first at 2"):
        cosine_rsm(X)
    with pytest.raises(ValueError, match="X has 3 and X2 has 2"):
        linear_rsm(X, X[:, :2])
    with pytest.raises(ValueError, match="range of float64"):
        linear_rsm(X * 1e200)


def test_cosine_of_vectors_whose_squares_underflow():
    X = np.array([[3e-200, 4e-200], [4e200, 3e200]])
    np.testing.assert_allclose(cosine_rsm(X), [[1, 0.96], [0.96, 1]])
