"""Permutation nulls: what is permuted, whether p-values are p-values, and what calibration does."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from semrsm_bench import metrics
from semrsm_bench.metrics import (
    METRICS,
    linear_cka,
    null_distribution,
    p_value,
    procrustes_distance,
    significance,
    svcca,
)
from semrsm_bench.metrics.declarations import find_declared
from tests.representations import BASELINES, inputs_of

PAIRED = [name for name, info in METRICS.items() if len(info.inputs) == 2 and name not in BASELINES]
X, Y = np.random.default_rng(4).standard_normal((2, 6, 6))
K, L = X @ X.T, Y @ Y.T


@pytest.mark.parametrize("name", PAIRED)
def test_every_metric_has_a_seeded_null_that_finds_agreement(name):
    info = METRICS[name]
    # Units that have nothing in common have no reliable sum.
    pair = inputs_of(info, n=60, width=3, noise=0.1, mixed=name == "rsa_noise_ceiling")
    result = significance(name, *pair, n=60, seed=3)
    assert result.p_value == 1 / 61
    assert result.value == info.function(*pair)
    assert math.isnan(result.score) if info.best is None else 0.3 < result.score <= 1
    np.testing.assert_array_equal(result.null, null_distribution(info.function, *pair, n=60, seed=3))
    assert not np.array_equal(result.null, null_distribution(name, *pair, n=60, seed=4))


def undeclared(a, b):
    return float(np.abs(a - b).sum())


@pytest.mark.parametrize(
    ("metric", "first", "second", "both"),
    [
        # Features as wide as they are long are features still.
        *((metric, X, Y, False) for metric in (linear_cka, procrustes_distance, partial(svcca, threshold=0.3))),
        # What is not declared is taken by the symmetry of its second input.
        (undeclared, K, L, True),
        (undeclared, X, Y, False),
        (undeclared, X[:, :3], Y[:, :3], False),
    ],
)
def test_the_null_is_the_metric_of_reordered_stimuli(metric, first, second, both):
    rng = np.random.default_rng(7)
    orders = [rng.permutation(6) for _ in range(5)]
    for permute in (None, "rows", *(["both"] if second.shape == (6, 6) else [])):
        rows_alone = permute == "rows" or (permute is None and not both)
        expected = [metric(first, second[o] if rows_alone else second[np.ix_(o, o)]) for o in orders]
        np.testing.assert_allclose(null_distribution(metric, first, second, n=5, seed=7, permute=permute), expected)


def test_a_small_null_against_all_permutations():
    first, second = X[:4, :2], Y[:4, :1]
    everything = np.array([linear_cka(first, second[list(order)]) for order in itertools.permutations(range(4))])
    null = null_distribution(linear_cka, first, second, n=4000)
    assert set(np.round(null, 12)) == set(np.round(everything, 12))
    assert null.mean() == pytest.approx(everything.mean(), abs=4 * everything.std() / math.sqrt(4000))


@pytest.mark.parametrize("name", ["linear_cka", "cka_debiased", "rsa_spearman", "procrustes_angular"])
def test_p_values_of_unrelated_data_are_uniform(name):
    sides = [inputs_of(METRICS[name], seed, n=10, width=3, shared=0) for seed in range(150)]
    values = np.array([significance(name, *pair, n=39, seed=seed).p_value for seed, pair in enumerate(sides)])
    assert stats.kstest(values, "uniform").pvalue > 0.001
    assert np.mean(values <= 0.05) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 150)


@pytest.mark.parametrize(
    ("value", "null", "direction", "expected"),
    [
        (0.3, [0.1, 0.2, 0.3, 0.3], "similarity", 3 / 5),
        (0.31, [0.1, 0.2, 0.3, 0.3], "similarity", 1 / 5),
        (0.0, [0.1, 0.2, 0.3, 0.3], "similarity", 1),
        (0.1, [0.1, 0.2, 0.3, 0.3], "distance", 2 / 5),
        # Ties are on the scale of the null.
        (1e-17, [1e-17, -2e-17, 3e-17, 0.5, -0.5], "similarity", 5 / 6),
        (1e-17, [1e-17, -2e-17, 3e-17], "similarity", 3 / 4),
        (0.3, [0.3 - 1e-9, 0.3 + 1e-9], "similarity", 2 / 3),
    ],
)
def test_p_values_count_the_value_itself_and_ties(value, null, direction, expected):
    assert p_value(value, null, direction) == expected


@pytest.mark.parametrize(
    ("value", "null", "best", "expected"),
    [*((value, [0.4, 0.6], 1, 2 * value - 1) for value in (0.5, 1, 0.75, 0.25)), (1.0, [3.0, 5.0], 0, 0.75)],
)
def test_calibrated_scores_are_0_at_chance_and_1_at_best(value, null, best, expected):
    assert metrics.calibrated_score(value, null, best) == pytest.approx(expected)


def test_functions_and_partials_have_the_declaration_of_their_parameters():
    assert find_declared(partial(procrustes_distance, variant="angular")).high == math.pi / 2
    assert find_declared(procrustes_distance).name == "procrustes_centred"
    assert find_declared(partial(svcca, threshold=0.9)).name == "svcca"
    assert find_declared(partial(partial(metrics.cka), estimator="debiased")).name == "cka_debiased"
    assert find_declared(len) is None


def test_instance_null_breaks_the_correspondence_of_every_model():
    rng = np.random.default_rng(5)
    aligned = rng.standard_normal((25, 4)) + 0.3 * rng.standard_normal((3, 25, 4))
    null = metrics.instance_null(aligned, n=100, seed=2)
    assert null.shape == (100, 25)
    assert abs(null.mean()) < 0.1 < metrics.instance_similarity(aligned).mean()
    np.testing.assert_array_equal(null, metrics.instance_null(aligned, n=100, seed=2))


@pytest.mark.parametrize("metric", ["linear_cka", "rbf_cka", "rsa_spearman", "procrustes_centred"])
def test_values_that_are_equal_up_to_rounding_count_as_ties(metric):
    """Points on a circle and the circle turned: eight reorderings give the same value, up to rounding."""
    circle, turned = (np.column_stack([np.cos(a), np.sin(a)]) for a in (np.arange(8) * np.pi / 4 + t for t in (0, 0.3)))
    info = METRICS[metric]
    sides = [(circle, 2 * np.roll(turned, shift, 0)) for shift in range(8)]
    if info.inputs[0] == "rsm":
        sides = [(a @ a.T, b @ b.T) for a, b in sides]
    null = np.array([info.function(*pair) for pair in sides])
    assert np.ptp(null) < 1e-12
    values = null + 1e-15 * np.arange(-4, 4)
    assert [p_value(value, values, info.direction) for value in values] == [1.0] * 8
