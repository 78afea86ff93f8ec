import itertools
import math
import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import SolverKey, collect_cells, order_blocks, prepare_rows
from semrsm_bench.report.distribution import draw_distribution, pair_values
from semrsm_bench.report.figures import draw_all
from semrsm_bench.report.front import Point, draw_front, front_points, pareto_front
from semrsm_bench.report.gap_axis import GapAxis
from semrsm_bench.report.runtime import draw_runtime
from semrsm_bench.report.style import RC, families, looks
from semrsm_bench.report.tables import NothingMeasuredError, affinity_times

from .synthetic_rows import ENVIRONMENT, SOLVERS, frame, make_row, make_run


@pytest.fixture(scope="module")
def run():
    return make_run((256, 4096), centrings=("none",), pairs=4)


@pytest.fixture(scope="module")
def parts(run):
    """What the drawing functions take: rows, cells, blocks, catalogue, looks."""
    rows = prepare_rows(run)
    cells = collect_cells(rows)
    catalogue = Catalogue(ENVIRONMENT)
    return rows, cells, order_blocks(b for b, _ in cells), catalogue, looks(catalogue.order(s for _, s in cells))


@pytest.fixture(scope="module")
def front(parts):
    _, cells, blocks, catalogue, style = parts
    with mpl.rc_context(dict(RC)):
        return draw_front(cells, blocks, catalogue, style, ["caption of the figure"])


points = st.lists(
    st.tuples(st.sampled_from([1e-3, 2e-3, 5e-3, 0.1, 1.0]), st.sampled_from([0.0, 1e-4, 0.01, 0.5, 1.1])), max_size=12
)


@given(points)
def test_front_is_what_brute_force_leaves(pairs):
    every = [Point(SolverKey(f"s{i}", "approximate"), t, g) for i, (t, g) in enumerate(pairs)]

    def beaten(p: Point) -> bool:
        return any(
            q.seconds <= p.seconds and q.gap <= p.gap and (q.seconds, q.gap) != (p.seconds, p.gap) for q in every
        )

    assert set(pareto_front(every)) == {p for p in every if not beaten(p)}
    assert [p.seconds for p in pareto_front(every)] == sorted(p.seconds for p in pareto_front(every))
    for p, q in itertools.product(every, repeat=2):
        assert p.dominates(q) == (
            p.seconds <= q.seconds and p.gap <= q.gap and (p.seconds, p.gap) != (q.seconds, q.gap)
        )


def test_points_are_the_end_to_end_medians_and_mean_gaps(run, parts):
    _, cells, blocks, *_ = parts
    for block in blocks:
        for point in front_points(cells, block):
            rows = run[(run["solver"] == point.solver.name) & (run["size"] == block.size)]
            times = rows["seconds"] + rows["affinity_seconds"].fillna(0)
            c = (rows["k"] - rows["k_rand"]) / (rows["k_opt"] - rows["k_rand"])
            assert point.seconds == pytest.approx(statistics.median(times))
            assert point.gap == pytest.approx(1 - statistics.fmean(c), abs=1e-9)


def test_front_labels_every_solver_once_and_no_label_covers_another(front, parts):
    _, cells, blocks, *_ = parts
    renderer = front.canvas.get_renderer()
    for axes, block in zip(front.axes, blocks):
        labels = [t for t in axes.texts if t.get_text()]
        shown = [t.get_text().split(",")[0] for t in labels]
        assert sorted(shown) == sorted(p.solver.name for p in front_points(cells, block))
        boxes = [t.get_window_extent(renderer) for t in labels]
        for a, b in itertools.combinations(boxes, 2):
            assert not a.padded(-0.5).overlaps(b.padded(-0.5))
        inside = axes.get_window_extent(renderer)
        assert all(inside.x0 - 1 <= b.x0 and b.x1 <= inside.x1 + 1 for b in boxes)


def test_those_on_the_front_are_bold_and_the_others_pale(front, parts):
    _, cells, blocks, *_ = parts
    for axes, block in zip(front.axes, blocks):
        best = {p.solver.name for p in pareto_front(front_points(cells, block))}
        weights = {t.get_text().split(",")[0]: t.get_fontweight() for t in axes.texts if t.get_text()}
        assert {name for name, weight in weights.items() if weight == "bold"} == best
        pale = [line for line in axes.lines if line.get_alpha() == 0.4]
        assert len(pale) == len(weights) - len(best)


def test_front_has_a_logarithmic_time_axis_and_marks_what_is_off_it(front):
    assert all(axes.get_xscale() == "log" for axes in front.axes)
    (label,) = [t.get_text() for t in front.axes[1].texts if t.get_text().startswith("identity")]
    # At S = 4096 it is thousands of times faster than anything else: its time is written instead of drawn to scale.
    assert re.fullmatch(r"identity, \d\.\d\d µs", label)
    assert front.axes[1].get_xlim()[0] > 1e-4


def test_runtime_lines_go_through_the_medians(run, parts):
    rows, cells, blocks, catalogue, style = parts
    with mpl.rc_context(dict(RC)):
        figure = draw_runtime(cells, affinity_times(rows), blocks, catalogue, style, ["caption"])
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    names = [t.get_text().strip() for t in axes.texts]
    assert sorted(names) == sorted([*SOLVERS, "affinity x @ y.T"])
    drawn = [tuple(map(tuple, line.get_xydata())) for line in axes.lines]
    for name in ("greedy", "ortools"):
        medians = run[run["solver"] == name].groupby("size")["seconds"].median()
        assert tuple((float(s), float(t)) for s, t in medians.items()) in drawn
    scipy = run[(run["solver"] == "scipy") & (run["size"] == 256)]["seconds"].median()
    assert ((256.0, float(scipy)),) in drawn
    heights = sorted(axes.transData.transform(t.get_position())[1] for t in axes.texts)
    assert min(np.diff(heights)) * 72 / figure.dpi > 9


def test_quality_boxes_are_the_quartiles_of_the_pairs(run, parts):
    rows, _, blocks, catalogue, style = parts
    quality, c = pair_values(rows, "quality"), pair_values(rows, "chance_corrected")
    with mpl.rc_context(dict(RC)):
        figure = draw_distribution(quality, c, blocks, catalogue, style, ["caption"])
    top = figure.axes[0]
    names = [t.get_text() for t in top.get_yticklabels()]
    assert names == [n for n, (kind, *_) in SOLVERS.items() if kind != "exact"]
    part = run[(run["solver"] == "greedy") & (run["size"] == 256)]
    first, middle, third = np.quantile(part["k"] / part["k_opt"], [0.25, 0.5, 0.75])
    boxes = [p for p in top.patches if p.get_y() < names.index("greedy") < p.get_y() + p.get_height()]
    assert {(round(p.get_x(), 9), round(p.get_x() + p.get_width(), 9)) for p in boxes} == {
        (round(first, 9), round(third, 9))
    }
    assert any(np.isclose(line.get_segments()[0][0][0], middle) for line in top.collections)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["layer3, S = 256", "layer1, S = 4096"]


def test_one_value_per_pair(run):
    doubled = pd.concat([run, run.assign(repeat=1)], ignore_index=True)
    for (block, _), values in pair_values(prepare_rows(doubled), "chance_corrected").items():
        assert len(values) == (3 if block.size == 4096 else 4)


def test_every_format_is_written_and_holds_the_labels(run, tmp_path):
    paths = draw_all(run, ENVIRONMENT, tmp_path / "new" / "figures")
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
            texts = set(re.findall(r"<!-- (.*?) -->", content.decode()))
            assert any("batch-optimal-128" in t for t in texts)
            assert any("Example CPU_9 &amp; Co" in t or "Example CPU_9 & Co" in t for t in texts)
            assert any("2026-01-02" in t for t in texts)
            assert any("4 pairs at S = 256" in t for t in texts)


def test_the_same_rows_give_the_same_bytes_in_any_order(run, tmp_path):
    once = draw_all(run, ENVIRONMENT, tmp_path / "a", formats=("svg", "pdf"))
    again = draw_all(run.sample(frac=1, random_state=1), ENVIRONMENT, tmp_path / "b", formats=("svg", "pdf"))
    for a, b in zip(once, again):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_nothing_global_is_touched(run, tmp_path):
    before = dict(mpl.rcParams)
    draw_all(run, ENVIRONMENT, tmp_path, formats=("png",))
    assert dict(mpl.rcParams) == before
    code = (
        "import sys, semrsm_bench.report.figures, semrsm_bench.report.tables, semrsm_bench.cli.table, semrsm_bench.cli.plot;"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('matplotlib', 'torch')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_pyplot_stays_out(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.synthetic_rows import frame, make_row;"
        "from semrsm_bench.report.figures import draw_all;"
        f"draw_all(frame(make_row('greedy')), {{}}, Path({str(tmp_path)!r}), formats=('png',));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


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
        [make_row("greedy", seconds=None, chance_corrected=None, k=None)],
        [make_row("greedy", layer="", model="", size=7, channels=1)],
        [make_row("a" * 200, kind="strange", layer="x" * 50)],
        [make_row("greedy", layer=f"blocks.{i}", size=196) for i in range(3)],
    ],
    ids=["one solver", "exact only", "no time", "negative optimum", "bound", "worse than chance", "far below", "no figures",
         "bare", "long names", "equal sizes"],
)  # fmt: skip
def test_odd_runs_are_drawn_as_far_as_they_go(rows, tmp_path):
    for path in draw_all(frame(*rows), {}, tmp_path, formats=("svg",)):
        ElementTree.parse(path)


def test_a_run_of_failures_has_no_figure_and_an_empty_one_says_so(tmp_path):
    failed = frame(make_row("scipy", status="timeout", seconds=None, k=None))
    assert draw_all(failed, ENVIRONMENT, tmp_path) == []
    with pytest.raises(NothingMeasuredError):
        draw_all(failed.iloc[:0], ENVIRONMENT, tmp_path)
    with pytest.raises(ValueError, match="written as png, svg, pdf, not as 'gif'"):
        draw_all(failed, ENVIRONMENT, tmp_path, formats=("gif",))


def test_models_and_centrings_get_files_of_their_own(tmp_path):
    rows = frame(
        make_row("greedy"), make_row("greedy", centring="channel"), make_row("greedy", model="resnet101", pair="0-2")
    )
    names = {p.name for p in draw_all(rows, {}, tmp_path, formats=("png",)) if p.name.startswith("front")}
    assert names == {
        "front-resnet18-tiny-imagenet-none.png",
        "front-resnet18-tiny-imagenet-channel.png",
        "front-resnet101-none.png",
    }
    only = draw_all(rows, {}, tmp_path / "c", formats=("png",), centrings=("channel",))
    assert {p.name for p in only} == {"front-channel.png", "runtime-channel.png", "quality-channel.png"}


def test_families():
    names = ["greedy", "topk-greedy-128", "topk-greedy-256", "auction-fine", "auction-coarse", "list-auction-fine"]
    assert list(families(names).values()) == [
        "greedy", "topk-greedy", "topk-greedy", "auction", "auction", "list-auction-fine"
    ]  # fmt: skip


def test_looks_tell_families_apart_without_colour():
    names = [f"family{i}" for i in range(20)]
    result = looks([SolverKey(n, "approximate") for n in names])
    assert len({(look.color, look.marker) for look in result.values()}) == 20
    # The first six differ in the marker alone, for grey print.
    assert len({look.marker for look in list(result.values())[:6]}) == 6
    assert looks([SolverKey("x", "exact")])[SolverKey("x", "exact")].marker == "s"


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-8, 3.0)), min_size=1, max_size=8))
def test_gap_axis_keeps_the_order_and_has_a_place_for_all(gaps):
    axis = GapAxis.covering(gaps)
    places = [axis.place(g) for g in gaps]
    assert all(axis.lowest <= p <= axis.optimum for p in places)
    for (g, p), (h, q) in itertools.combinations(zip(gaps, places), 2):
        assert g == h or (p >= q) == (g < h) or p == q
    positions, texts = axis.ticks()
    assert positions == sorted(positions)
    assert (texts[0], texts[-1]) == ("100 %", "optimal")
    for position, text in zip(positions[:-1], texts[:-1]):
        assert axis.place(float(text.split()[0]) / 100) == pytest.approx(position)
    assert axis.place(0.0) == axis.optimum > max([q for g, q in zip(gaps, places) if g > 1e-9] or [-math.inf])
