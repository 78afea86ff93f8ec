"""The task samples: bias and spread of planted values and of real metrics, against a loop."""

import math

import numpy as np
import pytest

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Case, Result
from semrsm_bench.metrics import linear_cka
from semrsm_bench.tasks.samples import Samples
from tests.observing import options, result, scored

TASK, N = Samples(), 60


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Three networks whose last layer is half common."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("samples") / "some.npz"
    common, arrays = rng.standard_normal((N, 3)), {}
    for i in range(3):
        arrays[f"g:{i}/early"] = rng.standard_normal((N, 5))
        mixed = common @ rng.standard_normal((3, 20)) + 2 * rng.standard_normal((N, 20))
        arrays[f"g:{i}/late"] = mixed
    np.savez(path, **arrays)
    return list(TASK.cases(options(TASK, features=(path,), sizes=(15, 30, 100), orders=8)))


def aggregated(cases, name, size):
    rows = [result(case, scored(TASK, case, name)) for case in cases if case.cell["stimuli"] == size]
    found = TASK.aggregate(rows, np.array([[1, 1, 1], [1, 1, 0]]), ["g:0", "g:1", "g:2"])
    return rows, {key: values.tolist() for key, values in found.items()}


def test_each_number_of_stimuli_has_its_samples_and_all_stimuli_beside_them(cases):
    assert {case.cell["stimuli"] for case in cases} == {15, 30}
    assert {case.cell["layer"] for case in cases} == {"g late, 20 units"}
    assert [case.units["network"] for case in cases[::2]] == 2 * [("g:0", "g:1"), ("g:1", "g:2"), ("g:2", "g:0")]
    few, whole = cases[0].inputs(), cases[1].inputs()
    assert (few["x"].shape, few["y"].shape) == ((15, 160), (15, 160))
    assert (whole["x"].shape, whole["y"].shape) == ((60, 40), (60, 40))
    # Both sides have the same stimuli in each sample.
    place = {tuple(row): i for i, row in enumerate(whole["x"][:, :20].tolist())}
    other = {tuple(row): i for i, row in enumerate(whole["y"][:, :20].tolist())}
    drawn = []
    for x, y in zip(np.split(few["x"], 8, axis=1), np.split(few["y"], 8, axis=1)):
        rows = [place[tuple(row)] for row in x.tolist()]
        assert rows == [other[tuple(row)] for row in y.tolist()]
        assert len(set(rows)) == 15
        drawn.append(tuple(rows))
    assert len(set(drawn)) == 8


def test_bias_and_spread_of_cka_against_a_loop(cases):
    rows, found = aggregated(cases, "linear_cka", 15)
    few, spread, whole, null = [], [], [], []
    for case in cases:
        if case.cell["stimuli"] == 15:
            sides = [np.split(case.inputs()[name], case.inputs()[name].shape[1] // 20, axis=1) for name in "xy"]
            values = [linear_cka(x, y) for x, y in zip(*sides)]
            if len(values) == 8:
                few.append(np.mean(values))
                spread.append(np.var(values, ddof=1))
            else:
                whole.append(values[0])
                null.append(values[1])
    for b, pairs in enumerate((slice(3), slice(1))):
        scale = 1 - np.mean(null[pairs])
        bias = (np.mean(few[pairs]) - np.mean(whole[pairs])) / scale
        assert found["bias"][b] == pytest.approx(bias, rel=1e-3)
        assert found["spread"][b] == pytest.approx(np.sqrt(np.mean(spread[pairs])) / scale, rel=1e-3)
        assert found["error"][b] == pytest.approx(np.hypot(bias, found["spread"][b]), rel=1e-3)
    assert len(rows) == 6
    assert found["undefined"] == [0.0, 0.0]


def test_few_stimuli_make_cka_look_more_alike_and_debiased_cka_not(cases):
    biased, debiased = (aggregated(cases, name, 15)[1]["bias"][0] for name in ("linear_cka", "linear_cka_debiased"))
    assert biased > 0.1
    assert abs(debiased) < biased / 2
    assert aggregated(cases, "linear_cka", 30)[1]["bias"][0] < biased
    distance = aggregated(cases, "procrustes_angular", 15)[1]["bias"][0]
    assert distance > 0.1, "a distance that is too small makes representations look more alike, too"


def test_what_has_no_value_has_no_bias(cases):
    # 15 stimuli are fewer than 20 units; 60 are not.
    found = aggregated(cases, "cca", 15)[1]
    assert (found["undefined"], "bias" in found) == ([1.0, 1.0], False)
    assert aggregated(cases, "cca", 30)[1]["undefined"] == [0.0, 0.0]
    for name in ("hsic", "width"):
        assert set(aggregated(cases, name, 30)[1]) == {"undefined"}


def planted(values, known, *, best="max", high=1.0):
    facts = {"range": [0, high], "best": best, "symmetric": True}
    answer = Answer({"values": np.array([values]), "values_yx": np.array(values)})
    found = TASK.score(Case("a", {}, dict, known=known), {}, answer, known, Declaration("metric", "m", facts=facts))
    return Result("a", {}, {"network": ("g:0", "g:1")}, found.scores, found.raw)


@pytest.mark.parametrize(
    ("few", "whole", "best", "bias"),
    [
        ((0.8, 0.9), (0.7, 0.2), "max", 0.15 / 0.8),
        ((0.2, 0.3), (0.4, 1.0), "min", 0.15),
        ((0.5, 0.5), (0.5, 0.0), "max", 0.0),
        ((math.nan, 0.9), (0.7, 0.2), "max", math.nan),
    ],
)
def test_bias_is_positive_where_few_stimuli_make_representations_look_more_alike(few, whole, best, bias):
    found = TASK.aggregate(
        [planted(few, False, best=best), planted(whole, True, best=best)], np.ones((1, 2)), ["g:0", "g:1"]
    )
    assert found.get("bias", [math.nan])[0] == pytest.approx(bias, nan_ok=True)


def test_sizes_must_leave_some_stimuli_out(tmp_path):
    path = tmp_path / "some.npz"
    np.savez(path, **{f"g:{i}/only": np.random.default_rng(i).standard_normal((20, 4)) for i in range(2)})
    with pytest.raises(ValueError, match="--sizes must name a number below that of the stimuli, 20"):
        list(TASK.cases(options(TASK, features=(path,), sizes=(20, 30))))
