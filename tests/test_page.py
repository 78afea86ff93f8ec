"""The page without a browser: what it holds, that it holds everything itself, and what happens when parts are missing."""

import itertools
import json
import re
import shlex
import sys
from html.parser import HTMLParser
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_bench.bench.contest import differences
from semrsm_bench.bench.results import RUN_FILE, write_json
from semrsm_bench.cli import main
from semrsm_bench.report.figures.run import front_points, pareto_front
from semrsm_bench.report.page import assets
from semrsm_bench.report.page.build import build_page
from semrsm_bench.report.results import read_results
from semrsm_bench.report.tables import render_table
from semrsm_bench.tasks.registry import get_task

from .command_line import call
from .image_files import image_zip
from .synthetic_rows import ENVIRONMENT, NO_FIGURES, make_pairs, make_row, make_run, matching
from .task_runs import write_task_run
from .test_cli_table import write_run


class Parsed(HTMLParser):
    """Elements, their attributes and texts; tables as lists of rows."""

    VOID = frozenset({"meta", "link", "input", "img", "br", "hr"})

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.tables, self.texts = [], [], {}, {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in self.VOID:
            self.open.append((tag, attributes))
        if tag == "table":
            self.rows = self.tables.setdefault(attributes.get("id"), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            tag, attributes = self.open[-1]
            self.texts.setdefault(tag, []).append(data)
            if tag in ("td", "th"):
                self.rows[-1][-1] += data
            if "id" in attributes:
                self.texts[f"#{attributes['id']}"] = self.texts.get(f"#{attributes['id']}", "") + data

    def table(self, name):
        """Rows as mappings of heading to text."""
        head, *rows = self.tables[name]
        return [dict(zip(head, row, strict=True)) for row in rows]

    @property
    def plots(self):
        return json.loads(self.texts["#plot-data"])

    def text(self, *tags):
        return " ".join(part for tag in tags for part in self.texts.get(tag, []))


def page_of(*rows, environment=ENVIRONMENT, description=None):
    return Parsed(build_page([matching(rows, environment)], description))


def traces_of(page):
    """The points of every variant of the plot."""
    return [t for v in page.plots["matching"] for t in v["figure"]["data"] if t.get("name")]


@pytest.fixture(scope="module")
def results():
    return matching(make_run((64, 256, 4096), pairs=4))


@pytest.fixture(scope="module")
def text(results):
    return build_page([results], {"finished": "2026-01-02T03:09:00", "plan": {"profile": "quick"}})


@pytest.fixture(scope="module")
def parsed(text):
    return Parsed(text)


def test_every_element_is_closed_and_nothing_is_loaded(text, parsed):
    assert parsed.open == []
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, name)
        assert not [name for name in attributes if name.startswith("on")]
        assert "url(" not in attributes.get("style", "")
    (style,) = parsed.texts["style"]
    assert "@import" not in style
    assert "url(" not in style


def test_the_browser_is_told_to_refuse_requests_and_foreign_scripts(parsed):
    (policy,) = [a["content"] for t, a in parsed.elements if t == "meta" and a.get("http-equiv")]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules["img-src"].split()) == {"data:", "blob:"}
    assert "connect-src" not in rules
    executed = [s for s in parsed.texts["script"] if s.strip() and s != parsed.texts["#plot-data"]]
    assert len(executed) == 3
    assert sorted(rules["script-src"].split()) == sorted(map(assets.content_hash, executed))


def test_scripts_cannot_end_early():
    source = "a = '</script><!-- </SCRIPT>';\r\nb"
    safe = assets.safe_script(source)
    assert not re.search(r"</script|<!--|\r", safe, re.IGNORECASE)
    assert safe.replace(r"\x3c", "<") == source.replace("\r\n", "\n")
    assert "</script>" in page_of(make_row("greedy", model="</script>")).plots["matching"][0]["title"]
    for script in (assets.plotly_script(), assets.tables_script()):
        assert not re.search(r"</script|<!--", script, re.IGNORECASE)


def test_licences_and_provenance_stand_on_the_page(parsed):
    machine = (ENVIRONMENT["commit"], "with local changes", "Example CPU_9 & Co @ 3.0 GHz", "openblas", "ab" * 32)
    for tags, parts in (
        (("h3", "pre", "p"), ("plotly", "itables", "DataTables", "Permission is hereby granted, free of charge")),
        (("script",), ("Copyright 2012", "SpryMedia")),
        (("dd", "dt"), (*machine, "numpy 2.0.0")),
        (("li",), ("local changes",)),
    ):
        for part in parts:
            assert part in parsed.text(*tags)


def test_the_table_holds_every_cell_as_the_verb_table_prints_it(parsed, results):
    lines = parsed.table("table-matching")
    assert len([r for r in lines if r["Kind"] != "Shared input"]) == len(results.cells)
    shown = render_table(results, "md")
    for line in lines:
        for name in ("k/k_opt %", "c", "T"):
            assert line[name].replace(" ±", " ± ").replace("*", r"\*") in shown
    skipped = [r for r in lines if r["Status"] != "ok"]
    assert {(r["Algorithm"], r["S"]) for r in skipped} == {("scipy", "4,096"), ("lapjv", "4,096")}
    assert {r["Status"] for r in skipped} == {"skipped: too slow for quick"}


def test_what_sorts_last_has_no_figure(text):
    table = text.split('id="table-matching"')[1].split("</table>")[0]
    directions = re.findall(r'<th [^>]*class="number" data-best="(\w+)"', table)
    cells = re.findall(r'<td class="number" data-order="([^"]*)">([^<]*)</td>', table)
    assert len(cells) > len(directions) == 7
    for (order, shown), best in zip(cells, itertools.cycle(directions)):
        last = "-Infinity" if best == "desc" else "Infinity"
        assert (re.match(r"[≥≤−+]?\s*\d", shown) is None) == (order == last), (order, shown)


def test_copies_are_what_the_verb_table_prints(parsed, results):
    for number, fmt in enumerate(("latex", "md", "csv"), start=1):
        # A parser drops the line break after the tag of a textarea.
        assert parsed.texts[f"#copy-matching-{number}"].removeprefix("\n") == render_table(results, fmt)


def test_the_front_is_that_of_the_figure(parsed, results):
    variants = {tuple(v["choice"].values()): v["figure"] for v in parsed.plots["matching"]}
    assert len(variants) == 2 * len(results.places)
    for cell, place in results.places.items():
        where = f"S = {place['size']} ({place['layer']})", place["centring"]
        points = front_points(results, cell)
        drawn = {t["name"]: t for t in variants[*where, "c"]["data"] if t.get("name")}
        assert {name: t["x"] for name, t in drawn.items()} == {p.method.name: [p.seconds] for p in points}
        bold = {name for name, t in drawn.items() if t["opacity"] == 1}
        assert bold == {p.method.name for p in pareto_front(points)}
        for point in points:
            told = drawn[point.method.name]["hovertext"]
            assert f"centring {place['centring']}" in told.replace("<br>", " ")
            assert f"S = {place['size']}" in told
            interval = results.cells[cell, point.method].total_seconds
            bars = drawn[point.method.name]["error_x"]
            assert bars["array"] == pytest.approx([interval.high - interval.value])
            assert bars["arrayminus"] == pytest.approx([interval.value - interval.low])
        ratios = variants[*where, "k/k_opt %"]
        low, high = ratios["layout"]["yaxis"]["range"]
        values = [y for t in ratios["data"] if t.get("name") for y in t["y"]]
        assert low < min(values) <= max(values) <= 1 < high
        assert ratios["layout"]["yaxis"]["tickformat"] == ".0%"


def test_the_command_of_the_page_plans_the_same_run(monkeypatch, capsys):
    from semrsm_bench.bench import engine, methods
    from semrsm_bench.bench.plan import RunOptions, make_plan
    from semrsm_bench.tasks.matching import MatchingOptions

    options = RunOptions(methods=("greedy", "scipy"), memory=2 << 30, budget=20.0)
    own = MatchingOptions(layers=("layer4",), centring=("none",), pairs={"1024": 3, "": 1})
    declared = methods.declarations(kinds=["solver"])
    plan = make_plan(options, [get_task("matching")], {"matching": own}, declared)
    description = {"plan": plan.describe(), "commands": plan.commands}
    page = page_of(make_row(), description={**json.loads(json.dumps(description)), "finished": None})
    assert "This run is not finished" in page.text("li")
    (command,) = [told for told in page.texts["dd"] if told.startswith("semrsm-bench run")]
    measure = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr(engine, "run", measure)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        main(shlex.split(command)[1:])
    given, _, tasks = measure.call_args.args
    assert list(tasks) == ["matching"]
    again = make_plan(given, [get_task("matching")], tasks, declared).describe()
    assert again == description["plan"]


def test_figures_of_the_paper_stand_apart_and_are_marked(parsed, results):
    assert render_table(results, paper=True) in parsed.texts["pre"]
    assert not [title for row in parsed.table("table-matching") for title in row if "paper" in title]
    assert "not measured here" in parsed.text("p")
    assert "NeurIPS 2024" in parsed.text("pre")


def test_a_run_of_failures_only():
    page = page_of(*make_pairs("scipy", 2, status="timeout", message="no answer", **NO_FIGURES))
    assert page.plots == {}
    assert "No method gave a result in the task matching" in page.text("li")
    assert [r["Status"] for r in page.table("table-matching")] == ["timeout"]
    (failure,) = page.table("table-matching-failures")
    assert (failure["Reason"], failure["Pairs"]) == ("no answer", "2")


def test_a_run_of_one_solver_on_one_layer():
    page = page_of(make_row("greedy"), environment={})
    assert set(page.plots) == {"matching"}
    assert "None: every method gave a result" in page.text("p")
    assert [r["Algorithm"] for r in page.table("table-matching")] == ["greedy", "affinity x @ y.T"]
    assert "resnet18-tiny-imagenet layer3" in page.text("caption")


def test_reasons_are_grouped_and_faults_come_first():
    both = [
        row
        for c in ("none", "channel")
        for row in (
            make_row("scipy", centring=c, status="skipped", message="too slow", **NO_FIGURES),
            make_row("ortools", centring=c),
        )
    ]
    crashed = make_row("greedy", status="crashed", message="died", **NO_FIGURES)
    lines = page_of(*both, crashed).table("table-matching-failures")
    assert [(r["Algorithm"], r["Status"], r["Where"]) for r in lines] == [
        ("greedy", "crashed", "centring none"),
        ("scipy", "skipped", "everywhere"),
    ]


def test_bounds_are_marked_as_bounds():
    known = {"size": 65536, "layer": "large", "k_opt": None, "k_upper": 100.0, "affinity_seconds": None}
    page = page_of(*make_pairs("greedy", 2, c=0.9, **known))
    (line,) = page.table("table-matching")
    assert line["c"].startswith("≥")
    assert line["k/k_opt %"].startswith("≥")
    assert "≥ certified lower bound" in page.text("li", "p")
    for trace in traces_of(page):
        assert trace["marker"]["symbol"].endswith("-open")
        assert "c: ≥" in trace["hovertext"]


def test_a_ratio_that_means_nothing_is_not_given():
    page = page_of(*make_pairs("greedy", 2, k_opt=-1.0, k_rand=-10.0))
    assert page.table("table-matching")[0]["k/k_opt %"] == "*"
    assert "k_opt is not positive" in page.text("li", "p")
    (trace,) = traces_of(page)
    told = trace["hovertext"].replace("<br>", " ")
    assert "k/k_opt: not given, k_opt is not positive" in told
    assert "2 pairs" in told


# What a parser of HTML does not hand back as it was: control characters, line breaks, halves of surrogate pairs.
TEXT = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" <>&\"'`{}%$\\"), min_size=1, max_size=60
)


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(max_examples=15)
@given(name=TEXT.map(str.strip).filter(bool), message=TEXT.map(str.strip).filter(bool))
def test_any_text_is_shown_as_it_is(name, message):
    bad = make_row(name, status="error", message=message, pair="0-2", **NO_FIGURES)
    page = page_of(make_row(name, options={}), bad | {"options": {}}, make_row("ortools"), environment={})
    assert name in [r["Algorithm"] for r in page.table("table-matching")]
    assert [(r["Algorithm"], r["Reason"]) for r in page.table("table-matching-failures")] == [(name, message)]
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 4


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory):
    """A run of two tasks, one of them on a user's own pictures."""
    pytest.importorskip("torch")
    home = tmp_path_factory.mktemp("tasks")
    folder = home / "run-1"
    small = {"model": ("data/resnet10-quarter-seed0.weights.safetensors",), "layers": ("layer4",)}
    images = image_zip(home / "own.zip")
    write_task_run(
        folder, get_task("translation"), ("identity", "greedy"), images=(images,), count=12, batch=4, **small
    )
    with (folder / "rows.jsonl").open("a") as file:
        for row in make_run((64, 256), ("none",), pairs=3):
            file.write(json.dumps(row) + "\n")
    return folder


def test_every_task_has_its_section_and_private_pictures_are_there_only_where_that_is_asked_for(two_tasks):
    results = read_results(two_tasks)
    page, private = (Parsed(build_page(results, private=private)) for private in (False, True))
    assert [t for t in page.texts["h2"] if t.strip()] == ["All tasks", "Translation", "Matching", "Environment"]
    assert set(page.plots) == {"translation", "matching"}
    for task in ("translation", "matching"):
        assert get_task(task).question in page.texts["p"]
        assert {a.get("id") for t, a in page.elements if t == "section"} >= {task, f"{task}-front", f"{task}-results"}
    lines = page.table("table-translation-differences")
    (found,) = differences(results[0].summaries, "auroc", "identity")
    assert [line["Method"] for line in lines] == ["greedy"]
    assert float(lines[0]["Δ AUROC"].replace("−", "-")) == pytest.approx(found.interval.value, abs=5e-4)
    crops = "Pictures with the frames of the crops cut from them"
    for shown, all_pictures in ((page, False), (private, True)):
        pictures = [a for t, a in shown.elements if t == "img"]
        assert len(pictures) >= 2
        assert all(a["src"].startswith("data:image/png;base64,") and a["alt"] for a in pictures)
        assert (crops in [a["alt"] for a in pictures]) == all_pictures
        assert ("1 figure shows pictures whose licence may forbid" in shown.text("p")) != all_pictures


def test_the_verb_writes_one_file_and_says_its_size(tmp_path):
    folder = write_run(tmp_path, "one", make_run((64, 256), pairs=2))
    write_json(folder / RUN_FILE, {"finished": "2026-01-02T03:09:00"})
    out, err = call("report", "--results", tmp_path)
    assert not err
    size = (folder / "report.html").stat().st_size
    assert out == f"{folder / 'report.html'} ({size / 1e6:.1f} MB): run one, matching\n"
    assert 4e6 < size < 8e6
    assert [p.name for p in folder.iterdir() if "report" in p.name] == ["report.html"]
    # What is shown can be chosen, and where it is written.
    target, chosen = tmp_path / "deep" / "page.html", ("--where", "size=64,centring=channel")
    call("report", "one", "matching", "--results", tmp_path, *chosen, "--out", target)
    page = Parsed(target.read_text())
    for part in ("centring channel", "S = 64"):
        assert part in page.text("caption")
    (results,) = read_results(folder, where={"size": ["64"], "centring": ["channel"]})
    assert page.texts["#copy-matching-1"].removeprefix("\n") == render_table(results, "latex")


@pytest.mark.parametrize(
    ("rows", "words", "code", "message"),
    [
        (None, (), 2, "make one with: semrsm-bench run"),
        ([], (), 4, "nothing was measured"),
        ([make_row()], ("--where", "centring=position"), 4, "this run has centring none"),
        ([make_row()], ("one", "outputs"), 2, "it has matching"),
    ],
)
def test_what_gives_no_page_is_one_line_and_an_exit_code(tmp_path, rows, words, code, message):
    if rows is not None:
        write_run(tmp_path, "one", rows)
    out, err = call("report", *words, "--results", tmp_path, code=code)
    assert (out, len(err.splitlines())) == ("", 1)
    assert message in err
    assert not list(tmp_path.rglob("report.html"))


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch):
    write_run(tmp_path, "one", [make_row()])
    monkeypatch.setitem(sys.modules, "plotly", None)
    out, err = call("report", "--results", tmp_path, code=2)
    assert not out
    assert err == "semrsm-bench: the page needs plotly, not installed here: `pip install 'semrsm-bench[report]'`\n"


def test_an_itables_of_another_build_is_refused(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    assets.tables_script.cache_clear()
    monkeypatch.setattr(assets.importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(ValueError, match="itables"):
        assets.tables_script()
    monkeypatch.undo()
    assert "globalThis.jQuery=" in assets.tables_script()
