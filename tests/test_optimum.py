import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from semrsm_bench.bench.measure import Outcome
from semrsm_bench.bench.optimum import OptimumCache, certified_upper, data_key, find_optimum, prices_of
from semrsm_bench.solvers import MatchingProblem, get_solver, matching_value, random_value


def here(name, task):
    """Solve in this process: these tests are about proofs, not about isolation."""
    solution = get_solver(name).run(MatchingProblem(task.x, task.y), **task.options)
    return Outcome("ok", perm=solution.perm, duals=solution.duals)


def problem_of(size, channels=4, seed=0, dtype=np.float32, offset=0.0):
    rng = np.random.default_rng(seed)
    return MatchingProblem(*((rng.standard_normal((size, channels)) + offset).astype(dtype) for _ in range(2)))


def best_by_force(problem):
    x, y = problem.x.astype(np.float64), problem.y.astype(np.float64)
    return max(float((x * y[list(p)]).sum()) for p in itertools.permutations(range(problem.size)))


vectors = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 3)), elements=st.floats(-100, 100, width=32)
)


@given(vectors, st.data())
def test_any_prices_bound_every_permutation(x, data):
    y = data.draw(hnp.arrays(np.float32, x.shape, elements=st.floats(-100, 100, width=32)))
    prices = data.draw(hnp.arrays(np.float64, len(x), elements=st.floats(-1e4, 1e4)))
    problem = MatchingProblem(x, y)
    assert certified_upper(problem, prices) >= best_by_force(problem)


@given(vectors, st.data())
@settings(max_examples=50)
def test_the_optimum_is_that_of_brute_force(x, data):
    y = data.draw(hnp.arrays(np.float32, x.shape, elements=st.floats(-100, 100, width=32)))
    problem = MatchingProblem(x, y)
    found = find_optimum(problem, here)
    best = best_by_force(problem)
    assert found.k_opt is not None
    scale = max(1e-30, float(np.linalg.norm(x.astype(float)) * np.linalg.norm(y.astype(float))))
    assert found.k_opt == pytest.approx(best, abs=2e-6 * scale)
    assert found.k_upper >= best - 1e-12 * scale


def test_prices_prove_an_optimal_matching_and_no_other():
    problem = problem_of(60)
    affinity = problem.x.astype(float) @ problem.y.T.astype(float)
    perm = linear_sum_assignment(affinity, maximize=True)[1]
    k = matching_value(problem, perm)
    upper = certified_upper(problem, prices_of(problem, perm))
    assert k <= upper <= k * (1 + 1e-9)
    swapped = perm.copy()
    swapped[:2] = perm[1::-1]
    worse = certified_upper(problem, prices_of(problem, swapped))
    assert worse >= k
    assert worse - matching_value(problem, swapped) > 1e-4


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_the_optimum_is_proved_although_an_offset_hides_it(offset):
    problem = problem_of(64, offset=offset)
    found = find_optimum(problem, here)
    affinity = problem.x.astype(float) @ problem.y.T.astype(float)
    rows, columns = linear_sum_assignment(affinity, maximize=True)
    span = affinity[rows, columns].sum() - random_value(problem)
    assert abs(found.k_opt - affinity[rows, columns].sum()) <= 2e-6 * span
    assert found.certificate <= 1e-6


@pytest.mark.parametrize(
    "pair",
    [
        (np.zeros((5, 3)), np.zeros((5, 3))),
        (np.ones((5, 3)), np.ones((5, 3))),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.ones((1, 2)), -np.ones((1, 2))),
        (1e-30 * np.eye(4, dtype=np.float32), 1e-30 * np.eye(4, dtype=np.float32)),
        (1e30 * np.eye(4, dtype=np.float32), 1e30 * np.eye(4, dtype=np.float32)),
        (np.repeat(np.eye(3), 4, axis=0), np.repeat(np.eye(3)[::-1], 4, axis=0)),
    ],
    ids=["zeros", "constant", "empty", "one", "tiny", "huge", "ties"],
)
def test_degenerate_problems_have_a_proved_optimum(pair):
    problem = MatchingProblem(*pair)
    found = find_optimum(problem, here)
    affinity = problem.x.astype(float) @ problem.y.T.astype(float)
    rows, columns = linear_sum_assignment(affinity, maximize=True)
    assert found.k_opt == pytest.approx(affinity[rows, columns].sum(), rel=1e-6)
    assert found.k_upper >= found.k_opt
    assert math.isfinite(found.certificate)


def test_a_wrong_candidate_is_not_believed():
    problem = problem_of(40)

    def liar(name, task):
        if name == "ortools":
            return here(name, task)
        size = len(task.x)
        return Outcome("ok", perm=np.arange(size), duals=(np.full(size, 1e-3), np.zeros(size)))

    found = find_optimum(problem, liar)
    assert found.solver == "ortools"
    honest = find_optimum(problem, here)
    assert found.k_opt == pytest.approx(honest.k_opt, rel=1e-6)


def test_without_a_proof_there_is_a_bound_but_no_optimum():
    problem = problem_of(30)

    def liar(name, task):
        return Outcome("ok", perm=np.arange(len(task.x)))

    found = find_optimum(problem, liar)
    assert found.k_opt is None
    assert found.k_upper >= find_optimum(problem, here).k_opt
    failed = find_optimum(problem, lambda name, task: Outcome("timeout", "stopped"))
    assert failed.k_opt is None
    assert failed.k_upper >= find_optimum(problem, here).k_opt


def test_beyond_reach_there_is_a_certified_bound_and_it_is_kept(tmp_path, monkeypatch):
    from semrsm_bench.bench import optimum

    problem = problem_of(30)
    best = find_optimum(problem, here).k_opt
    monkeypatch.setattr(optimum, "LARGEST", 20)
    cache = OptimumCache(tmp_path)
    found = cache.get(problem, lambda name, task: pytest.fail("tried to solve it"))
    assert found.k_opt is None
    assert best <= found.k_upper <= 1.5 * best
    monkeypatch.setattr(optimum, "upper_bound", lambda *given: pytest.fail("bounded twice"))
    assert cache.get(problem, here) == found


def test_bad_prices_are_refused():
    problem = problem_of(4)
    for prices in (np.zeros(3), np.full(4, np.nan)):
        with pytest.raises(ValueError, match="prices"):
            certified_upper(problem, prices)


def counting(calls):
    def solve(name, task):
        calls.append(name)
        return here(name, task)

    return solve


def test_the_cache_is_keyed_by_the_data_and_solves_once(tmp_path):
    calls = []
    cache = OptimumCache(tmp_path)
    first = cache.get(problem_of(20), counting(calls))
    assert cache.get(problem_of(20), counting(calls)) == first
    assert len(calls) == 1
    assert OptimumCache(tmp_path).get(problem_of(20), counting(calls)) == first
    assert len(calls) == 1
    cache.get(problem_of(20, seed=1), counting(calls))
    assert len(calls) == 2


def test_every_bit_of_the_data_is_in_the_key():
    base = problem_of(6)
    changed = np.array(base.x)
    changed[3, 1] = np.nextafter(changed[3, 1], np.float32(9))
    keys = {
        data_key(base),
        data_key(MatchingProblem(changed, base.y)),
        data_key(MatchingProblem(base.y, base.x)),
        data_key(MatchingProblem(base.x.astype(float), base.y.astype(float))),
        data_key(MatchingProblem(base.x.reshape(12, 2), base.y.reshape(12, 2))),
    }
    assert len(keys) == 5


@pytest.mark.parametrize(
    "damage", ["", "{", "[1]", '{"k_opt": 1}', '{"k_opt": 2, "k_upper": 1, "certificate": 0, "solver": "x"}', "null"]
)
def test_a_damaged_cache_file_is_made_anew(tmp_path, damage):
    cache = OptimumCache(tmp_path)
    expected = cache.get(problem_of(8), here)
    (path,) = tmp_path.rglob("*.json")
    path.write_text(damage)
    assert cache.get(problem_of(8), here) == expected
    assert json.loads(path.read_text())["k_opt"] == expected.k_opt


def test_what_was_not_proved_is_not_kept(tmp_path):
    OptimumCache(tmp_path).get(problem_of(8), lambda name, task: Outcome("crashed"))
    assert not list(tmp_path.rglob("*.json"))
