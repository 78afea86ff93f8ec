"""CCA, SVCCA and PWCCA against second formulations, theorems and a published number."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_bench.metrics import canonical_correlations, cca, pwcca, svcca


def pair(seed, n=60, widths=(4, 6), shared=3):
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, shared))
    return [latent @ rng.standard_normal((shared, w)) + rng.standard_normal((n, w)) + 2.0 for w in widths]


def by_generalised_eigenvalues(X, Y):
    """rho^2 as eigenvalues of Sxx^-1 Sxy Syy^-1 Syx, largest first: no orthonormal bases involved."""
    X, Y = X - X.mean(0), Y - Y.mean(0)
    cross = X.T @ Y
    left = cross @ np.linalg.solve(Y.T @ Y, cross.T)
    values = scipy.linalg.eigh(left, X.T @ X, eigvals_only=True)[::-1]
    return np.sqrt(np.maximum(values, 0))[: min(X.shape[1], Y.shape[1])]


def test_published_value():
    random = np.random.RandomState(1337)
    X = random.randn(100, 10)
    Y = random.randn(100, 10) + X
    assert f"{cca(X, Y, summary='r2', centre=False):.5f}" == "0.54312"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6))
def test_against_generalised_eigenvalues(seed, p, q):
    X, Y = pair(seed, widths=(p, q))
    expected = by_generalised_eigenvalues(X, Y)
    np.testing.assert_allclose(canonical_correlations(X, Y), expected, atol=1e-7)
    assert cca(X, Y) == pytest.approx(expected.mean(), abs=1e-7)
    assert cca(X, Y, summary="r2") == pytest.approx((expected**2).mean(), abs=1e-9)


def test_one_unit_each_is_the_absolute_correlation():
    X, Y = pair(0, widths=(1, 1))
    expected = abs(np.corrcoef(X[:, 0], Y[:, 0])[0, 1])
    for value in (cca(X, Y), cca(X, -Y), pwcca(X, Y), svcca(X, Y)):
        assert value == pytest.approx(expected)


def test_one_unit_against_many_is_the_multiple_correlation():
    X, Y = pair(1, widths=(5, 1))
    design = np.column_stack([X, np.ones(len(X))])
    residual = Y[:, 0] - design @ np.linalg.lstsq(design, Y[:, 0], rcond=None)[0]
    assert cca(X, Y, summary="r2") == pytest.approx(1 - residual.var() / Y.var())


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_dead_repeated_and_dependent_units_add_nothing(size):
    X, Y = pair(2)
    padded = np.column_stack([X, np.zeros(60), X[:, 0], X @ np.arange(4.0), np.full(60, 0.1), size * X[:, 1]])
    np.testing.assert_allclose(canonical_correlations(padded, Y), canonical_correlations(X, Y), rtol=1e-9)
    assert cca(padded, padded) == pytest.approx(1.0)
    assert cca(padded, Y) == pytest.approx(cca(X, Y), rel=1e-9)


def test_units_of_very_different_size_all_count():
    X, Y = pair(3)
    scales = 10.0 ** np.array([-12, -4, 4, 12])
    np.testing.assert_allclose(canonical_correlations(X * scales, Y), canonical_correlations(X, Y), rtol=1e-7)


@pytest.mark.parametrize("function", [cca, svcca, pwcca])
@pytest.mark.parametrize(("n", "p"), [(10, 9), (10, 20), (10, 10)])
def test_saturated_sides_are_refused(function, n, p):
    rng = np.random.default_rng(0)
    wide, narrow = rng.standard_normal((n, p)), rng.standard_normal((n, 2))
    if function is svcca:
        # All nine directions that centring leaves, equally strong, so that none falls below the threshold.
        wide = scipy.linalg.null_space(np.ones((1, n))) @ scipy.linalg.orth(rng.standard_normal((p, n - 1))).T
    with pytest.raises(ValueError, match=r"of X span all 9 dimensions"):
        function(wide, narrow)
    with pytest.raises(ValueError, match=r"of Y span all 9 dimensions"):
        function(narrow, wide)


def test_what_saturation_would_give():
    # One unit fewer than refused is computed, and is already near 1 for independent data.
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((40, 38)), rng.standard_normal((40, 3))
    assert cca(X, Y) > 0.9
    with pytest.raises(ValueError, match="span all 39"):
        cca(np.column_stack([X, rng.standard_normal(40)]), Y)


def test_low_rank_features_wider_than_n_are_fine():
    X, Y = pair(4, n=30, widths=(3, 4))
    wide = X @ np.random.default_rng(0).standard_normal((3, 200))
    assert cca(wide, Y) == pytest.approx(cca(X, Y), rel=1e-9)


def test_without_centring_the_limit_is_n():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10, 9))
    assert cca(X, X[:, :2], centre=False) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="span all 10"):
        cca(rng.standard_normal((10, 10)), X, centre=False)


class TestSvcca:
    def test_components_by_hand(self):
        X, Y = pair(5, widths=(8, 5))
        for threshold in (0.5, 0.9, 0.99):
            reduced = []
            for side in (X, Y):
                values, vectors = np.linalg.eigh(np.cov(side.T))
                values, vectors = values[::-1], vectors[:, ::-1]
                kept = next(k for k in range(1, len(values) + 1) if values[:k].sum() >= threshold * values.sum())
                reduced.append(side @ vectors[:, :kept])
            assert svcca(X, Y, threshold) == pytest.approx(by_generalised_eigenvalues(*reduced).mean(), abs=1e-7)

    def test_the_share_is_of_squared_singular_values(self):
        # Singular values 10, 1.2, 1: the first holds 97.6 % of the squares but 82 % of the values themselves.
        rng = np.random.default_rng(0)
        basis = scipy.linalg.orth((Z := rng.standard_normal((20, 3))) - Z.mean(0))
        X = basis * [10, 1.2, 1]
        other = basis[:, :1] + 0.0
        assert svcca(X, basis, threshold=0.97) == pytest.approx(1.0)
        assert svcca(X, other, threshold=0.9) == pytest.approx(1.0)
        hidden = basis[:, 1:2]
        assert svcca(X, hidden, threshold=0.97) == pytest.approx(0.0, abs=1e-12)
        assert svcca(X, hidden, threshold=0.98) == pytest.approx(1.0)

    def test_all_components_are_cca(self):
        X, Y = pair(6)
        assert svcca(X, Y, threshold=1.0) == pytest.approx(cca(X, Y), rel=1e-9)

    def test_saturation_is_judged_after_the_cut(self):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((20, 2)) @ rng.standard_normal((2, 30)) + 1e-3 * rng.standard_normal((20, 30))
        with pytest.raises(ValueError, match="span all 19"):
            cca(X, X)
        assert svcca(X, X) == pytest.approx(1.0)

    @pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, float("nan")])
    def test_bad_threshold(self, threshold):
        with pytest.raises(ValueError, match="threshold"):
            svcca(*pair(0), threshold=threshold)


class TestPwcca:
    def by_inverse_roots(self, X, Y):
        """Canonical variates from covariances whitened by matrix roots, as the original method has it."""
        X, Y = X - X.mean(0), Y - Y.mean(0)
        roots = [np.real(scipy.linalg.inv(scipy.linalg.sqrtm(S.T @ S))) for S in (X, Y)]
        u, rho, _ = np.linalg.svd(roots[0] @ X.T @ Y @ roots[1], full_matrices=False)
        variates = X @ roots[0] @ u
        alpha = [sum(abs(h @ x) for x in X.T) for h in variates.T]
        return np.dot(alpha, rho) / np.sum(alpha)

    @pytest.mark.parametrize("widths", [(4, 6), (6, 4), (5, 5)])
    def test_three_weightings(self, widths):
        X, Y = pair(7, widths=widths)
        X[:, 0] *= 10
        forward, backward = self.by_inverse_roots(X, Y), self.by_inverse_roots(Y, X)
        assert abs(forward - backward) > 1e-4
        assert pwcca(X, Y) == pwcca(X, Y, weights_from="x")
        assert pwcca(X, Y) == pytest.approx(forward)
        assert pwcca(X, Y, weights_from="y") == pytest.approx(backward)
        assert pwcca(Y, X) == pytest.approx(backward)
        assert pwcca(X, Y, weights_from="mean") == pytest.approx((forward + backward) / 2)

    def test_weights_follow_the_units(self):
        # A side made almost only of what is shared weights the shared direction up.
        rng = np.random.default_rng(0)
        shared, own = rng.standard_normal((2, 200, 1))
        Y = np.column_stack([shared, rng.standard_normal(200)])
        assert pwcca(np.column_stack([100 * shared, own]), Y) > 0.95
        assert pwcca(np.column_stack([shared, 100 * own]), Y) < 0.3


@pytest.mark.parametrize("function", [cca, svcca, pwcca])
def test_constant_sides(function):
    X, Y = pair(9)
    with pytest.raises(ValueError, match="Y is the same for all stimuli"):
        function(X, np.full_like(Y, 0.1))
    with pytest.raises(ValueError, match="at least 3 stimuli"):
        function(X[:2, :1], Y[:2, :1])


def test_unknown_options():
    X, Y = pair(10)
    with pytest.raises(ValueError, match="mean, r2"):
        cca(X, Y, summary="max")
    with pytest.raises(ValueError, match="x, y, mean"):
        pwcca(X, Y, weights_from="both")


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


@pytest.mark.parametrize("seed", range(6))
def test_a_share_that_is_met_up_to_rounding_is_met(seed):
    """Components of variance 4, 3, 2, 1: two hold .7 of it, whichever way the sums are rounded."""
    rng = np.random.default_rng(seed)
    basis = scipy.linalg.orth((Z := rng.standard_normal((30, 4))) - Z.mean(0))
    X = basis * np.sqrt([4, 3, 2, 1]) @ scipy.linalg.orth(rng.standard_normal((4, 4)))
    for kept, threshold in ((1, 0.4), (2, 0.7), (3, 0.9)):
        assert svcca(X, basis[:, kept : kept + 1], threshold) == pytest.approx(0, abs=1e-9)
        assert svcca(X, basis[:, kept : kept + 1], threshold + 1e-9) == pytest.approx(1)
