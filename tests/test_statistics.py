"""The statistics of solvers as a table, for machines, as a figure and on the page: the same numbers everywhere."""

import json

import matplotlib as mpl
import pytest

from semrsm_bench.bench.profiles import LEVELS
from semrsm_bench.report.figures import drawings_of
from semrsm_bench.report.figures.profiles import draw_profiles
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.page.tables import PageTables
from semrsm_bench.report.statistics import deadline_of, statistics_of, statistics_panels
from semrsm_bench.report.style import RC
from semrsm_bench.report.tables import render_table, task_object
from tests.synthetic_rows import make_run, matching


@pytest.fixture(scope="module")
def results():
    return matching(make_run((64, 256, 4096), pairs=4))


@pytest.fixture(scope="module")
def records(results):
    return task_object(results, statistics=True)["statistics"]


def entries(panel):
    """Its texts by line and group."""
    heads = [group.title for group in panel.groups]
    return {line.stub[0]: dict(zip(heads, line.entries, strict=True)) for line in panel.lines}


def test_the_table_has_the_places_and_shares_that_machines_get(results, records):
    standings = [panel for panel in statistics_panels(Layout(results)) if "reached" in panel.title]
    assert len(standings) == len(records) > 0
    for panel, record in zip(standings, records):
        shown = entries(panel)
        for level in LEVELS:
            assert any(one["rank"] == 1 for one in record["levels"][level])
            for one in record["levels"][level]:
                if not one["cases"]:
                    continue
                rank, _, first, *_, reached = shown[one["method"]][level]
                assert rank.split(" ")[0] == (f"{one['rank']:.0f}" if one["rank"] else "–")
                assert (first, reached) == (f"{100 * one['profile'][0]:.0f}", f"{100 * one['reached']:.0f}")
                assert one["profile"] == sorted(one["profile"])
                assert one["profile"][-1] <= one["reached"]


def test_families_have_statistics_of_their_own_and_together(results):
    small = [row for row in results.rows if row["cell"]["size"] == 256]
    other = [row | {"case": f"flat/{row['case']}", "cell": row["cell"] | {"model": "flat"}} for row in small]
    both = matching([*results.rows, *other])
    standings = [panel for panel in statistics_panels(Layout(both)) if "reached" in panel.title]
    titles = [panel.title.partition(", centring")[0] for panel in standings]
    assert sorted(titles[:4]) == ["flat"] * 2 + ["resnet18-tiny-imagenet"] * 2
    assert titles[4:] == ["all 2 together"] * 2
    counts = [len(one.table.cases) for one in statistics_of(Layout(both))]
    assert sum(counts[:4]) == sum(counts[4:]) > 0
    assert len(task_object(both, statistics=True)["statistics"]) == len(counts) == 6
    assert not any(
        "together" in panel.title for panel in statistics_panels(Layout(both)) if "mean times" in panel.title
    )
    assert not any("together" in panel.title for panel in statistics_panels(Layout(results)))
    names = [drawing.name for drawing in drawings_of(both)]
    assert {"profile-together-none", "profile-together-channel"} <= {*names}
    assert len(names) == len({*names})


def test_the_virtual_best_solver_is_a_line_and_no_solver_is_before_it(results, records):
    (mean, *_) = [panel for panel in statistics_panels(Layout(results)) if "mean times" in panel.title]
    assert set(LEVELS) < set(entries(mean))
    for record in records:
        best = {one["cell"]: one["mean"] for one in record["means"] if one["method"] == "virtual best, exact"}
        exact = {one["method"] for one in record["levels"]["exact"] if one["reached"] == 1}
        # Where one exact solver alone was measured, nobody knows the best.
        own = [
            (one["mean"], best[one["cell"]])
            for one in record["means"]
            if one["method"] in exact and one["mean"] and best[one["cell"]]
        ]
        assert own
        assert all(seconds >= 0.999999 * least for seconds, least in own)


def test_the_page_has_what_the_table_has(results):
    rows = PageTables(results).statistics().rows
    shown = [entries(panel) for panel in statistics_panels(Layout(results)) if "reached" in panel.title]
    assert len(rows) == sum(len(lines) * len(LEVELS) for lines in shown)
    titles = [Layout(results).title(one.sheet) for one in statistics_of(Layout(results))]
    for row in rows:
        texts = shown[titles.index(row["Cells"].text)][row["Algorithm"].text][row["Level"].text]
        assert tuple(row[head].text for head in ("#", "T/best", "≤ 1×", "≤ 2×", "≤ 10×", "reached")) == texts


def test_only_solvers_with_times_have_statistics(results):
    assert "Statistics:" in render_table(results, statistics=True)
    assert "Statistics:" not in render_table(results)
    untimed = matching([row | {"seconds": None} for row in results.rows])
    assert statistics_panels(Layout(untimed)) == []
    assert "Statistics:" not in render_table(untimed, statistics=True)
    assert PageTables(untimed).statistics() is None


def test_the_deadline_is_the_runs(results, tmp_path):
    assert deadline_of(results) == 30.0
    (tmp_path / "run.json").write_text(json.dumps({"plan": {"tasks": {"matching": {"deadline": 7.0}}}}))
    found = matching(results.rows, folder=tmp_path)
    assert deadline_of(found) == 7.0
    assert "Failures count as 7 s" in " ".join(render_table(found, statistics=True).split())


def test_the_figure_has_a_panel_for_each_level_and_names_the_first_six_apart(results):
    layout = Layout(results)
    with mpl.rc_context(dict(RC)):
        figure = draw_profiles(layout, layout.sheets(wide=True)[0], "")
        figure.draw_without_rendering()
    (one, *_) = statistics_of(layout)
    for axes, level in zip(figure.axes, LEVELS, strict=True):
        named = {layout.names[m] for m, s in one.standings[level].items() if s.rank.value <= 6}
        assert {text.get_text() for text in axes.texts} == named
        boxes = [text.get_window_extent() for text in axes.texts]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        looks = [(line.get_color(), line.get_linestyle()) for line in axes.lines if line.get_linewidth() > 1]
        assert len(set(looks)) == len(looks) == len(named)
        assert any(line.get_ydata()[-1] == 1 for line in axes.lines)
