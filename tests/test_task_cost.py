"""The task cost: sizes, the two parts of a comparison, what has no figure."""

import numpy as np
import pytest

from semrsm_bench.bench.engine import wanted_inputs
from semrsm_bench.core.clock import Clock
from semrsm_bench.core.task import Answer
from semrsm_bench.metrics import linear_cka
from semrsm_bench.metrics.registry import get_metric, register_metric
from semrsm_bench.tasks.cost import Cost, compare
from tests.observing import options

TASK = Cost()


def observed(name, case):
    method = get_metric(name).declare()
    inputs = wanted_inputs(case.inputs(), method) if "x" in method.facts["inputs"] else case.inputs()
    found = compare({"name": name, "seed": (0, 0, 1)}, inputs, Clock(), None)
    answer = Answer(found["arrays"], found["info"])
    return answer, TASK.score(case, inputs, answer, None, method)


def cases(**given):
    return list(TASK.cases(options(TASK, **given)))


def test_every_size_is_a_cell_and_pairs_differ():
    found = cases(stimuli=(30, 20), units=(5, 3), repeated=2, seed=1)
    sizes = [(case.cell["stimuli"], case.cell["units"]) for case in found]
    assert sizes == [(n, p) for n in (20, 30) for p in (3, 5) for _ in range(2)]
    assert [(case.size, case.channels) for case in found] == sizes
    assert {tuple(side.shape for side in case.inputs().values()) for case in found} == {
        ((n, p), (n, p)) for n, p in sizes
    }
    one, two = (case.inputs()["x"] for case in found[:2])
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, found[0].inputs()["x"])
    assert len({case.name for case in found}) == len({case.data_sha256 for case in found}) == 8


def test_of_large_representations_one_pair_is_enough_where_nobody_says_how_many():
    def sizes(**given):
        chosen = TASK.options(stimuli=(1000, 1001), units=(1000,), **given)
        return [(case.size, case.channels) for case in TASK.cases(chosen)]

    assert sizes() == [(1000, 1000)] * 3 + [(1001, 1000)]
    assert sizes(repeated=2) == [(1000, 1000)] * 2 + [(1001, 1000)] * 2


def test_representations_have_something_in_common():
    (case,) = cases(stimuli=(400,), units=(20,))
    assert linear_cka(*case.inputs().values()) > 0.3


def test_time_is_told_apart_by_part_and_belongs_to_the_metric_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("semrsm_bench.core.clock.perf_counter_ns", lambda: int(1e9 * now[0]))

    class Slow:
        def prepare(self, x):
            now[0] += 2
            return x

        def compare(self, a, b):
            now[0] += 1
            return 0.5

    register_metric("slow", takes="features", best="max", range=(0, 1), symmetric=True)(Slow)
    (case,) = cases(stimuli=(12,), units=(3,))
    answer, found = observed("slow", case)
    assert answer.arrays["values"].tolist() == [0.5]
    # Two sides are prepared, one pair is compared; in ms.
    assert (found.scores["side"], found.scores["pair"]) == (4000, 1000)


@pytest.mark.parametrize("name", ["linear_cka", "rsa_spearman", "mutual_knn", "width"])
def test_figures_of_metrics_of_features_and_of_rsms(name):
    (case,) = cases(stimuli=(25,), units=(4,))
    answer, found = observed(name, case)
    x, y = case.inputs().values()
    given = (x @ x.T, y @ y.T) if get_metric(name).takes == "rsms" else (x, y)
    expected = get_metric(name).run(*(side.astype(np.float64) for side in given))
    assert answer.arrays["values"] == pytest.approx(expected, rel=1e-4)
    assert set(found.scores) == {"pair", "side", "memory", "undefined"}
    assert (found.scores["pair"] > 0, found.scores["undefined"]) == (True, 0.0)


def test_to_refuse_is_no_comparison():
    (case,) = cases(stimuli=(12,), units=(30,))
    answer, found = observed("cca", case)
    assert found.scores == {"undefined": 1.0}
    assert "more stimuli than units" in answer.info["undefined"]
    assert (found.status, np.isnan(answer.arrays["values"]).all()) == ("ok", True)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="units"):
        TASK.options(units=(0,))
    with pytest.raises(ValueError, match="stimuli"):
        TASK.options(stimuli=(2,))


def test_the_untimed_first_call_is_a_small_one_and_one_serves_all_sizes():
    shapes, seen = [], set()

    @register_metric("noting", takes="features", best="max", range=(0, 1), symmetric=True)
    def noting(x, y):
        shapes.append(x.shape)
        if len(x) < 65:
            raise ValueError("too few stimuli")  # in the warm-up alone: no figure is lost
        return 0.5

    for case in cases(stimuli=(70, 80), units=(3, 100), repeated=1):
        found = compare({"name": "noting"}, case.inputs(), Clock(seen=seen), None)
        assert found["info"] == {}
        assert len(found["arrays"]["pair"]) == len(found["arrays"]["values"]) > 0
    assert shapes[0] == (64, 3)
    assert {*shapes[1:]} == {(70, 3), (70, 100), (80, 3), (80, 100)}
