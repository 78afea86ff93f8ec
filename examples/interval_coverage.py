"""How often 95 % intervals hold the truth where each value is of a pair of networks or images: tables of docs/how-we-measure.md.

A value is the sum of what its networks have, normal or, where skewed, exponential, and of normal noise; the figure is the mean.
"""

import itertools
import sys

import numpy as np

from semrsm_bench.core.stats import bootstrap_draws, interval_of, jackknife_draws, weighted_mean, weighted_median
from semrsm_bench.tasks.sources import choose_pairs


def coverage(networks, runs, skewed=False, seed=0):
    """Share of the runs in which each interval holds the truth, 0."""
    rng = np.random.default_rng(seed)
    pairs = np.array(list(itertools.combinations(range(networks), 2)))
    weights = {
        "jackknife over networks": jackknife_draws(networks)[:, pairs].prod(axis=2),
        "bootstrap over networks": bootstrap_draws(networks)[:, pairs].prod(axis=2),
        "bootstrap over pairs": bootstrap_draws(len(pairs)),
    }
    hits = dict.fromkeys(weights, 0)
    for _ in range(runs):
        own = rng.exponential(size=networks) - 1 if skewed else rng.normal(size=networks)
        values = own[pairs].sum(axis=1) + rng.normal(size=len(pairs))
        for how, drawn in weights.items():
            _, low, high = interval_of(weighted_mean(values, drawn), how.split()[0])
            hits[how] += low <= 0 <= high
    return {how: count / runs for how, count in hits.items()}


def coverage_of_medians(images, count, runs, share=0.5, seed=0):
    """The same for the median of so many pairs of images, of whose variance this share comes from the images."""
    rng = np.random.default_rng(seed)
    pairs = np.array(choose_pairs(images, count))
    weights = {
        "bootstrap over images": bootstrap_draws(images)[:, pairs].prod(axis=2),
        "bootstrap over pairs": bootstrap_draws(len(pairs)),
    }
    hits = dict.fromkeys(weights, 0)
    for _ in range(runs):
        own = rng.normal(scale=np.sqrt(share / 2), size=images)
        values = own[pairs].sum(axis=1) + rng.normal(scale=np.sqrt(1 - share), size=len(pairs))
        for how, drawn in weights.items():
            _, low, high = interval_of(weighted_median(values, drawn))
            hits[how] += low <= 0 <= high
    return {how: count / runs for how, count in hits.items()}


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for networks, skewed in itertools.product((4, 10, 20), (False, True)):
        found = ", ".join(f"{how} {100 * share:.0f} %" for how, share in coverage(networks, runs, skewed).items())
        print(f"{networks} networks, {'skewed' if skewed else 'normal'}: {found}")
    for count, share in itertools.product((20, 60, 276), (0.0, 0.5, 1.0)):
        shares = coverage_of_medians(24, count, runs // 4, share)
        found = ", ".join(f"{how} {100 * held:.0f} %" for how, held in shares.items())
        print(f"24 images, {count} pairs, {100 * share:.0f} % of the variance from images: {found}")
