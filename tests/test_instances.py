"""Instance-level similarity against loops over models and stimuli."""

import itertools

import numpy as np
import pytest

from semrsm_bench.metrics import instance_similarity
from semrsm_bench.metrics.instances import KINDS


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def by_loop(aligned, kind, i):
    rows = [a[i] for a in aligned]
    mean = sum(rows) / len(rows)
    if kind == "pairwise_cosine":
        return np.mean([cosine(a, b) for a, b in itertools.combinations(rows, 2)])
    if kind == "dispersion":
        return np.mean([(a - mean) @ (a - mean) for a in rows])
    if kind == "barycenter_cosine":
        return np.mean([cosine(a, mean) for a in rows])
    return np.mean([cosine(a, (sum(rows) - a) / (len(rows) - 1)) for a in rows])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3, 7])
def test_against_loops(kind, count):
    rng = np.random.default_rng(count)
    aligned = [rng.standard_normal((9, 4)) + 0.5 for _ in range(count)]
    expected = [by_loop(aligned, kind, i) for i in range(9)]
    np.testing.assert_allclose(instance_similarity(aligned, kind), expected, rtol=1e-12)


def test_three_unit_vectors_at_120_degrees():
    # Every pair has cosine -1/2, the lowest for three, and their mean is zero.
    corners = [np.array([[np.cos(t), np.sin(t)]]) for t in np.arange(3) * 2 * np.pi / 3]
    np.testing.assert_allclose(instance_similarity(corners), [-0.5])
    np.testing.assert_allclose(instance_similarity(corners, "dispersion"), [1.0])
    np.testing.assert_allclose(instance_similarity(corners, "leave_one_out_cosine"), [-1.0])
    # A row of zeros has no cosine, but a dispersion.
    assert instance_similarity(np.array([[[1, 1]], [[0, 0]]]), "dispersion")[0] == pytest.approx(0.5)
