"""The docs site: it builds without a warning, loads nothing from elsewhere, and every page of it can be reached and read."""

import inspect
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

import semrsm_bench as sb
from semrsm_bench import metrics, rsm, solvers, testing
from tests.gate_repository import CHECKOUT

OURS = {"genindex.html", "search.html", "py-modindex.html"}  # made by the generator, reached from every page or none


class Page(HTMLParser):
    """What a page loads and links to, its anchors, its formulas, its text."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.anchors, self.formulas, self.words = [], [], set(), 0, []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "a":
            self.links += [given["href"]] if given.get("href") else []
        elif given.get("rel") not in ("index", "search", "next", "prev"):
            self.loads += [given[name] for name in ("src", "href", "data", "srcset", "poster") if given.get(name)]
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        self.formulas += "formula" in (given.get("class") or "").split()

    def handle_data(self, data):
        self.words.append(data)


def build(folder, source):
    """What the Makefile runs for `make docs`, of another source into another folder."""
    (line,) = re.findall(r"-m sphinx (.*)", (CHECKOUT / "Makefile").read_text())
    assert "-W" in shlex.split(line)
    assert line.endswith("-d docs/_build/doctrees docs docs/_build/html")
    arguments = line.replace(
        "-d docs/_build/doctrees docs docs/_build/html", f"-d {folder}/doctrees {source} {folder}/html"
    )
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *shlex.split(arguments)], cwd=CHECKOUT, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the built site."""
    folder = tmp_path_factory.mktemp("docs")
    done = build(folder, "docs")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def parsed(site):
    """Every page by its path."""
    return {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))}


def is_outside(address):
    return bool(urlsplit(address).scheme or urlsplit(address).netloc)


def test_every_source_has_a_page_and_every_task_stands_in_the_index(parsed):
    docs = CHECKOUT / "docs"
    sources = {p.relative_to(docs).with_suffix(".html").as_posix() for p in docs.rglob("*.md")}
    assert {name for name in sources if not name.startswith(("_build/", "katex/"))} == set(parsed) - OURS
    index = parsed["tasks/index.html"]
    for name in sb.task_names():
        assert f"tasks/{name}.html" in parsed
        assert f"{name}.html" in index.links
        assert sb.get_task(name).question in " ".join(" ".join(index.words).split())


BROKEN = {
    "[gone](nowhere.md)": "nowhere.md",
    "[gone](other.md#nowhere)": "'other': 'nowhere'",
    "[gone](#not-here)": "not-here",
    "![gone](figures/nowhere.png)": "nowhere.png",
    "```{toctree}\nnever\n```": "never",
}


def test_what_is_broken_fails_the_build(tmp_path):
    source = tmp_path / "source"
    for name in ("assets", "katex"):
        shutil.copytree(CHECKOUT / "docs" / name, source / name)
    shutil.copy(CHECKOUT / "docs" / "conf.py", source)
    (source / "other.md").write_text("# Other\n")
    sound = "# Title\n\n```{toctree}\nother\n```\n\n[there](other.md#other)\n"
    (source / "index.md").write_text(sound)
    done = build(tmp_path / "sound", source)
    assert done.returncode == 0, done.stderr
    (source / "alone.md").write_text("# Reached from nowhere\n")
    (source / "index.md").write_text("\n\n".join([sound, *BROKEN]))
    done = build(tmp_path / "broken", source)
    assert done.returncode != 0
    for named in [*BROKEN.values(), "alone.md"]:
        assert named in done.stderr, f"no warning names {named}:\n{done.stderr}"


def test_pages_load_only_what_lies_beside_them(site, parsed):
    sheets = {sheet: sheet.read_text() for sheet in site.rglob("*.css")}
    loads = {site / name: page.loads for name, page in parsed.items()}
    loads |= {sheet: re.findall(r"url\(\s*['\"]?([^'\")]+)", text) for sheet, text in sheets.items()}
    for place, addresses in loads.items():
        for address in (a for a in addresses if not a.startswith(("data:", "#"))):
            assert not is_outside(address), f"{place} loads {address}"
            assert (place.parent / unquote(urlsplit(address).path)).is_file(), (
                f"{place} loads {address}, which is not there"
            )
    assert not [sheet for sheet, text in sheets.items() if "@import" in text]


def test_links_inside_the_site_lead_somewhere_and_every_page_is_reached_from_the_first(site, parsed):
    reached = {name: set() for name in parsed}
    for name, page in parsed.items():
        for link in page.links:
            if is_outside(link):
                continue
            path, anchor = urldefrag(link)
            target = ((site / name).parent / unquote(path)).resolve() if path else site / name
            assert target.is_file(), f"{name}: {link}"
            if target.suffix == ".html":
                inside = target.resolve().relative_to(site.resolve()).as_posix()
                assert not anchor or unquote(anchor) in parsed[inside].anchors, f"{name}: there is no {link}"
                reached[name].add(inside)
    seen, waiting = set(), ["index.html"]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += reached[name]
    assert set(parsed) - OURS <= seen


def test_formulas_are_there_to_be_typeset(parsed):
    assert parsed["metrics.html"].formulas > 50
    assert parsed["how-we-measure.html"].formulas > 10
    for name, page in parsed.items():
        loads = " ".join(page.loads)
        assert ("katex.min.js" in loads) == ("formulas.js" in loads) == (page.formulas > 0), name
        assert "$$" not in "".join(page.words), f"{name} shows a formula as text"


def test_every_public_name_is_in_the_reference(parsed):
    public = {f"{sb.__name__}.{name}" for name in sb.__all__ if not inspect.ismodule(getattr(sb, name))}
    for room in (metrics, rsm, solvers, testing):
        public |= {f"{room.__name__}.{name}" for name in room.__all__ if name not in sb.__all__}
    assert public - {f"{sb.__name__}.__version__"} <= parsed["api.html"].anchors


def test_what_the_docs_need_is_pinned_and_what_they_vendor_has_its_version_and_licence():
    katex = CHECKOUT / "docs" / "katex"
    (version,) = re.findall(r"`katex` (\d+\.\d+\.\d+)", (katex / "README.md").read_text())
    assert f'"{version}"' in (katex / "katex.min.js").read_text()
    licence = (katex / "LICENSE.txt").read_text().replace("\n", " ")
    assert "Permission is hereby granted, free of charge" in licence
    needed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["docs"]
    pins = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower() for line in pins if "==" in line}
    assert {re.split(r"[<>=\[]", name)[0].lower() for name in needed} <= pinned


def show(browser, page, width, dark=False):
    """Open a page from its file, in a window of that width."""
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.call("Emulation.setEmulatedMedia", features=[scheme])
    browser.open(page.as_uri())
    browser.wait(f"location.href === {page.as_uri()!r} && document.readyState === 'complete'")
    browser.wait("document.fonts.status === 'loaded'")


@pytest.mark.parametrize("width", [1400, 390])
def test_pages_in_a_browser(site, parsed, chromium, width):
    for name, page in parsed.items():
        show(chromium, site / name, width)
        assert (chromium.errors, chromium.failures) == ([], []), name
        # Code, tables and formulas scroll inside themselves.
        assert chromium.ask("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width} pixels"
        typeset = "document.querySelectorAll('.formula > .katex, .formula > .katex-display').length"
        assert chromium.ask(typeset) == page.formulas
        assert chromium.ask("document.querySelectorAll('.katex-error').length") == 0
        broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        assert chromium.ask(broken) == [], name
    assert {urlsplit(url).scheme for url in chromium.requests} <= {"file", "data", "about", "blob"}, chromium.requests


def test_formulas_have_letters_of_katex_and_the_colour_of_the_page(site, chromium):
    show(chromium, site / "metrics.html", 1400, dark=True)
    formula, text = chromium.ask("['.katex', 'article p'].map(s => getComputedStyle(document.querySelector(s)).color)")
    assert formula == text
    loaded = chromium.ask("[...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)")
    assert {"KaTeX_Main", "KaTeX_Math", "KaTeX_Size3"} <= {family.strip("'\"") for family in loaded}


def test_the_search_finds_from_a_file(site, chromium):
    chromium.open((site / "search.html").as_uri() + "?q=chance-corrected")
    chromium.wait("document.querySelector('#search-results .search-summary').innerText.includes('found')")
    found = chromium.ask("[...document.querySelectorAll('#search-results li a')].map(a => a.href)")
    assert any("how-we-measure" in address for address in found)
    assert chromium.errors == []
