"""The page in a real browser: plots, sorting, filters, copying, phone, dark and print; and not one request."""

import base64
import itertools
import re

import pytest

from semrsm_bench.report.page.build import build_page
from semrsm_bench.report.tables import render_table

from .synthetic_rows import make_row, make_run, matching

HOSTILE = "<script>window.hit = 1</script>&amp;<b>bold</b>"
READY = (
    "document.readyState === 'complete' && document.querySelector('#plot-matching .point') !== null"
    " && document.querySelectorAll('.dt-container').length > 1"
)
SHOWN = "[...document.querySelectorAll('#table-matching tbody tr')].filter(r => r.offsetParent !== null)"


HEADS = "#table-matching thead th"
SWITCHES = "#plot-matching label"
TITLE = "document.getElementById('title-matching').textContent"


def every(selector):
    return f"[...document.querySelectorAll({selector!r})]"


def named(selector, text):
    """The first element of a selector whose text begins so."""
    return f"{every(selector)}.find(e => e.textContent.trim().startsWith({text!r}))"


def column(browser, title):
    """Texts of a column of the table, of the rows that are shown."""
    place = f"{every(HEADS)}.findIndex(h => h.textContent.trim() === {title!r})"
    return browser.ask(f"{SHOWN}.map(r => r.cells[{place}].textContent)")


@pytest.fixture(scope="module")
def results():
    measured = make_run((64, 256, 1024), pairs=4, slow=(("scipy", 1024),))
    odd = [make_row(HOSTILE, pair=f"0-{i}", c=0.95, options={"x": "<i>y</i>"}) for i in range(4)]
    failed = make_row("broken", status="error", message=HOSTILE, seconds=None, k=None, pair="0-1")
    return matching([*measured, *odd, failed])


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(build_page([results]))
    return path


@pytest.fixture(scope="module")
def opened(chromium, page):
    chromium.allow("clipboardReadWrite", "clipboardSanitizedWrite")
    chromium.open(page.as_uri())
    chromium.wait(READY)
    return chromium


# As after opening, without the seconds that opening takes.
RESET = """
jQuery.fn.dataTable.tables({api: true}).search('').order([]).draw();
document.querySelectorAll('.filters select').forEach(s => { s.value = ''; s.dispatchEvent(new Event('change')); });
document.querySelectorAll('form').forEach(f => { f.reset(); f.dispatchEvent(new Event('change')); });
document.querySelectorAll('input[type=search]').forEach(i => { i.value = ''; });
document.querySelectorAll('.copies [role=status]').forEach(e => { e.textContent = ''; });
1
"""


@pytest.fixture
def browser(opened, page):
    """The page; at the end it must have asked for nothing but itself and complained about nothing."""
    opened.ask(RESET)
    yield opened
    opened.ask("1")
    assert {u for u in opened.requests if not u.startswith(("data:", "blob:", "about:"))} == {page.as_uri()}
    assert (opened.failures, opened.errors, opened.complaints) == ([], [], [])


def hover(browser, name):
    """What a pointer over the point of a solver shows."""
    trace = f"{every('#plot-matching .scatterlayer .trace')}.find(t => t.__data__[0].trace.name === {name!r})"
    browser.wait(f"{trace}.querySelector('.point') !== null")
    browser.point_at(f"{trace}.querySelector('.point')")
    return browser.wait(f"{every('#plot-matching .hoverlayer .hovertext')}.map(t => t.textContent).join('|')")


def test_hovering_shows_solver_options_size_time_with_interval_and_quality(browser):
    shown = hover(browser, "auction-fine")
    for part in ("auction-fine", "eps = [0.1, 0.01]", "S = 1024 (layer2), centring none, 4 pairs", "c: 0.999"):
        assert part in shown
    assert re.search(r"T \+ affinity: [\d.]+ ms \([\d.]+ ms to [\d.]+ ms\)", shown)
    assert re.search(r"k/k_opt: 9\d\.\d+ ±[\d.]+ %", shown)


def test_switches_change_the_plot_and_its_axis(browser):
    assert browser.ask(TITLE) == "S = 1024 (layer2), centring none, 4 pairs"
    before = hover(browser, "greedy")
    browser.click(named(SWITCHES, "S = 64"))
    # Switches work with the keyboard as well.
    browser.ask("document.querySelector('#plot-matching input[name=Centring]:checked').focus()")
    browser.press("ArrowRight")
    browser.wait(f"{TITLE} === 'S = 64 (layer4), centring channel, 4 pairs'")
    after = hover(browser, "greedy")
    assert "S = 64 (layer4), centring channel" in after
    assert after != before
    axis = "document.querySelector('#plot-matching .ytitle').textContent"
    assert browser.ask(axis) == "gap to the optimum, 1 − c"
    browser.click(named(SWITCHES, "k/k_opt"))
    browser.wait(f"{axis}.startsWith('k/k_opt')")
    assert "%" in browser.ask("document.querySelector('#plot-matching .ytick').textContent")
    assert "k/k_opt: " in hover(browser, "greedy")


def test_a_plot_can_be_saved_as_a_picture_and_is_sent_nowhere(browser):
    saved = browser.ask("Plotly.toImage(document.querySelector('#plot-matching .canvas'), {format: 'png'})")
    assert saved.startswith("data:image/png;base64,")
    buttons = browser.ask(f"{every('#plot-matching .modebar-btn')}.map(b => b.dataset.title)")
    assert not [title for title in buttons if not title.startswith(("Download", "Zoom", "Pan", "Reset"))]


def test_headings_sort_by_value_by_click_and_by_key(browser):
    head = named(HEADS, "T")
    browser.click(head)
    browser.wait(f"({head}).getAttribute('aria-sort') === 'ascending'")
    times = column(browser, "T")
    scale = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
    known = [float(t.split()[0]) * scale[t.rstrip(" †").split()[-1]] for t in times if t != "–"]
    assert known == sorted(known)
    assert len(known) > 50
    # What failed is not fast: it comes last.
    assert set(times[len(known) :]) == {"–"}
    browser.click(head)
    browser.wait(f"({head}).getAttribute('aria-sort') === 'descending'")
    head = named(HEADS, "c")
    browser.ask(f"(({head}).querySelector('[role=button]') || {head}).focus()")
    browser.press("Enter")
    assert browser.wait(f"({head}).getAttribute('aria-sort') === 'descending'")


def test_rows_are_filtered_by_words_and_by_columns_together(browser):
    def choose(name, value):
        found = f"({named('#matching-results .filters label', name)}).querySelector('select')"
        browser.ask(f"(() => {{ const s = {found}; s.value = '{value}'; s.dispatchEvent(new Event('change')); }})()")

    everything = len(column(browser, "Algorithm"))
    browser.click("document.querySelector('#matching-results input[type=search]')")
    browser.type("batch-optimal")
    browser.wait(f"{SHOWN}.length < {everything}")
    assert set(column(browser, "Algorithm")) == {"batch-optimal-128", "batch-optimal-512"}
    choose("Centring", "channel")
    choose("S", "64")
    assert (set(column(browser, "Centring")), set(column(browser, "S"))) == ({"channel"}, {"64"})
    choose("S", "")
    assert set(column(browser, "S")) == {"64", "256", "1,024"}


STATUS = "document.querySelector('#matching-results [role=status]').textContent"


@pytest.mark.parametrize(("label", "fmt"), [("LaTeX", "latex"), ("Markdown", "md"), ("CSV", "csv")])
def test_the_copy_button_puts_the_table_on_the_clipboard(browser, results, label, fmt):
    browser.click(named("button", f"Copy {label}"))
    browser.wait(f"{STATUS} === '{label} copied.'")
    assert browser.ask("navigator.clipboard.readText()") == render_table(results, fmt)


def test_without_a_clipboard_the_text_is_selected(browser, results):
    browser.ask("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true}); 1")
    browser.ask("document.execCommand = () => false; 1")
    browser.click(named("button", "Copy LaTeX"))
    browser.wait(f"{STATUS}.includes('Ctrl+C')")
    chosen = "(e => e.value.slice(e.selectionStart, e.selectionEnd))(document.activeElement)"
    assert browser.ask(chosen) == render_table(results, "latex")
    browser.ask("delete navigator.clipboard; delete document.execCommand; 1")


def test_names_and_messages_stay_text(browser):
    name = f"{HOSTILE} (x=<i>y</i>)"
    assert name in column(browser, "Algorithm")
    assert HOSTILE in browser.ask("document.getElementById('table-matching-failures').innerText")
    browser.click(named(SWITCHES, "S = 256"))
    browser.wait(f"{TITLE}.startsWith('S = 256')")
    assert name in browser.ask(f"{every('#plot-matching .legendtext')}.map(t => t.textContent)")
    names = browser.ask("document.querySelector('#plot-matching .canvas').data.map(t => t.name || '')")
    shown = hover(browser, next(name for name in names if "script" in name))
    assert HOSTILE.replace(" ", "") in shown.replace(" ", "")  # long names are wrapped
    assert "x = <i>y</i>" in shown
    assert browser.ask("window.hit") is None


def test_a_phone_needs_no_sideways_scrolling(browser, page):
    browser.call("Emulation.setDeviceMetricsOverride", width=375, height=800, deviceScaleFactor=1, mobile=True)
    browser.open(page.as_uri())
    browser.wait(READY)
    assert browser.ask("[document.documentElement.scrollWidth, window.innerWidth]") == [375, 375]
    rights = browser.ask(f"{every('.canvas svg.main-svg')}.map(s => s.getBoundingClientRect().right)")
    assert max(rights) <= 375
    browser.call("Emulation.clearDeviceMetricsOverride")


def contrast(one, other):
    def luminance(colour):
        parts = [int(p) / 255 for p in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser, scheme):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    ground = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (contrast(ground, "rgb(0, 0, 0)") < 2) == (scheme == "dark")
    # The plot follows with a delay.
    tick = "getComputedStyle(document.querySelector('#plot-matching .xtick text')).fill"
    colours = (browser.ask(f"new Promise(done => setTimeout(() => done({tick}), 50))") for _ in range(40))
    assert any(contrast(ground, colour) >= 4.5 for colour in colours)
    for selector in ("body", ".lead", "a", ".notes", "#table-matching td", ".alerts", "summary"):
        pair = browser.ask(
            f"(() => {{ let e = document.querySelector('{selector}'); const ink = getComputedStyle(e).color; let ground;"
            " while (e && (ground = getComputedStyle(e).backgroundColor) === 'rgba(0, 0, 0, 0)') e = e.parentElement;"
            " return [ink, ground]; })()"
        )
        assert contrast(*pair) >= 4.5, (selector, pair)


def test_print_shows_every_section_and_no_controls(browser):
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    browser.ask("dispatchEvent(new Event('beforeprint')); 1")
    assert browser.ask(f"{every('.switches, .copies, .filters, nav')}.every(e => e.offsetParent === null)")
    assert browser.ask(f"{every('details')}.every(d => d.open && d.lastElementChild.getClientRects().length)")
    assert browser.ask("getComputedStyle(document.querySelector('#matching-results .scroll')).overflow") == "visible"
    browser.ask("dispatchEvent(new Event('afterprint')); 1")
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert 5 <= max(map(int, re.findall(rb"/Count (\d+)", pdf))) <= 30
    assert browser.ask(f"{every('details')}.some(d => !d.open)")


def test_headings_nest_and_everything_has_a_name(browser):
    levels = browser.ask(f"{every('h1, h2, h3, h4')}.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = browser.ask(f"{every('[id]')}.map(e => e.id)")
    assert len(set(ids)) == len(ids)
    for selector, condition in (
        ("img", "e.alt"),
        ("input, select, textarea", "e.labels.length || e.ariaLabel"),
        (".scroll", "e.tabIndex === 0 && e.ariaLabel"),
    ):
        assert browser.ask(f"{every(selector)}.every(e => {condition})"), selector
