import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semrsm_bench.bench.results import COLUMNS
from semrsm_bench.bench.stats import mean_interval, median_interval, summarise
from tests.bench_data import make_row

values = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6))


def frame(*rows):
    return pd.DataFrame([{name: getattr(row, name) for name in COLUMNS} for row in rows], columns=list(COLUMNS))


@given(values, st.integers(0, 5))
def test_intervals_hold_the_sample_and_are_seeded(sample, seed):
    for interval, statistic in ((median_interval, np.median), (mean_interval, np.mean)):
        found = interval(sample, seed=seed, resamples=50)
        assert found.value == statistic(sample)
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
    assert found.high - found.value == pytest.approx(expected, rel=0.1)
    assert found.value - found.low == pytest.approx(expected, rel=0.1)


def test_a_wider_level_is_wider():
    sample = np.arange(30.0)
    inner, outer = mean_interval(sample, level=0.5), mean_interval(sample, level=0.99)
    assert outer.low < inner.low < inner.high < outer.high


def test_one_value_none_and_bad_ones():
    assert median_interval([2.5]) == (2.5, 2.5, 2.5)
    assert all(map(math.isnan, mean_interval([])))
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        median_interval([1.0, math.nan])
    with pytest.raises(ValueError, match="level"):
        median_interval([1.0], level=1.0)


def test_a_cell_is_summed_up_by_its_pairs():
    rows = [
        make_row(pair=f"0-{i}", seconds=s, affinity_seconds=0.1, chance_corrected=0.5)
        for i, s in enumerate((1.0, 2.0, 9.0))
    ]
    line = summarise(frame(*rows)).iloc[0]
    assert (line["pairs"], line["seconds"], line["total_seconds"]) == (3, 2.0, 2.1)
    assert line["affinity_seconds"] == 0.1
    assert line["quality"] == line["quality_worst"] == 0.9
    assert line["chance_corrected"] == pytest.approx(5 / 6)


def test_repeats_of_a_pair_count_as_one_pair():
    rows = [make_row(repeat=r, seconds=s) for r, s in enumerate((1.0, 5.0, 6.0))]
    rows += [make_row(pair="0-2", seconds=7.0)]
    line = summarise(frame(*rows)).iloc[0]
    assert line["pairs"] == 2
    assert line["seconds"] == 6.0


def test_quality_is_unknown_where_one_optimum_is_not_positive_but_c_is_not():
    rows = [make_row(), make_row(pair="0-2", k=-3.0, k_opt=-1.0, k_rand=-9.0, quality=None, chance_corrected=0.75)]
    line = summarise(frame(*rows)).iloc[0]
    assert math.isnan(line["quality"])
    assert line["k_opt_nonpositive"] == 1
    assert line["chance_corrected"] == pytest.approx((5 / 6 + 0.75) / 2)
    assert line["chance_corrected_worst"] == pytest.approx(0.75)


def test_an_unknown_optimum_is_bounded_from_above():
    line = summarise(frame(make_row(k_opt=None, k_upper=12.0, quality=None, chance_corrected=None))).iloc[0]
    assert math.isnan(line["quality"])
    assert line["quality_bound"] == pytest.approx(9 / 12)
    assert line["chance_corrected_bound"] == pytest.approx(5 / 8)


def test_matrix_free_solvers_take_their_own_time_only():
    line = summarise(frame(make_row(matrix_free=True, affinity_seconds=None))).iloc[0]
    assert line["total_seconds"] == line["seconds"]


def test_failures_are_told_and_do_not_count():
    rows = [make_row(), make_row(pair="0-2", status="timeout", seconds=None, k=None, quality=None, message="stopped")]
    rows += [make_row(pair="", status="skipped", seconds=None, k=None, message="not tried further")]
    line = summarise(frame(*rows)).iloc[0]
    assert (line["status"], line["pairs"], line["message"]) == ("ok", 1, "stopped")
    assert line["counts"] == {"ok": 1, "timeout": 1, "skipped": 1}
    alone = summarise(frame(*rows[1:])).iloc[0]
    assert alone["status"] == "timeout"
    assert alone["pairs"] == 0
    assert math.isnan(alone["seconds"])


def test_cells_stand_apart_and_in_order():
    rows = [make_row(solver=s, centring=c) for c in ("none", "channel") for s in ("b", "a")]
    table = summarise(frame(*rows))
    assert list(zip(table["solver"], table["centring"])) == [
        ("b", "none"),
        ("a", "none"),
        ("b", "channel"),
        ("a", "channel"),
    ]


def test_no_rows_make_an_empty_summary():
    assert summarise(frame()).empty
