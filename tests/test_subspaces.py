"""Regression, predictivity, overlap and GULP against plain least squares, loops and theorems."""

import math

import numpy as np
import pytest

from semrsm_bench.metrics import canonical_correlations, get_metric


def sides(seed, n=24, p=6, q=4):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p))
    return x + 2.0, x[:, :q] @ rng.standard_normal((q, q)) + rng.standard_normal((n, q))


def centred(x):
    return x - x.mean(axis=0)


@pytest.mark.parametrize("seed", range(3))
def test_regression_is_r2_of_least_squares(seed):
    x, y = sides(seed)
    design = np.column_stack([np.ones(len(x)), x])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    expected = 1 - (residual**2).sum() / (centred(y) ** 2).sum()
    assert get_metric("linear_regression").run(x, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("width", [6, 40])
def test_predictivity_leaves_one_out_in_a_loop(width):
    x, y = sides(0, p=width)
    n, largest = len(x), np.linalg.svd(centred(x), compute_uv=False)[0] ** 2
    errors = np.empty((8, n))
    for row, penalty in zip(errors, 10.0 ** np.arange(-6, 2) * largest, strict=True):
        for i in range(n):
            others = np.arange(n) != i
            # The closed form keeps the penalty on the slopes and none on the intercept.
            mean_x, mean_y = x[others].mean(axis=0), y[others].mean(axis=0)
            a, b = x[others] - mean_x, y[others] - mean_y
            slopes = np.linalg.solve(a.T @ a + penalty * np.eye(width), a.T @ b)
            row[i] = ((y[i] - mean_y - (x[i] - mean_x) @ slopes) ** 2).sum()
    chosen = [errors[np.delete(errors, i, axis=1).sum(axis=1).argmin(), i] for i in range(n)]
    deviations = [((y[i] - np.delete(y, i, axis=0).mean(axis=0)) ** 2).sum() for i in range(n)]
    assert get_metric("linear_predictivity").run(x, y) == pytest.approx(1 - sum(chosen) / sum(deviations), rel=1e-7)


def test_predictivity_of_unrelated_sides_is_not_above_zero():
    rng = np.random.default_rng(0)
    values = [
        get_metric("linear_predictivity").run(rng.standard_normal((30, 12)), rng.standard_normal((30, 12)))
        for _ in range(60)
    ]
    assert np.mean(values) < 0.01
    assert get_metric("linear_regression").run(rng.standard_normal((30, 12)), rng.standard_normal((30, 12))) > 0.25


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_are_sums_of_squared_cosines(seed):
    x, y = sides(seed)
    assert get_metric("eigenspace_overlap").run(x, y) == pytest.approx(
        (canonical_correlations(x, y, centre=False) ** 2).sum() / 6, rel=1e-10
    )
    assert get_metric("cca_r2_larger").run(x, y) == pytest.approx(
        (canonical_correlations(x, y) ** 2).sum() / 6, rel=1e-10
    )


@pytest.mark.parametrize("ridge", [0.0, 0.01, 1.0])
def test_gulp_by_covariances(ridge):
    x, y = (centred(side) for side in sides(1))
    n = len(x)
    x, y = x * math.sqrt(n) / np.linalg.norm(x), y * math.sqrt(n) / np.linalg.norm(y)
    a, b, c = x.T @ x / n, y.T @ y / n, x.T @ y / n
    ia, ib = (np.linalg.inv(m + ridge * np.eye(len(m))) for m in (a, b))
    squared = np.trace(ia @ a @ ia @ a) + np.trace(ib @ b @ ib @ b) - 2 * np.trace(ia @ c @ ib @ c.T)
    assert get_metric("gulp").run(*sides(1), ridge=ridge) == pytest.approx(math.sqrt(squared), rel=1e-9)


def test_gulp_is_the_largest_mean_gap_of_predictors():
    # d^2 is the mean over tasks f of unit covariance of the squared gap between the best linear predictors on the two sides.
    x, y = (centred(side) for side in sides(2))
    n, rng = len(x), np.random.default_rng(0)
    f = rng.standard_normal((n, 20000))
    gaps = [(x @ np.linalg.lstsq(x, f, rcond=None)[0]), (y @ np.linalg.lstsq(y, f, rcond=None)[0])]
    squared = ((gaps[0] - gaps[1]) ** 2).sum(axis=0).mean()
    assert get_metric("gulp").run(*sides(2)) == pytest.approx(math.sqrt(squared), rel=0.01)


@pytest.mark.parametrize("name", ["linear_regression", "eigenspace_overlap", "cca_r2_larger", "gulp"])
def test_more_units_than_stimuli_are_refused(name):
    x, y = sides(0, n=5)
    with pytest.raises(ValueError, match="more stimuli"):
        get_metric(name).run(x, y)


@pytest.mark.parametrize("name", ["linear_regression", "linear_predictivity", "cca_r2_larger", "gulp", "gulp_ridge"])
def test_constant_sides_are_refused(name):
    x, y = sides(0)
    for given in ((np.ones_like(x), y), (x, np.ones_like(y))):
        with pytest.raises(ValueError, match="the same for all stimuli"):
            get_metric(name).run(*given)
