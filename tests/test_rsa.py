"""RSA correlations against SciPy, brute force over pairs, and averages over broken ties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from semrsm_bench.metrics import compare_rsms, get_metric
from semrsm_bench.metrics.rsa import METHODS
from tests.representations import rotation


def rsm(values):
    """Symmetric matrix with these numbers above the diagonal, row by row, and a diagonal that must not matter."""
    n = round((1 + np.sqrt(1 + 8 * len(values))) / 2)
    K = np.zeros((n, n))
    K[np.triu_indices(n, 1)] = values
    return K + K.T + np.diag(np.arange(100.0, 100 + n))


def expected(a, b, method):
    scipy = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall_b": stats.kendalltau}
    if method in scipy:
        return scipy[method](a, b).statistic
    m = len(a)
    if method == "kendall_a":
        signs = [np.sign(np.subtract.outer(v, v)) for v in (a, b)]
        return np.vdot(*signs) / (m * (m - 1))
    if method == "cosine":
        return np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b))
    return 12 * np.dot(stats.rankdata(a), stats.rankdata(b)) / (m**3 - m) - 3 * (m + 1) / (m - 1)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from([3, 4, 9, 40]), st.sampled_from([2, 5, 1000, 10**6]))
def test_against_second_formulations_with_and_without_ties(method, seed, n, levels):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, levels, (2, n * (n - 1) // 2)).astype(float)
    a[:2] = b[:2] = 0, 1
    assert compare_rsms(rsm(a), rsm(b), method) == pytest.approx(expected(a, b, method), abs=1e-12)


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


@pytest.mark.parametrize(
    ("name", "said"), [("rsa_correlation", "Y has 12 stimuli whose units"), ("rsa_euclidean", "Y side are equal")]
)
def test_rsa_of_features_is_of_what_scipy_makes_of_their_rows(name, said):
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((12, 5)), rng.standard_normal((12, 7)) + 2
    pairs = [distance.pdist(side, name.removeprefix("rsa_")) for side in (X, Y)]
    assert get_metric(name).run(X, Y) == pytest.approx(stats.spearmanr(*pairs).statistic, abs=1e-12)
    with pytest.raises(ValueError, match=said):
        get_metric(name).run(X, np.ones((12, 2)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0.0, 0.1, -3.0, 1e9])
def test_constant_sides(method, level):
    values, constant = rsm(np.arange(10.0)), rsm(np.full(10, level))
    if method in ("kendall_a", "rho_a"):
        assert compare_rsms(values, constant, method) == pytest.approx(0.0, abs=1e-15)
    elif method == "cosine" and level:
        assert abs(compare_rsms(values, constant, method)) == pytest.approx(45 / np.sqrt(10 * 285))
    else:
        with pytest.raises(ValueError, match="the second side are"):
            compare_rsms(values, constant, method)
        with pytest.raises(ValueError, match="the first side are"):
            compare_rsms(constant, values, method)


@pytest.mark.parametrize("method", ["spearman", "kendall_a", "kendall_b", "rho_a"])
@pytest.mark.parametrize("seed", range(3))
def test_entries_that_are_equal_up_to_rounding_are_ties(method, seed):
    """Points of a symmetric set: their similarities take few values, which rounding makes many."""
    rng = np.random.default_rng(seed)
    exact = np.vstack([np.eye(6), -np.eye(6), [[1, 1, 0, 0, 0, 0], [0, 0, 1, -1, 0, 0]]])
    noisy = exact @ rotation(rng, 6)
    K, rounded = exact @ exact.T, noisy @ noisy.T
    assert len(np.unique(K)) < 8 < len(np.unique(rounded))
    L = rng.integers(0, 9, K.shape)
    assert compare_rsms(rounded, L + L.T, method) == pytest.approx(compare_rsms(K, L + L.T, method), abs=1e-12)


def test_small_entries_of_kernels_and_divergences_keep_their_order():
    distances = np.random.default_rng(0).permutation(45) * 2.0
    assert compare_rsms(rsm(distances), rsm(np.exp(-distances)), "kendall_a") == pytest.approx(-1)
