"""Which columns look best for a row, without looking at all of them.

Columns are sorted into buckets around sampled ones (the nearest in a few principal axes). A row first ranks the sampled
columns by ``x . y - price`` and then makes exact inner products with every column in the best buckets only: with m
buckets and T of them looked into, ``m + T S / m`` columns instead of S.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.centred import BLOCK_BYTES, Centred, row_duals
from semrsm_bench.solvers.kernels.buckets import LANES, Packed, pack, score_buckets
from semrsm_bench.solvers.kernels.lists import Lists, list_rows
from semrsm_bench.solvers.problem import Floats

# Principal axes in which buckets are made and ranked; inner products of candidates use all channels.
_AXES = 32
# Rows whose buckets are ranked at a time, which bounds the memory of the ranking.
_ROWS_AT_A_TIME = 1 << 14

Rows = NDArray[np.int64]


class ColumnSearch:
    """Buckets of columns, packed for scoring: one for each column of the sample; a row looks into ``probes`` of them."""

    def __init__(self, centred: Centred, rows: Rows, columns: Rows, probes: int) -> None:
        self.x, y = centred.x, centred.y
        self.probes = min(probes, len(columns))
        self.sampled = columns
        axes = _principal_axes(np.concatenate([self.x[rows], y[columns]]))
        self._x_axes = self.x if axes is None else self.x @ axes
        y_axes = y if axes is None else y @ axes
        self._centres = np.ascontiguousarray(y_axes[columns])
        home = _nearest(y_axes, self._centres)
        members = np.argsort(home, kind="stable")
        counts = np.bincount(home, minlength=len(columns))
        begins = np.concatenate([[0], np.cumsum(counts)])
        blocks = np.concatenate([[0], np.cumsum(-(-counts // LANES))])
        vectors = np.empty((blocks[-1], y.shape[1] * LANES), np.float32)
        self._packed = Packed(blocks, np.empty(blocks[-1] * LANES, np.int64), vectors)
        pack(y, members, begins, self._packed)

    def fill(self, rows: Rows, prices: Floats, lists: Lists) -> None:
        """Make the lists of these rows under these prices; ``lists`` are those of all rows."""
        columns = self._packed.columns
        packed_prices = np.where(columns >= 0, prices[columns], np.float32(np.inf))
        right = np.concatenate([self._centres.T, -prices[None, self.sampled]])
        for i in range(0, len(rows), _ROWS_AT_A_TIME):
            part = rows[i : i + _ROWS_AT_A_TIME]
            buckets = self._ranked(part, right)
            # Rows that share a bucket follow one another, so that it is in the cache.
            order = np.argsort(buckets[:, 0], kind="stable")
            score_buckets(self.x, part[order], buckets[order], self._packed, packed_prices, lists)

    def _ranked(self, rows: Rows, right: Floats) -> NDArray[np.int32]:
        """The best buckets of each row, -1 in places left over."""
        # Room for twice as many, so that few rankings overflow.
        width = -(-2 * self.probes // LANES) * LANES
        buckets, values = np.empty((len(rows), width), np.int32), np.empty((len(rows), width), np.float32)
        bounds = np.empty(len(rows), np.float32)
        left = np.concatenate([self._x_axes[rows], np.ones((len(rows), 1), np.float32)], axis=1)
        nothing = np.zeros(right.shape[1], np.float32)
        height = min(len(rows), max(1, BLOCK_BYTES // (4 * right.shape[1])))
        block = np.empty((height, right.shape[1]), np.float32)
        for i in range(0, len(rows), height):
            here = slice(i, min(i + height, len(rows)))
            product = np.dot(left[here], right, out=block[: here.stop - i])
            product.flags.writeable = False
            list_rows(product, nothing, Lists(buckets[here], values[here], bounds[here], self.probes))
        buckets[values == -np.inf] = -1
        return buckets


def _principal_axes(vectors: Floats) -> Floats | None:
    """The leading eigenvectors of the second moments; None where there are no more channels than axes."""
    if vectors.shape[1] <= _AXES:
        return None
    _, basis = np.linalg.eigh(vectors.T @ vectors)
    return np.ascontiguousarray(basis[:, ::-1][:, :_AXES])


def _nearest(vectors: Floats, centres: Floats) -> Rows:
    """Index of the centre of least squared distance."""
    half_norms = 0.5 * np.einsum("mc,mc->m", centres, centres)
    left = np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)
    right = np.concatenate([centres.T, -half_norms[None, :]])
    height = min(len(vectors), max(1, BLOCK_BYTES // (4 * len(centres))))
    result = np.empty(len(vectors), np.int64)
    for i in range(0, len(vectors), height):
        result[i : i + height] = (left[i : i + height] @ right).argmax(axis=1)
    return result


def prices_from_rows(centred: Centred, rows: Rows, duals: Floats) -> Floats:
    """Smallest prices of all columns that the duals of some rows allow: ``p_j = max_i (x_i . y_j - u_i)``."""
    return row_duals(centred.y, centred.x[rows], duals)
