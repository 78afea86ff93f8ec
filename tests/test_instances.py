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


def test_extremes():
    a = np.array([[3.0, 4.0], [1.0, 0.0]])
    same = [a, a, a]
    for kind in KINDS:
        best = 0.0 if kind == "dispersion" else 1.0
        np.testing.assert_allclose(instance_similarity(same, kind), best, atol=1e-15)
    # Three unit vectors at 120 degrees: every pair has cosine -1/2, the lowest for three, and their mean is zero.
    corners = [np.array([[np.cos(t), np.sin(t)]]) for t in np.arange(3) * 2 * np.pi / 3]
    np.testing.assert_allclose(instance_similarity(corners), [-0.5])
    np.testing.assert_allclose(instance_similarity(corners, "dispersion"), [1.0])
    np.testing.assert_allclose(instance_similarity(corners, "leave_one_out_cosine"), [-1.0])
    np.testing.assert_allclose(instance_similarity([a, -a], "pairwise_cosine"), -1.0)


def test_zero_rows_and_cancelling_means_are_named():
    a = np.ones((3, 2))
    zero = a.copy()
    zero[1] = 0
    with pytest.raises(ValueError, match=r"aligned\[1\] has 1 zero rows, the first at 1"):
        instance_similarity([a, zero])
    assert instance_similarity([a, zero], "dispersion")[1] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="the mean of the models has 3 zero rows"):
        instance_similarity([a, -a], "barycenter_cosine")
    with pytest.raises(ValueError, match=r"the mean of all models but aligned\[0\] has 3 zero rows"):
        instance_similarity([0.1 * a, 0.7 * a, -0.7 * a], "leave_one_out_cosine")


def test_mistakes():
    a = np.ones((3, 2))
    with pytest.raises(ValueError, match="at least two models"):
        instance_similarity([a])
    with pytest.raises(ValueError, match=r"aligned\[1\] has shape \(2, 2\)"):
        instance_similarity([a, a[:2]])
    with pytest.raises(ValueError, match="pairwise_cosine, dispersion"):
        instance_similarity([a, a], "cosine")
