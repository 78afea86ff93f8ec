"""The task rsm-cost: what is timed, what a pair's time is, and activations that are made up."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr

from semrsm_bench import compute_rsm
from semrsm_bench.core.clock import Clock
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import Interval
from semrsm_bench.core.task import Answer
from semrsm_bench.report.figures.rsm_cost import draw
from semrsm_bench.rsm.registry import get_rsm
from semrsm_bench.tasks.rsm_cost import PAPER, QUICK, RsmCost, RsmCostOptions, activations, timed_rsm
from tests.observing import options


def case_of(cell="6x3x4", **given):
    return next(iter(RsmCost().cases(RsmCostOptions(cells=(cell,), **given))))


@pytest.mark.parametrize("name", ["identity", "translation", "second-moment", "chamfer", "scipy"])
def test_the_rsm_is_that_of_the_images_as_they_were_given_and_every_call_has_a_time(name):
    case = case_of()
    arrays, clock = case.inputs(), Clock(seen=set())
    found = timed_rsm({"name": name, "seed": (3, 1, 2)}, arrays, clock, None)["arrays"]
    np.testing.assert_allclose(found["rsm"], compute_rsm(arrays["z"], matching=name), rtol=1e-9)
    assert list(found["seconds"]) == clock.seconds
    assert found["product"].shape == (1,)
    assert found["product"] > 0


def test_a_pair_costs_its_share_of_the_whole_matrix():
    case = case_of("4x2x5")
    rsm = compute_rsm(case.inputs()["z"], matching="identity")
    arrays = {"rsm": rsm, "seconds": np.array([2.0, 4.0]), "product": np.array([0.1]), "memory": np.array([5e6])}
    found = RsmCost().score(case, case.inputs(), Answer(arrays), None, Declaration("rsm", "identity"))
    assert found.scores == pytest.approx({"pair": 3e5, "product": 1e5, "times": 3.0, "memory": 5.0})
    assert found.raw == {"pairs": 10}
    with pytest.raises(ValueError, match="RSM of shape"):
        RsmCost().score(
            case, case.inputs(), Answer({**arrays, "rsm": rsm[:4, :4]}), None, Declaration("rsm", "identity")
        )


def test_activations_are_sparse_smooth_correlated_and_the_same_for_a_seed():
    z = activations([0, 1], 6, 40, 256)
    assert z.shape == (6, 40, 16, 16)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, activations([0, 1], 6, 40, 256))
    assert not np.array_equal(z, activations([0, 2], 6, 40, 256))
    assert z.min() == 0
    assert 0.2 < (z == 0).mean() < 0.8
    flat = z.swapaxes(1, 0).reshape(40, -1)
    spectrum = np.linalg.svd(flat - flat.mean(axis=1, keepdims=True), compute_uv=False) ** 2
    assert spectrum[:10].sum() > 0.6 * spectrum.sum(), "channels vary together"
    assert spearmanr(z[..., 1:].ravel(), z[..., :-1].ravel()).statistic > 0.5, "neighbours are alike"
    # A number of positions that is no square, and one that is prime.
    assert [activations(0, 2, 3, size).shape[2:] for size in (12, 7, 1)] == [(3, 4), (1, 7), (1, 1)]


def test_cells_vary_one_size_at_a_time_and_methods_are_known():
    assert {*QUICK} < {*PAPER}
    for name in RsmCost.methods:
        assert get_rsm(name).available
    sizes = [tuple(map(int, cell.split("x"))) for cell in PAPER]
    assert all(sum(a != b for a, b in zip(cell, (64, 128, 12))) <= 1 for cell in sizes)
    cases = list(RsmCost().cases(options(RsmCost())))
    assert len(cases) == 2 * len(QUICK) == len({case.name for case in cases})


@pytest.mark.parametrize("cell", ["4x4", "4x4x1", "0x4x4", "axbxc", "4x4x4x4"])
def test_what_is_no_size_is_refused(cell):
    with pytest.raises(ValueError, match="SxCxN"):
        RsmCostOptions(cells=(cell,))


def test_the_picture_has_a_panel_for_each_size_that_varies():
    found = [
        SimpleNamespace(
            method=method,
            place={"size": size, "channels": 3, "images": images},
            scores={name: Interval(2.0, 1.0, 4.0) for name in ("pair", "product")},
        )
        for method in ("identity", "pooled")
        for size, images in ((4, 4), (9, 4), (4, 8))
    ]
    (drawing,) = draw(SimpleNamespace(summaries=found))
    panels = drawing.figure.axes
    assert [axes.get_xlabel() for axes in panels] == ["positions S", "images N"]
    assert [[t.get_text() for t in axes.get_xticklabels()] for axes in panels] == [["4", "9"], ["4", "8"]]
    assert all(len(axes.lines) == 3 for axes in panels), "two methods, and x'y alone"
    assert [*panels[0].lines[0].get_ydata()] == [2e-6, 2e-6]
    assert list(draw(SimpleNamespace(summaries=found[:1]))) == [], "nothing varies"
