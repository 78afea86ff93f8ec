"""RSMs of features and the bandwidth rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from semrsm_bench.metrics import bandwidth, cosine_rsm, linear_rsm, rbf_rsm, squared_distances
from semrsm_bench.metrics.kernels import BANDWIDTH_RULES

finite = st.floats(-100, 100, allow_subnormal=False)


@given(arrays(float, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=finite))
def test_squared_distances_against_the_definition(X):
    D = squared_distances(X)
    np.testing.assert_allclose(D, cdist(X, X, "sqeuclidean"), rtol=1e-9, atol=1e-300)
    np.testing.assert_array_equal(D, D.T)
    assert (D >= 0).all()
    assert (np.diag(D) == 0).all()


def test_close_pairs_far_from_the_origin_keep_their_digits():
    X = 1e6 + np.random.default_rng(0).standard_normal((40, 8))
    X[1], X[3], X[39] = X[0], X[2] + 1e-7, X[30]
    for X2 in (X, X[:5]):
        D = squared_distances(X) if X2 is X else squared_distances(X, X2)
        np.testing.assert_allclose(D, cdist(X, X2, "sqeuclidean"), rtol=1e-8)
        assert D[0, 1] == D[1, 0] == 0.0
    assert squared_distances(X)[30, 39] == 0.0


def test_many_equal_stimuli_are_no_special_case():
    X = np.tile(np.arange(3000.0), (60, 1))
    X[-1] += 1.0
    np.testing.assert_allclose(squared_distances(X), cdist(X, X, "sqeuclidean"), rtol=1e-12)


def test_rsms_are_the_kernels_of_dots_and_distances():
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((9, 4)), rng.standard_normal((5, 4))
    for other in (X, Y):
        D = cdist(X, other, "sqeuclidean")
        sides = (X,) if other is X else (X, Y)
        np.testing.assert_allclose(linear_rsm(*sides), np.einsum("ip,jp->ij", X, other), atol=1e-15)
        np.testing.assert_allclose(cosine_rsm(*sides), 1 - cdist(X, other, "cosine"), atol=1e-15)
        np.testing.assert_allclose(rbf_rsm(*sides, sigma=2.0), np.exp(-D / 8))
        np.testing.assert_allclose(rbf_rsm(*sides, sigma=2.0, t=0.5), np.exp(-D / 2))
    np.testing.assert_allclose(rbf_rsm(X, Y), np.exp(-D / (2 * np.median(D))))
    assert (np.diag(rbf_rsm(X)) == 1).all()
    tiny_and_huge = np.array([[3e-200, 4e-200], [4e200, 3e200]])
    np.testing.assert_allclose(cosine_rsm(tiny_and_huge), [[1, 0.96], [0.96, 1]])


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
    assert bandwidth([[1.0, 4.0]], "wald_code") == pytest.approx(1 + 1e-3)
    # The lower median of what is not zero, nor rounding of zero.
    for rounding in (0, 1e-15):
        assert bandwidth(D + rounding * np.eye(4), "wald_code") == pytest.approx(3 + 1e-3)
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


def test_query_by_database_counts_all_distances_even_if_square():
    D = np.array([[1.0, 2.0, 9.0], [3.0, 4.0, 9.0], [9.0, 9.0, 5.0]])
    assert bandwidth(D, query_database=True) ** 2 == pytest.approx(np.median(D))
    assert bandwidth(D) ** 2 == pytest.approx(np.median([2, 9, 3, 9, 9, 9]))
    assert bandwidth(D[:2]) ** 2 == pytest.approx(np.median(D[:2]))
    # One sigma for several matrices is that of all their distances.
    assert bandwidth([D[:2], D[2:]]) == bandwidth(D, query_database=True)
