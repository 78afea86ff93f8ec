"""Correlation of two RSMs over pairs of images, in resamples of the images.

Pairs share images, so a bootstrap that drew pairs would give intervals that are far too narrow: whole images are drawn. The pairs
that an image drawn twice makes with itself are left out (as for RSMs in Schuett et al. 2023), and every other pair counts as often
as the product of its images' draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.metrics.arrays import FloatArray, as_rsm, upper_triangle
from semrsm_bench.metrics.ranks import tie_groups

# Resamples that are ranked side by side, which the processor does at once.
_LANES = 64


def resampled_pearson(first: FloatArray, others: Sequence[FloatArray], draws: NDArray[Any]) -> FloatArray:
    """Pearson correlation of one symmetric matrix (N, N) with several, over i < j, in every resample of the images.

    ``draws`` (B, N) says how often each image counts in each resample. Returns (B, len(others)); NaN where a resample holds no
    different values.
    """
    weights = np.asarray(draws, dtype=np.float64)
    total = (weights.sum(1) ** 2 - (weights**2).sum(1)) / 2

    def mean(matrix: FloatArray) -> FloatArray:
        # All sums over pairs at once: the diagonals are zero, so w' M w / 2 runs over i < j.
        return np.asarray(((weights @ matrix) * weights).sum(1) / 2 / total)

    a = _standardised(first)
    mean_a, square_a = mean(a), mean(a * a)
    result = np.empty((len(weights), len(others)))
    for k, other in enumerate(others):
        b = _standardised(other)
        mean_b = mean(b)
        variances = (square_a - mean_a**2) * (mean(b * b) - mean_b**2)
        with np.errstate(invalid="ignore", divide="ignore"):
            # A resample of equal values leaves rounding, of either sign, where 0 should be.
            result[:, k] = np.where(variances > 1e-20, (mean(a * b) - mean_a * mean_b) / np.sqrt(variances), np.nan)
    return result


def resampled_spearman(first: FloatArray, others: Sequence[FloatArray], draws: NDArray[Any]) -> FloatArray:
    """Spearman correlation as `resampled_pearson`: every resample is ranked anew, ties share their mean rank."""
    counts, images = np.asarray(draws, dtype=np.float64), np.stack(np.triu_indices(len(first), 1))
    vectors = [upper_triangle(np.asarray(m, dtype=np.float64)) for m in (first, *others)]
    orders, starts = zip(*map(tie_groups, vectors), strict=True)
    pairs = [np.ascontiguousarray(images[:, order]) for order in orders]
    place = np.argsort(orders[0])
    result = np.empty((len(counts), len(others)))
    ranks = np.empty((len(place), _LANES))
    for start in range(0, len(counts), _LANES):
        here = np.zeros((len(first), _LANES))
        block = slice(start, min(start + _LANES, len(counts)))
        here[:, : block.stop - start] = counts[block].T
        square, _ = _centred_ranks(pairs[0], starts[0][1:], here, ranks, place, True)
        for k, order in enumerate(orders[1:]):
            other, product = _centred_ranks(pairs[k + 1], starts[k + 1][1:], here, ranks, place[order], False)
            with np.errstate(invalid="ignore", divide="ignore"):
                found = np.where(square * other > 0, product / np.sqrt(square * other), np.nan)
            result[block, k] = found[: block.stop - start]
    return result


def _standardised(matrix: FloatArray) -> FloatArray:
    """Mean 0 and deviation 1 over i < j, the diagonal 0, so that sums of squares cancel little."""
    values = upper_triangle(as_rsm(matrix, "matrix"))
    result: FloatArray = (np.asarray(matrix, dtype=np.float64) - values.mean()) / (values.std() or 1.0)
    np.fill_diagonal(result, 0.0)
    return result


@njit()
def _centred_ranks(
    pairs: NDArray[np.int64],
    ends: NDArray[np.int64],
    draws: FloatArray,
    ranks: FloatArray,
    place: NDArray[np.int64],
    writes: bool,
) -> tuple[FloatArray, FloatArray]:  # pragma: no cover
    """Mid-ranks minus their mean in samples, side by side, that hold the pair of i and j ``draws[i] * draws[j]`` times.

    ``pairs`` (2, P) are in sorted order. The ranks are written to ``ranks`` (P, lanes), or multiplied with what it holds in row
    ``place[p]`` for pair p. Returns the sums of their squares, and those of the products.
    """
    lanes = draws.shape[1]
    middle, weight, rank = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)
    below, squares, products = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)
    for draw in draws:
        for b in range(lanes):
            middle[b] += draw[b]
            weight[b] += draw[b] * draw[b]
    for b in range(lanes):
        middle[b] = ((middle[b] * middle[b] - weight[b]) / 2 + 1.0) / 2
    start = 0
    for end in ends:
        weight[:] = 0.0
        for p in range(start, end):
            one, two = draws[pairs[0, p]], draws[pairs[1, p]]
            for b in range(lanes):
                weight[b] += one[b] * two[b]
        for b in range(lanes):
            rank[b] = below[b] + (weight[b] + 1.0) / 2 - middle[b]
            squares[b] += weight[b] * rank[b] * rank[b]
            below[b] += weight[b]
        for p in range(start, end):
            if writes:
                ranks[p] = rank
            else:
                one, two, first = draws[pairs[0, p]], draws[pairs[1, p]], ranks[place[p]]
                for b in range(lanes):
                    products[b] += one[b] * two[b] * rank[b] * first[b]
        start = end
    return squares, products
