"""What approximate RSMs are worth: agreement against counting by hand, and who is recommended."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from semrsm_bench.bench.stats import Interval, mean_interval
from semrsm_bench.studies.downstream import (
    MEASURES,
    Standing,
    agreements,
    fastest,
    fastest_everywhere,
    mean_over_pairs,
    shared_neighbours,
)


def symmetric(n, seed=0):
    values = np.random.default_rng(seed).normal(size=(n, n))
    return values + values.T


def nearest_by_hand(K, count):
    """Sets of nearest others, found one at a time; the lowest index of equals first."""
    found = []
    for i in range(len(K)):
        others = sorted((j for j in range(len(K)) if j != i), key=lambda j: (-K[i, j], j))
        found.append(set(others[:count]))
    return found


def test_an_rsm_agrees_with_itself_and_with_what_keeps_its_order():
    exact = symmetric(14)
    stretched = np.exp(exact)
    np.fill_diagonal(stretched, 1e9)
    found = agreements(exact, {"itself": exact, "stretched": stretched}, resamples=50)
    assert all(interval == pytest.approx((1.0, 1.0, 1.0), abs=1e-9) for interval in found["itself"].values())
    for measure in ("spearman", "same_neighbour", "top5"):
        assert found["stretched"][measure] == pytest.approx((1.0, 1.0, 1.0), abs=1e-9)
    assert found["stretched"]["cka"].value < 0.99


def test_agreement_is_what_counting_by_hand_gives():
    exact = symmetric(20)
    rough = exact + 0.7 * symmetric(20, seed=1)
    found = agreements(exact, {"rough": rough}, resamples=50)["rough"]
    upper = np.triu_indices(20, 1)
    assert found["spearman"].value == pytest.approx(spearmanr(exact[upper], rough[upper]).statistic)
    for measure, count in (("same_neighbour", 1), ("top5", 5)):
        pairs = zip(nearest_by_hand(exact, count), nearest_by_hand(rough, count))
        assert found[measure].value == pytest.approx(np.mean([len(a & b) / count for a, b in pairs]))
    assert set(found) == set(MEASURES)
    for interval in found.values():
        assert interval.low < interval.value < interval.high


def test_the_diagonal_counts_for_nothing():
    exact, rough = symmetric(12), symmetric(12, seed=1)
    changed = rough.copy()
    np.fill_diagonal(changed, 1e6)
    found = agreements(exact, {"a": rough, "b": changed}, resamples=20)
    for measure in MEASURES:
        assert found["a"][measure].value == pytest.approx(found["b"][measure].value, abs=1e-8)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="10 images"):
        agreements(symmetric(9), {"a": symmetric(9)})
    with pytest.raises(ValueError, match="to be near"):
        shared_neighbours(symmetric(5), symmetric(5), 5)


@given(st.integers(3, 9), st.integers(0, 10**6), st.integers(1, 4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_shared_neighbours_are_found_among_ties_too(n, seed, count, tied):
    count = min(count, n - 1)
    K, L = symmetric(n, seed), symmetric(n, seed + 1)
    if tied:
        K, L = np.round(K), np.round(L)
    expected = [len(a & b) / count for a, b in zip(nearest_by_hand(K, count), nearest_by_hand(L, count))]
    np.testing.assert_allclose(shared_neighbours(K, L, count), expected)


def test_an_interval_over_images_knows_that_pairs_share_them():
    n = 60
    effect = np.random.default_rng(2).normal(size=n)
    values = effect[:, None] + effect
    found = mean_over_pairs(values)
    assert found.value == pytest.approx(2 * effect.mean(), abs=1e-12)
    # The mean over pairs of a_i + a_j is twice the mean of n independent values, so its standard error is known.
    expected = 2 * 1.96 * effect.std(ddof=1) * 2 / np.sqrt(n)
    assert found.high - found.low == pytest.approx(expected, rel=0.2)
    naive = mean_interval(values[np.triu_indices(n, 1)])
    assert naive.high - naive.low < 0.4 * (found.high - found.low)


def test_an_undefined_pair_makes_the_mean_undefined():
    values = np.ones((12, 12))
    values[3, 5] = values[5, 3] = np.nan
    assert np.isnan(mean_over_pairs(values)).all()


def standing(solver, layer, seconds, spearman, neighbours=1.0):
    worst = {"spearman": spearman, "same_neighbour": neighbours, "cka": 1.0, "top5": 1.0}
    return Standing(solver, layer, 64, 20, Interval(seconds, seconds, seconds), worst, worst)


def test_the_fastest_that_is_good_enough_is_recommended():
    here = [
        standing("quick", "a", 1.0, 0.5),
        standing("good", "a", 2.0, 0.9995, 0.98),
        standing("better", "a", 3.0, 0.9999),
        standing("exact", "a", 4.0, 1.0),
        standing("untimed", "a", float("nan"), 1.0),
    ]
    assert fastest(here, {"spearman": 0.999}).solver == "good"
    assert fastest(here, {"spearman": 0.999, "same_neighbour": 0.99}).solver == "better"
    assert fastest(here, {"spearman": 1.0}).solver == "exact"
    assert fastest(here[:1], {"spearman": 0.999}) is None


def test_over_all_layers_a_solver_must_hold_everywhere():
    everywhere = [
        standing("a", "x", 1.0, 1.0),
        standing("a", "y", 1.0, 0.5),
        standing("b", "x", 2.0, 1.0),
        standing("b", "y", 8.0, 1.0),
        standing("c", "x", 3.0, 1.0),
        standing("c", "y", 5.0, 1.0),
    ]
    # Geometric means 4 and sqrt(15).
    assert fastest_everywhere(everywhere, {"spearman": 0.9}) == "c"
    assert fastest_everywhere(everywhere, {"spearman": 0.2}) == "a"
    assert fastest_everywhere(everywhere[:2], {"spearman": 0.9}) is None
