"""Intervals, medians and p-values against theorems and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest, ttest_1samp
from scipy.stats import t as student_t

from examples.interval_coverage import coverage, coverage_of_medians
from semrsm_bench.core.stats import (
    Interval,
    bootstrap_draws,
    holm,
    interval_of,
    jackknife_draws,
    mean_interval,
    median_interval,
    two_sided_p,
    weighted_median,
)

values = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6))


@given(values, st.integers(0, 5))
def test_intervals_hold_the_sample_and_are_seeded(sample, seed):
    for interval, statistic in ((median_interval, np.median), (mean_interval, np.mean)):
        found = interval(sample, seed=seed, resamples=50)
        assert found.value == pytest.approx(statistic(sample), rel=1e-12, abs=1e-9)
        slack = 1e-9 * np.abs(sample).max()
        assert sample.min() - slack <= found.low <= found.high <= sample.max() + slack
        assert found == interval(sample, seed=seed, resamples=50)


@given(values, st.floats(0.1, 10), st.floats(-100, 100))
def test_intervals_follow_a_change_of_units(sample, scale, shift):
    plain, moved = (median_interval(s, resamples=50) for s in (sample, scale * sample + shift))
    np.testing.assert_allclose(
        moved, [scale * v + shift for v in plain], rtol=1e-6, atol=1e-6 * (1 + np.abs(sample).max())
    )


def test_the_interval_of_a_mean_agrees_with_the_central_limit():
    sample = np.random.default_rng(3).normal(5.0, 2.0, size=400)
    found = mean_interval(sample, resamples=4000)
    expected = 1.96 * sample.std() / math.sqrt(400)
    assert (found.high - found.value, found.value - found.low) == pytest.approx((expected, expected), rel=0.1)
    inner, outer = mean_interval(sample, level=0.5), mean_interval(sample, level=0.99)
    assert outer.low < found.low < inner.low < inner.high < found.high < outer.high


@pytest.mark.parametrize("interval", [median_interval, mean_interval])
def test_one_value_none_and_bad_ones(interval):
    assert interval([2.5]) == (2.5, 2.5, 2.5)
    assert all(map(math.isnan, interval([])))
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        interval([1.0, math.nan])
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 1"):
        interval([1.0], level=1.0)
    with pytest.raises(ValueError, match="resamples must be positive, got 0"):
        interval([1.0], resamples=0)


@given(hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(-100, 100)), st.integers(0, 99))
def test_a_weighted_median_is_that_of_the_values_repeated(sample, seed):
    weights = np.random.default_rng(seed).integers(0, 4, size=(6, sample.size)).astype(float)
    expected = [np.median(np.repeat(sample, w.astype(int))) if w.any() else math.nan for w in weights]
    np.testing.assert_allclose(weighted_median(sample, weights), expected)


@pytest.mark.parametrize("units", [1, 2, 7])
def test_draws_begin_with_the_sample_itself(units):
    drawn = bootstrap_draws(units, 50, seed=1)
    assert drawn.shape == (51, units)
    assert (drawn[0] == 1).all()
    assert (drawn.sum(axis=1) == units).all()
    np.testing.assert_array_equal(jackknife_draws(units), np.vstack([np.ones(units), 1 - np.eye(units)]))


def test_the_jackknife_of_a_mean_is_its_standard_error():
    sample = np.random.default_rng(0).normal(size=30)
    draws = jackknife_draws(30)
    found = interval_of((draws @ sample) / draws.sum(axis=1), "jackknife")
    expected = ttest_1samp(sample, 0.0).confidence_interval(0.95)
    assert found == pytest.approx((sample.mean(), *expected))


def test_undefined_draws_are_left_out_and_an_undefined_estimate_has_no_interval():
    assert interval_of(np.array([1.0, math.nan, 0.5, 1.5])).low == pytest.approx(0.525)
    assert all(map(math.isnan, interval_of(np.array([math.nan, 1.0, 2.0]))))
    assert interval_of(np.array([1.0, math.nan]))[0] == 1.0


def test_holm_is_the_step_down_of_bonferroni():
    # By hand: 3 x .01, then 2 x .02 but no less than before, then 1 x .5.
    assert holm([0.02, 0.5, 0.01]) == pytest.approx([0.04, 0.5, 0.03])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    corrected = holm([0.01, math.nan])
    assert corrected[0] == 0.01
    assert math.isnan(corrected[1])


@pytest.mark.parametrize("how", ["bootstrap", "jackknife"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_two_sided_p_is_that_of_students_test(how, sign):
    sample = sign * np.random.default_rng(3).normal(0.3, 1.0, size=25)
    draws = jackknife_draws(25) if how == "jackknife" else bootstrap_draws(25, 20_000)
    found = two_sided_p(draws @ sample / draws.sum(axis=1), how, 25)
    # The deviation of a bootstrap of n units is sqrt((n - 1) / n) of the standard error.
    t = ttest_1samp(sample, 0.0).statistic * (1 if how == "jackknife" else math.sqrt(25 / 24))
    assert found == pytest.approx(2 * student_t.sf(abs(t), 24), rel=1e-9 if how == "jackknife" else 0.02)


def test_a_jackknife_that_is_undefined_without_a_unit_has_no_interval():
    """One pair of networks: without either there is none, and without others it is the same, which is no precision."""
    replicates = np.array([0.5, math.nan, math.nan, 0.5, 0.5])
    assert interval_of(replicates, "jackknife").value == 0.5
    assert all(map(math.isnan, interval_of(replicates, "jackknife")[1:]))
    assert math.isnan(two_sided_p(replicates, "jackknife", 4))


def test_a_two_sided_p_of_what_never_varies_and_of_a_single_unit():
    """The least p of a sign test of so many units, whether the deviation is 0 or rounding."""
    for replicates in (np.ones(101), np.r_[1.0, np.full(50, 1 + 2e-16), np.ones(50)]):
        assert two_sided_p(replicates, "bootstrap", 5) == binomtest(5, 5).pvalue
    assert two_sided_p(np.r_[0.3, np.full(4, 0.1 + 0.2)], "jackknife", 4) == binomtest(4, 4).pvalue
    assert two_sided_p(np.zeros(101), "bootstrap", 5) == 1.0
    assert math.isnan(two_sided_p(np.ones(2), "jackknife", 1))
    assert math.isnan(two_sided_p(np.array([math.nan, 1.0, 2.0]), "bootstrap", 2))


def test_over_ten_networks_the_jackknife_covers_as_it_says_and_the_bootstraps_less():
    """What two networks share is in nine pairs of each, so a bootstrap over pairs is far too narrow."""
    found = coverage(10, 300)
    assert 0.92 <= found["jackknife over networks"] <= 0.98
    assert 0.84 <= found["bootstrap over networks"] <= 0.92
    assert 0.45 <= found["bootstrap over pairs"] <= 0.6
    found = coverage_of_medians(24, 276, 100)
    assert 0.88 <= found["bootstrap over images"] <= 1
    assert 0.35 <= found["bootstrap over pairs"] <= 0.65


def test_an_interval_within_a_scale_keeps_its_value():
    assert Interval(0.9, 0.6, 1.2).within(0.0, 1.0) == (0.9, 0.6, 1.0)
    assert Interval(-0.1, -0.4, 0.2).within(0.0, 1.0) == (-0.1, -0.1, 0.2), (
        "a value that rounding carried out of it stays"
    )
    assert Interval(0.5, 0.1, 0.9).within(-math.inf, math.inf) == (0.5, 0.1, 0.9)
    value, *ends = Interval(0.5, math.nan, math.nan).within(0.0, 1.0)
    assert value == 0.5
    assert all(map(math.isnan, ends))
