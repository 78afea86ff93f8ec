"""The list auction without an affinity: S = 65,536, where A would take 17 GB.

The same three ideas as in `list_auction`, each without the S x S matrix: the sample is small enough to be solved exactly;
its row duals give prices to all columns in one pass over m x S inner products; the lists come from `ColumnSearch`, which
reads a few hundred columns for each row. Rows whose list falls behind its bound get a new one, under the prices of the
moment, in the next round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from semrsm_bench.solvers.auction import trivial_matching
from semrsm_bench.solvers.kernels.bidding import Assignment, bid_on_lists
from semrsm_bench.solvers.kernels.lists import BLOCK_COLUMNS, WIDTH, Lists, Packed, list_rows, score_buckets
from semrsm_bench.solvers.list_auction import draw_sample, settle_leftovers
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution, get_solver, register_solver

_REFERENCE = "this project; inverted lists as in Jegou et al. 2011 (product quantization), auction as in Bertsekas 1988"
SAMPLE = 2048
# One row in so many is sampled, up to SAMPLE.
_SHARE = 12
# Bids per row of one round, and of the last one, in which lists are not renewed any more.
_BIDS = 40
_LAST_BIDS = 4
# The last round begins when fewer than one row in this many is left free.
_LAST_ROUND = 1024
# Principal axes in which buckets are made and ranked; inner products of candidates use all channels.
_AXES = 32
# Rows whose buckets are ranked at a time, which bounds the memory of the ranking.
_ROWS_AT_A_TIME = 1 << 14

# Bytes of a block of inner products that stays in the cache between the product and what is done with it.
_BLOCK_BYTES = 8 << 20
# Columns of such a block where there are many.
_COLUMNS = 4096

Rows = NDArray[np.int64]

_SEARCHED: dict[str, Any] = {"kind": "approximate", "matrix_free": True, "reference": _REFERENCE}
_COMPLEXITY = "O(S m C + S T S/m C), m = S/12 up to 2048 sampled, T = "


@register_solver(
    "matrix-free-coarse",
    **_SEARCHED,
    complexity=f"{_COMPLEXITY}16 buckets",
    probes=16,
    eps=0.1,
    slack=1.0,
    renewals=0.3,
)
@register_solver(
    "matrix-free-fine",
    **_SEARCHED,
    complexity=f"{_COMPLEXITY}32 buckets, a few lists for a row",
    probes=32,
    eps=0.02,
    slack=0.3,
    renewals=12.0,
)
def matrix_free_auction(
    problem: MatchingProblem,
    *,
    probes: int = 16,
    eps: float = 0.1,
    slack: float = 1.0,
    renewals: float = 0.3,
    sample: int | None = None,
    seed: int = 0,
) -> Solution:
    """List auction in which candidates are searched for, not read off the affinity; O(S C) memory.

    Parameters
    ----------
    probes : int
        Buckets of columns that a row looks into when its list is made.
    eps, slack : float
        As in `list-auction-coarse`, in units of the standard deviation of a row of the sample.
    renewals : float
        Lists that may be made anew, as a multiple of S.
    sample : int, optional
        Rows and columns of the sample; a twelfth of S by default, and at most 2,048. A problem no larger than the sample
        (by default, than 2,048) is solved exactly.
    seed : int
        Seed of the sample.
    """
    if sample is None:
        sample = SAMPLE if problem.size <= SAMPLE else min(SAMPLE, problem.size // _SHARE)
    if probes < 1 or sample < 2 or not eps > 0 or not slack >= 0 or not renewals >= 0:
        raise ValueError(
            "probes must be at least 1, sample at least 2, eps positive, slack and renewals not negative; "
            f"got {probes}, {sample}, {eps}, {slack}, {renewals}"
        )
    if (trivial := trivial_matching(problem)) is not None:
        return trivial
    if problem.size <= sample:
        # Not the caller's problem: this solver promises to leave ``problem.affinity`` alone.
        return get_solver("exact-auction").run(MatchingProblem.trusted(problem.x, problem.y))
    assignment, _, info = search_and_bid(centre(problem), probes, eps, slack, renewals, sample, seed)
    return Solution(assignment.column_of, info=info)


def search_and_bid(
    centred: Centred, probes: int, eps: float, slack: float, renewals: float, sample: int = SAMPLE, seed: int = 0
) -> tuple[Assignment, Floats, dict[str, int]]:
    """The matching of a problem larger than the sample, the prices of its columns, and facts for ``info``."""
    size = len(centred.x)
    rows, columns = draw_sample(size, sample, seed)
    prices = sampled_prices(centred, rows, columns)
    deviations = (centred.x[rows[:: max(1, len(rows) // 64)]] @ centred.y[columns].T).std(axis=1)
    deviation = max(float(np.median(deviations)) or float(deviations.mean()), 1e-6)
    step, allowed = np.float32(eps * deviation), np.float32(slack * deviation)
    search = ColumnSearch(centred, rows, columns, probes)
    lists, assignment = Lists.empty(size, np.dtype(np.float32), wanted=WIDTH), Assignment.empty(size)
    free: Rows = np.arange(size)
    bids = renewed = 0
    last = False
    while len(free):
        search.fill(free, prices, lists)
        if last:
            allowed = np.float32(np.inf)
        most = (_LAST_BIDS if last else _BIDS) * size
        left, _, made = bid_on_lists(None, prices, lists, assignment, step, allowed, most)
        bids += made
        if last or left:
            break
        free = np.flatnonzero(assignment.column_of < 0)
        # In the last round few rows compete; each takes the best of its list.
        last = renewed >= renewals * size or len(free) < size // _LAST_ROUND
        renewed += len(free)
    settled = settle_leftovers(centred.x, centred.y, prices, assignment, step)
    return assignment, prices, {"bids": int(bids), "renewed": renewed, "left": settled}


def sampled_prices(centred: Centred, rows: Rows, columns: Rows) -> Floats:
    """Prices of all columns from the optimal duals of some rows and columns."""
    duals = get_solver("exact-auction").run(MatchingProblem(centred.x[rows], centred.y[columns])).duals
    if duals is None:
        return np.zeros(len(centred.y), np.float32)
    return row_duals(centred.y, centred.x[rows], duals[0].astype(np.float32))


class ColumnSearch:
    """Which columns look best for a row, without looking at all of them.

    Columns are sorted into buckets, one around each sampled column: that of the nearest in a few principal axes. A row first
    ranks the sampled columns by ``x . y - price`` and then makes exact inner products with every column in its ``probes`` best
    buckets only: with m buckets and T of them looked into, ``m + T S / m`` columns instead of S.
    """

    def __init__(self, centred: Centred, rows: Rows, columns: Rows, probes: int) -> None:
        self.x, y = centred.x, centred.y
        self.probes = min(probes, len(columns))
        self.sampled = columns
        self._x_axes, y_axes = self.x, y
        if y.shape[1] > _AXES:
            drawn = np.concatenate([self.x[rows], y[columns]])
            axes = np.ascontiguousarray(np.linalg.eigh(drawn.T @ drawn)[1][:, ::-1][:, :_AXES])
            self._x_axes, y_axes = self.x @ axes, y @ axes
        self._centres = np.ascontiguousarray(y_axes[columns])
        home = _nearest(y_axes, self._centres)
        members = np.argsort(home, kind="stable")
        counts = np.bincount(home, minlength=len(columns))
        blocks = np.concatenate([[0], np.cumsum(-(-counts // BLOCK_COLUMNS))])
        # The places of a bucket's members follow one another from the start of its first block.
        gaps = BLOCK_COLUMNS * blocks[:-1] - (np.cumsum(counts) - counts)
        packed_columns = np.full(blocks[-1] * BLOCK_COLUMNS, -1)
        packed_columns[np.arange(len(y)) + gaps[home[members]]] = members
        # Channel by channel; unused slots hold any vector, at an infinite price.
        vectors = y[packed_columns].reshape(-1, BLOCK_COLUMNS, y.shape[1]).transpose(0, 2, 1)
        self._packed = Packed(blocks, packed_columns, vectors.reshape(len(vectors), -1))

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
        width = -(-2 * self.probes // BLOCK_COLUMNS) * BLOCK_COLUMNS
        buckets, values, bounds, _ = Lists.empty(len(rows), np.dtype(np.float32), self.probes, width)
        nothing = np.zeros(right.shape[1], np.float32)
        for here, product in _products(self._x_axes[rows], right):
            list_rows(product, nothing, Lists(buckets[here], values[here], bounds[here], self.probes))
        buckets[values == -np.inf] = -1
        return np.asarray(buckets, np.int32)


def _nearest(vectors: Floats, centres: Floats) -> Rows:
    """Index of the centre of least squared distance."""
    half_norms = 0.5 * np.einsum("mc,mc->m", centres, centres)
    result = np.empty(len(vectors), np.int64)
    for here, product in _products(vectors, np.concatenate([centres.T, -half_norms[None, :]])):
        result[here] = product.argmax(axis=1)
    return result


def _products(vectors: Floats, right: Floats) -> Iterator[tuple[slice, Floats]]:
    """Inner products with every column of ``right``, plus its last row: blocks of rows that stay in the cache, and which rows."""
    left = np.concatenate([vectors, np.ones((len(vectors), 1), vectors.dtype)], axis=1)
    height = min(len(left), max(1, _BLOCK_BYTES // (left.itemsize * right.shape[1])))
    block = np.empty((height, right.shape[1]), left.dtype)
    for i in range(0, len(left), height):
        here = slice(i, min(i + height, len(left)))
        product = np.dot(left[here], right, out=block[: here.stop - i])
        product.flags.writeable = False
        yield here, product


@dataclass(frozen=True)
class Centred:
    """A problem with the means taken out of its vectors: x is ``(problem.x - x_mean) * 2**-x_exponent``, and y alike, near 1.

    For any vectors a and b, ``x_i . y_j = (x_i - a).(y_j - b) + a.y_j + x_i.b - a.b``; summed over the pairs of a permutation
    the last three terms are a constant. The centred problem therefore has the same optimum, its inner products are smaller, and
    their rounding with them; what float64 vectors have beyond float32 is often in the common part alone.
    """

    x: Floats
    y: Floats
    x_mean: NDArray[np.float64]
    y_mean: NDArray[np.float64]
    x_exponent: int
    y_exponent: int

    @property
    def exponent(self) -> int:
        """The inner products of x and y times ``2**exponent`` are those of the centred problem."""
        return self.x_exponent + self.y_exponent


def centre(problem: MatchingProblem, dtype: DTypeLike = np.float32) -> Centred:
    """Centred and scaled vectors in the given precision; S and C at least 1."""
    means = [z.mean(axis=0, dtype=np.float64) for z in (problem.x, problem.y)]
    moved = problem.x - means[0], problem.y - means[1]
    exponents = [math.frexp(float(np.abs(z).max(initial=0.0)))[1] for z in moved]
    x, y = (np.ldexp(z, -e, out=z).astype(dtype, copy=False) for z, e in zip(moved, exponents))
    return Centred(x, y, *means, *exponents)


def row_duals(x: Floats, y: Floats, prices: Floats) -> Floats:
    """``u_i = max_j (x_i . y_j - prices_j)``, (S,), of x (S, C), y (T, C) and prices (T,) in their precision, block by block.

    With x and y exchanged, and row duals in place of prices, it gives the smallest feasible prices of those row duals.
    """
    result = np.full(len(x), -np.inf, x.dtype)
    for j in range(0, len(y), _COLUMNS):
        right = np.concatenate([y[j : j + _COLUMNS].T, -prices[None, j : j + _COLUMNS].astype(x.dtype)])
        for here, product in _products(x, right):
            np.maximum(result[here], product.max(axis=1), out=result[here])
    return result
