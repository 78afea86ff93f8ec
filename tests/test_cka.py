"""HSIC and CKA against their definitions, their theorems, and published numbers."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
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

ESTIMATORS = ("biased", "debiased")


def features(seed, n=30, widths=(4, 7), shared=3):
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, shared))
    return [latent @ rng.standard_normal((shared, w)) + 0.5 * rng.standard_normal((n, w)) + 1.0 for w in widths]


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


def cka_by_definition(K, L, estimator):
    h = DEFINITIONS[estimator]
    return h(K, L) / math.sqrt(h(K, K) * h(L, L))


@pytest.fixture
def notebook():
    """The random data of the notebook that accompanies Kornblith et al. (2019)."""
    random = np.random.RandomState(1337)
    X = random.randn(100, 10)
    return X, random.randn(100, 10) + X


def test_published_values(notebook):
    X, Y = notebook
    assert f"{linear_cka(X, Y):.5f}" == f"{cka(X @ X.T, Y @ Y.T):.5f}" == "0.55761"
    assert f"{linear_cka(X, Y, 'debiased'):.5f}" == f"{cka(X @ X.T, Y @ Y.T, 'debiased'):.5f}" == "0.51346"
    assert f"{rbf_cka(X, Y, sigma='kornblith', t=0.5):.5f}" == "0.65483"


@settings(deadline=None, max_examples=60)
@given(
    arrays(float, st.tuples(st.just(2), st.integers(4, 12), st.just(3)), elements=st.floats(-50, 50)),
    st.sampled_from(ESTIMATORS),
)
def test_hsic_against_its_definition(pair, estimator):
    K, L = (X @ X.T for X in pair)
    expected = DEFINITIONS[estimator](K, L)
    scale = np.abs(K).max() * np.abs(L).max()
    assert hsic(K, L, estimator) == pytest.approx(expected, rel=1e-9, abs=1e-12 * scale + 1e-300)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n", [4, 5, 29, 256, 300])
def test_cka_against_its_definition_for_indefinite_rsms(estimator, n):
    rng = np.random.default_rng(n)
    K, L = (A + A.T for A in rng.standard_normal((2, n, n)))
    L = L + 0.5 * K
    assert cka(K, L, estimator) == pytest.approx(cka_by_definition(K, L, estimator), rel=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("widths", [(3, 5), (40, 50), (3, 500), (29, 31)])
def test_features_and_rsms_agree_on_both_sides_of_the_choice(estimator, widths):
    X, Y = features(0, widths=widths)
    expected = cka_by_definition(X @ X.T, Y @ Y.T, estimator)
    assert linear_cka(X, Y, estimator) == pytest.approx(expected, rel=1e-10)
    assert cka(linear_rsm(X), linear_rsm(Y), estimator) == pytest.approx(expected, rel=1e-10)


def test_wide_rbf_bandwidth_approaches_the_linear_kernel():
    X, Y = features(2)
    assert rbf_cka(X, Y, sigma=1e4) == pytest.approx(linear_cka(X, Y), rel=1e-5)


def test_semantic_rsms_reach_minus_one():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((12, 12))
    K = A + A.T
    for estimator in ESTIMATORS:
        assert cka(K, -K, estimator) == pytest.approx(-1.0, abs=1e-14)
        assert cka(K, 3.0 - 2 * K, estimator) == pytest.approx(-1.0, abs=1e-14)


def test_debiased_hsic_is_unbiased_and_biased_is_not():
    # Independent features: the expectation is exactly 0. The mean of 4000 draws is within four standard errors.
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4000, 2, 6, 5))
    values = {e: np.array([hsic(X @ X.T, Y @ Y.T, e) for X, Y in draws]) for e in ESTIMATORS}
    error = {e: v.std() / math.sqrt(len(v)) for e, v in values.items()}
    assert abs(values["debiased"].mean()) < 4 * error["debiased"]
    assert values["biased"].mean() > 40 * error["biased"]


@pytest.mark.parametrize(("n", "p", "q"), [(50, 10, 40), (60, 300, 300), (100, 1000, 50)])
def test_null_of_independent_gaussians(n, p, q):
    rng = np.random.default_rng(p)
    draws = [(rng.standard_normal((n, p)), rng.standard_normal((n, q))) for _ in range(20)]
    expected = math.sqrt(p * q / ((n - 1 + p) * (n - 1 + q)))
    assert np.mean([linear_cka(X, Y) for X, Y in draws]) == pytest.approx(expected, rel=0.02)
    assert abs(np.mean([linear_cka(X, Y, "debiased") for X, Y in draws])) < 0.02


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e12])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n", [4, 33, 300])
def test_constant_sides_are_nan_not_noise(value, estimator, n):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    constant = np.full((n, 3), value)
    assert math.isnan(linear_cka(X, constant, estimator))
    assert math.isnan(linear_cka(constant, X, estimator))
    assert math.isnan(linear_cka(np.full((n, 400), value), X, estimator))
    assert math.isnan(cka(X @ X.T, np.full((n, n), value), estimator))
    matrix = cka_matrix([X, constant], kernel="linear", estimator=estimator)
    np.testing.assert_array_equal(np.isnan(matrix), [[False, True], [True, True]])


def test_orthonormal_stimuli_have_no_debiased_value():
    # All off-diagonal similarities are equal, so nothing is left without the diagonal.
    assert math.isnan(linear_cka(np.eye(6), np.random.default_rng(0).standard_normal((6, 6)), "debiased"))
    assert cka(np.eye(6), np.eye(6)) == pytest.approx(1.0)


def test_a_large_common_offset_costs_no_digits():
    X, Y = features(3)
    for estimator in ESTIMATORS:
        expected = linear_cka(X, Y, estimator)
        assert linear_cka(X + 1e6, Y - 1e6, estimator) == pytest.approx(expected, rel=1e-8)
        matrix = cka_matrix([X + 1e6, Y - 1e6], kernel="linear", estimator=estimator)
        assert matrix[0, 1] == pytest.approx(expected, rel=1e-8)


def test_too_few_stimuli():
    K = np.eye(3)
    assert hsic(K, K) > 0
    for function in (hsic, cka):
        with pytest.raises(ValueError, match="at least 4 stimuli"):
            function(K, K, "debiased")
        with pytest.raises(ValueError, match="at least 2 stimuli"):
            function([[1.0]], [[1.0]])
        with pytest.raises(ValueError, match="estimator must be one of biased, debiased"):
            function(K, K, "unbiased")
    with pytest.raises(ValueError, match="at least 4 stimuli"):
        linear_cka(np.eye(3), np.eye(3), "debiased")
    with pytest.raises(ValueError, match="at least 4 stimuli"):
        cka_matrix([K], estimator="debiased")


def test_hsic_scales_as_its_rsms_and_says_when_it_cannot():
    K, L = (X @ X.T for X in features(4, widths=(3, 3)))
    assert hsic(K * 1e100, L * 1e-100) == pytest.approx(hsic(K, L), rel=1e-12)
    assert hsic(K * 1e-200, L) == pytest.approx(hsic(K, L) * 1e-200, rel=1e-12)
    with pytest.raises(ValueError, match="range of float64"):
        hsic(K * 1e200, L * 1e200)


class TestMinibatch:
    def batches(self, size, count=6):
        X, Y = features(5, n=size * count)
        pieces = [slice(i * size, (i + 1) * size) for i in range(count)]
        return [(X[s] @ X[s].T, Y[s] @ Y[s].T) for s in pieces]

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_ratio_of_means_of_the_definition(self, estimator):
        batches = [*self.batches(6), *self.batches(9)]
        h = DEFINITIONS[estimator]
        means = [
            np.mean([h(*pair) for pair in pairs])
            for pairs in (batches, [(K, K) for K, _ in batches], [(L, L) for _, L in batches])
        ]
        expected = means[0] / math.sqrt(means[1] * means[2])
        assert minibatch_cka(batches, estimator) == pytest.approx(expected, rel=1e-10)
        ratios = np.mean([cka_by_definition(K, L, estimator) for K, L in batches])
        assert abs(minibatch_cka(batches, estimator) - ratios) > 1e-3

    def test_one_batch_is_plain_cka_and_iterators_work(self):
        (K, L), *_ = self.batches(8)
        assert minibatch_cka(iter([(K, L)])) == pytest.approx(cka(K, L, "debiased"), rel=1e-12)

    def test_batches_do_not_change_what_is_estimated(self):
        # Debiased, 200 batches of 10 of the same distribution as one of 400.
        rng = np.random.default_rng(0)
        mix = rng.standard_normal((4, 4))

        def pair(n):
            latent = rng.standard_normal((n, 4))
            return latent, latent @ mix + 2 * rng.standard_normal((n, 4))

        whole = linear_cka(*pair(4000), "debiased")
        small = minibatch_cka([(X @ X.T, Y @ Y.T) for X, Y in (pair(10) for _ in range(400))])
        biased = minibatch_cka([(X @ X.T, Y @ Y.T) for X, Y in (pair(10) for _ in range(400))], "biased")
        assert small == pytest.approx(whole, abs=0.05)
        assert biased > whole + 0.1

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_stacks_are_the_same_batches(self, estimator):
        for count in (1, 2, 5):
            batches = self.batches(7, count)
            stacks = tuple(np.stack(side) for side in zip(*batches, strict=True))
            stacked = True if count == 2 else None
            expected = minibatch_cka(batches, estimator)
            assert minibatch_cka(stacks, estimator, stacked=stacked) == pytest.approx(expected, rel=1e-12)
            assert minibatch_cka(zip(*stacks, strict=True), estimator) == pytest.approx(expected, rel=1e-12)
        assert math.isnan(minibatch_cka((np.full((3, 5, 5), 0.1), stacks[0][:3, :5, :5]), estimator))

    def test_stacks_are_checked(self):
        K, L = np.stack([np.eye(5)] * 3), np.stack([np.ones((5, 5))] * 3)
        with pytest.raises(ValueError, match=r"\(3, 5, 5\) and \(1, 5, 5\)"):
            minibatch_cka((K, L[:1]))
        with pytest.raises(ValueError, match="square RSMs"):
            minibatch_cka((K[:, :4], L[:, :4]))
        with pytest.raises(ValueError, match="at least 4"):
            minibatch_cka((K[:, :3, :3], L[:, :3, :3]))
        L[1, 0, 3] = 2
        with pytest.raises(ValueError, match=r"L\[1\] is not symmetric"):
            minibatch_cka((K, L))

    def test_two_batches_as_arrays_are_read_the_way_that_is_asked_for(self):
        batches = self.batches(7, 2)
        K, L = (np.stack(side) for side in zip(*batches, strict=True))
        expected = minibatch_cka(batches)
        pairs = tuple(map(np.stack, batches))
        # Two arrays (2, n, n): the stacks of K and L, or the pairs of two batches. Only one reading is right.
        for either in ((K, L), pairs):
            with pytest.raises(ValueError, match="stacked=True"):
                minibatch_cka(either)
        assert minibatch_cka((K, L), stacked=True) == pytest.approx(expected, rel=1e-12)
        assert minibatch_cka([K.tolist(), L.tolist()], stacked=True) == pytest.approx(expected, rel=1e-12)
        for way in (pairs, list(pairs), tuple(batches)):
            assert minibatch_cka(way, stacked=False) == pytest.approx(expected, rel=1e-12)
        assert minibatch_cka(list(pairs)) == minibatch_cka(tuple(batches)) == pytest.approx(expected, rel=1e-12)

    def test_a_batch_that_is_no_pair_is_named(self):
        (K, L), *_ = self.batches(7, 1)
        with pytest.raises(ValueError, match="batch 1 holds 3 RSMs"):
            minibatch_cka([(K, L), (K, L, K)])

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    @pytest.mark.parametrize("scale", [1e-170, 1e120, 1e160])
    def test_lists_and_stacks_leave_the_range_of_float64_alike(self, estimator, scale):
        batches = [(K * scale, L * scale) for K, L in self.batches(7, 3)]
        stacks = tuple(np.stack(side) for side in zip(*batches, strict=True))
        if scale == 1e160:
            for way in (batches, stacks):
                with pytest.raises(ValueError, match="leaves the range of float64"):
                    minibatch_cka(way, estimator)
            return
        value = minibatch_cka(batches, estimator)
        assert math.isnan(value) == (scale < 1)
        assert minibatch_cka(stacks, estimator) == pytest.approx(value, rel=1e-12, nan_ok=True)

    def test_no_batch_and_constant_batches(self):
        with pytest.raises(ValueError, match="at least one batch"):
            minibatch_cka([])
        assert math.isnan(minibatch_cka([(np.ones((5, 5)), np.eye(5))], "biased"))


class TestManyLayers:
    @pytest.mark.parametrize("estimator", ESTIMATORS)
    @pytest.mark.parametrize("kernel", [None, "linear", "cosine", "rbf"])
    def test_every_entry_is_the_cka_of_its_pair(self, estimator, kernel):
        layers = features(6, widths=(3, 8, 60, 5))
        rsms = {"linear": linear_rsm, "cosine": cosine_rsm, "rbf": rbf_rsm, None: linear_rsm}[kernel]
        inputs = layers if kernel else [rsms(X) for X in layers]
        expected = [[cka_by_definition(rsms(X), rsms(Y), estimator) for Y in layers] for X in layers]
        result = cka_matrix(inputs, kernel=kernel, estimator=estimator)
        np.testing.assert_allclose(result, expected, rtol=1e-9)
        np.testing.assert_array_equal(result, result.T)
        np.testing.assert_allclose(
            cka_matrix(inputs[:3], inputs[1:], kernel=kernel, estimator=estimator),
            np.array(expected)[:3, 1:],
            rtol=1e-9,
        )

    def test_several_blocks_of_rows_give_the_same(self, monkeypatch):
        layers = features(7, widths=(3, 8, 5))
        expected = cka_matrix(layers, kernel="linear", estimator="debiased")
        monkeypatch.setattr(sys.modules["semrsm_bench.metrics.cka"], "_BLOCK_ENTRIES", 30 * 3 * 7)
        np.testing.assert_allclose(cka_matrix(layers, kernel="linear", estimator="debiased"), expected, rtol=1e-12)

    def test_callables_make_rsms(self):
        layers = features(8)
        result = cka_matrix(layers, kernel=lambda X: rbf_rsm(X, sigma="kornblith"))
        assert result[0, 1] == pytest.approx(rbf_cka(*layers, sigma="kornblith"))

    def test_mistakes_name_the_layer(self):
        X, Y = features(9)
        with pytest.raises(ValueError, match=r"layers\[1\] must be a square RSM"):
            cka_matrix([X @ X.T, Y])
        with pytest.raises(ValueError, match=r"layers\[1\] has 29 stimuli"):
            cka_matrix([X, Y[1:]], kernel="linear")
        with pytest.raises(ValueError, match=r"others\[0\] has 29 stimuli"):
            cka_matrix([X], [Y[1:]], kernel="linear")
        with pytest.raises(ValueError, match="empty"):
            cka_matrix([])
        with pytest.raises(ValueError, match="linear, cosine, rbf"):
            cka_matrix([X], kernel="poly")
