import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.report.formatting import (
    complexity_latex,
    complexity_text,
    escape_latex,
    escape_markdown,
    format_chance_corrected,
    format_gap,
    format_percent,
    format_seconds,
    plural,
)

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
    assert read(format_chance_corrected(c)) < 1
    assert read(format_percent(c)) < 100
    assert read(format_chance_corrected(c)) == pytest.approx(c, abs=1.01e-3)
    assert read(format_percent(c)) == pytest.approx(100 * c, abs=0.101)


@given(st.floats(-10, 1 - 1e-8))
def test_a_printed_lower_bound_is_a_lower_bound(c):
    assert read(format_chance_corrected(c, lower_bound=True)) <= c + 1e-12
    assert read(format_percent(c, lower_bound=True)) <= 100 * c + 1e-9


def test_the_optimum_and_more():
    assert (format_chance_corrected(1.0), format_percent(1.0)) == ("1", "100")
    assert format_chance_corrected(1 - 1e-13) == "1"
    # More than the optimum means that the optimum is wrong, and is not hidden.
    assert (format_chance_corrected(1.02), format_percent(1.02)) == ("1.020", "102.0")
    assert (format_chance_corrected(math.nan), format_percent(math.nan)) == ("–", "–")
    assert format_chance_corrected(-0.0001) == "0.000"
    assert format_percent(0.9171, 0.0123) == "91.7 ±1.3"
    assert format_chance_corrected(0.99951, 0.0001) == "0.9995 ±0.0001"


@pytest.mark.parametrize(
    ("gap", "text"), [(1.0, "100 %"), (0.1, "10 %"), (0.001, "0.1 %"), (1e-12, "0 %"), (1.3, "130 %")]
)
def test_gaps(gap, text):
    assert format_gap(gap) == text


@given(st.text())
def test_latex_text_is_ascii_with_balanced_braces_and_no_live_specials(text):
    latex = escape_latex(text)
    assert latex.isascii()
    bare = re.sub(r"\\[a-zA-Z]+(\{\})?|\\.", "", latex)
    bare = re.sub(r"\$[^$]*\$", "", bare)
    assert not set(bare) & set(r"\&%$#_{}~^<>|")


def test_latex_keeps_letters_it_can_set():
    assert escape_latex("Köhler & Co_1: 50 %") == r"Kohler \& Co\_1: 50 \%"
    assert escape_latex("2 µs ± 1") == r"2 $\mu$s $\pm$ 1"


@pytest.mark.parametrize(
    ("source", "text", "latex"),
    [
        ("O(S^3)", "O(S³)", r"$\mathcal{O}(S^{3})$"),
        ("O(S log S)", "O(S log S)", r"$\mathcal{O}(S\log S)$"),
        ("S/b O(b^3)", "S/b O(b³)", r"$S/b \mathcal{O}(b^{3})$"),
        ("O(S^2) in practice", "O(S²) in practice", r"$\mathcal{O}(S^{2})\ \mathrm{in}\ \mathrm{practice}$"),
        ("", "–", "--"),
        ("O(n_i) 50%", "O(n_i) 50%", r"O(n\_i) 50\%"),
    ],
)
def test_complexities(source, text, latex):
    assert complexity_text(source) == text
    assert re.sub(r"\s+", "", complexity_latex(source)) == re.sub(r"\s+", "", latex)


def test_markdown_cells_cannot_break_the_table():
    assert escape_markdown("a|b\n*c*") == r"a\|b \*c\*"


def test_plurals():
    assert [plural(n, "pair") for n in (0, 1, 2, 1000)] == ["0 pairs", "1 pair", "2 pairs", "1,000 pairs"]
