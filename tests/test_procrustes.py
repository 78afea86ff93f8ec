"""Procrustes distances, alignment and unit matching against brute force and theorems."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_bench.metrics import align, match_units, procrustes_distance, unit_matching
from semrsm_bench.metrics.procrustes import VARIANTS


def rotation(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def pad(X, width):
    return np.hstack([X, np.zeros((len(X), width - X.shape[1]))])


def prepared(X, variant):
    if variant not in ("raw", "angular_raw"):
        X = X - X.mean(0)
    return X if variant in ("raw", "centred") else X / np.linalg.norm(X)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 10), st.integers(1, 10), st.sampled_from(VARIANTS))
def test_formula_and_residual(seed, n, p, q, variant):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, p)) + 1, rng.standard_normal((n, q))
    a, b = (pad(prepared(side, variant), max(p, q)) for side in (X, Y))
    nuclear = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    value = procrustes_distance(X, Y, variant)
    if variant.startswith("angular"):
        # The formula itself is good to half the digits only, near angle 0.
        assert value == pytest.approx(math.acos(min(1.0, nuclear)), abs=1e-7)
        return
    squared = np.square(a).sum() + np.square(b).sum() - 2 * nuclear
    assert value**2 == pytest.approx(squared, abs=1e-12 * max(1, np.square(b).sum()))
    u, _, vt = np.linalg.svd(a.T @ b)
    assert value == pytest.approx(np.linalg.norm(a @ u @ vt - b), abs=1e-12)


def test_no_rotation_of_the_plane_does_better():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((2, 6, 2))
    angles = np.linspace(0, 2 * math.pi, 20001)
    best = math.inf
    for flip in (1, -1):
        c, s = np.cos(angles), np.sin(angles)
        Q = np.array([[c, -s], [flip * s, flip * c]]).transpose(2, 0, 1)
        best = min(best, np.sqrt(np.square(X @ Q - Y).sum(axis=(1, 2))).min())
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


@pytest.mark.parametrize("variant", VARIANTS)
def test_triangle_inequality(variant):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, Y, Z = (rng.standard_normal((6, d)) for d in (2, 7, 4))
        xy, yz, xz = (procrustes_distance(a, b, variant) for a, b in ((X, Y), (Y, Z), (X, Z)))
        assert xz <= xy + yz + 1e-12


def test_variants_are_related():
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((10, 3)) + 1, rng.standard_normal((10, 5)) - 1
    centred = [side - side.mean(0) for side in (X, Y)]
    unit = [side / np.linalg.norm(side) for side in centred]
    assert procrustes_distance(X, Y, "centred") == pytest.approx(procrustes_distance(*centred, "raw"))
    chord = procrustes_distance(X, Y, "centred_unit")
    assert chord == pytest.approx(procrustes_distance(*unit, "raw"))
    assert procrustes_distance(X, Y, "angular") == pytest.approx(2 * math.asin(chord / 2))
    assert procrustes_distance(X, Y, "angular") == pytest.approx(procrustes_distance(*centred, "angular_raw"))
    assert procrustes_distance(X, Y) == procrustes_distance(X, Y, "centred")


def test_orthogonal_stimulus_spaces_are_at_a_right_angle():
    X, Y = np.zeros((2, 4, 2))
    X[0, 0], X[1, 0], Y[2, 0], Y[3, 0] = 1, -1, 1, -1
    assert procrustes_distance(X, Y, "angular") == pytest.approx(math.pi / 2, abs=1e-12)
    assert procrustes_distance(X, Y, "centred_unit") == pytest.approx(math.sqrt(2))


def test_degenerate_sides():
    X = np.random.default_rng(0).standard_normal((6, 2))
    constant = np.full((6, 3), 0.1)
    assert procrustes_distance(X, constant, "centred") == pytest.approx(np.linalg.norm(X - X.mean(0)))
    assert procrustes_distance(constant, constant, "centred") == 0.0
    for variant in ("centred_unit", "angular"):
        with pytest.raises(ValueError, match="Y has norm 0"):
            procrustes_distance(X, constant, variant)
    with pytest.raises(ValueError, match="X has norm 0"):
        procrustes_distance(np.zeros((6, 2)), X, "angular_raw")
    with pytest.raises(ValueError, match="raw, centred"):
        procrustes_distance(X, X, "shape")
    with pytest.raises(ValueError, match="range of float64"):
        procrustes_distance(X * 1e308 / np.abs(X).max(), -np.abs(X) * 1e308 / np.abs(X).max(), "raw")


@pytest.mark.parametrize("widths", [(3, 3), (2, 4)])
def test_align_recovers_a_planted_map(widths):
    rng = np.random.default_rng(3)
    p, q = widths
    X = rng.standard_normal((30, p))
    planted = rotation(rng, q)[:p]
    found = align(X, X @ planted)
    np.testing.assert_allclose(found, planted, atol=1e-12)
    columns = rng.permutation(q)[:p]
    matrix = np.eye(q)[columns]
    np.testing.assert_array_equal(align(X, X @ matrix + 0.01, "permutation"), matrix)


def test_align_by_permutation_is_the_best_of_all():
    rng = np.random.default_rng(4)
    X, Y = rng.standard_normal((12, 4)), rng.standard_normal((12, 5))
    best = min(np.linalg.norm(X @ np.eye(5)[list(c)] - Y) for c in itertools.permutations(range(5), 4))
    assert np.linalg.norm(X @ align(X, Y, "permutation") - Y) == pytest.approx(best)
    assert np.linalg.norm(X @ align(X, Y) - Y) <= best


def test_align_says_which_side_is_too_narrow():
    X = np.ones((4, 3))
    with pytest.raises(ValueError, match="pad it with zero columns"):
        align(X, X[:, :2])
    with pytest.raises(ValueError, match="orthogonal, permutation"):
        align(X, X, "affine")


@pytest.mark.parametrize("on", ["correlation", "covariance"])
@pytest.mark.parametrize("widths", [(4, 4), (3, 5), (5, 3)])
def test_unit_matching_is_the_best_of_all(on, widths):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, Y = (
            rng.standard_normal((20, widths[0])),
            rng.standard_normal((20, widths[1])) * rng.uniform(0.1, 9, widths[1]),
        )
        full = np.corrcoef(X.T, Y.T) if on == "correlation" else np.cov(X.T, Y.T)
        scores = full[: widths[0], widths[0] :]
        scores = scores if widths[0] <= widths[1] else scores.T
        small, large = scores.shape
        best = max(sum(scores[i, c] for i, c in enumerate(p)) for p in itertools.permutations(range(large), small))
        match = match_units(X, Y, on)
        assert match.scores.sum() == pytest.approx(best)
        assert len(set(match.x_units)) == len(set(match.y_units)) == small
        if on == "correlation":
            assert unit_matching(X, Y) == pytest.approx(best / small)
        else:
            norms = [np.linalg.norm(side - side.mean(0)) for side in (X, Y)]
            assert unit_matching(X, Y, on) == pytest.approx(best * 19 / np.prod(norms))


def test_unit_matching_finds_planted_units_and_their_scores():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((50, 6))
    order = rng.permutation(6)
    match = match_units(X, 3 * X[:, order] + 2)
    np.testing.assert_array_equal(order[match.y_units], match.x_units)
    np.testing.assert_allclose(match.scores, 1.0)
    assert unit_matching(X, 3 * X[:, order] + 2) == pytest.approx(1.0)


def test_dead_units_have_no_correlation():
    X = np.random.default_rng(0).standard_normal((10, 3))
    dead = X.copy()
    dead[:, 1] = 0.1
    with pytest.raises(ValueError, match="Y has 1 constant units, the first at 1"):
        unit_matching(X, dead)
    assert unit_matching(X, dead, "covariance") > 0
    with pytest.raises(ValueError, match="norm 0"):
        unit_matching(X, np.ones((10, 3)), "covariance")
    with pytest.raises(ValueError, match="correlation, covariance"):
        match_units(X, X, "cosine")


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200])
def test_a_side_of_zeros_hides_no_tiny_or_huge_one(size):
    X = np.random.default_rng(0).standard_normal((10, 3))
    expected = np.linalg.norm(X) * size
    assert procrustes_distance(np.zeros((10, 3)), X * size, "raw") == pytest.approx(expected, rel=1e-12)
