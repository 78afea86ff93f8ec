"""The RSM method random: numbers that know nothing of the images but who they are."""

import numpy as np
import pytest

from semrsm_bench.rsm import compute_rsm
from semrsm_bench.rsm.registry import get_rsm


def images(n=40):
    return np.random.default_rng(0).standard_normal((n, 3, 4)).astype(np.float32)


def test_an_entry_depends_on_its_two_images_and_the_seed_alone():
    z = images()
    rsm = compute_rsm(z, matching="random")
    np.testing.assert_array_equal(rsm, rsm.T)
    np.testing.assert_array_equal(compute_rsm(z[3:9], z[20:], matching="random", block=2), rsm[3:9, 20:])
    assert (compute_rsm(z, matching="random", options={"seed": 1}) != rsm).mean() > 0.9


@pytest.mark.parametrize("kernel", ["linear", "cosine", "rbf"])
def test_every_kernel_keeps_the_order(kernel):
    z = images(12)
    upper = np.triu_indices(12, 1)
    values, order = (compute_rsm(z, matching="random", kernel=k)[upper] for k in (kernel, "linear"))
    np.testing.assert_array_equal(np.argsort(values), np.argsort(order))


def test_the_numbers_are_uniform_and_of_a_baseline():
    values = compute_rsm(images(), matching="random")[np.triu_indices(40, 1)]
    assert np.abs(np.quantile(values, [0.25, 0.5, 0.75]) - [-0.5, 0, 0.5]).max() < 0.1
    assert get_rsm("random").declare().category == "baseline"
