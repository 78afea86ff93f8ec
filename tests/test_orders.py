"""Orders of pairs: credit, Spearman's correlation and average precision in draws, against loops and public packages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from semrsm_bench.tasks.orders import average_precision, credit, spearman

SMALL = st.integers(-2, 2)
PAIRS = st.lists(st.tuples(SMALL, SMALL, st.integers(0, 3)), min_size=3, max_size=9)


@given(PAIRS)
def test_spearman_is_that_of_pairs_that_are_there_as_often_as_they_count(pairs):
    values, target, weights = np.array(pairs, dtype=float).T
    found = spearman(values, target, np.stack([np.ones(len(values)), weights]))
    for rho, count in zip(found, (np.ones(len(values), int), weights.astype(int))):
        v, t = np.repeat(values, count), np.repeat(target, count)
        if not len(t) or np.ptp(t) == 0:
            assert np.isnan(rho)
        else:
            assert rho == pytest.approx(0.0 if np.ptp(v) == 0 else spearmanr(v, t)[0], abs=1e-9)


@given(st.permutations(range(8)), st.sets(st.integers(0, 7), min_size=1))
def test_an_undefined_value_costs_what_the_right_one_would_earn(target, unknown):
    target = np.array(target, dtype=float)
    one = np.ones((1, 8))
    values = target.copy()
    values[list(unknown)] = np.nan
    assert spearman(target, target, one)[0] == pytest.approx(1.0)
    assert spearman(values, target, one)[0] < 1 - 1e-6
    assert spearman(np.full(8, np.nan), target, one)[0] == pytest.approx(-1.0)
    positive = target > 4
    assert average_precision(target, positive, one)[0] == 1.0
    if positive[list(unknown)].any():
        assert average_precision(values, positive, one)[0] < 1.0


@given(st.lists(st.tuples(SMALL, st.booleans(), st.integers(0, 3)), min_size=2, max_size=9))
def test_average_precision_is_that_of_scikit_learn(pairs):
    values, positive, weights = np.array(pairs, dtype=float).T
    positive = positive > 0
    found = average_precision(values, positive, np.stack([np.ones(len(values)), weights]))
    for area, count in zip(found, (np.ones(len(values), int), weights.astype(int))):
        v, p = np.repeat(values, count), np.repeat(positive, count)
        assert np.isnan(area) if not p.any() else area == pytest.approx(average_precision_score(p, v))


@given(st.lists(st.tuples(st.none() | SMALL, st.booleans()), min_size=2, max_size=9))
def test_undefined_values_are_ranked_as_badly_as_can_be(pairs):
    values = np.array([np.nan if v is None else v for v, _ in pairs], dtype=float)
    positive = np.array([p for _, p in pairs])
    worst = np.where(np.isnan(values), np.where(positive, -9.0, 9.0), values)
    found, expected = (average_precision(v, positive, np.ones((1, len(v))))[0] for v in (values, worst))
    assert found == pytest.approx(expected, nan_ok=True)


def test_credit_is_one_for_the_right_order_and_half_for_a_tie():
    more = np.array([2.0, 1.0, 1.0, 1 + 3e-16, np.nan, 1.0, np.nan])
    less = np.array([1.0, 2.0, 1.0, 1.0, 1.0, np.nan, np.nan])
    assert credit(more, less).tolist() == [1, 0, 0.5, 0.5, 0, 0, 0]
