"""The candidate graph: what is in it, and that nothing better is found there than the optimum over its edges."""

import itertools

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.solvers.sparse import candidate_edges


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


def test_no_candidates_are_refused():
    with pytest.raises(ValueError, match="k must be at least 1"):
        sb.solve(problem_of(3), "scipy-sparse", k=0)
