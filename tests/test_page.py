"""The page without a browser: what it holds, that it holds everything itself, and what happens when parts are missing."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_bench.bench.results import load_rows
from semrsm_bench.cli import main
from semrsm_bench.report.cells import collect_cells, order_blocks, prepare_rows
from semrsm_bench.report.front import front_points, pareto_front
from semrsm_bench.report.page import assets
from semrsm_bench.report.page.build import RunContent, build_page
from semrsm_bench.report.page.contents import study_table
from semrsm_bench.report.page.studies import StudyTable, read_studies, read_study
from semrsm_bench.report.paper import TABLE_5
from semrsm_bench.report.style import new_figure, save_figure
from semrsm_bench.report.tables import NothingMeasuredError, render_table

from .study_folders import PIXEL, study, write_study
from .synthetic_rows import ENVIRONMENT, frame, make_row, make_run
from .test_cli_table import call, write_run


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


def page_of(*rows, environment=ENVIRONMENT, description=None, **options):
    return Parsed(build_page(RunContent(frame(*rows), environment, description or {}), **options))


@pytest.fixture(scope="module")
def rows():
    return make_run((64, 256, 4096), pairs=4)


@pytest.fixture(scope="module")
def text(rows):
    return build_page(RunContent(rows, ENVIRONMENT, {"finished": "2026-01-02T03:09:00", "plan": {"profile": "quick"}}))


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
    assert json.loads(assets.safe_json(json.dumps("</script>"))) == "</script>"
    for script in (assets.plotly_script(), assets.tables_script()):
        assert not re.search(r"</script|<!--", script, re.IGNORECASE)


def test_licences_are_passed_on(parsed):
    told = parsed.text("h3", "pre", "p")
    for part in ("plotly", "itables", "DataTables", "Permission is hereby granted, free of charge"):
        assert part in told
    scripts = parsed.text("script")
    assert "Copyright 2012" in scripts
    assert "SpryMedia" in scripts


def test_the_table_holds_every_cell_as_the_verb_table_prints_it(parsed, rows):
    lines = parsed.table("table-results")
    cells = collect_cells(prepare_rows(rows))
    assert len([r for r in lines if r["Kind"] != "Shared input"]) == len(cells)
    printed = render_table(rows, ENVIRONMENT, "md")
    for line in lines:
        for name in ("k/k_opt %", "c", "T"):
            assert line[name].replace(" ±", " ± ").replace("*", r"\*") in printed
    skipped = [r for r in lines if r["Status"] != "ok"]
    assert {(r["Algorithm"], r["S"]) for r in skipped} == {("scipy", "4,096"), ("lapjv", "4,096")}
    assert {r["Status"] for r in skipped} == {"skipped: too slow for quick"}


def test_copies_are_what_the_verb_table_prints(parsed, rows):
    for number, fmt in enumerate(("latex", "md", "csv"), start=1):
        # A parser drops the line break after the tag of a textarea.
        assert parsed.texts[f"#copy-{number}"].removeprefix("\n") == render_table(rows, ENVIRONMENT, fmt)


def test_the_front_is_that_of_the_figure(parsed, rows):
    cells = collect_cells(prepare_rows(rows))
    blocks = order_blocks(b for b, _ in cells)
    assert len(parsed.plots["front"]) == len(blocks)
    for variant, block in zip(parsed.plots["front"], blocks):
        points = front_points(cells, block)
        drawn = {t["name"]: t for t in variant["figure"]["data"] if t.get("name")}
        assert {name: t["x"] for name, t in drawn.items()} == {p.solver.name: [p.seconds] for p in points}
        bold = {name for name, t in drawn.items() if t["opacity"] == 1}
        assert bold == {p.solver.name for p in pareto_front(points)}
        for point in points:
            told = drawn[point.solver.name]["hovertext"]
            assert f"centring {block.centring}" in told
            assert f"S = {block.size:,}" in told
            interval = cells[block, point.solver].total_seconds
            bars = drawn[point.solver.name]["error_x"]
            assert bars["array"] == pytest.approx([interval.high - interval.value])
            assert bars["arrayminus"] == pytest.approx([interval.value - interval.low])


def test_provenance_stands_on_the_page(parsed):
    told = parsed.text("dd", "dt")
    for part in (ENVIRONMENT["commit"], "with local changes", "Example CPU_9 & Co @ 3.0 GHz", "openblas", "ab" * 32):
        assert part in told
    assert "numpy 2.0.0" in told
    assert "local changes" in parsed.text("li")


def test_the_command_of_the_page_plans_the_same_run(tmp_path):
    from semrsm_bench.cli.run import run as verb

    plan = {"profile": "quick", "solvers": ["greedy", "my solver"], "layers": ["net/layer4"], "centrings": ["none"]}
    plan |= {"pairs": 3, "repeats": 1, "deadline": 30.0, "budget": 20.0, "memory": 4 << 30}
    page = page_of(make_row(), description={"plan": plan, "finished": None})
    assert "This run is not finished" in page.text("li")
    (command,) = [text for text in page.texts["dd"] if text.startswith("semrsm-bench run")]
    import shlex

    given = verb.make_context("run", shlex.split(command)[2:]).params
    assert given["solvers"] == ("greedy", "my solver")
    assert given["layers"] == ("layer4",)
    assert given["centring"] == ("none",)
    assert (given["pairs"], given["deadline"], given["memory"]) == (3, 30.0, 4 << 30)


def test_figures_of_the_paper_stand_apart_and_are_marked(text, parsed):
    lines = parsed.table("table-paper")
    assert {(r["Algorithm"], int(r["S"].replace(",", ""))) for r in lines} == {
        (name, size) for name, sizes in TABLE_5.items() for size in sizes if size in (256, 4096)
    }
    line = next(r for r in lines if r["Algorithm"] == "identity" and r["S"] == "256")
    assert (line["the paper's k/k_opt %"], line["the paper's T"]) == ("68.9", "1.40 µs")
    assert line["our T"] != "not run"
    assert next(r for r in lines if r["Algorithm"] == "batch-optimal-256")["our T"] == "not run"
    assert next(r for r in lines if r["Algorithm"] == "scipy" and r["S"] == "4,096")["our T"].startswith("skipped")
    assert not [title for row in parsed.table("table-results") for title in row if "paper" in title]
    assert "not measured here" in parsed.text("p")
    assert "NeurIPS 2024" in parsed.text("p")
    assert 'class="number paper"' in text


def test_a_run_without_the_papers_sizes_has_no_such_section():
    page = page_of(make_row(size=64))
    assert "table-paper" not in page.tables
    assert "No study was run" in page.text("p")


def test_a_run_of_failures_only():
    page = page_of(
        *(make_row("scipy", status="timeout", seconds=None, k=None, message="no answer", pair=f"0-{i}") for i in (1, 2))
    )
    assert page.plots == {}
    assert "No solver gave a result" in page.text("li")
    assert [r["Status"] for r in page.table("table-results")] == ["timeout"]
    (failure,) = page.table("table-failures")
    assert (failure["Reason"], failure["Pairs"]) == ("no answer", "2")


def test_a_run_of_one_solver_on_one_layer():
    page = page_of(make_row("greedy"), environment={})
    assert set(page.plots) == {"front", "quality", "spread", "runtime"}
    assert "None: every solver gave a result" in page.text("p")
    assert [r["Algorithm"] for r in page.table("table-results")] == ["greedy", "affinity x @ y.T"]


def test_reasons_are_grouped_and_faults_come_first():
    empty = {"seconds": None, "k": None, "k_opt": None, "k_rand": None, "k_upper": None}
    skipped = [
        make_row("scipy", centring=c, status="skipped", pair="", message="too slow", **empty)
        for c in ("none", "channel")
    ]
    crashed = make_row("greedy", status="crashed", message="died", **empty)
    good = [make_row("ortools", centring=c) for c in ("none", "channel")]
    lines = page_of(*skipped, crashed, *good).table("table-failures")
    assert [(r["Algorithm"], r["Status"], r["Where"]) for r in lines] == [
        ("greedy", "crashed", "S = 256 (layer3), centring none"),
        ("scipy", "skipped", "everywhere"),
    ]


def test_bounds_are_marked_as_bounds():
    known = {
        "size": 65536,
        "layer": "large",
        "k_opt": None,
        "k_upper": 100.0,
        "matrix_free": True,
        "affinity_seconds": None,
    }
    page = page_of(*(make_row("greedy", pair=f"0-{i}", c=0.9, **known) for i in (1, 2)))
    (line,) = page.table("table-results")
    assert line["c"].startswith("≥")
    assert line["k/k_opt %"].startswith("≥")
    assert "≥ certified lower bound" in page.text("li", "p")
    (trace,) = [t for v in page.plots["front"] for t in v["figure"]["data"] if t.get("name")]
    assert trace["marker"]["symbol"].endswith("-open")
    assert "gap at most" in trace["hovertext"]


def test_a_ratio_that_means_nothing_is_not_given():
    page = page_of(*(make_row("greedy", pair=f"0-{i}", k_opt=-1.0, k_rand=-10.0) for i in (1, 2)))
    assert page.table("table-results")[0]["k/k_opt %"] == "*"
    assert "k_opt is not positive" in page.text("li", "p")
    (trace,) = [t for v in page.plots["front"] for t in v["figure"]["data"] if t.get("name")]
    assert "k/k_opt: not given, k_opt is not positive in 2 pairs" in trace["hovertext"]


def test_nothing_measured_is_an_error_and_centrings_can_be_chosen(rows):
    with pytest.raises(NothingMeasuredError):
        build_page(RunContent(rows.iloc[:0], ENVIRONMENT))
    with pytest.raises(NothingMeasuredError, match="this run has channel, none"):
        build_page(RunContent(rows, ENVIRONMENT), centrings=["position"])
    page = Parsed(build_page(RunContent(rows, ENVIRONMENT), centrings=["channel"]))
    assert {r["Centring"] for r in page.table("table-results")} == {"channel"}
    assert "centring none" not in page.texts["#copy-1"]


# What a parser of HTML does not hand back as it was: control characters, line breaks, halves of surrogate pairs.
TEXT = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" <>&\"'`{}%$\\"), min_size=1, max_size=60
)


@settings(max_examples=20)
@given(name=TEXT.map(str.strip).filter(bool), message=TEXT.map(str.strip).filter(bool))
def test_any_text_is_shown_as_it_is(name, message):
    bad = make_row(name, status="error", message=message, seconds=None, k=None, pair="0-2")
    page = page_of(make_row(name, options={}), bad | {"options": {}}, make_row("ortools"), environment={})
    assert name in [r["Algorithm"] for r in page.table("table-results")]
    assert [(r["Algorithm"], r["Reason"]) for r in page.table("table-failures")] == [(name, message)]
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 4


def test_a_study_is_shown_with_its_pictures_tables_and_origin(tmp_path):
    write_study(tmp_path, quick=True)
    studies, warnings = read_studies(tmp_path)
    page = Parsed(build_page(None, studies, warnings))
    assert warnings == []
    assert "Does an example show anything?" in page.texts["h3"]
    for part in ("It does: 0.9 against 0.5.", "A quick version", "No run of the solvers is on this page"):
        assert part in page.text("p")
    assert "semrsm-bench study example --count 12" in page.texts["code"]
    assert "2026-01-02, took 41.5 s" in page.text("p")
    (picture,) = [a for t, a in page.elements if t == "img"]
    assert picture["alt"] == "A red square"
    assert picture["src"].startswith("data:image/png;base64,")
    assert page.table("study-1-table-1") == [{"solver": "slow", "rho": "0.900"}, {"solver": "fast", "rho": "–"}]
    assert page.table("study-1-paper-1") == [{"solver": "slow", "rho": "0.770"}]
    for part in ("resnet-x", "cd" * 32, "fedcba98, no local changes", "Example CPU"):
        assert part in page.text("dd")


def test_a_figure_is_shown_as_large_as_it_was_drawn(tmp_path):
    figure = new_figure(3.0, 2.0)
    figure.subplots()
    folder = write_study(tmp_path)
    save_figure(figure, folder / "plot", ["png"])
    (drawn,) = read_study(folder).figures
    assert drawn.width == 3 * 96
    (folder / "plot.png").write_bytes(PIXEL)
    (drawn,) = read_study(folder).figures
    assert drawn.width == 1


@pytest.mark.parametrize(
    ("values", "orders"),
    [
        (["1.15 ±0.29 ms", "146 ±38 µs", "2 s", "–", None], [1.15e-3, 146e-6, 2.0, float("inf"), float("inf")]),
        ([3, -1.5, float("nan")], [3.0, -1.5, float("inf")]),
        (["≥ 98.3", "−12.5 %", "1,024"], [98.3, -12.5, 1024.0]),
        (["layer1", "layer2"], None),
        (["3 of 4", "10"], None),
        ([True, False], None),
        ([None, None], None),
    ],
)
def test_columns_of_a_study_sort_by_what_they_mean(values, orders):
    shown = study_table(StudyTable("Title", ("a",), tuple((v,) for v in values), ""))
    assert shown.columns[0].number == (orders is not None)
    if orders:
        assert [row[0].order for row in shown.rows] == pytest.approx(orders)


def test_a_column_of_the_paper_inside_a_table_of_a_study_is_marked(tmp_path):
    mixed = {"title": "Both", "columns": ["solver", "T", "the paper's T"], "rows": [["slow", 1.5, 2.5]], "note": ""}
    write_study(tmp_path / "studies", tables=[mixed], paper=[])
    studies, _ = read_studies(tmp_path / "studies")
    page = Parsed(build_page(None, studies))
    heads = [a["class"].split() for t, a in page.elements if t == "th"]
    assert ["paper" in names for names in heads] == [False, False, True]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "names no schema"),
        (json.dumps(study(schema=2)), "schema 2, this version reads up to 1"),
        (None, "is missing"),
    ],
)
def test_a_study_that_cannot_be_read_is_a_warning(tmp_path, capsys, content, reason):
    write_run(tmp_path, "one", [make_row()])
    write_study(tmp_path / "studies", name="good")
    broken = tmp_path / "studies" / "broken"
    broken.mkdir()
    if content is not None:
        (broken / "study.json").write_text(content)
    code, _, err = call(capsys, "report", "--results", tmp_path)
    assert code == 0
    assert "warning: study broken is left out" in err
    assert reason in err
    text = (tmp_path / "one" / "report.html").read_text()
    assert str(tmp_path) not in text
    page = Parsed(text)
    assert reason in page.text("li")
    assert "Does an example show anything?" in page.texts["h3"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"figures": [{"file": "gone.png"}]}, "gone.png"),
        ({"figures": [{"file": "../secret.png"}]}, "no PNG or JPEG file of this folder"),
        ({"figures": [{"file": "study.json"}]}, "no PNG or JPEG file of this folder"),
        ({"figures": [{"file": "text.png"}]}, "damaged"),
        ({"figures": ["plot.png", None]}, "no PNG or JPEG"),
        ({"tables": [{"title": "Odd", "columns": ["a"], "rows": [[1, 2]]}]}, "table 1 (Odd) is damaged"),
        ({"paper": [7]}, "table 1 is damaged"),
    ],
)
def test_parts_of_a_study_that_cannot_be_shown_are_left_out(tmp_path, changes, reason):
    folder = write_study(tmp_path / "studies", **changes)
    (folder / "text.png").write_text("no picture")
    (tmp_path / "studies" / "secret.png").write_bytes(PIXEL)
    found = read_study(folder)
    assert any(reason in text for text in found.warnings)
    page = Parsed(build_page(None, [found], list(found.warnings)))
    assert "It does: 0.9 against 0.5." in page.texts["p"]
    assert reason in page.text("li")
    if "figures" in changes:
        assert [t for t, _ in page.elements if t == "img"] == []


def test_strange_values_in_a_study_do_not_stop_the_page(tmp_path):
    odd = {"seconds": "long", "options": 3, "inputs": None, "environment": {"cpu": "x", "packages": 1, "blas": "y"}}
    write_study(tmp_path, title=None, sentence=None, notes="no list", tables=None, paper={}, figures=None, **odd)
    studies, _ = read_studies(tmp_path)
    assert "example" in Parsed(build_page(None, studies)).texts["h3"]


def test_the_verb_writes_one_file_and_tells_its_size(tmp_path, capsys):
    folder = write_run(tmp_path, "one", [make_row(), make_row("greedy")])
    code, out, err = call(capsys, "report", "--results", tmp_path)
    assert (code, err) == (0, "")
    size = (folder / "report.html").stat().st_size
    assert out == f"{folder / 'report.html'} ({size / 1e6:.1f} MB): run one\n"
    assert 4e6 < size < 8e6
    assert [p.name for p in folder.iterdir() if "report" in p.name] == ["report.html"]
    code, out, _ = call(capsys, "report", "one", "--results", tmp_path, "--out", tmp_path / "deep" / "page.html")
    assert code == 0
    assert "made up" not in out
    page = Parsed((tmp_path / "deep" / "page.html").read_text())
    assert [r["Algorithm"] for r in page.table("table-results")][:2] == ["ortools", "greedy"]
    assert render_table(load_rows(folder), ENVIRONMENT, "latex")[:200] in page.texts["#copy-1"]


def test_studies_alone_make_a_page_and_nothing_at_all_makes_none(tmp_path, capsys):
    code, _, err = call(capsys, "report", "--results", tmp_path)
    assert code == 2
    assert "make one with: semrsm-bench run" in err
    code, _, err = call(capsys, "report", "--results", tmp_path, "--studies", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere" in err
    write_study(tmp_path / "mine")
    code, out, _ = call(capsys, "report", "--results", tmp_path, "--studies", tmp_path / "mine")
    assert code == 0
    assert out.startswith(str(tmp_path / "report.html"))
    assert "1 study" in out
    code, _, err = call(capsys, "report", "one", "--results", tmp_path, "--studies", tmp_path / "mine")
    assert code == 2
    assert "no run" in err


def test_an_empty_run_is_exit_code_4(tmp_path, capsys):
    write_run(tmp_path, "empty", [])
    code, _, err = call(capsys, "report", "--results", tmp_path)
    assert code == 4
    assert "nothing was measured" in err
    assert not (tmp_path / "empty" / "report.html").exists()


def test_without_the_extra_one_line_says_what_to_install(tmp_path, capsys, monkeypatch):
    write_run(tmp_path, "one", [make_row()])
    known = assets.importlib.util.find_spec
    monkeypatch.setattr(assets.importlib.util, "find_spec", lambda name: None if name == "plotly" else known(name))
    code, out, err = call(capsys, "report", "--results", tmp_path)
    assert (code, out) == (2, "")
    assert err == "semrsm-bench: the page needs plotly, which is not installed: pip install semrsm-bench[report]\n"


def test_an_itables_of_another_build_is_refused(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    assets.tables_script.cache_clear()
    monkeypatch.setattr(assets.importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(ValueError, match="itables"):
        assets.tables_script()
    monkeypatch.undo()
    assert "globalThis.jQuery=" in assets.tables_script()


def test_help_names_the_verb(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "report" in capsys.readouterr().out
