"""Numbers as they are printed: never better than they are, and with units."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.core.task import Score
from semrsm_bench.report.formatting import format_p, format_score, format_seconds, plural

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


NUMBER, PLAIN = Score("r", "r", low=-1.0), Score("f1", "F1")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        # As the paper prints times.
        (map(format_seconds, (4.26e-3, 69.6e-3, 1.52, 1.40e-6)), ["4.26 ms", "69.6 ms", "1.52 s", "1.40 µs"]),
        (map(format_seconds, (9.996, 999.6e-6, 0.0, math.nan, math.inf)), ["10.0 s", "1.00 ms", "0 s", "–", "–"]),
        (map(format_p, (0.0004, 0.0123, 1.0, math.nan)), ["< 0.001", "0.012", "1.000", "–"]),
        ((plural(n, "pair") for n in (0, 1, 1000)), ["0 pairs", "1 pair", "1,000 pairs"]),
        ((plural(2, noun) for noun in ("query", "batch", "box")), ["2 queries", "2 batches", "2 boxes"]),
    ],
    ids=["times", "odd times", "p-values", "counts", "nouns"],
)
def test_numbers_as_they_are_printed(shown, expected):
    assert list(shown) == expected


@pytest.mark.parametrize(
    ("score", "values", "texts"),
    [
        # More than the optimum means that the optimum is wrong, and is not hidden.
        (QUALITY, (1.0, 1 - 1e-13, 1.02, math.nan, -0.0001, 0.99999), ["1", "1", "1.020", "–", "0.000", "0.9999"]),
        (PERCENT, (1.0, 1 - 1e-13, 1.02, math.nan, -0.0001, 0.1234), ["100", "100", "102.0", "–", "0.0", "12.3"]),
        (NUMBER, (0.1234, -0.1236, 0.0, -1e-9), ["+0.123", "−0.124", "0.000", "0.000"]),
        (PLAIN, (0.1234,), ["0.123"]),
        (Score("d", "distance", high=math.inf), (12345.6,), ["12346"]),
    ],
    ids=lambda value: getattr(value, "title", None),
)
def test_scores_in_their_style(score, values, texts):
    assert [format_score(score, value) for value in values] == texts


@pytest.mark.parametrize(
    ("score", "interval", "signed", "text"),
    [
        # The farther end counts.
        (PERCENT, (0.9171, 0.9048, 0.92), False, "91.7 ±1.3"),
        (QUALITY, (0.99951, 0.99941, 0.9996), False, "0.9995 ±0.0001"),
        (PLAIN, (0.5, 0.4, 0.52), False, "0.500 ±0.100"),
        (PLAIN, (0.5, math.nan, math.nan), False, "0.500"),
        (PLAIN, (0.5, 0.5 - 1e-15, 0.5), False, "0.500"),
        (PLAIN, (0.02, 0.01, 0.03), True, "+0.020 ±0.010"),
        (PERCENT, (-0.021, -0.03, -0.01), True, "−2.1 ±1.1"),
    ],
)
def test_intervals_and_differences_of_scores(score, interval, signed, text):
    assert format_score(score, *interval, signed=signed) == text
