"""CCA, SVCCA and PWCCA against second formulations, theorems and a published number."""

from functools import partial

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.metrics import canonical_correlations, cca, pwcca, svcca
from tests.representations import centred, notebook, related


def by_generalised_eigenvalues(X, Y):
    """rho^2 as eigenvalues of Sxx^-1 Sxy Syy^-1 Syx, largest first: no orthonormal bases involved."""
    X, Y = centred(X), centred(Y)
    cross = X.T @ Y
    left = cross @ np.linalg.solve(Y.T @ Y, cross.T)
    values = scipy.linalg.eigh(left, X.T @ X, eigvals_only=True)[::-1]
    return np.sqrt(np.maximum(values, 0))[: min(X.shape[1], Y.shape[1])]


def with_variances(variances, n=30, seed=0):
    """Orthonormal columns, and features whose principal components are these columns with these variances."""
    rng = np.random.default_rng(seed)
    basis = scipy.linalg.orth(centred(rng.standard_normal((n, len(variances)))))
    return basis, basis * np.sqrt(variances) @ scipy.linalg.orth(rng.standard_normal((len(variances),) * 2))


def test_published_value():
    assert f"{cca(*notebook(), summary='r2', centre=False):.5f}" == "0.54312"


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6))
def test_against_generalised_eigenvalues(seed, p, q):
    X, Y = related(seed, widths=(p, q))
    expected = by_generalised_eigenvalues(X, Y)
    np.testing.assert_allclose(canonical_correlations(X, Y), expected, atol=1e-7)
    assert cca(X, Y) == pytest.approx(expected.mean(), abs=1e-7)
    assert cca(X, Y, summary="r2") == pytest.approx((expected**2).mean(), abs=1e-9)
    if p == q == 1:
        assert svcca(X, Y) == pytest.approx(pwcca(X, Y)) == pytest.approx(abs(np.corrcoef(X.T, Y.T)[0, 1]))


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_dead_repeated_dependent_and_rescaled_units_change_nothing(size):
    X, Y = related(2)
    more = [np.zeros(60), X[:, 0], X @ np.arange(4.0), np.full(60, 0.1), size * X[:, 1]]
    wide = X @ np.random.default_rng(0).standard_normal((4, 200))
    scaled = X * 10.0 ** np.array([-12, -4, 4, 12])
    for same in (np.column_stack([X, *more]), wide, scaled):
        np.testing.assert_allclose(canonical_correlations(same, Y), canonical_correlations(X, Y), rtol=1e-7)
        assert cca(same, same) == pytest.approx(1.0)


@pytest.mark.parametrize("function", [cca, svcca, pwcca, partial(cca, centre=False)])
@pytest.mark.parametrize("p", [9, 10, 20])
def test_sides_are_refused_that_span_all_dimensions_of_the_stimuli(function, p):
    rng = np.random.default_rng(0)
    wide, narrow = rng.standard_normal((10, p)), rng.standard_normal((10, 2))
    dimensions = 10 if isinstance(function, partial) else 9
    if function is svcca:
        # All nine directions that centring leaves, equally strong, so that none falls below the threshold.
        wide = scipy.linalg.null_space(np.ones((1, 10))) @ scipy.linalg.orth(rng.standard_normal((p, 9))).T
    if p < dimensions:
        assert function(wide, wide[:, :2]) == pytest.approx(1)
        return
    for pair, side in (((wide, narrow), "X"), ((narrow, wide), "Y")):
        with pytest.raises(ValueError, match=f"of {side} span all {dimensions} dimensions"):
            function(*pair)


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.99, 1.0])
def test_svcca_is_cca_of_the_components_taken_by_hand(threshold):
    X, Y = related(5, widths=(8, 5))
    reduced = []
    for side in (X, Y):
        values, vectors = np.linalg.eigh(np.cov(side.T))
        share = np.cumsum(values[::-1]) / values.sum()
        reduced.append(side @ vectors[:, ::-1][:, : 1 + np.count_nonzero(share < threshold - 1e-12)])
    assert svcca(X, Y, threshold) == pytest.approx(by_generalised_eigenvalues(*reduced).mean(), abs=1e-7)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("kept", "threshold"), [(1, 0.4), (2, 0.7), (3, 0.9)])
def test_a_share_of_the_variance_that_is_met_up_to_rounding_is_met(seed, kept, threshold):
    basis, X = with_variances([4, 3, 2, 1], seed=seed)
    assert svcca(X, basis[:, [kept]], threshold) == pytest.approx(0, abs=1e-9)
    assert svcca(X, basis[:, [kept]], threshold + 1e-9) == pytest.approx(1)


def test_svcca_judges_saturation_after_the_cut():
    _, X = with_variances([1, 1, *[1e-6] * 17], n=20)
    with pytest.raises(ValueError, match="span all 19"):
        cca(X, X)
    assert svcca(X, X) == pytest.approx(1.0)


def pwcca_by_inverse_roots(X, Y):
    """Canonical variates from covariances whitened by matrix roots, as the original method has it."""
    X, Y = centred(X), centred(Y)
    roots = [np.real(scipy.linalg.inv(scipy.linalg.sqrtm(S.T @ S))) for S in (X, Y)]
    u, rho, _ = np.linalg.svd(roots[0] @ X.T @ Y @ roots[1], full_matrices=False)
    variates = X @ roots[0] @ u
    alpha = [sum(abs(h @ x) for x in X.T) for h in variates.T]
    return np.dot(alpha, rho) / np.sum(alpha)


@pytest.mark.parametrize("widths", [(4, 6), (6, 4), (5, 5)])
def test_three_weightings_of_pwcca(widths):
    X, Y = related(7, widths=widths)
    X[:, 0] *= 10
    forward, backward = pwcca_by_inverse_roots(X, Y), pwcca_by_inverse_roots(Y, X)
    assert abs(forward - backward) > 1e-4
    for weights, expected in (("x", forward), ("y", backward), ("mean", (forward + backward) / 2)):
        assert pwcca(X, Y, weights_from=weights) == pytest.approx(expected)


def test_pwcca_is_refused_where_its_weights_are_not_determined():
    """More units together than stimuli: shared dimensions, in which any directions are canonical."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 32)), rng.standard_normal((60, 31))
    with pytest.raises(ValueError, match="share 4 dimensions"):
        pwcca(X, Y)
    order = rng.permutation(60)
    # One shared dimension has one direction; and where all is shared the weights do not matter.
    assert pwcca(X[:, :29], Y) == pytest.approx(pwcca(X[order, :29], Y[order]), rel=1e-9)
    assert pwcca(X, X[:, ::-1] @ rng.standard_normal((32, 32))) == pytest.approx(1)
