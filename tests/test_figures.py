"""The figures of a run: which are drawn, and that points stand where the rows say."""

import itertools
import math
import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.figures import draw_all
from semrsm_bench.report.figures.run import Point, draw_cases, draw_front, draw_runtime, front_points, pareto_front
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.score_axis import ScoreAxis
from semrsm_bench.report.style import RC, looks, new_figure

from .synthetic_rows import ENVIRONMENT, SOLVERS, make_row, make_run, matching


@pytest.fixture(scope="module")
def run():
    return make_run((256, 4096), centrings=("none",), pairs=4)


def draw(rows, folder, formats=("png", "svg", "pdf"), environment=ENVIRONMENT, **chosen):
    return draw_all([matching(rows, environment, **chosen)], folder, formats=formats)


@pytest.fixture(scope="module")
def parts(run):
    """What the drawing functions take: layout, sheet."""
    results = matching(run)
    layout = Layout(results)
    (sheet,) = layout.sheets(wide=True)
    return layout, sheet


def of(rows, solver, size):
    return [row for row in rows if (row["method"], row["cell"]["size"], row["status"]) == (solver, size, "ok")]


@pytest.fixture(scope="module")
def front(parts):
    with mpl.rc_context(dict(RC)):
        return draw_front(*parts, "caption of the figure")


points = st.lists(
    st.tuples(st.sampled_from([1e-3, 2e-3, 5e-3, 0.1, 1.0]), st.sampled_from([0.0, 1e-4, 0.01, 0.5, 1.1])), max_size=12
)


@given(points)
def test_front_is_what_brute_force_leaves(pairs):
    every = [Point(MethodKey(f"s{i}"), t, 1 - g, g) for i, (t, g) in enumerate(pairs)]

    def beaten(p: Point) -> bool:
        return any(
            q.seconds <= p.seconds and q.cost <= p.cost and (q.seconds, q.cost) != (p.seconds, p.cost) for q in every
        )

    assert set(pareto_front(every)) == {p for p in every if not beaten(p)}
    assert [p.seconds for p in pareto_front(every)] == sorted(p.seconds for p in pareto_front(every))


def test_points_are_the_end_to_end_medians_and_mean_gaps(run, parts):
    layout, sheet = parts
    for cell in sheet.cells:
        for point in front_points(layout.results, cell):
            rows = of(run, point.method.name, layout.results.places[cell]["size"])
            raw = [row["raw"] for row in rows]
            c = statistics.fmean((r["k"] - r["k_rand"]) / (r["k_opt"] - r["k_rand"]) for r in raw)
            assert point.seconds == pytest.approx(
                statistics.median(row["seconds"] + (row["shared_seconds"] or 0) for row in rows)
            )
            assert point.value == pytest.approx(c)
            assert point.cost == pytest.approx(1 - c, abs=1e-9)


def test_front_names_every_solver_in_its_legend_and_no_label_covers_another(front, parts):
    layout, sheet = parts
    (legend,) = front.legends
    assert sorted(t.get_text() for t in legend.get_texts()) == sorted(SOLVERS)
    front.canvas.draw()
    renderer = front.canvas.get_renderer()
    for axes, cell in zip(front.axes, sheet.cells):
        best = {p.method.name for p in pareto_front(front_points(layout.results, cell))}
        assert {t.get_text().split(",")[0] for t in axes.texts} <= best
        assert len(axes.texts) > 2
        boxes = [t.get_window_extent(renderer) for t in axes.texts]
        for a, b in itertools.combinations(boxes, 2):
            assert not a.padded(-0.5).overlaps(b.padded(-0.5))
        inside = axes.get_window_extent(renderer)
        assert all(inside.x0 - 1 <= b.x0 and b.x1 <= inside.x1 + 1 for b in boxes)


def test_those_off_the_front_are_pale(front, parts):
    layout, sheet = parts
    for axes, cell in zip(front.axes, sheet.cells):
        points = front_points(layout.results, cell)
        dots = [line for line in axes.lines if len(line.get_xdata()) == 1]
        assert len(dots) == len(points)
        assert len([dot for dot in dots if dot.get_alpha() == 0.4]) == len(points) - len(pareto_front(points))


def test_front_has_a_logarithmic_time_axis_and_marks_what_is_off_it(front):
    assert all(axes.get_xscale() == "log" for axes in front.axes)
    (label,) = [t.get_text() for t in front.axes[1].texts if t.get_text().startswith("identity")]
    # At S = 4096 it is thousands of times faster than anything else: its time is written instead of drawn to scale.
    assert re.fullmatch(r"identity, \d\.\d\d µs", label)
    assert front.axes[1].get_xlim()[0] > 1e-4


def test_runtime_lines_go_through_the_medians(run, parts):
    with mpl.rc_context(dict(RC)):
        figure = draw_runtime(*parts, "caption")
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    (legend,) = figure.legends
    names = [t.get_text() for t in legend.get_texts()]
    assert sorted(names) == sorted([*SOLVERS, "affinity x @ y.T"])
    # In the order in which the lines end.
    assert [line.get_label() for line in axes.lines] == names
    assert np.all(np.diff([line.get_ydata()[-1] for line in axes.lines]) <= 0)
    drawn = [tuple(map(tuple, line.get_xydata())) for line in axes.lines]
    for name, sizes in (("greedy", (256, 4096)), ("ortools", (256, 4096)), ("scipy", (256,))):
        medians = [(float(s), statistics.median(row["seconds"] for row in of(run, name, s))) for s in sizes]
        assert tuple(medians) in drawn


def test_quality_boxes_are_the_quartiles_of_the_pairs(run, parts):
    with mpl.rc_context(dict(RC)):
        figure = draw_cases(*parts, "caption")
    top = figure.axes[0]
    names = [t.get_text() for t in top.get_yticklabels()]
    assert names == [n for n, (kind, *_) in SOLVERS.items() if kind != "exact"]
    ratios = [row["raw"]["k"] / row["raw"]["k_opt"] for row in of(run, "greedy", 256)]
    first, middle, third = np.quantile(ratios, [0.25, 0.5, 0.75])
    boxes = [p for p in top.patches if p.get_y() < names.index("greedy") < p.get_y() + p.get_height()]
    assert {(round(p.get_x(), 9), round(p.get_x() + p.get_width(), 9)) for p in boxes} == {
        (round(first, 9), round(third, 9))
    }
    assert any(np.isclose(line.get_segments()[0][0][0], middle) for line in top.collections)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["S = 256 (layer3)", "S = 4096 (layer1)"]


def test_values_far_out_do_not_squeeze_the_others(tmp_path):
    rows = [make_row("greedy", pair=f"0-{i}", k=k, k_rand=-900.0) for i, k in enumerate((-800.0, 60.0, 70.0, 80.0))]
    layout = Layout(matching(rows))
    (sheet,) = layout.sheets(wide=True)
    figure = draw_cases(layout, sheet, "")
    low, high = figure.axes[0].get_xlim()
    assert low > -1.3
    assert high < 1.3
    assert "1 value of k/k_opt below −1 not shown" in figure.texts[0].get_text()


def test_one_value_per_pair(run):
    results = matching([*run, *(row | {"repeat": 1} for row in run)])
    for (cell, _), values in results.case_values("c").items():
        assert len(values) == (3 if results.places[cell]["size"] == 4096 else 4)


def test_every_format_is_written_and_holds_the_labels(run, tmp_path):
    paths = draw(run, tmp_path / "new" / "figures")
    names = {f"{figure}-none.{fmt}" for figure in ("front", "runtime", "quality") for fmt in ("png", "svg", "pdf")}
    assert {p.name for p in paths} == names == {p.name for p in (tmp_path / "new" / "figures").iterdir()}
    for path in paths:
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
            width = int.from_bytes(content[16:20], "big")
            assert width > 1000
        elif path.suffix == ".pdf":
            assert content.startswith(b"%PDF")
        else:
            root = ElementTree.fromstring(content)
            assert root.tag.endswith("svg")
            texts = [*re.findall(r"<!-- (.*?) -->", content.decode())]
            assert any("batch-optimal-128" in t for t in texts)
            assert any("Example CPU_9 &amp; Co" in t or "Example CPU_9 & Co" in t for t in texts)
            assert any("2026-01-02" in t for t in texts)
            assert "centring none: 3 to 4 pairs" in " ".join(texts)


def test_the_same_rows_give_the_same_bytes_in_any_order(tmp_path):
    rows = make_run((256,), ("none",), ("ortools", "identity", "greedy"), pairs=3)
    once = draw(rows, tmp_path / "a", formats=("svg", "pdf"))
    again = draw(rows[::-1], tmp_path / "b", formats=("svg", "pdf"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_nothing_global_is_touched(run, tmp_path):
    before = dict(mpl.rcParams)
    draw(run, tmp_path, formats=("png",))
    assert dict(mpl.rcParams) == before
    code = (
        "import sys, semrsm_bench.report.figures, semrsm_bench.report.tables, semrsm_bench.cli.show;"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('matplotlib', 'torch')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_pyplot_stays_out(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.synthetic_rows import make_row, matching;"
        "from semrsm_bench.report.figures import draw_all;"
        f"draw_all([matching([make_row('greedy')])], Path({str(tmp_path)!r}), formats=('png',));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


DIRTY = {"layer": "$\\bad{$\x1b", "centring": "$^$", "model": "../\x00" + "m" * 300}


@pytest.mark.parametrize(
    "rows",
    [
        [make_row("greedy")],
        [make_row("ortools")],
        [make_row("identity", seconds=0.0)],
        [make_row("greedy", k_opt=-1.0, k_rand=-5.0), make_row("ortools", k_opt=-1.0, k_rand=-5.0)],
        [make_row("greedy", k_opt=None, k_upper=100.0, k=90.0)],
        [make_row("greedy", c=-3.0), make_row("auction", c=1.0)],
        [make_row("greedy", pair=f"0-{i}", c=-200.0 + i) for i in range(3)],
        [make_row("greedy", seconds=None, k=None)],
        [make_row("greedy", layer="", model="", size=7, channels=1)],
        [make_row("a" * 200, kind="strange", layer="x" * 50)],
        [make_row("greedy", options={"mode": "$x_{$"}, model="$a$", layer="{$}")],
        [make_row("greedy", layer=f"blocks.{i}", size=196) for i in range(3)],
        [make_row(n, **DIRTY, pair=f"0-{i}") for n in ("$\\bad{$", "identity") for i in range(3)],
    ],
    ids=["one solver", "exact only", "no time", "negative optimum", "bound", "worse than chance", "far below", "no figures",
         "bare", "long names", "mathematics", "equal sizes", "hostile"],
)  # fmt: skip
def test_odd_runs_are_drawn_as_far_as_they_go(rows, tmp_path):
    drawn = draw(rows, tmp_path, formats=("svg",), environment={})
    figures = [ElementTree.parse(path) for path in drawn]
    observed = any(row["seconds"] is not None or row["scores"] for row in rows)
    assert bool(figures) == observed


def test_models_and_centrings_get_files_of_their_own(tmp_path):
    rows = [
        make_row("greedy"),
        make_row("greedy", centring="channel"),
        make_row("greedy", model="resnet101", pair="0-2"),
    ]
    names = {p.name for p in draw(rows, tmp_path, formats=("png",)) if p.name.startswith("front")}
    assert names == {
        "front-resnet18-tiny-imagenet-none.png",
        "front-resnet18-tiny-imagenet-channel.png",
        "front-resnet101-none.png",
    }
    only = draw(rows, tmp_path / "c", formats=("png",), where={"centring": ("channel",)})
    assert {p.name for p in only} == {"front-channel.png", "runtime-channel.png", "quality-channel.png"}


def test_models_whose_names_make_one_file_name_get_two(tmp_path):
    rows = [make_row("greedy", model=model) for model in ("a/b", "a-b", "a b")]
    fronts = [p.name for p in draw(rows, tmp_path, formats=("png",)) if p.name.startswith("front")]
    assert fronts == ["front-a-b-none.png", "front-a-b-none-2.png", "front-a-b-none-3.png"]


def test_tasks_of_one_run_get_names_of_their_own(tmp_path):
    both = [matching([make_row("greedy")]), matching([make_row("greedy")])]
    names = {p.name for p in draw_all(both, tmp_path, formats=("png",))}
    assert names == {f"matching-{f}-none{n}.png" for f in ("front", "runtime", "quality") for n in ("", "-2")}


def test_looks_are_never_alike_and_tell_families_apart_without_colour():
    names = [f"family{i}" for i in range(20)]
    methods = [
        MethodKey(n, category=c) for c in ("exact", "baseline", "approximate") for n in names[: 6 + 14 * (c[0] == "a")]
    ]
    result = looks(methods)
    assert len(set(result.values())) == len(methods)
    # The first six differ in the marker alone, for grey print.
    assert len({result[m].marker for m in methods[12:18]}) == 6
    assert result[methods[0]].marker == "s"
    assert len({result[m].color for m in methods[:6]}) == 1


def test_methods_whose_names_begin_alike_share_a_colour_and_no_marker():
    names = ["greedy", "topk-greedy-128", "topk-greedy-256", "auction-fine", "auction", "list-auction-fine"]
    greedy, *topk, fine, auction, lists = looks([MethodKey(n, category="approximate") for n in names]).values()
    assert topk[0].color == topk[1].color != greedy.color
    assert fine.color == auction.color != lists.color
    assert topk[0].marker != topk[1].marker
    assert fine.marker != auction.marker


@pytest.mark.parametrize("best", ["max", "min"])
def test_better_scores_stand_higher_whatever_their_direction(best):
    axis = ScoreAxis.covering(Score("r", "r", best=best, low=-1.0), [-0.5, 0.2])
    axes = new_figure(2, 2).subplots()
    axis.apply(axes.yaxis)
    heights = {value: axes.transData.transform((0, axis.place(value)))[1] for value in (-0.5, 0.2)}
    assert (heights[0.2] > heights[-0.5]) == (best == "max")
    assert all(axes.bbox.y0 <= height <= axes.bbox.y1 for height in heights.values())


def test_the_front_of_a_score_that_should_be_small():
    rows = [
        {**make_row(name), "scores": {"c": value, "quality": None}, "seconds": seconds, "shared_seconds": None}
        for name, value, seconds in (("greedy", 0.2, 1e-3), ("auction", -0.6, 2e-3), ("ortools", 0.1, 3e-3))
    ]
    results = matching(rows)
    (cell,) = results.places
    points = front_points(results, cell, Score("c", "r", best="min", low=-1.0))
    assert [p.method.name for p in pareto_front(points)] == ["greedy", "auction"]


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-8, 3.0)), min_size=1, max_size=8))
def test_gap_axis_keeps_the_order_and_has_a_place_for_all(gaps):
    axis = ScoreAxis.covering(Score("c", "c", style="quality"), [1 - g for g in gaps])
    places = [axis.place(1 - g) for g in gaps]
    assert all(axis.low < p <= axis.optimum < axis.high for p in places)
    for (g, p), (h, q) in itertools.combinations(zip(gaps, places), 2):
        assert g == h or (p >= q) == (g < h) or p == q
    positions, texts = axis.ticks()
    assert positions == sorted(positions)
    assert (texts[0], texts[-1]) == ("100 %", "optimal")
    for position, text in zip(positions[:-1], texts[:-1]):
        assert axis.place(1 - float(text.split()[0]) / 100) == pytest.approx(position)
    assert axis.place(1.0) == axis.optimum > max([q for g, q in zip(gaps, places) if g > 1e-9] or [-math.inf])
