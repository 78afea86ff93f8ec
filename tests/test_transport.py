"""Entropic plans and sorting along lines, against a second formulation and against what is known exactly."""

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.solvers import chance_corrected, random_value, transport


def problem_of(size=40, channels=8, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((size, channels))
    x, y = (common + 0.5 * rng.standard_normal((size, channels)) for _ in range(2))
    return sb.MatchingProblem(x, y[rng.permutation(size)])


def quality(problem, perm):
    values = [sb.matching_value(problem, p) for p in (perm, sb.solve(problem, "scipy"))]
    return chance_corrected(*values, random_value(problem))


def test_the_last_plan_is_the_entropic_one_of_the_last_epsilon(monkeypatch):
    """Squaring plans comes to the same as Sinkhorn's iteration on logarithms with the last epsilon alone, run to its end."""
    problem, plans = problem_of(12), []
    monkeypatch.setattr(transport, "_FIRST_RANGE", 4.0)  # converges soon
    monkeypatch.setattr(transport, "_rounded", lambda plan: plans.append(plan.copy()) or np.arange(len(plan)))
    sb.solve(problem, "sinkhorn-rounded", levels=3, iterations=3000)
    scaled = problem.affinity * (4.0 * 4 / np.ptp(problem.affinity))
    f = g = np.zeros(12)
    for _ in range(3000):
        g = -np.log(np.exp(scaled + f[:, None]).sum(axis=0))
        f = -np.log(np.exp(scaled + g).sum(axis=1))
    expected = np.exp(scaled + f[:, None] + g)
    assert np.allclose(plans[0], expected, rtol=1e-6, atol=1e-9)
    assert np.allclose([plans[0].sum(axis=0), plans[0].sum(axis=1)], 1.0, atol=1e-6)


def test_with_more_levels_the_rounded_plan_comes_near_the_optimum():
    found = [
        np.mean(
            [quality(p, sb.solve(p, "sinkhorn-rounded", levels=levels, iterations=50)) for p in map(pairs, range(5))]
        )
        for levels in (1, 9)
    ]
    assert found[0] <= found[1]
    assert found[1] > 0.99


def pairs(seed):
    return problem_of(60, seed=seed)


def test_rounding_takes_the_surest_row_first():
    plan = np.array([[0.6, 0.4, 0.0], [0.9, 0.05, 0.05], [0.1, 0.45, 0.45]])
    assert transport._rounded(plan).tolist() == [1, 0, 2]


@pytest.mark.parametrize("lines", [1, 5])
def test_in_one_dimension_sorting_is_optimal(lines):
    x, y = np.random.default_rng(0).standard_normal((2, 30, 1))
    problem = sb.MatchingProblem(x, y)
    found = sb.matching_value(problem, sb.solve(problem, "sliced-sort", lines=lines))
    assert found == pytest.approx(np.sort(x[:, 0]) @ np.sort(y[:, 0]))


def test_more_lines_are_never_worse_and_the_best_line_is_kept():
    problem = problem_of()
    directions = np.random.default_rng(3).standard_normal((8, 7))
    by_hand = []
    for line in directions.T:
        x, y = (np.argsort(z @ line) for z in (problem.x, problem.y))
        by_hand.append(float((problem.x[x] * problem.y[y]).sum()))
    found = sb.matching_value(problem, sb.solve(problem, "sliced-sort", lines=7, seed=3))
    assert found == pytest.approx(max(by_hand))


def test_no_line_is_refused():
    with pytest.raises(ValueError, match="lines must be at least 1"):
        sb.solve(problem_of(), "sliced-sort", lines=0)
