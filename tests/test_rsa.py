"""RSA correlations against SciPy, brute force over pairs, and averages over broken ties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from semrsm_bench.metrics import compare_rsms
from semrsm_bench.metrics.ranks import mid_ranks
from semrsm_bench.metrics.rsa import METHODS, correlate


def rsm(values):
    """Symmetric matrix with these numbers above the diagonal, row by row, and a diagonal that must not matter."""
    n = round((1 + np.sqrt(1 + 8 * len(values))) / 2)
    K = np.zeros((n, n))
    K[np.triu_indices(n, 1)] = values
    return K + K.T + np.diag(np.arange(100.0, 100 + n))


def kendall_by_pairs(a, b):
    concordance = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in itertools.combinations(range(len(a)), 2)]
    untied = [sum(v[i] != v[j] for i, j in itertools.combinations(range(len(a)), 2)) for v in (a, b)]
    return sum(concordance), len(concordance), untied


def expected(a, b, method):
    if method == "pearson":
        return stats.pearsonr(a, b).statistic
    if method == "spearman":
        return stats.spearmanr(a, b).statistic
    if method == "kendall_b":
        return stats.kendalltau(a, b).statistic
    if method == "kendall_a":
        difference, pairs, _ = kendall_by_pairs(a, b)
        return difference / pairs
    if method == "cosine":
        return np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b))
    m = len(a)
    return 12 * np.dot(stats.rankdata(a), stats.rankdata(b)) / (m**3 - m) - 3 * (m + 1) / (m - 1)


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(3, 9), st.sampled_from([2, 5, 1000]))
def test_against_scipy_with_and_without_ties(method, seed, n, levels):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, levels, (2, n * (n - 1) // 2)).astype(float)
    a[:2] = b[:2] = 0, 1
    assert compare_rsms(rsm(a), rsm(b), method) == pytest.approx(expected(a, b, method), abs=1e-12)


@pytest.mark.parametrize("method", ["kendall_a", "kendall_b"])
@pytest.mark.parametrize("m", [2, 15, 16, 17, 33, 100, 1000])
def test_kendall_over_all_run_lengths_of_the_merge(method, m):
    for levels in (3, 10**6):
        rng = np.random.default_rng(m)
        a, b = rng.integers(0, levels, (2, m)).astype(float)
        a[:2], b[:2] = (0, 1), (1, 0)
        difference, pairs, untied = kendall_by_pairs(a, b) if m <= 100 else (None, None, None)
        tau_b = stats.kendalltau(a, b).statistic
        if method == "kendall_b":
            assert correlate(a, b, method) == pytest.approx(tau_b, abs=1e-12)
            if m <= 100:
                assert tau_b == pytest.approx(difference / np.sqrt(np.prod(untied, dtype=float)))
        elif m <= 100:
            assert correlate(a, b, method) == pytest.approx(difference / pairs, abs=1e-14)
        else:
            counts = [np.unique(v, return_counts=True)[1] for v in (a, b)]
            total = m * (m - 1) / 2
            untied = [total - (c * (c - 1) / 2).sum() for c in counts]
            assert correlate(a, b, method) == pytest.approx(tau_b * np.sqrt(np.prod(untied)) / total, abs=1e-12)


def test_rho_a_is_spearman_averaged_over_all_ways_to_break_ties():
    a, b = np.array([1.0, 1.0, 1.0, 2.0, 3.0, 3.0]), np.array([5.0, 1.0, 1.0, 3.0, 4.0, 2.0])

    def broken(values):
        groups = [np.flatnonzero(values == v) for v in np.unique(values)]
        for orders in itertools.product(*(itertools.permutations(g) for g in groups)):
            ranks = np.empty(len(values))
            ranks[list(itertools.chain(*orders))] = np.arange(len(values))
            yield ranks

    average = np.mean([stats.spearmanr(r, s).statistic for r in broken(a) for s in broken(b)])
    assert compare_rsms(rsm(a), rsm(b), "rho_a") == pytest.approx(average)
    assert abs(compare_rsms(rsm(a), rsm(b), "spearman") - average) > 0.01


def test_mid_ranks():
    np.testing.assert_array_equal(mid_ranks(np.array([3.0, 1.0, 3.0, 2.0, 3.0, 1.0])), [5, 1.5, 5, 3, 5, 1.5])
    values = np.random.default_rng(0).integers(0, 20, 500).astype(float)
    np.testing.assert_array_equal(mid_ranks(values), stats.rankdata(values))


@pytest.mark.parametrize("method", METHODS)
def test_perfect_and_opposite_order(method):
    values = np.random.default_rng(0).permutation(45) + 1.0
    assert compare_rsms(rsm(values), rsm(values), method) == pytest.approx(1.0)
    if method != "cosine":
        assert compare_rsms(rsm(values), rsm(-values), method) == pytest.approx(-1.0)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_entries_is_row_by_row_in_both(method):
    # Different entries of the two triangles would pair if one side were read by columns.
    a = np.arange(10.0)
    b = a[[0, 1, 3, 6, 2, 4, 7, 5, 8, 9]]
    assert compare_rsms(rsm(a), rsm(b), method) < 0.999


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0.0, 0.1, -3.0, 1e9])
def test_constant_sides(method, level):
    values = rsm(np.arange(10.0))
    constant = rsm(np.full(10, level))
    if method in ("kendall_a", "rho_a"):
        assert compare_rsms(values, constant, method) == pytest.approx(0.0, abs=1e-15)
    elif method == "cosine" and level:
        assert abs(compare_rsms(values, constant, method)) == pytest.approx(45 / np.sqrt(10 * 285))
    else:
        with pytest.raises(ValueError, match="the second side are"):
            compare_rsms(values, constant, method)
        with pytest.raises(ValueError, match="the first side are"):
            compare_rsms(constant, values, method)


def test_too_few_stimuli_and_unknown_methods():
    with pytest.raises(ValueError, match="at least 3 stimuli"):
        compare_rsms(np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="pearson, spearman, kendall_a"):
        compare_rsms(np.eye(3), np.eye(3), "kendall")


@pytest.mark.parametrize("method", ["spearman", "kendall_a", "kendall_b", "rho_a"])
@pytest.mark.parametrize("seed", range(3))
def test_entries_that_are_equal_up_to_rounding_are_ties(method, seed):
    """Points of a symmetric set: their similarities take few values, which rounding makes many."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    exact = np.vstack([np.eye(6), -np.eye(6), [[1, 1, 0, 0, 0, 0], [0, 0, 1, -1, 0, 0]]])
    noisy = exact @ turn
    K, rounded = exact @ exact.T, noisy @ noisy.T
    assert len(np.unique(K)) < 8 < len(np.unique(rounded))
    L = rng.integers(0, 9, K.shape)
    assert compare_rsms(rounded, L + L.T, method) == pytest.approx(compare_rsms(K, L + L.T, method), abs=1e-12)


def test_small_entries_of_kernels_and_divergences_keep_their_order():
    distances = np.random.default_rng(0).permutation(45) * 2.0
    assert compare_rsms(rsm(distances), rsm(np.exp(-distances)), "kendall_a") == pytest.approx(-1)
