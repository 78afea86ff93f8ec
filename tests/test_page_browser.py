"""The page in a real browser: plots, sorting, filters, copying, phone, dark and print; and not one request."""

import base64
import itertools
import re

import pytest

from semrsm_bench.report.page.build import build_page
from semrsm_bench.report.tables import render_table

from .browser import Browser, find_browser
from .synthetic_rows import make_row, make_run, matching

HOSTILE = "<script>window.hit = 1</script>&amp;<b>bold</b>"
READY = (
    "document.readyState === 'complete' && document.querySelector('#plot-matching .point') !== null"
    " && document.querySelectorAll('.dt-container').length > 1"
)
SHOWN = "[...document.querySelectorAll('#table-matching tbody tr')].filter(r => r.offsetParent !== null)"


def column(title):
    place = (
        f"[...document.querySelectorAll('#table-matching thead th')].findIndex(h => h.textContent.trim() === '{title}')"
    )
    return f"{SHOWN}.map(r => r.cells[{place}].textContent)"


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
def chromium():
    if find_browser() is None:
        pytest.skip("no Chromium is installed; install the package chromium to test the page")
    with Browser() as running:
        running.allow("clipboardReadWrite", "clipboardSanitizedWrite")
        yield running


@pytest.fixture(scope="module")
def opened(chromium, page):
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


def points(name):
    """The marker of a solver's point on the front."""
    traces = "[...document.querySelectorAll('#plot-matching .scatterlayer .trace')]"
    return f"{traces}.find(t => t.__data__[0].trace.name === {name!r}).querySelector('.point')"


def hover(browser, name):
    browser.point_at(points(name))
    return browser.wait(
        "[...document.querySelectorAll('#plot-matching .hoverlayer .hovertext')].map(t => t.textContent).join('|')"
    )


def test_hovering_tells_solver_options_size_time_with_interval_and_quality(browser):
    told = hover(browser, "auction-fine")
    for part in ("auction-fine", "eps = [0.1, 0.01]", "S = 1024 (layer2), centring none, 4 pairs", "c: 0.999"):
        assert part in told
    assert re.search(r"T \+ affinity: [\d.]+ ms \([\d.]+ ms to [\d.]+ ms\)", told)
    assert re.search(r"k/k_opt: 9\d\.\d+ ±[\d.]+ %", told)


def test_switching_size_and_centring_changes_the_plot(browser):
    first = browser.ask("document.getElementById('title-matching').textContent")
    assert first == "S = 1024 (layer2), centring none, 4 pairs"
    before = hover(browser, "greedy")
    browser.click("[...document.querySelectorAll('#plot-matching label')].find(l => l.textContent.includes('S = 64'))")
    browser.click("[...document.querySelectorAll('#plot-matching label')].find(l => l.textContent === 'channel')")
    browser.wait(
        "document.getElementById('title-matching').textContent === 'S = 64 (layer4), centring channel, 4 pairs'"
    )
    browser.wait(f"({points('greedy')}) !== null")
    told = hover(browser, "greedy")
    assert "S = 64 (layer4), centring channel" in told
    assert told != before


def test_switches_work_with_the_keyboard(browser):
    browser.ask("document.querySelector('#plot-matching input[name=Centring]:checked').focus()")
    browser.press("ArrowRight")
    assert browser.wait("document.getElementById('title-matching').textContent.includes('centring channel')")


def test_a_plot_can_be_saved_as_a_picture_and_is_sent_nowhere(browser):
    saved = browser.ask("Plotly.toImage(document.querySelector('#plot-matching .canvas'), {format: 'png'})")
    assert saved.startswith("data:image/png;base64,")
    buttons = browser.ask("[...document.querySelectorAll('#plot-matching .modebar-btn')].map(b => b.dataset.title)")
    assert not [title for title in buttons if not title.startswith(("Download", "Zoom", "Pan", "Reset"))]


def test_switching_the_score_changes_the_axis(browser):
    title = "document.querySelector('#plot-matching .ytitle').textContent"
    assert browser.ask(title) == "gap to the optimum, 1 − c"
    browser.click("[...document.querySelectorAll('#plot-matching label')].find(l => l.textContent.includes('k/k_opt'))")
    browser.wait(f"{title}.startsWith('k/k_opt')")
    assert "%" in browser.ask("document.querySelector('#plot-matching .ytick').textContent")
    told = hover(browser, "greedy")
    assert "k/k_opt: " in told


def test_a_click_on_a_heading_sorts_by_value(browser, results):
    head = "[...document.querySelectorAll('#table-matching thead th')].find(h => h.textContent.trim() === 'T')"
    browser.click(head)
    browser.wait(f"({head}).getAttribute('aria-sort') === 'ascending'")
    times = browser.ask(column("T"))
    scale = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
    known = [float(t.split()[0]) * scale[t.rstrip(" †").split()[-1]] for t in times if t != "–"]
    assert known == sorted(known)
    assert len(known) > 50
    # What failed is not fast: it comes last.
    assert set(times[len(known) :]) == {"–"}
    browser.click(head)
    browser.wait(f"({head}).getAttribute('aria-sort') === 'descending'")


def test_headings_sort_with_the_keyboard(browser):
    head = "[...document.querySelectorAll('#table-matching thead th')].find(h => h.textContent.trim() === 'c')"
    browser.ask(f"(({head}).querySelector('[role=button]') || {head}).focus()")
    browser.press("Enter")
    assert browser.wait(f"({head}).getAttribute('aria-sort') === 'descending'")


def test_typing_filters_the_rows(browser):
    everything = len(browser.ask(column("Algorithm")))
    browser.click("document.querySelector('#matching-results input[type=search]')")
    browser.type("batch-optimal")
    browser.wait(f"{SHOWN}.length < {everything}")
    assert set(browser.ask(column("Algorithm"))) == {"batch-optimal-128", "batch-optimal-512"}


def test_filters_of_columns_combine(browser):
    def choose(name, value):
        labels = "[...document.querySelectorAll('#matching-results .filters label')]"
        found = f"{labels}.find(l => l.firstChild.textContent.trim() === '{name}').querySelector('select')"
        browser.ask(f"(() => {{ const s = {found}; s.value = '{value}'; s.dispatchEvent(new Event('change')); }})()")

    choose("Centring", "channel")
    choose("S", "64")
    assert set(browser.ask(column("Centring"))) == {"channel"}
    assert set(browser.ask(column("S"))) == {"64"}
    choose("S", "")
    assert set(browser.ask(column("S"))) == {"64", "256", "1,024"}


@pytest.mark.parametrize(("label", "fmt"), [("LaTeX", "latex"), ("Markdown", "md"), ("CSV", "csv")])
def test_the_copy_button_puts_the_table_on_the_clipboard(browser, results, label, fmt):
    browser.click(f"[...document.querySelectorAll('button')].find(b => b.textContent.trim() === 'Copy {label}')")
    browser.wait(f"document.querySelector('#matching-results [role=status]').textContent === '{label} copied.'")
    assert browser.ask("navigator.clipboard.readText()") == render_table(results, fmt)


def test_without_a_clipboard_the_text_is_selected(browser, results):
    browser.ask("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true}); 1")
    browser.ask("document.execCommand = () => false; 1")
    browser.click("[...document.querySelectorAll('button')].find(b => b.textContent.trim() === 'Copy LaTeX')")
    browser.wait("document.querySelector('#matching-results [role=status]').textContent.includes('Ctrl+C')")
    chosen = browser.ask(
        "document.activeElement.value.slice(document.activeElement.selectionStart, document.activeElement.selectionEnd)"
    )
    assert chosen == render_table(results, "latex")
    browser.ask("delete navigator.clipboard; delete document.execCommand; 1")


def test_names_and_messages_stay_text(browser):
    assert browser.ask("window.hit") is None
    assert f"{HOSTILE} (x=<i>y</i>)" in browser.ask(column("Algorithm"))
    failures = browser.ask("document.getElementById('table-matching-failures').innerText")
    assert HOSTILE in failures
    browser.click("[...document.querySelectorAll('#plot-matching label')].find(l => l.textContent.includes('S = 256'))")
    browser.wait("document.getElementById('title-matching').textContent.startsWith('S = 256')")
    legend = browser.ask("[...document.querySelectorAll('#plot-matching .legendtext')].map(t => t.textContent)")
    assert f"{HOSTILE} (x=<i>y</i>)" in legend
    names = browser.ask("document.querySelector('#plot-matching .canvas').data.map(t => t.name || '')")
    told = hover(browser, next(name for name in names if "script" in name))
    assert HOSTILE.replace(" ", "") in told.replace(" ", "")  # long names are wrapped
    assert "x = <i>y</i>" in told
    assert browser.ask("window.hit") is None


def test_a_phone_needs_no_sideways_scrolling(browser, page, tmp_path):
    browser.call("Emulation.setDeviceMetricsOverride", width=375, height=800, deviceScaleFactor=1, mobile=True)
    browser.open(page.as_uri())
    browser.wait(READY)
    assert browser.ask("[document.documentElement.scrollWidth, window.innerWidth]") == [375, 375]
    widest = browser.ask(
        "Math.max(...[...document.querySelectorAll('.canvas svg.main-svg')].map(s => s.getBoundingClientRect().right))"
    )
    assert widest <= 375
    browser.photograph(tmp_path / "phone.png")
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
    tick = "getComputedStyle(document.querySelector('#plot-matching .xtick text')).fill"
    ground = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (contrast(ground, "rgb(0, 0, 0)") < 2) == (scheme == "dark")
    end = f"(() => {{ const c = {tick}; return c; }})()"
    for _, colour in zip(range(20), iter(lambda: browser.ask(end), None)):
        if contrast(ground, colour) >= 4.5:
            break
    assert contrast(ground, browser.ask(end)) >= 4.5
    for selector in ("body", ".lead", "a", ".notes", "#table-matching td", ".alerts", "summary"):
        pair = browser.ask(
            f"(() => {{ let e = document.querySelector('{selector}'); const ink = getComputedStyle(e).color; let ground;"
            " while (e && (ground = getComputedStyle(e).backgroundColor) === 'rgba(0, 0, 0, 0)') e = e.parentElement;"
            " return [ink, ground]; })()"
        )
        assert contrast(*pair) >= 4.5, (selector, pair)


def test_print_shows_every_section_and_no_controls(browser, tmp_path):
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    browser.ask("dispatchEvent(new Event('beforeprint')); 1")
    controls = "[...document.querySelectorAll('.switches, .copies, .filters, nav')]"
    hidden = f"{controls}.every(e => e.offsetParent === null)"
    assert browser.ask(hidden)
    assert browser.ask(
        "[...document.querySelectorAll('details')].every(d => d.open && d.lastElementChild.getClientRects().length)"
    )
    assert browser.ask("getComputedStyle(document.querySelector('#matching-results .scroll')).overflow") == "visible"
    browser.ask("dispatchEvent(new Event('afterprint')); 1")
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    (tmp_path / "page.pdf").write_bytes(pdf)
    pages = max(map(int, re.findall(rb"/Count (\d+)", pdf)))
    assert 5 <= pages <= 30
    assert browser.ask("[...document.querySelectorAll('details')].some(d => !d.open)")


def test_headings_nest_and_everything_has_a_name(browser):
    levels = browser.ask("[...document.querySelectorAll('h1, h2, h3, h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert browser.ask("[...document.images].every(i => i.alt)")
    assert browser.ask(
        "[...document.querySelectorAll('input, select, textarea')].every(e => e.labels.length || e.ariaLabel)"
    )
    assert browser.ask("[...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0 && e.ariaLabel)")
    assert browser.ask(
        "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size === document.querySelectorAll('[id]').length"
    )
