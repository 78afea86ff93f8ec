"""The task monotonicity: planted layers, scores against loops, undefined values, wrong use."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Case
from semrsm_bench.tasks.monotonicity import Monotonicity
from tests.observing import met, options
from tests.planted import frames, turned, written

TASK = Monotonicity()
LAYERS = ("one", "two", "three", "four", "five")


@pytest.fixture
def planted(tmp_path):
    """Every layer turns a little further away from the first; all have one width and spectrum."""
    rng = np.random.default_rng(0)
    arrays = {}
    for i in range(3):
        pair = frames(rng, 2)
        arrays |= {f"a:{i}/{name}": turned(rng, 0.3 * k, pair) for k, name in enumerate(LAYERS)}
    return written(tmp_path, arrays)


def test_metrics_find_layers_in_order_and_baselines_do_not(planted):
    found = {}
    for method, case, one in met(
        TASK, ("linear_cka", "procrustes_angular", "spectrum", "width"), options(TASK, features=(planted,), networks=3)
    ):
        assert one.status == "ok", one.message
        found.setdefault((method, case.cell["networks"]), []).append(one.scores)
        assert len(case.units["network"]) == 1
    assert {cell: len(rows) for (name, cell), rows in found.items() if name == "width"} == {
        "a": 3, "a permuted": 2, "a equalised": 3, "a equalised permuted": 2,
    }  # fmt: skip
    for form in ("a", "a equalised"):
        for metric in ("linear_cka", "procrustes_angular"):
            assert (
                found[metric, form]
                == [{"conformity": 1.0, "nested": 1.0, "distance": pytest.approx(1.0), "undefined": 0.0}] * 3
            )
        assert found["width", form] == [{"conformity": 0.5, "nested": 0.5, "distance": 0.0, "undefined": 0.0}] * 3
    assert {s["conformity"] for s in found["spectrum", "a equalised"]} == {0.5}
    for form in ("a permuted", "a equalised permuted"):
        assert abs(np.mean([s["conformity"] for s in found["linear_cka", form]]) - 0.5) < 0.3


def judged(values, count, best="max", back=None):
    facts = {"range": [None, None], "best": best, "symmetric": back is None}
    answer = Answer({"values": np.atleast_2d(values), "values_yx": np.asarray(values if back is None else back)})
    return TASK.score(Case("a", {}, dict, known=count), {}, answer, count, Declaration("metric", "m", facts=facts))


@given(
    st.integers(3, 5).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.none() | st.integers(-3, 3), min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2)
        )
    )
)
def test_scores_against_loops(drawn):
    count, given_values = drawn
    values = np.array([np.nan if v is None else v for v in given_values], dtype=float)
    v = {}
    for (i, j), value in zip(itertools.combinations(range(count), 2), values):
        v[i, j] = v[j, i] = value

    def right(near, far):
        return 0.0 if np.isnan(near) or np.isnan(far) else 0.5 if near == far else float(near > far)

    triples = list(itertools.combinations(range(count), 3))
    expected = [right(v[i, j], v[i, k]) for i, j, k in triples] + [right(v[k, j], v[k, i]) for i, j, k in triples]
    inner = [
        right(v[j, k], v[i, end])
        for i, j, k, end in itertools.product(range(count), repeat=4)
        if i <= j < k <= end and (i, end) != (j, k)
    ]
    found = judged(values, count)
    assert found.scores["conformity"] == pytest.approx(np.mean(expected))
    assert found.scores["nested"] == pytest.approx(np.mean(inner))
    if not np.isnan(values).any():
        falls = []
        for i in range(count):
            for others in (range(i + 1, count), range(i)):
                there = [v[i, j] for j in others]
                if len(there) > 1:
                    rho = 0.0 if np.ptp(there) == 0 else spearmanr(there, [-abs(i - j) for j in others])[0]
                    falls.append(rho)
        assert found.scores["distance"] == pytest.approx(np.mean(falls), abs=1e-9)
        assert judged(-values, count, best="min").scores == found.scores


def test_undefined_values_earn_nothing_and_are_counted():
    assert judged([np.nan] * 6, 4).scores == {
        "conformity": 0.0,
        "nested": 0.0,
        "distance": pytest.approx(-1.0),
        "undefined": 1.0,
    }
    falling = [5.0, 4.0, 3.0, 5.0, 4.0, 5.0]
    some = judged([*falling[:5], np.nan], 4).scores
    assert judged(falling, 4).scores["conformity"] == 1.0
    assert 0 < some["conformity"] < 1
    assert (some["undefined"], some["distance"] < 1) == (1 / 6, True)


def test_both_directions_of_a_metric_count():
    found = judged([3.0, 1.0, 3.0], 3, back=[1.0, 3.0, 1.0])
    assert found.scores["conformity"] == 0.5


def test_two_layers_have_no_order(planted):
    with pytest.raises(ValueError, match="needs three layers; networks of a have one, two"):
        list(TASK.cases(options(TASK, features=(planted,), layers=("one", "two"))))
