"""The benchmark from vectors to the certified permutation: what it times, and its table."""

import numpy as np

from benchmarks import end_to_end


def test_every_pair_has_three_times_and_ratios_are_taken_within_a_pair():
    images = np.random.default_rng(0).normal(size=(3, 6, 8, 8)).astype(np.float16)
    found = end_to_end.measure(images, pairs=2, rounds=2)
    assert found.shape == (2, 3)
    assert (found > 0).all()
    line = end_to_end.summary({64: np.array([[1.0, 0.5, 1.0], [2.0, 1.0, 3.0], [4.0, 2.0, 8.0]])}).splitlines()[1]
    assert " ".join(line.split()) == "64 3 2000.000 0.50 (0.50 to 0.50) 1.50 (1.00 to 2.00) 2.00 (1.50 to 2.50)"
