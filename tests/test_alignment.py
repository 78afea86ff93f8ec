"""Alignments of units against brute force over permutations, rotations and transport plans."""

import itertools
import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from semrsm_bench.metrics import get_metric, procrustes_distance


def sides(seed, n=15, p=4, q=4):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p))
    return x + 1.0, x @ rng.standard_normal((p, q)) + rng.standard_normal((n, q))


def unit(x):
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x)


def correlations(x, y):
    return np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]


@pytest.mark.parametrize(("p", "q"), [(3, 5), (6, 2), (30, 30)])
def test_bures_is_fidelity_and_the_cosine_of_an_angle(p, q):
    x, y = sides(0, p=p, q=q)
    k, l = (unit(s) @ unit(s).T for s in (x, y))  # noqa: E741
    root = sqrtm(k + 1e-14 * np.eye(len(k))).real
    fidelity = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ l @ root), 0)).sum()
    value = get_metric("normalised_bures").run(x, y)
    assert value == pytest.approx(fidelity, abs=1e-5)
    assert value == pytest.approx(math.cos(procrustes_distance(x, y, "angular")), rel=1e-10)


@pytest.mark.parametrize(("p", "q"), [(4, 4), (3, 5), (5, 2)])
def test_permutation_procrustes_by_brute_force(p, q):
    x, y = (unit(side) for side in sides(1, p=p, q=q))
    wide = max(p, q)
    x, y = (np.pad(s, ((0, 0), (0, wide - s.shape[1]))) for s in (x, y))
    expected = min(np.linalg.norm(x[:, list(order)] - y) for order in itertools.permutations(range(wide)))
    assert get_metric("permutation_procrustes").run(*sides(1, p=p, q=q)) == pytest.approx(expected, rel=1e-10)


def test_no_rotation_brings_the_sides_nearer():
    x, y = sides(2, p=3, q=3)
    rng = np.random.default_rng(0)
    value = get_metric("aligned_cosine").run(x, y)
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    rotations = [np.linalg.qr(rng.standard_normal((3, 3)))[0] * rng.choice([-1, 1], 3) for _ in range(8000)]
    best = max(rotations, key=lambda r: np.vdot(a @ r, b))
    rows = (a @ best * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert value == pytest.approx(rows.mean(), abs=0.05)
    turn = rotations[0]
    assert get_metric("aligned_cosine").run(x, x @ turn + 4) == pytest.approx(1.0)


@pytest.mark.parametrize(("p", "q"), [(4, 4), (3, 6), (5, 2)])
def test_soft_correlation_match_takes_the_best_partner_of_each(p, q):
    x, y = sides(3, p=p, q=q)
    c = correlations(x, y)
    expected = (np.mean([max(row) for row in c]) + np.mean([max(column) for column in c.T])) / 2
    assert get_metric("soft_correlation_match").run(x, y) == pytest.approx(expected, rel=1e-10)


def best_plan(c):
    """Dual of the transport problem by brute force over its vertices is too much; a generic solver of linear programs instead."""
    from scipy.optimize import linprog

    p, q = c.shape
    rows = [[float(i == r) for i in range(p) for _ in range(q)] for r in range(p)]
    columns = [[float(j == s) for _ in range(p) for j in range(q)] for s in range(q)]
    return -linprog(-c.ravel(), A_eq=rows + columns, b_eq=[1 / p] * p + [1 / q] * q).fun


@pytest.mark.parametrize(("p", "q"), [(4, 4), (3, 6), (5, 2), (4, 6), (3, 4)])
def test_soft_matching_is_optimal_transport(p, q, monkeypatch):
    x, y = sides(4, p=p, q=q)
    expected = best_plan(correlations(x, y))
    assert get_metric("soft_matching").run(x, y) == pytest.approx(expected, rel=1e-8)
    monkeypatch.setattr("semrsm_bench.metrics.alignment._LARGEST_COPIES", 0)
    assert get_metric("soft_matching").run(x, y) == pytest.approx(expected, rel=1e-8)


def test_equal_widths_are_matched_one_to_one():
    x, y = sides(5, p=5, q=5)
    c = correlations(x, y)
    expected = max(np.mean([c[i, j] for i, j in enumerate(order)]) for order in itertools.permutations(range(5)))
    assert get_metric("soft_matching").run(x, y) == pytest.approx(expected, rel=1e-10)
    assert get_metric("unit_matching").run(x, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    "name", ["normalised_bures", "aligned_cosine", "permutation_procrustes", "soft_correlation_match", "soft_matching"]
)
def test_constant_sides_are_refused(name):
    x, _ = sides(0)
    for given in ((np.ones_like(x), x), (x, np.ones_like(x))):
        with pytest.raises(ValueError, match=r"the same|are constant|zero rows"):
            get_metric(name).run(*given)
