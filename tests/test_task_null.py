"""The task null: planted representations, scores against a loop, what is undefined."""

import math

import numpy as np
import pytest

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Case
from semrsm_bench.metrics import linear_cka
from semrsm_bench.metrics.registry import get_metric
from semrsm_bench.tasks.null import Null
from tests.observing import options, scored

TASK, N = Null(), 40


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Three networks that have the early layer in common up to a rotation, and nothing of the late one."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("null") / "some.npz"
    common = rng.standard_normal((N, 4))
    arrays = {}
    for i in range(3):
        arrays[f"g:{i}/early"] = common @ np.linalg.qr(rng.standard_normal((4, 4)))[0]
        arrays[f"g:{i}/middle"] = rng.standard_normal((N, 5))
        arrays[f"g:{i}/late"] = rng.standard_normal((N, 6))
    np.savez(path, **arrays)
    return list(TASK.cases(options(TASK, features=(path,), sizes=(20, 40, 80), orders=6)))


def scores_of(cases, name, **cell):
    found = [scored(TASK, case, name) for case in cases if cell.items() <= case.cell.items()]
    assert {one.status for one in found} == {"ok"}
    return [one.scores for one in found]


def test_cells_are_the_first_and_the_last_layer_at_each_number_of_stimuli_that_there_is(cases):
    cells = {(case.cell["layer"], case.cell["stimuli"]) for case in cases}
    assert cells == {(f"g {layer}", n) for layer in ("early, 4 units", "late, 6 units") for n in (20, 40)}
    # Each network with the next one, so that all take part twice.
    assert [case.units["network"] for case in cases[:3]] == [("g:0", "g:1"), ("g:1", "g:2"), ("g:2", "g:0")]
    assert len({case.name for case in cases}) == len(cases) == 12


def test_a_row_holds_the_pair_as_it_is_and_then_reordered(cases):
    inputs = cases[0].inputs()
    parts = np.split(inputs["y"], 7, axis=1)
    assert inputs["x"].shape == (20, 4)
    order = {tuple(row): i for i, row in enumerate(parts[0].tolist())}
    orders = [tuple(order[tuple(row)] for row in part.tolist()) for part in parts]
    assert orders[0] == tuple(range(20))
    assert all(sorted(each) == list(range(20)) for each in orders)
    assert len(set(orders)) == 7
    values = [linear_cka(inputs["x"], part) for part in parts]
    (found, *_) = scores_of(cases[:1], "linear_cka")
    assert found["null"] == pytest.approx(np.mean(values[1:]), rel=1e-4)
    assert found["spread"] == pytest.approx(np.std(values[1:], ddof=1), rel=1e-3)
    expected = (values[0] - np.mean(values[1:])) / (1 - np.mean(values[1:]))
    assert found["share"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["linear_cka", "linear_cka_debiased", "procrustes_angular", "mutual_knn"])
def test_what_is_shared_reaches_the_best_value_and_what_is_not_stays_at_that_of_unrelated_pairs(cases, name):
    for n in (20, 40):
        shared = scores_of(cases, name, layer="g early, 4 units", stimuli=n)
        assert [one["share"] for one in shared] == pytest.approx([1] * 3, abs=1e-3)
        unrelated = scores_of(cases, name, layer="g late, 6 units", stimuli=n)
        assert abs(np.mean([one["share"] for one in unrelated])) < 0.2
    if name == "linear_cka":
        few, many = (np.mean([one["null"] for one in scores_of(cases, name, stimuli=n)]) for n in (20, 40))
        assert few > many + 0.05, "CKA of unrelated representations falls with the number of stimuli"


def test_baselines_that_never_look_at_the_order_go_no_part_of_the_way(cases):
    for one in scores_of(cases, "spectrum"):
        assert one["spread"] == pytest.approx(0, abs=1e-6)
        assert one["share"] is None or one["share"] == pytest.approx(0, abs=1e-2)
    assert {one["share"] for one in scores_of(cases, "width")} == {None}
    assert {one["share"] for one in scores_of(cases, "hsic")} == {None}, "without a bound there is no way to it"


def judged(values, *, high=1.0, best="max"):
    facts = {"range": [0, high], "best": best, "symmetric": True}
    arrays = {"values": np.array([values]), "values_yx": np.array(values)}
    return TASK.score(Case("a", {}, dict), {}, Answer(arrays), None, Declaration("metric", "m", facts=facts)).scores


def test_shares_of_distances_and_of_metrics_without_a_value():
    found = judged([0.25, 0.9, 1.1], high=None, best="min")
    assert found["share"] == pytest.approx(0.75)
    assert found["null"] == pytest.approx(1.0)
    assert judged([0.5, 0.9, 1.1], high=None)["share"] is None
    none = judged([math.nan] * 3)
    assert (none["share"], none["null"], none["undefined"]) == (None, None, 1.0)
    assert judged([1.0, 1.0, 1.0])["share"] is None


def test_a_metric_that_is_undefined_for_wide_layers_earns_nothing(tmp_path):
    path = tmp_path / "wide.npz"
    np.savez(path, **{f"g:{i}/only": np.random.default_rng(i).standard_normal((12, 20)) for i in range(2)})
    (case,) = TASK.cases(options(TASK, features=(path,)))
    assert case.cell == {"layer": "g only, 20 units", "stimuli": 12}
    assert get_metric("cca").best == "max"
    found = scored(TASK, case, "cca").scores
    assert (found["share"], found["undefined"]) == (None, 1.0)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="sizes"):
        TASK.options(sizes=(3,))
    with pytest.raises(ValueError, match="orders"):
        TASK.options(orders=1)
