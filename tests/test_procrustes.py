"""Procrustes distances, alignment and unit matching against brute force and theorems."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.metrics import align, match_units, procrustes_distance, unit_matching
from semrsm_bench.metrics.procrustes import VARIANTS
from tests.representations import centred, rotation

RANDOM = np.random.default_rng(0).standard_normal((6, 2))
CONSTANT = np.full((6, 3), 0.1)


def pad(X, width):
    return np.hstack([X, np.zeros((len(X), width - X.shape[1]))])


def prepared(X, variant):
    if variant not in ("raw", "angular_raw"):
        X = centred(X)
    return X if variant in ("raw", "centred") else X / np.linalg.norm(X)


@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 10), st.integers(1, 10), st.sampled_from(VARIANTS))
def test_formula_residual_and_triangle_inequality(seed, n, p, q, variant):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, p)) + 1, rng.standard_normal((n, q))
    a, b = (pad(prepared(side, variant), max(p, q)) for side in (X, Y))
    nuclear = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    value = procrustes_distance(X, Y, variant)
    Z = rng.standard_normal((n, 4))
    assert value <= procrustes_distance(X, Z, variant) + procrustes_distance(Z, Y, variant) + 1e-12
    if variant.startswith("angular"):
        # The formula itself is good to half the digits only, near angle 0.
        assert value == pytest.approx(math.acos(min(1.0, nuclear)), abs=1e-7)
        return
    squared = np.square(a).sum() + np.square(b).sum() - 2 * nuclear
    assert value**2 == pytest.approx(squared, abs=1e-12 * max(1, np.square(b).sum()))
    u, _, vt = np.linalg.svd(a.T @ b)
    assert value == pytest.approx(np.linalg.norm(a @ u @ vt - b), abs=1e-12)


def test_no_rotation_of_the_plane_does_better():
    X, Y = np.random.default_rng(0).standard_normal((2, 6, 2))
    angles = np.linspace(0, 2 * math.pi, 20001)
    c, s = np.cos(angles), np.sin(angles)
    turns = np.concatenate([np.array([[c, -s], [flip * s, flip * c]]).transpose(2, 0, 1) for flip in (1, -1)])
    best = np.sqrt(np.square(X @ turns - Y).sum(axis=(1, 2))).min()
    assert procrustes_distance(X, Y, "raw") == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("n", "d"), [(20, 5), (5, 20), (8, 8)])
def test_equal_shapes_are_at_distance_zero_to_rounding(variant, n, d):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, d))
    Y = X @ rotation(rng, d)
    scale = np.linalg.norm(X) if variant in ("raw", "centred") else 1
    assert procrustes_distance(X, Y, variant) < 1e-14 * scale * d
    # And a known small distance is resolved far below the root of machine precision.
    shifted = Y + 1e-10 * rng.standard_normal(Y.shape)
    assert 0 < procrustes_distance(X, shifted, variant) < 1e-10 * scale * n * d


def test_orthogonal_stimulus_spaces_are_at_a_right_angle():
    X, Y = np.zeros((2, 4, 2))
    X[0, 0], X[1, 0], Y[2, 0], Y[3, 0] = 1, -1, 1, -1
    assert procrustes_distance(X, Y, "angular") == pytest.approx(math.pi / 2, abs=1e-12)
    assert procrustes_distance(X, Y, "centred_unit") == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1, 1e200])
def test_a_constant_side_is_at_the_norm_of_the_other(size):
    expected = np.linalg.norm(RANDOM) * size
    assert procrustes_distance(np.zeros((6, 3)), RANDOM * size, "raw") == pytest.approx(expected, rel=1e-12)
    assert procrustes_distance(RANDOM, CONSTANT) == pytest.approx(np.linalg.norm(centred(RANDOM)))
    assert procrustes_distance(CONSTANT, CONSTANT) == 0.0


@pytest.mark.parametrize(("p", "q"), [(3, 3), (2, 4), (4, 5)])
def test_align_recovers_a_planted_map_and_does_better_than_all_permutations(p, q):
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((30, p)), rng.standard_normal((30, q))
    turn = rotation(rng, q)[:p]
    maps = [np.eye(q)[list(c)] for c in itertools.permutations(range(q), p)]
    np.testing.assert_allclose(align(X, X @ turn), turn, atol=1e-12)
    np.testing.assert_array_equal(align(X, X @ maps[-1] + 0.01, "permutation"), maps[-1])
    best = min(np.linalg.norm(X @ W - Y) for W in maps)
    assert np.linalg.norm(X @ align(X, Y, "permutation") - Y) == pytest.approx(best)
    assert np.linalg.norm(X @ align(X, Y) - Y) <= best


@pytest.mark.parametrize("on", ["correlation", "covariance"])
@pytest.mark.parametrize("widths", [(4, 4), (3, 5), (5, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_unit_matching_is_the_best_of_all(on, widths, seed):
    rng = np.random.default_rng(seed)
    X, Y = (rng.standard_normal((20, w)) * rng.uniform(0.1, 9, w) for w in widths)
    full = np.corrcoef(X.T, Y.T) if on == "correlation" else np.cov(X.T, Y.T)
    scores = full[: widths[0], widths[0] :]
    rows = scores if widths[0] <= widths[1] else scores.T
    small, large = rows.shape
    best = max(sum(rows[i, c] for i, c in enumerate(p)) for p in itertools.permutations(range(large), small))
    match = match_units(X, Y, on)
    np.testing.assert_allclose(match.scores, scores[match.x_units, match.y_units])
    assert match.scores.sum() == pytest.approx(best)
    assert len(set(match.x_units)) == len(set(match.y_units)) == small
    norms = np.linalg.norm(centred(X)) * np.linalg.norm(centred(Y))
    assert unit_matching(X, Y, on) == pytest.approx(best / small if on == "correlation" else best * 19 / norms)
