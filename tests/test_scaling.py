"""The benchmark of two workers against one: what it times."""

import numpy as np

from benchmarks import scaling


def test_measures_both_calls_of_every_solver_in_every_round():
    images = np.random.default_rng(0).normal(size=(4, 6, 16, 16)).astype(np.float16)
    found = scaling.measure({256: images}, ["auction-coarse", "exact-auction"], workers=2, rounds=3, load=0.01)
    assert set(found) == {
        (call, 256, solver) for call in ("solve_many", "compute_rsm") for solver in ("auction-coarse", "exact-auction")
    }
    assert all(len(seconds) == 3 and min(map(min, seconds)) > 0 for seconds in found.values())


def test_copies_are_the_same_images_with_their_positions_in_another_order():
    source = np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float16)
    z = scaling.reordered_copies(source, 5)
    assert z.shape == (5, 2, 16)
    for copy, image in zip(z, [*range(3), 0, 1]):
        one, other = (np.sort(a.reshape(2, 16).T, axis=0) for a in (copy, source[image].astype(np.float32)))
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(z[3], z[0])


def test_ratios_are_taken_within_a_round():
    line = scaling.summary({("solve_many", 256, "mine"): [(4.0, 1.0), (2.0, 1.0), (9.0, 3.0)]}, 2).splitlines()[1]
    assert "4.000" in line
    assert "3.00  (2.00 to 4.00, 3 rounds)" in line
