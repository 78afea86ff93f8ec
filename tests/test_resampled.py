"""Correlations over pairs of images: every resample against an explicit one, intervals against planted truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from semrsm_bench.metrics import compare_rsms
from semrsm_bench.metrics.resampled import resampled_pearson, resampled_spearman


def draws_of(images, resamples, seed=0):
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)


def symmetric(rng, n, levels=None):
    values = rng.integers(levels, size=(n, n)).astype(float) if levels else rng.standard_normal((n, n))
    return values + values.T


def written_out(first, other, draw):
    """The pairs of a resample one by one, those of an image with itself left out."""
    images = np.repeat(np.arange(len(draw)), draw)
    pairs = [(i, j) for k, i in enumerate(images) for j in images[k + 1 :] if i != j]
    return np.array([first[p] for p in pairs]), np.array([other[p] for p in pairs])


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), n=st.integers(10, 14), levels=st.sampled_from([None, 1, 2, 5]))
def test_resamples_are_those_of_pairs_written_out(seed, n, levels):
    rng = np.random.default_rng(seed)
    first, others = symmetric(rng, n, levels), [symmetric(rng, n, levels) for _ in range(2)]
    draws = draws_of(n, 3, seed)
    for function, oracle in ((resampled_pearson, pearsonr), (resampled_spearman, spearmanr)):
        result = function(first, others, draws)
        for b, draw in enumerate(draws):
            for k, other in enumerate(others):
                a, c = written_out(first, other, draw)
                if len(set(a)) > 1 and len(set(c)) > 1:
                    assert result[b, k] == pytest.approx(oracle(a, c)[0], abs=1e-9)
                else:
                    assert np.isnan(result[b, k])


@pytest.mark.parametrize("resamples", [1, 64, 65, 150])
@pytest.mark.parametrize("function", [resampled_pearson, resampled_spearman])
def test_many_resamples_are_as_each_by_itself(function, resamples):
    rng = np.random.default_rng(resamples)
    first, others = symmetric(rng, 12), [symmetric(rng, 12, 4), symmetric(rng, 12)]
    draws = draws_of(12, resamples)
    alone = [function(first, others, draws[b : b + 1]) for b in range(resamples)]
    np.testing.assert_allclose(function(first, others, draws), np.concatenate(alone), rtol=1e-12)


def test_every_image_once_gives_the_correlation_itself():
    rng = np.random.default_rng(0)
    first, other = symmetric(rng, 20) * 1e6 + 1e9, np.exp(3 * symmetric(rng, 20))
    once = np.ones((1, 20))
    assert resampled_pearson(first, [other], once)[0, 0] == pytest.approx(compare_rsms(first, other, "pearson"))
    assert resampled_spearman(first, [other], once)[0, 0] == pytest.approx(compare_rsms(first, other, "spearman"))


def test_intervals_over_images_hold_where_those_over_pairs_do_not():
    """Each image shifts all of its pairs, in either matrix by itself: the correlation is 0 in truth."""
    rng = np.random.default_rng(1)
    n, trials = 30, 120
    covered = {"images": 0, "pairs": 0}
    for trial in range(trials):
        first, other = (np.add.outer(u, u) + 0.2 * symmetric(rng, n) for u in rng.standard_normal((2, n)))
        low, high = np.quantile(resampled_pearson(first, [other], draws_of(n, 300, trial)), [0.025, 0.975])
        covered["images"] += low <= 0 <= high
        covered["pairs"] += abs(compare_rsms(first, other)) <= 1.96 / np.sqrt(n * (n - 1) / 2)
    assert covered["images"] / trials > 0.88
    assert covered["pairs"] / trials < 0.7
