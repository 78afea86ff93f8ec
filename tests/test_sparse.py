"""The candidate graph: what is in it, and that nothing better is found there than the optimum over its edges."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csgraph

import semrsm_bench as sb
from semrsm_bench.solvers import random_value
from semrsm_bench.solvers.sparse import candidate_edges
from semrsm_bench.tasks import synthetic


def problem_of(size, seed=0, channels=4):
    x, y = np.random.default_rng([size, seed]).standard_normal((2, size, channels))
    return sb.MatchingProblem(x, y)


@pytest.mark.parametrize(("size", "k"), [(1, 1), (7, 1), (7, 3), (7, 20)])
def test_edges_are_the_best_of_rows_and_columns_and_the_diagonal(size, k):
    affinity = problem_of(size).affinity
    best = {(i, j) for i in range(size) for j in sorted(range(size), key=lambda j: -affinity[i, j])[:k]}
    best |= {(i, j) for j in range(size) for i in sorted(range(size), key=lambda i: -affinity[i, j])[:k]}
    rows, columns = candidate_edges(affinity, k)
    assert [*zip(rows.tolist(), columns.tolist())] == sorted(best | {(i, i) for i in range(size)})


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("seed", range(4))
def test_the_matching_is_the_best_over_the_candidates(k, seed):
    problem = problem_of(6, seed)
    edges = {*zip(*(side.tolist() for side in candidate_edges(problem.affinity, k)))}
    allowed = [p for p in itertools.permutations(range(6)) if {*enumerate(p)} <= edges]
    found = sb.solve(problem, "scipy-sparse", k=k)
    assert {*enumerate(found.tolist())} <= edges
    assert sb.matching_value(problem, found) == pytest.approx(max(sb.matching_value(problem, p) for p in allowed))


def test_with_all_candidates_it_is_the_optimum():
    problem = problem_of(30)
    best = sb.matching_value(problem, sb.solve(problem, "scipy"))
    assert sb.matching_value(problem, sb.solve(problem, "scipy-sparse", k=30)) == pytest.approx(best)


@pytest.mark.parametrize("make", [synthetic.machol_wien, synthetic.low_rank])
def test_scipy_gets_whole_numbers_without_which_it_takes_minutes_on_some_problems(make, monkeypatch):
    given, match = [], csgraph.min_weight_full_bipartite_matching
    monkeypatch.setattr(
        csgraph, "min_weight_full_bipartite_matching", lambda g, **k: (given.append(g.data), match(g, **k))[1]
    )
    arrays = make(256, 4, np.random.default_rng(0))
    problem = sb.MatchingProblem.from_affinity(**arrays) if "affinity" in arrays else sb.MatchingProblem(**arrays)
    k = sb.matching_value(problem, sb.solve(problem, "scipy-sparse"))
    (weights,) = given
    assert weights.min() >= 1
    np.testing.assert_array_equal(weights, np.round(weights))
    k_opt = sb.matching_value(problem, sb.solve(problem, "scipy"))
    assert random_value(problem) < k <= k_opt + 1e-6 * abs(k_opt)


def test_a_quick_run_has_it_at_every_size():
    assert sb.get_solver("scipy-sparse").slow_from is None


def test_no_candidates_are_refused():
    with pytest.raises(ValueError, match="k must be at least 1"):
        sb.solve(problem_of(3), "scipy-sparse", k=0)
