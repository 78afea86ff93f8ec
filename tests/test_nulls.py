"""Permutation nulls: what is permuted, whether p-values are p-values, and what calibration does."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from semrsm_bench.metrics import (
    METRICS,
    calibrated_score,
    cka,
    compare_rsms,
    instance_null,
    instance_similarity,
    linear_cka,
    null_distribution,
    nulls,
    p_value,
    procrustes_distance,
    retrieval_f1,
    significance,
    svcca,
)

BASELINES = ("spectrum", "width")  # a reordering of one side does not change them
PAIRED = [name for name, info in METRICS.items() if len(info.inputs) == 2 and name not in BASELINES]


def inputs(info, rng, n, related):
    latent = rng.standard_normal((n, 3))
    made = []
    for kind in info.inputs:
        X = latent + 0.1 * rng.standard_normal((n, 3)) if related else rng.standard_normal((n, 3))
        e = np.exp(2 * X)
        made.append(
            {
                "features": X,
                "rsm": -np.square(X[:, None] - X).sum(axis=2),
                "probabilities": e / e.sum(axis=1, keepdims=True),
                "counts": np.floor(4 * np.maximum(X, 0)),
            }[kind]
        )
    return made


@pytest.mark.parametrize("name", PAIRED)
def test_every_metric_has_a_seeded_null_that_finds_agreement(name):
    info = METRICS[name]
    X, Y = inputs(info, np.random.default_rng(0), 60, related=True)
    result = significance(name, X, Y, n=60, seed=3)
    assert result.p_value == 1 / 61
    assert result.value == info.function(X, Y)
    if info.best is None:
        assert math.isnan(result.score)
    else:
        assert 0.3 < result.score <= 1
    np.testing.assert_array_equal(result.null, null_distribution(info.function, X, Y, n=60, seed=3))
    assert not np.array_equal(result.null, null_distribution(name, X, Y, n=60, seed=4))


def test_the_null_is_the_metric_of_reordered_stimuli():
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((2, 12, 4))
    orders = np.random.default_rng(7)
    expected = []
    for _ in range(5):
        order = orders.permutation(12)
        expected.append((linear_cka(X, Y[order]), cka(X @ X.T, Y[order] @ Y[order].T)))
    np.testing.assert_allclose(null_distribution(linear_cka, X, Y, n=5, seed=7), [a for a, _ in expected])
    np.testing.assert_allclose(null_distribution(cka, X @ X.T, Y @ Y.T, n=5, seed=7), [b for _, b in expected])


def test_a_small_null_against_all_permutations():
    # Four stimuli have 24 orders; the mean of the null is the mean over them all.
    import itertools

    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((4, 2)), rng.standard_normal((4, 1))
    everything = np.array([linear_cka(X, Y[list(order)]) for order in itertools.permutations(range(4))])
    null = null_distribution(linear_cka, X, Y, n=4000)
    assert set(np.round(null, 12)) == set(np.round(everything, 12))
    assert null.mean() == pytest.approx(everything.mean(), abs=4 * everything.std() / math.sqrt(4000))


@pytest.mark.parametrize("name", ["linear_cka", "cka_debiased", "rsa_spearman", "procrustes_angular"])
def test_p_values_of_unrelated_data_are_uniform(name):
    info = METRICS[name]
    values = []
    for seed in range(150):
        X, Y = inputs(info, np.random.default_rng(seed), 10, related=False)
        values.append(significance(name, X, Y, n=39, seed=seed).p_value)
    assert stats.kstest(values, "uniform").pvalue > 0.001
    assert np.mean(np.array(values) <= 0.05) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 150)


class TestPValue:
    def test_counts_the_value_itself_and_ties(self):
        null = [0.1, 0.2, 0.3, 0.3]
        assert p_value(0.3, null) == 3 / 5
        assert p_value(0.31, null) == 1 / 5
        assert p_value(0.0, null) == 1.0
        assert p_value(0.1, null, "distance") == 2 / 5

    def test_errors(self):
        with pytest.raises(ValueError, match="cannot be ranked"):
            p_value(math.nan, [1.0])
        with pytest.raises(ValueError, match="non-finite"):
            p_value(0.0, [math.nan])
        with pytest.raises(ValueError, match="empty"):
            p_value(0.0, [])
        with pytest.raises(ValueError, match="similarity, distance"):
            p_value(0.0, [1.0], "larger")


class TestCalibratedScore:
    def test_chance_is_zero_and_best_is_one(self):
        assert calibrated_score(0.5, [0.4, 0.6]) == 0.0
        assert calibrated_score(1.0, [0.4, 0.6]) == 1.0
        assert calibrated_score(0.75, [0.4, 0.6]) == pytest.approx(0.5)
        assert calibrated_score(0.25, [0.4, 0.6]) == pytest.approx(-0.5)
        assert calibrated_score(1.0, [3.0, 5.0], best=0.0) == pytest.approx(0.75)

    def test_saturation_is_an_error(self):
        with pytest.raises(ValueError, match="already the best value"):
            calibrated_score(1.0, [1.0, 1.0])
        with pytest.raises(ValueError, match="finite"):
            calibrated_score(math.inf, [1.0])


class TestWhatIsPermuted:
    rng = np.random.default_rng(4)
    X, Y = rng.standard_normal((2, 6, 6))

    def test_declared_functions_and_their_partials_know(self):
        K, L = self.X @ self.X.T, self.Y @ self.Y.T
        for metric in (
            compare_rsms,
            partial(compare_rsms, method="rho_a"),
            partial(partial(cka), estimator="debiased"),
        ):
            assert len(null_distribution(metric, K, L, n=3)) == 3
        square_features = null_distribution(procrustes_distance, self.X, self.Y, n=3, seed=1)
        order = np.random.default_rng(1).permutation(6)
        assert square_features[0] == procrustes_distance(self.X, self.Y[order])

    def test_partials_take_the_declaration_of_their_parameters(self):
        assert nulls.find_declared(partial(procrustes_distance, variant="angular")).high == math.pi / 2
        assert nulls.find_declared(procrustes_distance).name == "procrustes_centred"
        assert nulls.find_declared(partial(svcca, threshold=0.9)).name == "svcca"
        assert nulls.find_declared(len) is None
        result = significance(partial(svcca, threshold=0.5), self.rng.standard_normal((20, 3)),
                              self.rng.standard_normal((20, 3)), n=5)  # fmt: skip
        assert 0 < result.p_value <= 1

    def test_undeclared_functions_are_taken_by_the_symmetry_of_their_input(self):
        def metric(a, b):
            return float(np.abs(a - b).sum())

        K, L = self.X @ self.X.T, self.Y @ self.Y.T
        cases = ((K, L, "both"), (self.X, self.Y, "rows"), (self.X[:, :3], self.Y[:, :3], "rows"))
        for first, second, how in cases:
            default, stated = (null_distribution(metric, first, second, n=3, permute=h) for h in (None, how))
            np.testing.assert_array_equal(default, stated)
        rows = null_distribution(metric, K, L, n=3, permute="rows")
        assert not np.array_equal(rows, null_distribution(metric, K, L, n=3))
        with pytest.raises(ValueError, match="needs an RSM"):
            null_distribution(metric, self.X[:, :3], self.Y[:, :3], n=2, permute="both")
        with pytest.raises(ValueError, match="declared metric"):
            significance(metric, self.X, self.Y, n=2)

    def test_labels_of_a_database_can_be_permuted(self):
        K = np.eye(8)
        counts = np.eye(8)
        null = null_distribution(lambda k, c: retrieval_f1(k, counts, c), K, counts, n=50, permute="rows")
        assert null.max() < retrieval_f1(K, counts, counts) == 1.0

    def test_errors(self):
        with pytest.raises(ValueError, match="n must be at least 1"):
            null_distribution(cka, self.X, self.X, n=0)
        with pytest.raises(ValueError, match="metric must be one of"):
            null_distribution("CKA", self.X, self.X)
        with pytest.raises(ValueError, match="instance_null"):
            null_distribution("instance_dispersion", self.X, self.X)
        with pytest.raises(ValueError, match="rows, both"):
            null_distribution("cca", self.X, self.X, permute="columns")


def test_instance_null_breaks_the_correspondence_of_every_model():
    rng = np.random.default_rng(5)
    latent = rng.standard_normal((25, 4))
    aligned = [latent + 0.3 * rng.standard_normal((25, 4)) for _ in range(3)]
    null = instance_null(aligned, n=100, seed=2)
    assert null.shape == (100, 25)
    assert abs(null.mean()) < 0.1 < instance_similarity(aligned).mean()
    np.testing.assert_array_equal(null, instance_null(aligned, n=100, seed=2))
    with pytest.raises(ValueError, match="at least 1"):
        instance_null(aligned, n=0)


def circle_and_turned():
    """Points on a circle and the circle turned: eight reorderings give the same value, up to rounding."""
    angles = 2 * np.pi * np.arange(8) / 8
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    turned = circle @ np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    return circle, turned


@pytest.mark.parametrize("metric", ["linear_cka", "rbf_cka", "rsa_spearman", "procrustes_centred"])
def test_values_that_are_equal_up_to_rounding_count_as_ties(metric):
    X, Y = circle_and_turned()
    info = METRICS[metric]
    if info.inputs[0] == "rsm":
        X, Y = X @ X.T, Y @ Y.T
        null = np.array([info.function(X, np.roll(Y, (shift, shift), (0, 1))) for shift in range(8)])
    else:
        null = np.array([info.function(X, 2 * Y[np.roll(np.arange(8), shift)]) for shift in range(8)])
    assert np.ptp(null) < 1e-12
    values = null + 1e-15 * np.arange(-4, 4)
    assert [p_value(value, values, info.direction) for value in values] == [1.0] * 8
    with pytest.raises(ValueError, match="already the best value"):
        calibrated_score(0.5, 1 - 1e-15 * np.arange(8))


def test_p_values_count_ties_on_the_scale_of_the_null():
    noise = np.array([1e-17, -2e-17, 3e-17])
    assert p_value(1e-17, [*noise, 0.5, -0.5]) == 5 / 6
    assert p_value(1e-17, noise) == 3 / 4
    assert p_value(0.3, [0.3 - 1e-9, 0.3 + 1e-9]) == 2 / 3
