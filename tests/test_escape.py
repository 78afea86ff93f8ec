"""Texts from outside in every place that shows them: what a hostile name can do there, and that plain ones stay as they are."""

import csv
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_bench.bench.gate.options import GateLimits
from semrsm_bench.bench.gate.run import GateReport, as_markdown
from semrsm_bench.bench.gate.verdict import Finding
from semrsm_bench.core import escape
from semrsm_bench.core.escape import escape_latex, escape_markdown
from semrsm_bench.report.formatting import complexity_text
from semrsm_bench.report.style import RC, Drawing, new_figure

# Letters of all kinds, more often those that mean something to a terminal, a format or a spreadsheet.
LIVE = "\\$&%#_{}~^<>|*`[]\"'=+-@\n\t\x1b\x00\u202e\ud800 O(S)"
TEXT = st.text(st.one_of(st.characters(), st.sampled_from(LIVE)), max_size=40)


@given(TEXT)
def test_cleaned_text_is_one_visible_line_and_clean_text_stays(text):
    clean = escape.clean(text)
    assert clean.isprintable()
    assert escape.clean(clean) == clean
    assert clean.encode().decode() == clean
    if text.isprintable():
        assert clean == text
    kept = escape.cleaned({text: [text, 1, {"a": text}], "n": None})
    assert kept == {clean: [clean, 1, {"a": clean}], "n": None}


@given(TEXT)
def test_latex_text_is_ascii_with_balanced_braces_and_no_live_specials(text):
    latex = escape_latex(text)
    assert latex.isascii()
    assert latex.isprintable()
    bare = re.sub(r"\\[a-zA-Z]+(\{\})?|\\.", "", latex)
    bare = re.sub(r"\$[^$]*\$", "", bare)
    assert not set(bare) & set(r"\&%$#_{}~^<>|")


@given(TEXT)
def test_a_markdown_cell_is_one_line_and_reads_as_the_text(text):
    clean = escape.clean(text)
    cell = escape_markdown(clean)
    assert not re.search(r"(?<!\\)(?:\\\\)*[|*_`<>\[\]&~$]", cell.replace("\\\\", ""))
    assert re.sub(r"\\(.)", r"\1", cell) == " ".join(clean.split())


@given(st.sampled_from(["", *"=+-@\t"]), TEXT)
def test_csv_cells_come_back_and_none_is_a_formula(start, rest):
    text = start + rest
    out = io.StringIO()
    csv.writer(out).writerow([escape.escape_csv(escape.clean(text)), "end"])
    ((cell, end),) = csv.reader(io.StringIO(out.getvalue()))
    assert end == "end"
    assert cell.removeprefix("'") == escape.clean(text).removeprefix("'")
    assert cell[:1] not in tuple("=+-@\t\r\n")


@given(TEXT)
def test_file_names_are_short_and_plain(text):
    name = Drawing(text, new_figure(1, 1)).name
    assert re.fullmatch(r"[A-Za-z0-9_+=][A-Za-z0-9._+=-]{0,99}", name)


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(max_examples=20)
@given(TEXT)
def test_a_figure_shows_any_text(text):
    import matplotlib as mpl

    with mpl.rc_context(dict(RC)):
        figure = new_figure(2, 1)
        shown = figure.text(0, 0, escape.clean(rf"$\bad{{$ {text}"))
        assert not shown.get_parse_math()
        out = io.StringIO()
        figure.savefig(out, format="svg")
    ElementTree.fromstring(out.getvalue())


def test_latex_keeps_letters_it_can_set():
    assert escape_latex("Köhler & Co_1: 50 %") == r"Kohler \& Co\_1: 50 \%"
    assert escape_latex("2 µs ± 1") == r"2 $\mu$s $\pm$ 1"


@pytest.mark.parametrize(
    ("source", "text", "latex"),
    [
        ("O(S^3)", "O(S³)", "O(S$^3$)"),
        ("S/b O(b^12) in practice", "S/b O(b¹²) in practice", "S/b O(b$^1$$^2$) in practice"),
        ("O(n_i) 50%", "O(n_i) 50%", r"O(n\_i) 50\%"),
        ("", "–", "--"),
    ],
)
def test_complexities(source, text, latex):
    assert complexity_text(source) == text
    assert escape_latex(text) == latex


@given(TEXT)
def test_what_a_solver_says_is_one_line_of_the_gates_markdown_without_markup(said):
    side = {"revision": "main", "commit": "c0de" * 10}
    finding = Finding("failure", "greedy", 64, "none", f"it failed: {said}")
    lines = as_markdown(GateReport(side, side, [finding], [], GateLimits(), 3, [said])).split("\n")
    plain = as_markdown(GateReport(side, side, [finding], [], GateLimits(), 3, ["x"])).split("\n")
    assert len(lines) == len(plain)
    for line in lines[3:5]:
        assert not re.search(r"(?<!\\)[<>|`\[\]$]", line.removeprefix("> ").replace(r"\\", ""))
