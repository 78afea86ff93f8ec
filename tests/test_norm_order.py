"""Greedy, TopK-Greedy and Batch-Optimal against a slow second formulation on plain Python numbers."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import semrsm_bench as sb
from semrsm_bench.solvers import norm_order, warm_up
from tests.hard_problems import activations

BLOCKED = {"topk-greedy-128": "k", "batch-optimal-128": "b"}
NAMES = [name for name in sb.solver_names() if name.startswith(("greedy", "topk-greedy", "batch-optimal"))]

# Whole numbers: norms and affinities tie often, and every sum is exact, so that ties are ties.
whole_pairs = st.tuples(st.integers(0, 9), st.integers(1, 3), st.sampled_from([np.float32, np.float64])).flatmap(
    lambda s: st.tuples(*[hnp.arrays(s[2], s[:2], elements=st.integers(-3, 3).map(float)) for _ in "xy"])
)
real_pairs = st.tuples(st.integers(1, 9), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float64, shape, elements=st.floats(-4, 4, width=16)) for _ in "xy"])
)
pairs = st.one_of(whole_pairs, real_pairs)


def value(problem, name, **options):
    return sb.matching_value(problem, sb.solve(problem, name, **options))


def dot(a, b):
    return sum(float(p) * float(q) for p, q in zip(a, b))


def by_norm(vectors, *, descending):
    # sorted() is stable, also with a negated key.
    return sorted(range(len(vectors)), key=lambda i: dot(vectors[i], vectors[i]) * (-1 if descending else 1))


def greedy_by_hand(x, y, rows, columns):
    """Each row in the given order takes its best free column, the lowest of equals."""
    free, taken = set(columns), {}
    for i in rows:
        taken[i] = min(free, key=lambda j: (-dot(x[i], y[j]), j))
        free.remove(taken[i])
    return taken


def assert_optimal_among(x, y, perm, rows, columns):
    best = max(sum(dot(x[i], y[j]) for i, j in zip(rows, p)) for p in itertools.permutations(columns))
    assert sorted(perm[rows]) == sorted(columns)
    assert sum(dot(x[i], y[perm[i]]) for i in rows) == pytest.approx(best, rel=1e-6, abs=1e-5)


@given(pairs, st.integers(1, 5))
def test_each_is_what_the_appendix_says(pair, block):
    x, y = pair
    greedy, topk, batch = (
        sb.solve(sb.MatchingProblem(x, y), name, **options)
        for name, options in (("greedy", {}), ("topk-greedy-128", {"k": block}), ("batch-optimal-128", {"b": block}))
    )
    rows, columns = by_norm(x, descending=True), by_norm(y, descending=True)
    assert dict(enumerate(greedy)) == greedy_by_hand(x, y, rows, range(len(x)))
    assert_optimal_among(x, y, topk, rows[:block], columns[:block])
    assert {i: topk[i] for i in rows[block:]} == greedy_by_hand(x, y, rows[block:], columns[block:])
    rows, columns = by_norm(x, descending=False), by_norm(y, descending=False)
    for start in range(0, len(x), block):
        assert_optimal_among(x, y, batch, rows[start : start + block], columns[start : start + block])


@pytest.mark.parametrize("size", [130, 257, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_greedy_at_sizes_that_matter(size, dtype):
    plain = activations(size, 6)
    problem = sb.MatchingProblem(plain.x.astype(dtype), plain.y)
    perm = sb.solve(problem, "greedy")
    free = np.ones(size, bool)
    for i in np.argsort(-np.linalg.norm(problem.x.astype(np.float64), axis=1), kind="stable"):
        assert perm[i] == np.argmax(np.where(free, problem.affinity[i], -np.inf))
        free[perm[i]] = False


@pytest.mark.parametrize("size", [0, 1, 2, 60])
@pytest.mark.parametrize(("name", "option"), BLOCKED.items())
def test_from_s_on_it_is_the_optimum(size, name, option):
    problem = activations(size, 6)
    for options in ({}, {option: max(1, size)}):
        assert value(problem, name, **options) == pytest.approx(value(problem, "scipy"), rel=1e-6)


@pytest.mark.parametrize("name", BLOCKED)
def test_every_exact_solver_and_no_other_serves_for_the_blocks(name):
    problem = activations(200, 6)
    for block_solver in sb.solver_names("exact", available_only=True):
        assert value(problem, name, block_solver=block_solver) == pytest.approx(value(problem, name), rel=1e-7)
    with pytest.raises(ValueError, match="must be an exact solver, 'greedy' is approximate"):
        sb.solve(problem, name, block_solver="greedy")
    with pytest.raises(KeyError, match="did you mean 'scipy'"):
        sb.solve(problem, name, block_solver="sipcy")


@pytest.mark.parametrize(("name", "option"), BLOCKED.items())
def test_sizes_that_make_no_sense(name, option):
    problem = activations(20, 6)
    for size in (0, -3):
        with pytest.raises(ValueError, match=f"{option} must be at least 1, got {size}"):
            sb.solve(problem, name, **{option: size})
    with pytest.raises(TypeError):
        sb.solve(problem, name, **{option: 2.5})
    assert len(sb.solve(problem, name, **{option: np.int64(7)})) == 20


@pytest.mark.parametrize("b", [128, 500, 1024])
def test_batch_optimal_computes_only_the_blocks(b):
    lazy = activations(500, 6)
    eager = sb.MatchingProblem(lazy.x, lazy.y)
    _ = eager.affinity
    assert value(lazy, "batch-optimal-128", b=b) == pytest.approx(value(eager, "batch-optimal-128", b=b), rel=1e-7)
    assert not lazy.has_affinity


@pytest.mark.parametrize("name", ["greedy", *BLOCKED])
@pytest.mark.parametrize("exponent", [-600, -480, 480, 600])
def test_norms_neither_overflow_nor_vanish(name, exponent):
    # Powers of two are exact: squared norms leave float64, the affinity does not change by a bit.
    x, y = np.maximum(np.random.default_rng(0).standard_normal((2, 300, 6)), 0)
    scaled = sb.MatchingProblem(np.ldexp(x, exponent), np.ldexp(y, -exponent))
    np.testing.assert_array_equal(sb.solve(scaled, name), sb.solve(sb.MatchingProblem(x, y), name))


def test_warming_up_compiles_all_that_a_large_problem_needs():
    for dtype, name in itertools.product((np.float32, np.float64), ("greedy", "topk-greedy-512", "batch-optimal-1024")):
        warm_up(name, dtype)
    compiled = len(norm_order._take_best_free.signatures)
    plain = activations(600, 6)
    for dtype, name in itertools.product((np.float32, np.float64), NAMES):
        sb.solve(sb.MatchingProblem(plain.x.astype(dtype), plain.y.astype(dtype)), name)
    assert len(norm_order._take_best_free.signatures) == compiled
