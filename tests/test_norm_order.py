"""Greedy, TopK-Greedy and Batch-Optimal against a slow second formulation on plain Python numbers."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import semrsm_bench as sb

NAMES = ["greedy", "topk-greedy-128", "topk-greedy-256", "topk-greedy-512"] + [
    f"batch-optimal-{b}" for b in (128, 256, 512, 1024)
]

# Whole numbers: norms and affinities tie often, and every sum is exact, so that ties are ties.
whole_pairs = st.tuples(st.integers(0, 9), st.integers(1, 3), st.sampled_from([np.float32, np.float64])).flatmap(
    lambda s: st.tuples(*[hnp.arrays(s[2], s[:2], elements=st.integers(-3, 3).map(float)) for _ in "xy"])
)
real_pairs = st.tuples(st.integers(1, 9), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float64, shape, elements=st.floats(-4, 4, width=16)) for _ in "xy"])
)
pairs = st.one_of(whole_pairs, real_pairs)


def features(size, channels=6, dtype=np.float32, seed=0):
    rng = np.random.default_rng([seed, size])
    return [np.maximum(rng.standard_normal((size, channels)), 0).astype(dtype) for _ in "xy"]


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


def best_by_trying_all(x, y, rows, columns):
    return max(sum(dot(x[i], y[j]) for i, j in zip(rows, p)) for p in itertools.permutations(columns))


@given(pairs)
def test_greedy_is_what_the_appendix_says(pair):
    x, y = pair
    expected = greedy_by_hand(x, y, by_norm(x, descending=True), range(len(x)))
    assert dict(enumerate(sb.solve(sb.MatchingProblem(x, y), "greedy").tolist())) == expected


@given(pairs, st.integers(1, 5))
def test_topk_greedy_is_what_the_appendix_says(pair, k):
    x, y = pair
    problem = sb.MatchingProblem(x, y)
    perm = sb.solve(problem, "topk-greedy-128", k=k)
    rows, columns = by_norm(x, descending=True), by_norm(y, descending=True)
    assert sorted(perm[rows[:k]]) == sorted(columns[:k])
    among = sum(dot(x[i], y[perm[i]]) for i in rows[:k])
    assert among == pytest.approx(best_by_trying_all(x, y, rows[:k], columns[:k]), rel=1e-6, abs=1e-5)
    rest = greedy_by_hand(x, y, rows[k:], columns[k:])
    assert {i: perm[i] for i in rows[k:]} == rest


@given(pairs, st.integers(1, 5))
def test_batch_optimal_is_what_the_appendix_says(pair, b):
    x, y = pair
    perm = sb.solve(sb.MatchingProblem(x, y), "batch-optimal-128", b=b)
    rows, columns = by_norm(x, descending=False), by_norm(y, descending=False)
    for start in range(0, len(x), b):
        mine, theirs = rows[start : start + b], columns[start : start + b]
        if b < len(x):
            assert sorted(perm[mine]) == sorted(theirs)
        within = sum(dot(x[i], y[perm[i]]) for i in mine)
        assert within == pytest.approx(best_by_trying_all(x, y, mine, theirs), rel=1e-6, abs=1e-5)


def test_greedy_on_an_example_worked_by_hand():
    x = np.array([[1.0, 0.0], [0.0, 3.0], [2.0, 2.0]])
    y = np.array([[4.0, 0.0], [0.0, 4.0], [3.0, 3.0]])
    # Row 1 (norm 3) takes column 1 (12 beats 9), row 2 column 2 (12 beats 8), row 0 what is left.
    assert sb.solve(sb.MatchingProblem(x, y), "greedy").tolist() == [0, 1, 2]
    # Argsorting the columns of the affinity instead, as public code does, would give [0, 2, 1].


def test_of_equally_good_columns_the_first_is_taken_and_equal_rows_keep_their_order():
    ones = np.ones((5, 2))
    problem = sb.MatchingProblem(ones, ones)
    assert sb.solve(problem, "greedy").tolist() == [0, 1, 2, 3, 4]
    assert sb.solve(problem, "topk-greedy-128", k=2)[2:].tolist() == [2, 3, 4]


@pytest.mark.parametrize("size", [130, 257, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_greedy_at_sizes_that_matter(size, dtype):
    x, y = features(size, dtype=dtype)
    problem = sb.MatchingProblem(x, y)
    order = np.argsort(-np.linalg.norm(x.astype(np.float64), axis=1), kind="stable")
    free = np.ones(size, bool)
    for i in order:
        j = int(np.argmax(np.where(free, problem.affinity[i], -np.inf)))
        assert sb.solve(problem, "greedy")[i] == j
        free[j] = False


@pytest.mark.parametrize("size", [0, 1, 2, 60])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "greedy"])
def test_from_s_on_it_is_the_optimum(size, name):
    problem = sb.MatchingProblem(*features(size))
    best = sb.matching_value(problem, sb.solve(problem, "scipy"))
    assert sb.matching_value(problem, sb.solve(problem, name)) == pytest.approx(best, rel=1e-6)
    option = "k" if name.startswith("topk") else "b"
    if size:
        assert sb.matching_value(problem, sb.solve(problem, name, **{option: size})) == pytest.approx(best, rel=1e-6)


def test_larger_blocks_never_did_worse_here():
    problem = sb.MatchingProblem(*features(600))
    values = [sb.matching_value(problem, sb.solve(problem, f"batch-optimal-{b}")) for b in (128, 256, 512, 1024)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(sb.matching_value(problem, sb.solve(problem, "scipy")), rel=1e-6)


@pytest.mark.parametrize(
    "block_solver", [n for n in ("ortools", "scipy", "lapjv", "lap", "lapx") if sb.get_solver(n).available]
)
@pytest.mark.parametrize("name", ["topk-greedy-128", "batch-optimal-128"])
def test_every_exact_solver_serves_for_the_blocks(name, block_solver):
    problem = sb.MatchingProblem(*features(200))
    value = sb.matching_value(problem, sb.solve(problem, name, block_solver=block_solver))
    assert value == pytest.approx(sb.matching_value(problem, sb.solve(problem, name)), rel=1e-7)


@pytest.mark.parametrize("name", ["topk-greedy-128", "batch-optimal-128"])
def test_block_solvers_that_cannot_serve(name):
    problem = sb.MatchingProblem(*features(200))
    with pytest.raises(ValueError, match="must be an exact solver, 'greedy' is approximate"):
        sb.solve(problem, name, block_solver="greedy")
    with pytest.raises(KeyError, match="did you mean 'scipy'"):
        sb.solve(problem, name, block_solver="sipcy")


@pytest.mark.parametrize(("name", "option"), [("topk-greedy-128", "k"), ("batch-optimal-128", "b")])
def test_sizes_that_make_no_sense(name, option):
    problem = sb.MatchingProblem(*features(20))
    for value in (0, -3):
        with pytest.raises(ValueError, match=f"{option} must be at least 1, got {value}"):
            sb.solve(problem, name, **{option: value})
    with pytest.raises(TypeError):
        sb.solve(problem, name, **{option: 2.5})
    assert len(sb.solve(problem, name, **{option: np.int64(7)})) == 20


@pytest.mark.parametrize("b", [128, 500, 1024])
def test_batch_optimal_computes_only_the_blocks(b):
    x, y = features(500, dtype=np.float64)
    lazy, eager = sb.MatchingProblem(x, y), sb.MatchingProblem(x, y)
    _ = eager.affinity
    perm = sb.solve(lazy, "batch-optimal-128", b=b)
    assert not lazy.has_affinity
    other = sb.solve(eager, "batch-optimal-128", b=b)
    assert sb.matching_value(lazy, perm) == pytest.approx(sb.matching_value(eager, other), rel=1e-12)


@pytest.mark.parametrize("name", ["greedy", "topk-greedy-128", "batch-optimal-128"])
@pytest.mark.parametrize("exponent", [-600, -480, 480, 600])
def test_norms_neither_overflow_nor_vanish(name, exponent):
    # Powers of two are exact: squared norms leave float64, the affinity does not change by a bit.
    x, y = features(300, dtype=np.float64)
    perm = sb.solve(sb.MatchingProblem(x, y), name)
    scaled = sb.MatchingProblem(np.ldexp(x, exponent), np.ldexp(y, -exponent))
    np.testing.assert_array_equal(sb.solve(scaled, name), perm)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [127, 129, 300])
@pytest.mark.parametrize("case", ["plain", "zero rows", "all zero", "ties", "constant", "tiny", "huge"])
def test_the_answer_is_always_a_permutation_and_always_the_same(name, size, case):
    x, y = features(size)
    if case == "zero rows":
        x[::2], y[::3] = 0, 0
    elif case == "all zero":
        x, y = x * 0, y * 0
    elif case == "ties":
        x, y = np.round(x), np.round(y)
    elif case == "constant":
        x = np.ones_like(x)
    elif case in ("tiny", "huge"):
        factor = np.float32(1e-30 if case == "tiny" else 1e30)
        x, y = x * factor, y * factor
    perm = sb.solve(sb.MatchingProblem(x, y), name)
    assert sorted(perm) == list(range(size))
    np.testing.assert_array_equal(sb.solve(sb.MatchingProblem(x, y), name), perm)


def test_warming_up_compiles_all_that_a_large_problem_needs():
    from semrsm_bench.solvers import norm_order, warm_up

    for dtype in (np.float32, np.float64):
        for name in ("greedy", "topk-greedy-512", "batch-optimal-1024"):
            warm_up(name, dtype)
    compiled = len(norm_order._take_best_free.signatures)
    for dtype in (np.float32, np.float64):
        problem = sb.MatchingProblem(*features(600, dtype=dtype))
        for name in NAMES:
            sb.solve(problem, name)
    assert len(norm_order._take_best_free.signatures) == compiled
