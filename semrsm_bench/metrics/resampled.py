"""Correlation of two RSMs over pairs of images, in resamples of the images.

N images make N (N - 1) / 2 pairs, but these share images: an unusual one moves N - 1 pairs at once. A bootstrap that drew pairs
would take them for independent and give intervals that are far too narrow, so whole images are drawn. An image drawn twice would
make a pair with itself, of divergence 0 and the largest similarity there is; such pairs are left out (as for RSMs in
Schuett et al. 2023), and every other pair counts as often as the product of its images' draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from semrsm_bench.metrics.arrays import as_rsm, upper_triangle

Matrix = NDArray[np.float64]


def resampled_pearson(first: Matrix, others: Sequence[Matrix], draws: NDArray[Any]) -> Matrix:
    """Pearson correlation of one symmetric matrix (N, N) with several, over i < j, in every resample of the images.

    ``draws`` (B, N) says how often each image counts in each resample. Returns (B, len(others)); NaN where a resample holds no
    different values.
    """
    weights = np.asarray(draws, dtype=np.float64)
    total = (weights.sum(1) ** 2 - (weights**2).sum(1)) / 2

    def mean(matrix: Matrix) -> Matrix:
        # All sums over pairs at once: the diagonals are zero, so w' M w / 2 runs over i < j.
        return np.asarray(((weights @ matrix) * weights).sum(1) / 2 / total)

    a = _standardised(first)
    mean_a, square_a = mean(a), mean(a * a)
    result = np.empty((len(weights), len(others)))
    for k, other in enumerate(others):
        b = _standardised(other)
        mean_b = mean(b)
        spread = (square_a - mean_a**2) * (mean(b * b) - mean_b**2)
        with np.errstate(invalid="ignore", divide="ignore"):
            # A resample without spread leaves rounding, of either sign, where 0 should be.
            result[:, k] = np.where(spread > 1e-20, (mean(a * b) - mean_a * mean_b) / np.sqrt(spread), np.nan)
    return result


def resampled_spearman(first: Matrix, others: Sequence[Matrix], draws: NDArray[Any]) -> Matrix:
    """Spearman correlation as `resampled_pearson`: every resample is ranked anew, equal values share their mean rank."""
    rows, columns = np.triu_indices(len(first), 1)
    vectors = [upper_triangle(np.asarray(m, dtype=np.float64)) for m in (first, *others)]
    orders = np.stack([np.argsort(v, kind="stable") for v in vectors])
    # 1 where a value differs from the one before it in order.
    steps = np.stack([np.append(True, np.diff(v[order]) != 0) for v, order in zip(vectors, orders, strict=True)])
    return np.asarray(_spearman(orders, steps, rows, columns, np.ascontiguousarray(draws, dtype=np.float64)))


def _standardised(matrix: Matrix) -> Matrix:
    """Mean 0 and deviation 1 over i < j, the diagonal 0, so that sums of squares cancel little."""
    values = upper_triangle(as_rsm(matrix, "matrix"))
    spread = values.std()
    result: Matrix = (np.asarray(matrix, dtype=np.float64) - values.mean()) / (spread if spread > 0 else 1.0)
    np.fill_diagonal(result, 0.0)
    return result


@numba.njit(cache=True, nogil=True)
def _spearman(
    orders: NDArray[np.int64],
    steps: NDArray[np.bool_],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    draws: Matrix,
) -> Matrix:  # pragma: no cover
    count, pairs = orders.shape
    result = np.empty((len(draws), count - 1))
    weights = np.empty(pairs)
    first = np.empty(pairs)
    ranks = np.empty(pairs)
    for b in range(len(draws)):
        total = 0.0
        for p in range(pairs):
            weights[p] = draws[b, rows[p]] * draws[b, columns[p]]
            total += weights[p]
        middle = (total + 1.0) / 2.0
        square_first = _centred_ranks(orders[0], steps[0], weights, middle, first)
        for k in range(1, count):
            square = _centred_ranks(orders[k], steps[k], weights, middle, ranks)
            product = 0.0
            for p in range(pairs):
                product += weights[p] * first[p] * ranks[p]
            spread = square_first * square
            result[b, k - 1] = product / np.sqrt(spread) if spread > 0.0 else np.nan
    return result


@numba.njit(cache=True, nogil=True)
def _centred_ranks(
    order: NDArray[np.int64], step: NDArray[np.bool_], weights: Matrix, middle: float, ranks: Matrix
) -> float:  # pragma: no cover
    """Mid-ranks of a sample in which value p occurs ``weights[p]`` times, minus their mean; returns their sum of squares."""
    pairs = len(order)
    below = 0.0
    squares = 0.0
    start = 0
    while start < pairs:
        end = start + 1
        while end < pairs and not step[end]:
            end += 1
        here = 0.0
        for p in range(start, end):
            here += weights[order[p]]
        rank = below + (here + 1.0) / 2.0 - middle
        for p in range(start, end):
            ranks[order[p]] = rank
        squares += here * rank * rank
        below += here
        start = end
    return squares
