"""Draws of images and percentile intervals of studies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.stats import Interval
from semrsm_bench.metrics.resampled import resampled_pearson, resampled_spearman

__all__ = ["LEAST_IMAGES", "draw_images", "percentile_interval", "resampled_pearson", "resampled_spearman"]

# With fewer, some draws hold so few different images that nothing correlates.
LEAST_IMAGES = 10


def draw_images(images: int, resamples: int, seed: int = 0) -> NDArray[np.int64]:
    """How often each image is drawn: (resamples, images), rows summing to ``images``.

    Raises
    ------
    ValueError
        Fewer than ten images, or no resample.
    """
    if images < LEAST_IMAGES:
        raise ValueError(f"at least {LEAST_IMAGES} images are needed for an interval, there are {images}")
    if resamples < 1:
        raise ValueError(f"resamples must be positive, got {resamples}")
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)


def percentile_interval(value: float, resampled: NDArray[np.float64], level: float = 0.95) -> Interval:
    """The value with the percentiles of its resamples; NaN limits where a resample is undefined."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
