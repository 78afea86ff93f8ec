"""What matching changes, pair by pair: the picture of the task `matching`."""

import numpy as np
import pytest

from semrsm_bench.bench.summary import summarise
from semrsm_bench.report.figures.matching import draw
from semrsm_bench.report.results import TaskResults
from semrsm_bench.tasks.registry import get_task

from .synthetic_rows import make_row


def pairs(k, k_opt, **changes):
    return [
        make_row("identity", pair=f"{i}-{i + 1}", k=float(a), k_opt=float(b), **changes)
        for i, (a, b) in enumerate(zip(k, k_opt))
    ]


def results(rows, task, folder):
    return TaskResults(task, rows, summarise(rows, task, folder), {}, folder)


def dots_of(axes):
    (dots,) = [line for line in axes.lines if line.get_marker() == "."]
    return np.column_stack(dots.get_data())


@pytest.fixture
def task():
    return get_task("matching")


def test_every_pair_is_a_dot_with_the_variation_over_pairs(task, tmp_path):
    k_opt = np.array([100.0, 200.0, 400.0])
    rows = [
        *pairs(k_opt / 2, k_opt, layer="layer3", size=256, centring="none"),
        *pairs(k_opt - 30, k_opt, layer="layer2", size=1024, centring="none"),
        *pairs([60.0, 10.0, -20.0], [10.0, 30.0, -5.0], layer="layer2", size=1024, centring="channel"),
        make_row("greedy"),
        make_row("identity", status="timeout", layer="layer2", size=1024),
    ]
    (drawing,) = draw(results(rows, task, tmp_path))
    panels = {axes.get_title(loc="left").split("\n")[0]: axes for axes in drawing.figure.axes if axes.get_visible()}
    assert list(panels) == ["layer2, S = 1024, none", "layer3, S = 256, none", "layer2, S = 1024, channel"]
    told = {title: axes.get_title(loc="left").split("\n")[1] for title, axes in panels.items()}
    assert told["layer3, S = 256, none"].startswith("CV: ratio 0.00, gain 0.5"), "one factor for all pairs"
    assert told["layer2, S = 1024, none"].endswith("gain 0.00; rho 1.00"), "one amount for all pairs"
    assert told["layer2, S = 1024, channel"].startswith("CV: ratio –"), "a ratio to a negative optimum means nothing"
    dots, unit = dots_of(panels["layer3, S = 256, none"]), k_opt.mean()
    np.testing.assert_allclose(dots[np.argsort(dots[:, 0])], np.column_stack([k_opt / 2, k_opt]) / unit)


@pytest.mark.parametrize("rows", [[], [make_row("greedy")], pairs([1.0, 2.0], [2.0, 3.0])])
def test_there_is_no_picture_of_too_few_pairs(rows, task, tmp_path):
    assert not list(draw(results(rows, task, tmp_path)))


def test_pairs_without_a_known_optimum_are_left_out(task, tmp_path):
    rows = [*pairs([1.0, 2.0, 4.0], [2.0, 3.0, 5.0]), make_row("identity", pair="8-9", k=1.0, k_opt=None)]
    (drawing,) = draw(results(rows, task, tmp_path))
    assert len(dots_of(drawing.figure.axes[0])) == 3
