"""Upper bounds on the optimum: no matching exceeds them, and duals that prove nothing are refused."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semrsm_bench.solvers import MatchingProblem, get_solver, matching_value, random_value
from semrsm_bench.solvers.bounds import EFFORTS, dual_value, upper_bound
from tests.hard_problems import KINDS, activations, hard_problem


def optimum(problem):
    return matching_value(problem, get_solver("exact-auction").run(problem).perm)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("kind", KINDS)
def test_is_above_the_optimum_on_hard_problems(kind, effort):
    for size, channels in [(1, 1), (2, 3), (17, 1), (60, 4), (130, 30)]:
        for seed in range(2):
            problem = hard_problem(kind, size, channels, seed)
            assert upper_bound(problem, effort) >= optimum(problem)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_is_tight_where_the_sample_is_everything(effort, offset):
    draw = np.random.default_rng(1)
    problem = MatchingProblem(*(offset + draw.normal(size=(2, 300, 12)).astype(np.float32)))
    best, chance = optimum(problem), random_value(problem)
    assert upper_bound(problem, effort) - best <= 1e-3 * (best - chance)


def test_more_effort_gives_a_better_bound():
    problem = activations(3000, 20)
    bounds = [upper_bound(problem, effort) for effort in EFFORTS[:2]]
    assert not problem.has_affinity
    bounds.append(upper_bound(problem, EFFORTS[2]))
    best, chance = optimum(problem), random_value(problem)
    assert bounds[0] > bounds[1] > bounds[2] >= best
    assert bounds[0] - best <= 0.2 * (best - chance)
    assert bounds[1] - best <= 0.03 * (best - chance)
    assert bounds[2] - best <= 1e-6 * (best - chance)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_prices_can_make_it_wrong(data):
    size, channels = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    numbers = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1e-20, 1.0, 1 + 2**-20])
    x, y = (data.draw(hnp.arrays(dtype, (size, channels), elements=numbers)) for _ in range(2))
    prices = data.draw(hnp.arrays(np.float64, size, elements=st.floats(-1e6, 1e6)))
    problem = MatchingProblem(x, y)
    rows = [[Fraction(float(v)) for v in row] for row in problem.x]
    columns = [[Fraction(float(v)) for v in row] for row in problem.y]
    affinity = [[sum(a * b for a, b in zip(r, c)) for c in columns] for r in rows]
    best = max(sum(affinity[i][p[i]] for i in range(size)) for p in itertools.permutations(range(size)))
    for precision in (np.float32, np.float64):
        bound = dual_value(problem, prices, dtype=precision)
        assert bound == np.inf or Fraction(bound) >= best


def test_dual_value_is_the_dual_objective():
    problem = hard_problem("float64", 80, 5, 1)
    prices = np.random.default_rng(0).normal(size=80)
    objective = prices.sum() + (problem.x @ problem.y.T - prices).max(axis=1).sum()
    assert dual_value(problem, prices) == pytest.approx(objective, rel=1e-11)
    assert dual_value(problem, prices) >= objective
    best = get_solver("exact-auction").run(problem).duals[1]
    assert dual_value(problem, best) == pytest.approx(optimum(problem), rel=1e-10)


@pytest.mark.parametrize("value", [1e299, 1e307])
def test_prices_out_of_all_proportion_bound_nothing_but_raise_nothing(value):
    draw = np.random.default_rng(0)
    problem = MatchingProblem(*draw.normal(size=(2, 17, 4)))
    assert dual_value(problem, value * draw.normal(size=17)) > optimum(problem)
    assert dual_value(problem, np.full(17, value)) > optimum(problem)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize(("a", "b"), [(1e300, 1e-5), (1e-300, 1e290), (1e-140, 1e-145), (1e80, 1e80)])
def test_extreme_scales_are_bounded_as_closely_as_any(a, b, effort):
    x, y = np.random.default_rng(0).normal(size=(2, 60, 5))
    problem = MatchingProblem(a * x, b * y)
    assert 1 <= upper_bound(problem, effort) / optimum(problem) <= 1 + 1e-4


def test_empty_problems_have_the_bound_zero_and_bad_input_is_refused():
    for shape in ((0, 3), (3, 0)):
        problem = MatchingProblem(np.empty(shape), np.empty(shape))
        assert upper_bound(problem) == dual_value(problem, np.zeros(shape[0])) == 0.0
    problem = activations(10, 3)
    with pytest.raises(ValueError, match="effort must be one of"):
        upper_bound(problem, "medium")
    with pytest.raises(ValueError, match="shape"):
        dual_value(problem, np.zeros(9))
    with pytest.raises(ValueError, match="not finite: nan at 3"):
        dual_value(problem, np.where(np.arange(10) == 3, np.nan, 0.0))
    with pytest.raises(ValueError, match="dtype must be"):
        dual_value(problem, np.zeros(10), dtype=np.float16)
