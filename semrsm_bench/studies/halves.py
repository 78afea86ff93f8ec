"""How sure a figure is that was computed from a set of images: intervals from random halves of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.stats import Interval

Chosen = NDArray[np.intp]


def halves_interval(
    statistic: Callable[[Chosen], float], n: int, *, seed: int = 0, draws: int = 200, level: float = 0.95
) -> Interval:
    """A statistic of n images with an interval from random halves of them.

    Pairs of images are not independent, so a bootstrap over pairs is too narrow, and a bootstrap over images draws some of
    them twice, whose similarity is no similarity of a pair. Halves drawn without replacement have neither fault, and the
    variance of a mean over n / 2 of n images is that of a bootstrap over all n (the delete-half jackknife).

    Parameters
    ----------
    statistic : callable
        Takes the indices of some images, sorted, and returns a number that does not depend on how many they are.
    n : int
        Number of images, at least 2.
    seed, draws : int
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    Interval
        The statistic of all images, and quantiles over the halves; NaN where the statistic is NaN.

    References
    ----------
    Shao and Wu, "A general theory for jackknife variance estimation", Annals of Statistics 17 (1989).
    """
    if n < 2:
        raise ValueError(f"halves need at least two images, got {n}")
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1 and draws be positive, got {level} and {draws}")
    value = float(statistic(np.arange(n)))
    if math.isnan(value):
        return Interval(value, value, value)
    rng = np.random.default_rng(seed)
    # With an odd number the larger half: a few images more are needed by some statistics.
    size = (n + 1) // 2
    found = [float(statistic(np.sort(rng.permutation(n)[:size]))) for _ in range(draws)]
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def mean_over_pairs(values: NDArray[np.float64], *, seed: int = 0) -> Interval:
    """Mean of a symmetric matrix above its diagonal, with an interval from halves of its images.

    Parameters
    ----------
    values : ndarray, (n, n)
        One value for each pair of images.
    """
    n = len(values)

    def mean(chosen: Chosen) -> float:
        part = values[np.ix_(chosen, chosen)]
        return float(part[np.triu_indices(len(chosen), 1)].mean())

    return halves_interval(mean, n, seed=seed)
