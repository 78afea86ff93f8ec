"""The figures of a run: which are drawn, and that points stand where the rows say."""

import html
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
from semrsm_bench.report.style import RC, Look, looks, method_legend, new_figure, new_panels

from .synthetic_rows import ENVIRONMENT, SOLVERS, make_pairs, make_row, make_run, matching


@pytest.fixture(scope="module")
def run():
    return make_run((256, 4096), centrings=("none",), pairs=4)


def draw(rows, folder, formats=("png", "svg", "pdf"), environment=ENVIRONMENT, **chosen):
    return draw_all([matching(rows, environment, **chosen)], folder, formats=formats)


def layout_of(rows):
    """What the drawing functions take: layout, sheet."""
    layout = Layout(matching(rows))
    (sheet,) = layout.sheets(wide=True)
    return layout, sheet


@pytest.fixture(scope="module")
def parts(run):
    return layout_of(run)


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
            seconds = statistics.median(row["seconds"] + (row["shared_seconds"] or 0) for row in rows)
            assert (point.seconds, point.value) == pytest.approx((seconds, c))
            assert point.cost == pytest.approx(1 - c, abs=1e-9)


def test_front_names_every_solver_in_its_legend_and_no_label_covers_another(front, parts):
    layout, sheet = parts
    (legend,) = front.legends
    assert sorted(t.get_text() for t in legend.get_texts()) == sorted(SOLVERS)
    front.canvas.draw()
    renderer = front.canvas.get_renderer()
    for axes, cell in zip(front.axes, sheet.cells):
        assert axes.get_xscale() == "log"
        points = front_points(layout.results, cell)
        best = {p.method.name for p in pareto_front(points)}
        assert {t.get_text().split(",")[0] for t in axes.texts} <= best
        assert len(axes.texts) > 2
        boxes = [t.get_window_extent(renderer) for t in axes.texts]
        for a, b in itertools.combinations(boxes, 2):
            assert not a.padded(-0.5).overlaps(b.padded(-0.5))
        inside = axes.get_window_extent(renderer)
        assert all(inside.x0 - 1 <= b.x0 and b.x1 <= inside.x1 + 1 for b in boxes)
        # Those off the front are pale.
        dots = [line for line in axes.lines if len(line.get_xdata()) == 1]
        assert len(dots) == len(points)
        assert len([dot for dot in dots if dot.get_alpha() == 0.4]) == len(points) - len(best)
    # At S = 4096 identity is thousands of times faster than anything else: its time is written instead of drawn to scale.
    (label,) = [t.get_text() for t in front.axes[1].texts if t.get_text().startswith("identity")]
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


def test_values_far_out_do_not_squeeze_the_others():
    rows = [make_row("greedy", pair=f"0-{i}", k=k, k_rand=-900.0) for i, k in enumerate((-800.0, 60.0, 70.0, 80.0))]
    figure = draw_cases(*layout_of(rows), "")
    assert np.abs(figure.axes[0].get_xlim()).max() < 1.3
    assert "1 value of k/k_opt below −1 not shown" in figure.texts[0].get_text()


def test_one_value_per_pair(run):
    results = matching([*run, *(row | {"repeat": 1} for row in run)])
    for (cell, _), values in results.case_values("c").items():
        assert len(values) == (3 if results.places[cell]["size"] == 4096 else 4)


def test_every_format_is_written_and_holds_the_labels(run, tmp_path):
    paths = draw(run, tmp_path / "new" / "figures")
    names = {
        f"{figure}-none.{fmt}" for figure in ("front", "runtime", "quality", "profile") for fmt in ("png", "svg", "pdf")
    }
    assert {p.name for p in paths} == names == {p.name for p in (tmp_path / "new" / "figures").iterdir()}
    for path in paths:
        content = path.read_bytes()
        starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
        assert content.startswith(starts[path.suffix])
        if path.suffix == ".png":
            assert int.from_bytes(content[16:20], "big") > 1000, "it is wide"
        if path.suffix == ".svg":
            assert ElementTree.fromstring(content).tag.endswith("svg")
            texts = html.unescape(" ".join(re.findall(r"<!-- (.*?) -->", content.decode())))
            for part in ("Example CPU_9 & Co", "2026-01-02", "centring none: 3 to 4 pairs"):
                assert part in texts
            # Names with an outline, as those of a profile, are no comments.
            assert path.stem == "profile-none" or "batch-optimal-128" in texts


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
        "import sys; from pathlib import Path; from tests.synthetic_rows import make_row, matching;"
        "import semrsm_bench.report.figures, semrsm_bench.report.tables, semrsm_bench.cli.show;"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('matplotlib', 'torch')];"
        f"draw = semrsm_bench.report.figures.draw_all; draw([matching([make_row('greedy')])], Path({str(tmp_path)!r}));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


DIRTY = {"layer": "$\\bad{$\x1b", "centring": "$^$", "model": "../\x00" + "m" * 300}


ODD_RUNS = {
    "one solver": [make_row("greedy")],
    "exact only": [make_row("ortools")],
    "no time": [make_row("identity", seconds=0.0)],
    "negative optimum": [make_row(name, k_opt=-1.0, k_rand=-5.0) for name in ("greedy", "ortools")],
    "bound": [make_row("greedy", k_opt=None, k_upper=100.0, k=90.0)],
    "worse than chance": [make_row("greedy", c=-3.0), make_row("auction", c=1.0)],
    "far below": [make_row("greedy", pair=f"0-{i}", c=-200.0 + i) for i in range(3)],
    "no figures": [make_row("greedy", seconds=None, k=None)],
    "bare": [make_row("greedy", layer="", model="", size=7, channels=1)],
    "long names": [make_row("a" * 200, kind="strange", layer="x" * 50)],
    "mathematics": [make_row("greedy", options={"mode": "$x_{$"}, model="$a$", layer="{$}")],
    "equal sizes": [make_row("greedy", layer=f"blocks.{i}", size=196) for i in range(3)],
    "hostile": [row for n in ("$\\bad{$", "identity") for row in make_pairs(n, 3, **DIRTY)],
}


@pytest.mark.filterwarnings("ignore:Attempting to set identical low and high")
@pytest.mark.parametrize("rows", ODD_RUNS.values(), ids=ODD_RUNS)
def test_odd_runs_are_drawn_as_far_as_they_go(rows, tmp_path):
    drawn = draw(rows, tmp_path, formats=("svg",), environment={})
    figures = [ElementTree.parse(path) for path in drawn]
    assert bool(figures) == any(row["seconds"] is not None or row["scores"] for row in rows)


@pytest.mark.parametrize(
    ("rows", "chosen", "names"),
    [
        (
            [{}, {"centring": "channel"}, {"model": "resnet101", "pair": "0-2"}],
            {},
            ["resnet18-tiny-imagenet-none", "resnet18-tiny-imagenet-channel", "resnet101-none"],
        ),
        ([{}, {"centring": "channel"}], {"where": {"centring": ("channel",)}}, ["channel"]),
        # Models whose names make one file name get several.
        ([{"model": model} for model in ("a/b", "a-b", "a b")], {}, ["a-b-none", "a-b-none-2", "a-b-none-3"]),
    ],
)
def test_models_and_centrings_get_files_of_their_own(tmp_path, rows, chosen, names):
    drawn = draw([make_row("greedy", **place) for place in rows], tmp_path, formats=("png",), **chosen)
    assert {p.stem for p in drawn} == {f"{kind}-{name}" for kind in ("front", "runtime", "quality") for name in names}


def test_tasks_of_one_run_get_names_of_their_own(tmp_path):
    both = [matching([make_row("greedy")])] * 2
    names = {p.name for p in draw_all(both, tmp_path, formats=("png",))}
    own = {f"matching-{f}-none{n}.png" for f in ("front", "runtime", "quality") for n in ("", "-2")}
    assert names == {*own, "ranks-solver.png"}
    over_all = draw_all(both, tmp_path / "over all", formats=("png",), each=False)
    assert [path.name for path in over_all] == ["ranks-solver.png"]


def test_several_processes_write_the_same_files_as_one(tmp_path, monkeypatch):
    results = [matching([make_row("greedy"), make_row("scipy"), make_row("greedy", model="a/b")])]
    one = draw_all(results, tmp_path / "1", jobs=1)
    # They were started in one folder, and write where the caller is now.
    draw_all(results, tmp_path / "first", formats=["png"], jobs=2)
    monkeypatch.chdir(tmp_path)
    two = draw_all(results, (tmp_path / "2").relative_to(tmp_path), jobs=2)
    assert [path.name for path in one] == [path.name for path in two]
    assert len(one) > 6
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


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
    layout, sheet = layout_of(rows)
    points = front_points(layout.results, sheet.cells[0], Score("c", "r", best="min", low=-1.0))
    assert [p.method.name for p in pareto_front(points)] == ["greedy", "auction"]


@given(st.lists(st.one_of(st.just(0.0), st.floats(-8, 0.5).map(lambda e: 10.0**e)), min_size=1, max_size=8))
def test_gap_axis_keeps_the_order_and_has_a_place_for_all(gaps):
    axis = ScoreAxis.covering(Score("c", "c", style="quality"), [1 - g for g in gaps])
    places = [axis.place(1 - g) for g in gaps]
    assert all(axis.low < p <= axis.optimum < axis.high for p in places)
    for (g, p), (h, q) in itertools.combinations(sorted(zip(gaps, places)), 2):
        assert p >= q
        # Apart wherever the axis can tell them apart: one of them is not tiny, and they differ by more than rounding.
        if h > max(1e-5, g * (1 + 1e-9) + 1e-12):
            assert p > q
    positions, texts = axis.ticks()
    assert positions == sorted(positions)
    assert (texts[0], texts[-1]) == ("100 %", "optimal")
    for position, text in zip(positions[:-1], texts[:-1]):
        assert axis.place(1 - float(text.split()[0]) / 100) == pytest.approx(position)
    assert axis.place(1.0) == axis.optimum > max([q for g, q in zip(gaps, places) if g > 1e-9] or [-math.inf])


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("count", [2, 60])
def test_a_figure_has_room_for_the_names_of_all_methods(count, beside):
    with mpl.rc_context(RC):
        figure, _ = new_panels(1, 1, (4.4, 3.3), (1.6, 0.0), ["caption"])
        method_legend(figure, {f"method-{i}": Look("black", "o") for i in range(count)}, beside=beside)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        assert figure.bbox.contains(*legend.get_window_extent().min)
        assert figure.bbox.contains(*legend.get_window_extent().max)
