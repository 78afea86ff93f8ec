"""Rank correlations, the regression on held-out groups, and what a label explains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f_oneway, spearmanr
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import scale

from semrsm_bench.studies.predictors import _coefficients, label_effect, rank_correlations, resamples, ridge


@given(seed=st.integers(0, 2**32), n=st.integers(5, 40))
def test_correlations_are_those_of_scipy_ties_included(seed, n):
    rng = np.random.default_rng(seed)
    score, coarse = rng.standard_normal(n), rng.integers(0, 3, n).astype(float)
    coarse[0], coarse[1] = 0, 1
    found = rank_correlations(score, {"coarse": coarse, "fine": score**3}, np.arange(n), resampled=5)
    assert found["coarse"].value == pytest.approx(spearmanr(score, coarse).statistic)
    assert found["fine"].value == pytest.approx(1)


def test_a_constant_predictor_has_no_correlation():
    found = rank_correlations(np.arange(9.0), {"c": np.ones(9), "x": np.arange(9.0)}, np.arange(9), resampled=20)
    assert np.isnan(found["c"]).all()
    assert found["x"].low <= 1 <= found["x"].high + 1e-12


@given(seed=st.integers(0, 2**32))
def test_partial_correlations_follow_from_the_three_plain_ones(seed):
    rng = np.random.default_rng(seed)
    common, x, y = rng.standard_normal((3, 25))
    x, y = x + common, y + common
    found = rank_correlations(y, {"x": x, "common": common}, np.arange(25), given=common, resampled=5)
    xy, xz, yz = (spearmanr(*pair).statistic for pair in ((x, y), (x, common), (y, common)))
    assert np.isnan(found["common"].value)
    assert found["x"].value == pytest.approx((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))


def test_what_a_control_explains_is_gone():
    rng = np.random.default_rng(0)
    common = rng.standard_normal(500)
    x, y = common + 0.5 * rng.standard_normal((2, 500))
    assert rank_correlations(y, {"x": x}, np.arange(500), resampled=5)["x"].value > 0.6
    assert abs(rank_correlations(y, {"x": x}, np.arange(500), given=common, resampled=5)["x"].value) < 0.12
    constant = rank_correlations(y, {"x": x}, np.arange(500), given=np.ones(500), resampled=5)["x"].value
    assert constant == pytest.approx(spearmanr(x, y).statistic)


def test_repeating_every_stimulus_inside_its_group_does_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(30)
    y = x + rng.standard_normal(30)
    once = rank_correlations(y, {"x": x}, np.arange(30), resampled=300)["x"]
    grouped = rank_correlations(np.repeat(y, 6), {"x": np.repeat(x, 6)}, np.repeat(np.arange(30), 6), resampled=300)[
        "x"
    ]
    np.testing.assert_allclose(grouped, once)
    apart = rank_correlations(np.repeat(y, 6), {"x": np.repeat(x, 6)}, np.arange(180), resampled=300)["x"]
    assert apart.high - apart.low < 0.6 * (once.high - once.low)


@given(groups=st.lists(st.sampled_from("abcd"), min_size=1, max_size=20), seed=st.integers(0, 2**32))
def test_resamples_take_whole_groups(groups, seed):
    sizes = {name: groups.count(name) for name in groups}
    for rows in resamples(groups, 3, seed):
        drawn = [groups[i] for i in rows]
        assert sum(drawn.count(name) / size for name, size in sizes.items()) == len(sizes)
        assert all(drawn.count(name) % size == 0 for name, size in sizes.items())


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 600))
    return {"a": a, "b": 50 * b, "c": c, "constant": np.ones(600)}, 3 * a - 2 * b + np.sqrt(3) * rng.standard_normal(
        600
    )


def test_planted_coefficients_and_share_come_out(planted):
    predictors, score = planted
    found = ridge(score, predictors, np.arange(600), resampled=100)
    assert set(found.coefficients) == {"a", "b", "c"}
    # The variance is 9 + 4 + 3, of which 13 can be explained.
    assert found.coefficients["a"].value == pytest.approx(3 / 4, abs=0.05)
    assert found.coefficients["b"].value == pytest.approx(-2 / 4, abs=0.05)
    assert found.coefficients["c"].low < 0 < found.coefficients["c"].high
    assert found.r2.low < 13 / 16 < found.r2.high


def test_unrelated_predictors_explain_nothing(planted):
    _, score = planted
    noise = dict(enumerate(np.random.default_rng(1).standard_normal((4, 600))))
    assert abs(ridge(score, noise, np.arange(600), resampled=20).r2.value) < 0.05


def test_what_only_tells_the_groups_apart_explains_nothing():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(12), 20)
    score = rng.standard_normal(12)[groups] + 0.1 * rng.standard_normal(240)
    marks = {f"mark{g}": (groups == g).astype(float) for g in range(12)}
    assert ridge(score, marks, groups, resampled=10).r2.value < 0.05
    # The same marks explain nearly all where pictures of one group may stand on both sides.
    assert ridge(score, marks, np.arange(240), resampled=10).r2.value > 0.9


@given(seed=st.integers(0, 2**32), alpha=st.floats(0.01, 100))
def test_coefficients_are_those_of_scikit_learn(seed, alpha):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((30, 3)) * [1, 10, 0.1] + 5, rng.standard_normal(30)
    expected = SklearnRidge(alpha=alpha).fit(scale(x), y).coef_
    np.testing.assert_allclose(_coefficients(x, y, alpha), expected, rtol=1e-6, atol=1e-9)


def test_nothing_to_regress_on():
    score = np.arange(10.0)
    assert ridge(score, {"c": np.ones(10)}, np.arange(10)) is None
    assert ridge(np.ones(10), {"x": score}, np.arange(10)) is None
    assert ridge(score, {"x": score}, np.zeros(10)) is None


@given(seed=st.integers(0, 2**32))
def test_the_share_between_labels_is_that_of_an_analysis_of_variance(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 40)
    labels[:4] = range(4)
    score = rng.standard_normal(40) + 0.5 * labels
    found = label_effect(score, labels, draws=20)
    f = f_oneway(*(score[labels == k] for k in range(4))).statistic
    assert found.share == pytest.approx(3 * f / (3 * f + 36))
    assert found.classes == 4


def test_many_small_classes_explain_much_by_chance_and_nothing_after_correction():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 200
    found = label_effect(rng.standard_normal(400), labels, draws=300)
    assert found.chance == pytest.approx(199 / 399, abs=0.01)
    assert abs(found.adjusted) < 0.15
    assert found.p_value > 0.01
    clear = label_effect(labels + rng.standard_normal(400), labels, draws=300)
    assert clear.adjusted > 0.95
    assert clear.p_value == pytest.approx(1 / 301)


@pytest.mark.parametrize("labels", [np.zeros(8), np.arange(8)], ids=["one label", "a label each"])
def test_labels_that_tell_nothing(labels):
    assert label_effect(np.arange(8.0), labels) is None
