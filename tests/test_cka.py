"""HSIC and CKA against their definitions, their theorems, and published numbers."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semrsm_bench.metrics import (
    cka,
    cka_matrix,
    cosine_rsm,
    hsic,
    linear_cka,
    linear_rsm,
    minibatch_cka,
    rbf_cka,
    rbf_rsm,
)
from tests.representations import notebook, related

# tests/test_misleading.py says when it comes.
pytestmark = pytest.mark.filterwarnings("ignore::semrsm_bench.MisleadingWarning")


def features(seed, n=30, widths=(4, 7)):
    return related(seed, n, widths, noise=0.5)


def hsic_by_trace(K, L):
    n = len(K)
    H = np.eye(n) - 1 / n
    return np.trace(K @ H @ L @ H) / (n - 1) ** 2


def hsic_by_song(K, L):
    n = len(K)
    K, L, one = K - np.diag(np.diag(K)), L - np.diag(np.diag(L)), np.ones(len(K))
    middle = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return (np.trace(K @ L) + middle - 2 / (n - 2) * (one @ K @ L @ one)) / (n * (n - 3))


DEFINITIONS = {"biased": hsic_by_trace, "debiased": hsic_by_song}
with_both_estimators = pytest.mark.parametrize("estimator", DEFINITIONS)


def cka_by_definition(pairs, estimator):
    """The ratio of the means over some pairs (K, L)."""
    h = DEFINITIONS[estimator]
    sums = np.sum([(h(K, L), h(K, K), h(L, L)) for K, L in pairs], axis=0)
    return sums[0] / math.sqrt(sums[1] * sums[2])


def test_published_values():
    X, Y = notebook()
    assert f"{linear_cka(X, Y):.5f}" == f"{cka(X @ X.T, Y @ Y.T):.5f}" == "0.55761"
    assert f"{linear_cka(X, Y, 'debiased'):.5f}" == f"{cka(X @ X.T, Y @ Y.T, 'debiased'):.5f}" == "0.51346"
    assert f"{rbf_cka(X, Y, sigma='kornblith', t=0.5):.5f}" == "0.65483"


@with_both_estimators
@given(pair=arrays(float, st.tuples(st.just(2), st.integers(4, 12), st.just(3)), elements=st.floats(-50, 50)))
def test_hsic_against_its_definition(pair, estimator):
    K, L = (X @ X.T for X in pair)
    expected = DEFINITIONS[estimator](K, L)
    scale = np.abs(K).max() * np.abs(L).max()
    assert hsic(K, L, estimator) == pytest.approx(expected, rel=1e-9, abs=1e-12 * scale + 1e-300)


@with_both_estimators
@pytest.mark.parametrize("n", [4, 5, 29, 256, 300])
def test_cka_of_indefinite_rsms_is_its_definition_and_reaches_minus_one(estimator, n):
    rng = np.random.default_rng(n)
    K, L = (A + A.T for A in rng.standard_normal((2, n, n)))
    L = L + 0.5 * K
    assert cka(K, L, estimator) == pytest.approx(cka_by_definition([(K, L)], estimator), rel=1e-9)
    assert cka(K, 3.0 - 2 * K, estimator) == pytest.approx(-1.0, abs=1e-13)


@with_both_estimators
@pytest.mark.parametrize("offset", [0, 1e6])
@pytest.mark.parametrize("widths", [(3, 5), (40, 50), (3, 500), (29, 31)])
def test_features_and_rsms_agree_on_both_sides_of_the_choice(estimator, widths, offset):
    X, Y = features(0, widths=widths)
    expected = cka_by_definition([(X @ X.T, Y @ Y.T)], estimator)
    assert cka(linear_rsm(X), linear_rsm(Y), estimator) == pytest.approx(expected, rel=1e-10)
    # A large common offset costs no digits.
    assert linear_cka(X + offset, Y - offset, estimator) == pytest.approx(expected, rel=1e-8 if offset else 1e-10)
    matrix = cka_matrix([X + offset, Y - offset], kernel="linear", estimator=estimator)
    assert matrix[0, 1] == pytest.approx(expected, rel=1e-8)


def test_wide_rbf_bandwidth_approaches_the_linear_kernel():
    X, Y = features(2)
    assert rbf_cka(X, Y, sigma=1e4) == pytest.approx(linear_cka(X, Y), rel=1e-5)


@pytest.mark.parametrize(("n", "p", "q"), [(50, 10, 40), (60, 300, 300), (100, 1000, 50)])
def test_null_of_independent_gaussians(n, p, q):
    rng = np.random.default_rng(p)
    draws = [(rng.standard_normal((n, p)), rng.standard_normal((n, q))) for _ in range(20)]
    expected = math.sqrt(p * q / ((n - 1 + p) * (n - 1 + q)))
    assert np.mean([linear_cka(X, Y) for X, Y in draws]) == pytest.approx(expected, rel=0.02)
    assert abs(np.mean([linear_cka(X, Y, "debiased") for X, Y in draws])) < 0.02


@with_both_estimators
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e12])
@pytest.mark.parametrize("n", [4, 33, 300])
def test_constant_sides_are_nan_not_noise(value, estimator, n):
    X = np.random.default_rng(0).standard_normal((n, 3))
    constant = np.full((n, 3), value)
    for pair in ((X, constant), (constant, X), (np.full((n, 400), value), X)):
        assert math.isnan(linear_cka(*pair, estimator))
    rsms = X @ X.T, np.full((n, n), value)
    assert math.isnan(cka(*rsms, estimator))
    assert math.isnan(minibatch_cka([rsms], estimator))
    matrix = cka_matrix([X, constant], kernel="linear", estimator=estimator)
    np.testing.assert_array_equal(np.isnan(matrix), [[False, True], [True, True]])


def test_orthonormal_stimuli_have_no_debiased_value():
    # All off-diagonal similarities are equal, so nothing is left without the diagonal.
    assert math.isnan(linear_cka(np.eye(6), np.random.default_rng(0).standard_normal((6, 6)), "debiased"))
    assert cka(np.eye(6), np.eye(6)) == pytest.approx(1.0)


def test_hsic_scales_as_its_rsms():
    K, L = (X @ X.T for X in features(4, widths=(3, 3)))
    assert hsic(K * 1e100, L * 1e-100) == pytest.approx(hsic(K, L), rel=1e-12)
    assert hsic(K * 1e-200, L) == pytest.approx(hsic(K, L) * 1e-200, rel=1e-12)


def batches_of(size, count=6):
    """Linear RSMs (K, L) of consecutive stimuli."""
    X, Y = (side.reshape(count, size, -1) for side in features(5, n=size * count))
    return [(x @ x.T, y @ y.T) for x, y in zip(X, Y, strict=True)]


@with_both_estimators
def test_minibatches_are_the_ratio_of_means_of_the_definition(estimator):
    batches = [*batches_of(6), *batches_of(9)]
    found = minibatch_cka(iter(batches), estimator)
    assert found == pytest.approx(cka_by_definition(batches, estimator), rel=1e-10)
    assert abs(found - np.mean([cka(K, L, estimator) for K, L in batches])) > 1e-3


@with_both_estimators
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("scale", [1e-170, 1, 1e120, 1e160])
def test_stacks_are_the_same_batches(estimator, count, scale):
    K, L = scale * np.stack(batches_of(7, count), axis=1)
    pairs = np.stack([K, L], axis=1)
    value = cka_by_definition(batches_of(7, count), estimator) if scale >= 1 else math.nan
    for batches, stacked in (((K, L), True), ([*pairs], False), (tuple(map(tuple, pairs)), False)):
        # Two arrays of shape (2, n, n) could be either; all else is read without being asked.
        for asked in (stacked, *([None] if count != 2 else ())):
            if scale == 1e160:
                with pytest.raises(ValueError, match="leaves the range of float64"):
                    minibatch_cka(batches, estimator, stacked=asked)
            else:
                assert minibatch_cka(batches, estimator, stacked=asked) == pytest.approx(value, nan_ok=True)


@with_both_estimators
@pytest.mark.parametrize("kernel", [None, "linear", "cosine", "rbf", lambda X: rbf_rsm(X, sigma="kornblith")])
@pytest.mark.parametrize("block", [30 * 4 * 7, 2**17])
def test_every_entry_of_many_layers_is_the_cka_of_its_pair(estimator, kernel, block, monkeypatch):
    monkeypatch.setattr(sys.modules["semrsm_bench.metrics.cka"], "_BLOCK_ENTRIES", block)
    layers = features(6, widths=(3, 8, 60, 5))
    make = {"linear": linear_rsm, "cosine": cosine_rsm, "rbf": rbf_rsm, None: linear_rsm}.get(kernel, kernel)
    inputs = layers if kernel else [make(X) for X in layers]
    expected = np.array([[cka_by_definition([(make(X), make(Y))], estimator) for Y in layers] for X in layers])
    result = cka_matrix(inputs, kernel=kernel, estimator=estimator)
    np.testing.assert_allclose(result, expected, rtol=1e-9)
    np.testing.assert_array_equal(result, result.T)
    part = cka_matrix(inputs[:3], inputs[1:], kernel=kernel, estimator=estimator)
    np.testing.assert_allclose(part, expected[:3, 1:], rtol=1e-9)
