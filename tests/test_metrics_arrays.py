"""Input that metrics take, and input that they refuse."""

import numpy as np
import pytest

from semrsm_bench import metrics
from semrsm_bench.metrics.arrays import as_float64, as_rsm, balanced, centred, upper_triangle

torch = pytest.importorskip("torch", reason="torch is an optional dependency of the package")

X, Y = np.random.default_rng(0).standard_normal((2, 20, 4)) @ (np.eye(4) + np.ones((4, 4)))
K, L = X @ X.T, Y @ Y.T


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "bool"])
def test_every_dtype_becomes_float64_and_float64_is_not_copied(dtype):
    given = torch.tensor(10 * X).to(getattr(torch, dtype))
    expected = given.double().numpy()
    if given.dtype.is_floating_point:
        given.requires_grad_()
    for value in [given, expected.tolist(), *([given.detach().numpy()] if dtype != "bfloat16" else [])]:
        np.testing.assert_array_equal(as_float64(value, "X"), expected, strict=True)
    assert as_float64(expected, "X") is expected
    assert balanced(expected)[0] is expected
    assert type(metrics.linear_cka(given, given)) is float


# Uniformity is of features as they are, and the random number changes with every bit.
OF_EVERY_SIZE = [name for name in metrics.metric_names() if name not in ("uniformity_difference", "random")]


@pytest.mark.parametrize("name", OF_EVERY_SIZE)
@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e-60, 1e60, 1e150, 1e300])
def test_huge_and_tiny_input_costs_no_digits(name, size):
    metric = metrics.get_metric(name)
    if metric.measured_in == "entries^2":
        size **= 0.1
    given = (X, Y) if metric.takes == "features" else (K, L)
    # What is a product of both sides, or has no unit, may see them at different sizes.
    factor = size if metric.measured_in in ("features", "entries") else 1
    large = given[0] * size, given[1] * size if factor == size or metric.takes == "features" else given[1] / size
    if name.startswith("rbf") and abs(np.log10(size)) > 150:
        with pytest.raises(ValueError, match=r"range of float64|the bandwidth .* is 0"):
            metric.run(*large)
        return
    assert metric.run(*large) == pytest.approx(metric.run(*given) * factor, rel=1e-9)


def changed(matrix, place, value):
    result = matrix.copy()
    result[place] = value
    return result


REFUSED = {
    "features": [
        *(
            (X, changed(Y, (7, 2), bad), r"Y has 1 non-finite entries, the first .* at \(7, 2\)")
            for bad in (np.nan, np.inf)
        ),
        (X, X[:19], "first has 20 and the second 19"),
        (X.reshape(20, 2, 2, 1), X, r"reshape\(len\(X\), -1\)"),
        (X[:, 0], X[:, 1], "2 axes"),
        (X[:, :0], X, "empty"),
        (X[:0], X[:0], "empty"),
    ],
    "rsms": [
        (X, K, "square RSM"),
        (K, K[:5, :5], "first has 20 and the second 5"),
        (K, changed(L, (1, 4), 9), r"L is not symmetric: \[1, 4\]"),
    ],
}


@pytest.mark.parametrize(
    ("name", "x", "y", "message"),
    [(name, *case) for takes, cases in REFUSED.items() for name in metrics.metric_names(takes) for case in cases],
)
def test_misshapen_and_non_finite_input_is_named(name, x, y, message):
    with pytest.raises(ValueError, match=message):
        metrics.get_metric(name).run(x, y)


def test_asymmetry_is_found_in_every_tile_and_rounding_is_not():
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((700, 3))
    K = wide @ wide.T
    as_rsm(K.astype(np.float32) * (1 + 1e-7 * rng.standard_normal(K.shape)), "K")
    for i, j in [(0, 699), (699, 0), (300, 301), (256, 255), (10, 500)]:
        skewed = changed(K, (i, j), K[i, j] + 1e-3)
        with pytest.raises(ValueError, match=rf"\[{min(i, j)}, {max(i, j)}\]"):
            as_rsm(skewed, "K")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones((2, 2), dtype=complex), "dtype is complex"),
        (torch.ones(2, 2, dtype=torch.complex64), "complex"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.ma.masked_array([[1.0, 2.0]], mask=[[True, False]]), "masked"),
        ([[1, 2], [3]], "rectangular"),
        (None, "dtype is object"),
        (3.0, "2 axes"),
    ],
)
def test_what_is_no_matrix_of_real_numbers(value, message):
    with pytest.raises(ValueError, match=message):
        as_float64(value, "X")


def test_centred_leaves_nothing_of_a_constant_column():
    X = np.column_stack([np.full(7, 0.1), np.full(7, 1e9 + 0.1), np.arange(7.0), np.zeros(7)])
    result = centred(X)
    np.testing.assert_array_equal(result[:, [0, 1, 3]], 0.0)
    np.testing.assert_array_equal(result[:, 2], np.arange(-3.0, 4.0))
    # Nor of one that is constant up to rounding.
    rounded = np.array([[0.1], [0.1 + np.spacing(0.1)], [0.1 - np.spacing(0.1)]])
    np.testing.assert_array_equal(centred(rounded), 0.0)
    assert np.isnan(metrics.linear_cka(rounded, np.arange(3.0)[:, None]))


@pytest.mark.parametrize("n", [1, 2, 5, 256, 257, 300])
def test_upper_triangle_is_row_major(n):
    K = np.arange(float(n * n)).reshape(n, n)
    np.testing.assert_array_equal(upper_triangle(K), [K[i, j] for i in range(n) for j in range(i + 1, n)])
