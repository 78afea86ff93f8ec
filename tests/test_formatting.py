"""Numbers as they are printed: never better than they are, and with units."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.core.task import Score
from semrsm_bench.report.formatting import format_gap, format_p, format_score, format_seconds, plural

PERCENT, QUALITY = Score("q", "q %", style="percent"), Score("c", "c", style="quality")
UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def read(text: str) -> float:
    return float(text.replace("−", "-"))


@given(st.floats(1e-9, 1e6), st.floats(1e-12, 1e6))
def test_printed_time_is_the_time_to_three_digits_and_its_margin_never_smaller(seconds, margin):
    value, around, unit = re.fullmatch(r"([\d.]+) ±([\d.]+) (\w+)", format_seconds(seconds, margin)).groups()
    scale = UNITS[unit]
    assert float(value) * scale == pytest.approx(seconds, rel=5.01e-3)
    assert float(around) * scale >= margin * (1 - 1e-6)
    assert unit == "s" or float(value) < 1000
    assert unit == "ns" or float(value) >= 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.26e-3, "4.26 ms"),
        (69.6e-3, "69.6 ms"),
        (1.52, "1.52 s"),
        (1.40e-6, "1.40 µs"),
        (9.996, "10.0 s"),
        (999.6e-6, "1.00 ms"),
        (0.0, "0 s"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_times_as_the_paper_prints_them(seconds, text):
    assert format_seconds(seconds) == text


@given(st.floats(-10, 1 - 1e-8))
def test_less_than_the_optimum_is_never_printed_as_the_optimum(c):
    for score, scale in ((QUALITY, 1), (PERCENT, 100)):
        assert read(format_score(score, c)) < scale
        assert read(format_score(score, c)) == pytest.approx(scale * c, abs=0.00101 * scale)


@pytest.mark.parametrize("best", ["max", "min"])
@pytest.mark.parametrize(("style", "scale"), [("number", 1), ("quality", 1), ("percent", 100)])
@given(value=st.floats(-10, 1 - 1e-8) | st.floats(1, 10) | st.floats(0.99, 1 - 1e-8))
def test_a_bound_is_never_printed_better_than_it_is(style, scale, best, value):
    printed = read(format_score(Score("e", "e", best=best, style=style), value, bound=True))
    # Positive where it is printed worse.
    off = (scale * value - printed) * (1 if best == "max" else -1)
    assert -1e-9 <= off <= 0.11


def test_the_optimum_and_more():
    values = (1.0, 1 - 1e-13, 1.02, math.nan, -0.0001)
    # More than the optimum means that the optimum is wrong, and is not hidden.
    assert [format_score(QUALITY, v) for v in values] == ["1", "1", "1.020", "–", "0.000"]
    assert [format_score(PERCENT, v) for v in values] == ["100", "100", "102.0", "–", "0.0"]
    assert format_score(PERCENT, 0.9171, 0.9048, 0.92) == "91.7 ±1.3"
    assert format_score(QUALITY, 0.99951, 0.99941, 0.9996) == "0.9995 ±0.0001"


@pytest.mark.parametrize(
    ("gap", "text"), [(1.0, "100 %"), (0.1, "10 %"), (0.001, "0.1 %"), (1e-12, "0 %"), (1.3, "130 %")]
)
def test_gaps(gap, text):
    assert format_gap(gap) == text


def test_plurals():
    assert [plural(n, "pair") for n in (0, 1, 1000)] == ["0 pairs", "1 pair", "1,000 pairs"]
    words = {"query": "queries", "batch": "batches", "image": "images", "box": "boxes"}
    assert [plural(2, noun) for noun in words] == [f"2 {many}" for many in words.values()]


@pytest.mark.parametrize(
    ("score", "value", "text"),
    [
        (Score("r", "r", low=-1.0), 0.1234, "+0.123"),
        (Score("r", "r", low=-1.0), -0.1236, "−0.124"),
        (Score("r", "r", low=-1.0), 0.0, "0.000"),
        (Score("r", "r", low=-1.0), -1e-9, "0.000"),
        (Score("f1", "F1"), 0.1234, "0.123"),
        (Score("d", "distance", high=math.inf), 12345.6, "12346"),
        (Score("p", "p %", style="percent"), 0.1234, "12.3"),
        (Score("p", "p %", style="percent"), 1.0, "100"),
        (Score("c", "c", style="quality"), 0.99999, "0.9999"),
        (Score("c", "c", style="quality"), math.nan, "–"),
    ],
)
def test_scores_in_their_style(score, value, text):
    assert format_score(score, value) == text


def test_intervals_and_differences_of_scores():
    plain, percent = Score("f1", "F1"), Score("p", "p %", style="percent")
    # The farther end counts.
    assert format_score(plain, 0.5, 0.4, 0.52) == "0.500 ±0.100"
    assert format_score(plain, 0.5, math.nan, math.nan) == "0.500"
    assert format_score(plain, 0.5, 0.5 - 1e-15, 0.5) == "0.500"
    assert format_score(plain, 0.02, 0.01, 0.03, signed=True) == "+0.020 ±0.010"
    assert format_score(percent, -0.021, -0.03, -0.01, signed=True) == "−2.1 ±1.1"
    assert [format_p(p) for p in (0.0004, 0.0123, 1.0, math.nan)] == ["< 0.001", "0.012", "1.000", "–"]
