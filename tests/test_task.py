"""Tasks: what their scores are over many rows, in every draw of the units."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.core.stats import counts_of, row_weights, weighted_mean
from semrsm_bench.core.task import Answer, Case, Profile, Result, Score, Scored
from semrsm_bench.tasks.registry import get_task, task_names
from tests.toy_tasks import Toy, toy

UNITS = ("a", "b", "c", "d")


def result(ids, **scores):
    return Result("-".join(ids), {}, {"item": tuple(ids)}, scores)


def draws_of(rng, count, size=4):
    """Units as drawn, and how often each was: the first draw is the units themselves."""
    drawn = [list(range(size)), *rng.integers(size, size=(count, size)).tolist()]
    return drawn, np.array([np.bincount(d, minlength=size) for d in drawn], dtype=float)


def by_hand(rows, drawn, name, together):
    """Mean over the rows that a draw of units makes, each as often as it is made."""
    values = []
    for ids in itertools.product(drawn, repeat=together):
        wanted = tuple(UNITS[i] for i in ids)
        values += [r.scores[name] for r in rows if r.units["item"] == wanted and r.scores.get(name) is not None]
    return np.mean(values) if values else np.nan


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("undefined", [0.0, 0.5])
def test_the_default_is_the_mean_of_the_rows_that_each_draw_makes(together, undefined):
    rng = np.random.default_rng(together)
    rows = [
        result(ids, value=None if rng.random() < undefined else float(rng.standard_normal()))
        for ids in itertools.permutations(UNITS, together)
    ]
    drawn, draws = draws_of(rng, 60)
    found = toy().aggregate(rows, draws, UNITS)["value"]
    expected = [by_hand(rows, d, "value", together) for d in drawn]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    known = [r.scores["value"] for r in rows if r.scores["value"] is not None]
    assert found[0] == pytest.approx(np.mean(known))


def test_several_rows_of_one_unit_count_alike():
    rows = [result("a", value=1.0), result("a", value=3.0), result("b", value=10.0)]
    found = toy().aggregate(rows, np.array([[1.0, 1.0], [2.0, 0.0], [1.0, 3.0], [0.0, 0.0]]), ("a", "b"))["value"]
    np.testing.assert_allclose(found, [14 / 3, 2.0, 34 / 5, np.nan])


def test_scores_are_aggregated_each_for_itself():
    task = toy(scores=(Score("value", "v"), Score("other", "o"), Score("never", "n"), Score("unknown", "u")))
    rows = [result("a", value=1.0, other=None, unknown=None), result("b", value=2.0, other=5.0, unknown=None)]
    found = task.aggregate(rows, np.ones((2, 2)), ("a", "b"))
    assert {k: v.tolist() for k, v in found.items()} == {"value": [1.5, 1.5], "other": [5.0, 5.0]}
    assert task.aggregate([], np.ones((2, 0)), ()) == {}


def test_rows_without_units_count_in_every_draw():
    task = toy(unit="")
    rows = [Result("x", {}, {}, {"value": 1.0}), Result("y", {}, {"item": ("a",)}, {"value": 3.0})]
    assert task.aggregate(rows, np.array([[1.0], [0.0]]), ("a",))["value"].tolist() == [2.0, 2.0]


@given(st.lists(st.lists(st.sampled_from(UNITS), max_size=3), max_size=5), st.integers(0, 3))
def test_the_weight_of_a_row_is_the_product_of_its_units(rows, seed):
    draws = np.random.default_rng(seed).integers(0, 4, size=(6, len(UNITS))).astype(float)
    found = row_weights(rows, draws, UNITS)
    assert found.shape == (6, len(rows))
    for b, r in itertools.product(range(6), range(len(rows))):
        assert found[b, r] == np.prod([draws[b, UNITS.index(unit)] for unit in rows[r]])


@given(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=6), st.integers(0, 3))
def test_a_weighted_mean_is_of_what_is_known(values, seed):
    weights = np.random.default_rng(seed).integers(0, 3, size=(5, len(values))).astype(float)
    found = weighted_mean(np.array([np.nan if v is None else v for v in values]), weights)
    for b, mean in enumerate(found):
        copies = [v for v, w in zip(values, weights[b]) if v is not None for _ in range(int(w))]
        assert (not copies and np.isnan(mean)) or mean == pytest.approx(np.mean(copies), rel=1e-9, abs=1e-6)


def test_settings_may_be_worked_out_when_asked_for():
    calls = []
    case = Case("c", {}, dict, settings={"a": 1, "b": lambda: calls.append(1) or 2})
    assert calls == []
    assert case.settled() == {"a": 1, "b": 2}


@pytest.mark.parametrize("name", task_names())
def test_every_task_says_what_it_is(name):
    task = get_task(name)
    assert task.name == name
    assert task.question.endswith("?")
    assert task.kind in ("solver", "rsm", "metric", "instance")
    assert task.source
    assert task.unit
    assert task.across
    assert task.module.startswith("semrsm_bench.tasks.")
    names = [score.name for score in task.scores]
    assert len(names) == len(set(names)) > 0
    for score in task.scores:
        assert score.best in ("max", "min")
        assert score.low < score.high
        assert score.chance is None or score.low <= score.chance <= score.high
        assert score.title
    assert (type(task).__doc__ or "").strip()


def test_cells_stand_in_the_order_of_their_size():
    cells = [{"size": 36}, {"size": "16"}, {"layer": "x"}, {"size": 4}]
    assert [c.get("size") for c in sorted(cells, key=Toy().cell_order)] == [None, 4, "16", 36]


def test_what_is_not_given_is_empty():
    assert dict(Answer({}).info) == {}
    assert (Scored().status, Scored().message, dict(Scored().scores)) == ("ok", "", {})
    assert Profile("x").patience is None


def test_what_is_undefined_is_none_in_a_row_and_nan_in_sums():
    assert Scored({"a": float("nan"), "b": 0.0, "c": None}).scores == {"a": None, "b": 0.0, "c": None}
    result = Result("case", {}, {}, {"b": 0.0, "c": None})
    assert result.score("b") == 0.0
    assert np.isnan([result.score("c"), result.score("not there")]).all()


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_ids_are_those_of_the_draws(seed):
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, 4, (5, len(UNITS)))
    ids = rng.choice(UNITS, 7)
    expected = [[dict(zip(UNITS, row))[i] for i in ids] for row in draws]
    np.testing.assert_array_equal(counts_of(list(ids), draws, UNITS), expected)
