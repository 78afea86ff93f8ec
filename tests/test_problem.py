"""MatchingProblem and scoring, against exact fractions and sums over all permutations."""

import copy
import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import semrsm_bench as sb
from semrsm_bench.solvers import chance_corrected, check_permutation, quality, random_value

pairs = st.tuples(st.integers(1, 5), st.integers(1, 4)).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float64, shape, elements=st.floats(-8, 8, width=32)) for _ in "xy"])
)


def random_pair(size=6, channels=3, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal((2, size, channels)).astype(dtype)


@given(pairs, st.randoms(use_true_random=False))
def test_k_is_the_exact_sum(pair, rng):
    x, y = pair
    perm = list(range(len(x)))
    rng.shuffle(perm)
    for dtype in (np.float32, np.float64):
        problem = sb.MatchingProblem(x.astype(dtype), y.astype(dtype))
        terms = [Fraction(float(a)) * Fraction(float(b)) for i, j in enumerate(perm) for a, b in zip(x[i], y[j])]
        k = Fraction(sb.matching_value(problem, perm))
        assert abs(k - sum(terms)) <= sum(map(abs, terms)) * Fraction(1, 10**14)


@given(pairs)
def test_k_rand_is_the_mean_over_all_permutations(pair):
    problem = sb.MatchingProblem(*pair)
    values = [sb.matching_value(problem, p) for p in itertools.permutations(range(problem.size))]
    assert random_value(problem) == pytest.approx(math.fsum(values) / len(values), rel=1e-12, abs=1e-11)


@given(pairs, st.randoms(use_true_random=False))
def test_c_of_a_permutation_survives_centring_by_channel(pair, rng):
    x, y = pair
    perm = list(range(len(x)))
    rng.shuffle(perm)
    values = []
    for problem in (sb.MatchingProblem(x, y), sb.MatchingProblem(x - x.mean(axis=0), y - [3.0] * y.shape[1])):
        k_opt = max(sb.matching_value(problem, p) for p in itertools.permutations(range(problem.size)))
        k_rand = random_value(problem)
        if k_opt - k_rand < 1e-6:
            return
        values.append(chance_corrected(sb.matching_value(problem, perm), k_opt, k_rand))
    assert values[0] == pytest.approx(values[1], abs=1e-6)


@pytest.mark.parametrize(
    ("k", "k_opt", "k_rand", "c"),
    [(3, 3, 1, 1), (1, 3, 1, 0), (0, 3, 1, -0.5), (2, 2, 2, 1), (0, 0, 0, 1), (math.nan, 1, 0, None)],
)
def test_c_and_quality_at_their_landmarks(k, k_opt, k_rand, c):
    found = chance_corrected(float(k), float(k_opt), float(k_rand))
    assert math.isnan(found) if c is None else found == c
    assert quality(1.0, 2.0) == 0.5
    assert math.isnan(quality(-2.0, -1.0))
    assert math.isnan(quality(0.0, 0.0))


def test_the_affinity_is_made_once_and_nothing_can_be_written():
    x, y = random_pair()
    problem = sb.MatchingProblem(x, y)
    assert not problem.has_affinity
    assert problem.affinity is problem.affinity
    np.testing.assert_allclose(problem.affinity, [[np.dot(a, b) for b in y] for a in x], rtol=1e-13, atol=1e-13)
    for array in (problem.x, problem.y, problem.affinity):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    with pytest.raises(AttributeError, match="frozen"):
        problem.x = y
    for duplicate in (copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))):
        other = duplicate(problem)
        np.testing.assert_array_equal([other.x, other.y], [x, y])
        assert not other.x.flags.writeable


@pytest.mark.parametrize(
    "disguise", [np.asarray, np.asfortranarray, lambda x: np.lib.stride_tricks.as_strided(x, writeable=False)]
)
def test_later_changes_of_the_given_arrays_do_not_reach_it(disguise):
    x, y = random_pair()
    given_x, first = disguise(x), x[0, 0]
    problem = sb.MatchingProblem(given_x, y)
    x[0, 0] = 77
    assert problem.x[0, 0] == first
    if given_x.flags.writeable:
        given_x[0, 0] = 78
    assert problem.x[0, 0] == first
    assert x.flags.writeable


NARROW, WIDE = ["float16", "float32", ">f4", "int8", "bool"], ["float64", "int32", "longdouble"]


@pytest.mark.parametrize("of_x", [*NARROW, *WIDE])
@pytest.mark.parametrize("of_y", [*NARROW, *WIDE])
def test_precision_is_single_where_both_sides_fit(of_x, of_y):
    problem = sb.MatchingProblem(np.ones((3, 2), of_x), np.ones((3, 2), of_y))
    expected = np.float64 if {of_x, of_y} & set(WIDE) else np.float32
    assert problem.x.dtype == problem.y.dtype == problem.affinity.dtype == expected
    assert problem.x.dtype.isnative
    assert sb.MatchingProblem(np.array([[2**40 + 1]]), np.ones((1, 1))).x[0, 0] == 2**40 + 1


@pytest.mark.parametrize(
    ("scale_x", "scale_y"), [(1e30, 1e30), (1e-30, 1e-30), (1e30, 1e-30), (1e37, 1.0), (1e-25, 1e-10)]
)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("small", [1.0, -1e-3])
def test_affinities_beyond_float32_are_computed_in_float64(scale_x, scale_y, sign, small):
    # With a small entry of the other sign the largest is known from its absolute value alone.
    x, y = np.abs(random_pair(dtype=np.float32)) + np.float32(0.5)
    x[1] *= np.float32(small)
    problem = sb.MatchingProblem(x * np.float32(sign * scale_x), y * np.float32(scale_y))
    expected = problem.x.astype(np.float64) @ problem.y.astype(np.float64).T
    np.testing.assert_allclose(problem.affinity, expected, rtol=1e-5)


@pytest.mark.parametrize(("a", "b"), [(1e200, 1e200), (1e-200, 1e-200), (1e308, 1e-300), (1e-300, 1.0), (5e-324, 1.0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_affinities_beyond_float64_are_refused(a, b, sign):
    x, y = np.abs(random_pair()).clip(0.5, 1)
    x[1] = -0.0
    with pytest.raises(ValueError, match="leave float64; multiply each by a constant"):
        sb.MatchingProblem(sign * x * a, y * b)
    assert not sb.MatchingProblem(x * min(a, 1e300), y * 0).affinity.any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_not_finite_is_named_with_its_place(bad, side, dtype):
    sides = np.ones((2, 4, 3), dtype)
    sides[side, 2, 1] = bad
    with pytest.raises(ValueError, match=rf"{'xy'[side]} is not finite: {bad} at \(2, 1\)"):
        sb.MatchingProblem(*sides)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "x has 3 positions and y has 4"),
        (np.ones((3, 2)), np.ones((3, 5)), "x has 2 channels and y has 5"),
        (np.ones(3), np.ones(3), r"x must have shape \(positions, channels\), got \(3,\)"),
        (np.ones((3, 2)), np.ones((1, 3, 2)), "y must have shape"),
        (np.ones((3, 2)), 1.0, "y must have shape"),
        (np.ones((3, 2)) * 1j, np.ones((3, 2)), "real numbers"),
        ([["a", "b"]], [["a", "b"]], "real numbers"),
        ([[1, 2], [3]], [[1, 2], [3, 4]], "inhomogeneous"),
        (None, None, "real numbers"),
    ],
)
def test_misshapen_input_says_what_is_wrong(x, y, message):
    with pytest.raises(ValueError, match=message):
        sb.MatchingProblem(x, y)


@pytest.mark.parametrize("shape", [(0, 3), (0, 0), (4, 0)])
def test_nothing_to_sum(shape):
    problem = sb.MatchingProblem(np.empty(shape), np.empty(shape))
    assert (problem.size, problem.channels) == shape
    assert problem.affinity.shape == (shape[0], shape[0])
    assert random_value(problem) == 0.0
    assert sb.matching_value(problem, range(shape[0])) == 0.0


@pytest.mark.parametrize("made", [False, True])
def test_a_block_is_the_problem_of_its_rows_and_columns(made):
    problem, rows, columns = sb.MatchingProblem(*random_pair(7, 3)), np.array([5, 0, 3]), np.array([1, 6, 2])
    _ = made and problem.affinity
    block = problem.block(rows, columns)
    assert block.has_affinity == problem.has_affinity == made
    np.testing.assert_allclose(block.affinity, problem.x[rows] @ problem.y[columns].T, rtol=1e-13)
    assert (block.affinity.flags.c_contiguous, block.affinity.flags.writeable) == (True, False)
    assert problem.has_affinity == made
    with pytest.raises(ValueError, match="as many rows as columns"):
        problem.block(rows, columns[:2])


def test_valid_permutations_come_back_as_intp():
    for perm in ([2, 0, 1], np.array([2, 0, 1], np.uint8), (2, 0, 1)):
        checked = check_permutation(perm, 3)
        assert checked.dtype == np.intp
        assert checked.tolist() == [2, 0, 1]
    assert check_permutation([], 0).shape == (0,)


@pytest.mark.parametrize(
    ("perm", "message"),
    [
        ([0, 1], r"shape \(3,\), got \(2,\)"),
        ([[0, 1, 2]], r"shape \(3,\)"),
        ([0, 1, 1], "position 1 is matched 2 times"),
        ([0, 1, 3], r"holds 0\.\.2"),
        ([-1, 0, 1], r"holds 0\.\.2"),
        ([0.0, 1.0, 2.0], "dtype float64"),
        ([True, False, True], "dtype bool"),
        (np.array([0, 1, 2**64 - 1], np.uint64), r"holds 0\.\.2"),
        (None, "shape"),
        ("012", "shape"),
        ([[0], [1, 2]], "ragged"),
    ],
)
def test_what_is_no_permutation(perm, message):
    with pytest.raises(ValueError, match=message):
        check_permutation(perm, 3)
    with pytest.raises(ValueError, match=message):
        sb.matching_value(sb.MatchingProblem(np.ones((3, 1)), np.ones((3, 1))), perm)
