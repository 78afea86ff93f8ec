"""Circular shifts by FFT, against trying every shift."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semrsm_bench.rsm import compute_rsm
from semrsm_bench.rsm.methods import shift_permutation


def by_trying(x, y):
    """Values of all shifts (H, W) of two images (C, H, W)."""
    _, height, width = x.shape
    return np.array([[(x * np.roll(y, (-a, -b), (1, 2))).sum() for b in range(width)] for a in range(height)])


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (4, 1), (2, 2), (3, 4), (5, 3), (4, 4)])
def test_the_best_shift_is_found_on_grids_of_even_and_odd_sides(grid):
    z = np.random.default_rng(0).normal(size=(5, 3, *grid))
    z[4] = np.roll(z[0], (1, 2), axis=(1, 2))
    rsm, perms = compute_rsm(z, matching="translation", return_permutations=True)
    for i in range(5):
        for j in range(i + 1, 5):
            values = by_trying(z[i], z[j])
            assert rsm[i, j] == pytest.approx(values.max(), rel=1e-12)
            assert (perms[i, j] == shift_permutation(int(values.argmax()), grid)).all()
    np.testing.assert_array_equal(z[0].reshape(3, -1), z[4].reshape(3, -1)[:, perms[0, 4]])


def test_equal_shifts_go_to_the_lowest():
    z = np.ones((2, 3, 4, 4), dtype=np.float32)
    z[1] = 0.7
    _, perms = compute_rsm(z, matching="translation", return_permutations=True)
    assert (perms[0, 1] == np.arange(16)).all()
    # Shifts by a whole period differ by rounding alone.
    z = np.tile(np.random.default_rng(4).normal(size=(12, 3, 3, 2)), (1, 1, 2, 3))
    _, perms = compute_rsm(z[:6], z[6:], matching="translation", return_permutations=True)
    assert set(perms[:, :, 0].ravel().tolist()) <= {a * 6 + b for a in range(3) for b in range(2)}


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (3, 2, 2, 3), elements=st.floats(-100, 100, width=32)))
def test_translation_lies_between_identity_and_the_optimum(z):
    rsms = compute_rsm(z, matching=["identity", "translation", "scipy"])
    slack = 1e-12 * np.abs(z).max() ** 2 * z[0].size
    assert (rsms["identity"] <= rsms["translation"] + slack).all()
    assert (rsms["translation"] <= rsms["scipy"] + slack).all()


def test_flat_positions_need_their_grid():
    z = np.random.default_rng(3).normal(size=(3, 2, 12))
    with pytest.raises(ValueError, match="grid"):
        compute_rsm(z, matching="translation")
    with pytest.raises(ValueError, match="does not hold the 12 positions"):
        compute_rsm(z, matching="translation", grid=(3, 3))
    given_flat = compute_rsm(z, matching="translation", grid=(3, 4))
    np.testing.assert_array_equal(given_flat, compute_rsm(z.reshape(3, 2, 3, 4), matching="translation"))
    with pytest.raises(ValueError, match="contradicts"):
        compute_rsm(z.reshape(3, 2, 3, 4), matching="translation", grid=(4, 3))
