"""The figures over all tasks of a run: ranks are those of the scores, marks are where they belong, each kind has its front."""

import math
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata

from semrsm_bench.core.task import Score
from semrsm_bench.report.figures import draw_all
from semrsm_bench.report.figures.overview import draw_fronts, draw_orders, draw_ranks, overview
from semrsm_bench.report.page.build import build_page
from semrsm_bench.report.results import collect
from semrsm_bench.report.style import RC
from semrsm_bench.tasks.registry import TASKS

from .synthetic_rows import ENVIRONMENT, NO_FIGURES, make_row, make_run
from .toy_tasks import toy

METHODS = ("none", "a", "b", "c", "d")
# Of each task the score of each method in each cell; NaN: undefined, None: not measured.
VALUES = {
    "up": {"p": (0.1, 0.9, 0.5, 0.7, 0.5), "q": (0.2, 0.8, math.nan, 0.9, 0.6)},
    "down": {"p": (0.9, 0.1, 0.3, 0.3, None)},
    "alike": {"p": (0.1, 0.98, 0.97, 0.975, 0.985)},
}


@pytest.fixture(scope="module", autouse=True)
def _drawn_as_files_are():
    with mpl.rc_context(dict(RC)):
        yield


@pytest.fixture(scope="module")
def results():
    """Three tasks for metrics and one for solvers."""
    best = {"down": "min"}
    tasks = [
        toy(name, scores=(Score("value", "value", best=best.get(name, "max")),), leading={"cell": "q"})
        for name in VALUES
    ]
    TASKS.add(tasks)
    rows = make_run((64, 256), centrings=("none",), solvers=("ortools", "identity", "greedy"), pairs=3)
    for task, cells in VALUES.items():
        for cell, values in cells.items():
            for place, (name, value) in enumerate(zip(METHODS, values)):
                if value is not None:
                    row = make_row(name, seconds=1e-3 * (1 + place), pair="0-1")
                    scores = {"value": None if math.isnan(value) else value}
                    category = "baseline" if name == "none" else ""
                    rows.append(
                        row
                        | {
                            "task": task,
                            "kind": "metric",
                            "category": category,
                            "cell": {"cell": cell},
                            "scores": scores,
                        }
                    )
    # A cell without any result has no column.
    rows.append(
        {
            **make_row("a", status="timeout", **NO_FIGURES),
            "task": "down",
            "kind": "metric",
            "category": "",
            "cell": {"cell": "q"},
        }
    )
    yield collect(rows, ENVIRONMENT)
    for task in tasks:
        TASKS.forget(task.name)


def test_ranks_are_those_of_the_scores(results):
    figure = draw_ranks([one for one in results if one.task.kind == "metric"])
    (axes,) = figure.axes
    columns = [(task, cell) for task, cells in VALUES.items() for cell in cells]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "up: cell p",
        "up: cell q",
        "down: cell p",
        "alike",
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == [*METHODS]
    shown = {tuple(map(int, text.get_position())): int(text.get_text()) for text in axes.texts}
    expected = {}
    for x, (task, cell) in enumerate(columns):
        values = np.array([math.nan if v is None else v for v in VALUES[task][cell]])
        ranks = rankdata(values if task == "down" else -values, method="min", nan_policy="omit")
        expected |= {(x, y): int(rank) for y, rank in enumerate(ranks) if not math.isnan(rank)}
    assert shown == expected
    grey, colours = (image.get_array() for image in axes.images)
    undefined = [(columns.index(("up", "q")), METHODS.index("b"))]
    assert [(x, y) for y, x in zip(*np.nonzero(~np.ma.getmaskarray(np.ma.masked_invalid(grey))))] == undefined
    assert np.isfinite(np.ma.filled(colours, np.nan)).sum() == len(expected)
    hatched = [round(patch.get_x() + 0.5) for patch in axes.patches if patch.get_hatch()]
    assert hatched == [columns.index(("alike", "p"))]


def test_leak_tests_have_no_ranks(results, monkeypatch):
    metrics = [one for one in results if one.task.kind == "metric"]
    for one in metrics:
        monkeypatch.setattr(type(one.task), "leak", "q")
    (axes,) = draw_ranks(metrics).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["up: cell p", "down: cell p", "alike"]


def test_a_task_without_a_contest_has_no_order(results):
    (axes, _) = draw_orders([one for one in results if one.task.kind == "metric"]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["up: cell q", "down: cell p"]


def test_orders_are_compared_by_kendalls_tau_over_the_methods_that_both_tasks_rank(results, monkeypatch):
    monkeypatch.setattr("semrsm_bench.report.results.without_ranking", lambda *_: {})
    (axes, _) = draw_orders([replace(one) for one in results if one.task.kind == "metric"]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["up: cell q", "down: cell p", "alike"]
    up, down, alike = (dict(zip(METHODS, VALUES[t][c])) for t, c in (("up", "q"), ("down", "p"), ("alike", "p")))
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    # Of a, c and d, as b is undefined in the first.
    expected = kendalltau([up[m] for m in "acd"], [alike[m] for m in "acd"]).statistic
    assert shown[0, 2] == shown[2, 0] == pytest.approx(expected)
    expected = kendalltau([-down[m] for m in "abc"], [alike[m] for m in "abc"]).statistic
    assert shown[1, 2] == pytest.approx(expected)
    assert np.isnan(shown[0, 1]), "two methods, a and c, are no order"
    assert np.diag(shown) == pytest.approx(1)


def test_each_kind_has_a_front_of_the_leading_cell(results):
    figure = draw_fronts(results)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [" ".join(title.split()) for title in titles] == [
        "Solvers: matching, S = 256 (layer3)",
        "Metrics: up, cell q",
    ]
    names = {text.get_text() for text in figure.axes[1].texts}
    # The fastest is the baseline; of the others only two are on the front.
    assert {"none", "a", "c"} >= names >= {"a", "c"}


def test_files_and_page_show_them_for_several_tasks_alone(results, tmp_path):
    assert [drawing.name for drawing in overview(results)] == [
        "fronts",
        "ranks-solver",
        "ranks-metric",
        "orders-metric",
    ]
    names = {path.name for path in draw_all(results, tmp_path, formats=("png",))}
    assert {"fronts.png", "ranks-solver.png", "ranks-metric.png", "orders-metric.png"} <= names
    page = build_page(results, {})
    assert page.count("Heat map of ranks") == 2
    assert not [*overview(results[:1])]
    assert "All tasks" not in build_page(results[:1], {})
