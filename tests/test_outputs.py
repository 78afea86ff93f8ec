"""Jensen-Shannon divergence against exact arithmetic and its bounds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy import stats
from scipy.spatial.distance import jensenshannon

from semrsm_bench.metrics import jensen_shannon, jensen_shannon_correlation


def exact(p, q):
    """JSD by its definition in 50 digits."""
    with mp.workdps(50):
        total = mpf(0)
        for a, b in zip(map(mpf, map(float, p)), map(mpf, map(float, q)), strict=True):
            m = (a + b) / 2
            total += (a * mp.log(a / m) if a else 0) + (b * mp.log(b / m) if b else 0)
        return float(total / 2)


def distributions(rng, n, classes, concentration):
    P = rng.dirichlet(np.full(classes, concentration), n)
    return P / P.sum(axis=1, keepdims=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0.02, 0.3, 3.0, 1e3, 1e9, 1e15]), st.integers(2, 6))
def test_to_the_last_digits_for_near_and_far(seed, concentration, classes):
    P = distributions(np.random.default_rng(seed), 4, classes, concentration)
    D = jensen_shannon(P)
    # Relative to the divergence, where the rows given sum to 1 only up to rounding, which counts once squared.
    P = P / P.sum(axis=1, keepdims=True)
    for i in range(4):
        for j in range(i):
            assert D[i, j] == pytest.approx(exact(P[i], P[j]), rel=1e-9, abs=1e-30)


def test_bounds_zeros_and_symmetry():
    D = jensen_shannon(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0.5, 0.5], [1, 0, 0]]))
    assert D[0, 1] == D[0, 2] == pytest.approx(math.log(2), rel=1e-15)
    assert D[0, 3] == 0.0
    # 1 against (1/2, 1/2): the mean is (3/4, 1/4).
    assert D[1, 2] == pytest.approx((math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2)
    rng = np.random.default_rng(0)
    P = np.vstack([distributions(rng, 30, 5, c) for c in (0.01, 1.0, 1e8)])
    D = jensen_shannon(P)
    np.testing.assert_array_equal(D, D.T)
    np.testing.assert_array_equal(np.diag(D), 0.0)
    assert ((D >= 0) & (math.log(2) * (1 + 1e-15) >= D)).all()
    # SciPy returns the root.
    np.testing.assert_allclose(np.sqrt(D[0]), [jensenshannon(P[0], q) for q in P], atol=1e-7)


def test_small_divergences_are_half_the_fisher_distance():
    # JSD(p, p + e) -> sum e^2 / p / 8 as e -> 0, down to where e is rounding.
    p = np.array([0.2, 0.3, 0.5])
    e = np.array([1.0, 1.0, -2.0])
    for size in (1e-3, 1e-5, 1e-7):
        value = jensen_shannon(np.array([p, p + size * e]))[0, 1]
        assert value == pytest.approx(size**2 * (e**2 / p).sum() / 8, rel=max(20 * size, 1e-7))


def test_float16_probabilities_are_accepted_and_logits_are_not():
    logits = np.random.default_rng(0).standard_normal((4, 100))
    P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(jensen_shannon(P.astype(np.float16)), jensen_shannon(P), atol=1e-4)
    with pytest.raises(ValueError, match="softmax"):
        jensen_shannon(logits)
    with pytest.raises(ValueError, match=r"the first is row 2 with 0\.5"):
        jensen_shannon([[0.5, 0.5], [1, 0], [0.25, 0.25]])


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_correlation_is_scipys_over_pairs(method):
    rng = np.random.default_rng(2)
    P, X = distributions(rng, 9, 4, 1.0), rng.standard_normal((9, 3))
    pairs = [(i, j) for i in range(9) for j in range(i + 1, 9)]
    a, b = [exact(P[i], P[j]) for i, j in pairs], [X[i] @ X[j] for i, j in pairs]
    expected = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[method](a, b).statistic
    assert jensen_shannon_correlation(P, X @ X.T, method) == pytest.approx(expected, rel=1e-9)


def test_correlation_errors():
    P, slope = distributions(np.random.default_rng(3), 5, 3, 1.0), np.arange(5.0)
    for arguments, message in (
        ((P, np.eye(4)), "P has 5 and K has 4"),
        ((P, np.eye(5)), "the second side are equal"),
        ((np.full((5, 2), 0.5), np.add.outer(slope, slope)), "the first side are equal"),
        ((P[:2], np.eye(2)), "at least 3"),
        ((P, np.eye(5), "cosine"), "pearson, spearman"),
    ):
        with pytest.raises(ValueError, match=message):
            jensen_shannon_correlation(*arguments)
