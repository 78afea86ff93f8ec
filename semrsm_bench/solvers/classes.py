"""The exact auction where many position vectors are equal, as in flat pictures: between classes of equal rows and columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.auction import Prepared
from semrsm_bench.solvers.kernels import Integers, read_only
from semrsm_bench.solvers.kernels.batches import LEAST_REPEATS, LIST_AUCTION_FROM, LOOKS, MAX_BIDS, ExactResults
from semrsm_bench.solvers.kernels.bidding import Assignment
from semrsm_bench.solvers.kernels.classes import (
    Classes,
    Holdings,
    block_of,
    classes_phase,
    correct_classes,
    count_repeats,
    keys_of,
)
from semrsm_bench.solvers.kernels.exact import Finish, correct, proven_slack, smallest_rise
from semrsm_bench.solvers.kernels.scale import room_for_rises
from semrsm_bench.solvers.problem import Floats

# Phases of bids; a correction follows each from the second on, which may take the last looks when no phase is left.
_SHARES, _FIRST_CORRECTED, _LAST_LOOKS = tuple(0.1 / 5.0**phase for phase in range(8)), 1, 500
# `LEAST_REPEATS` where single rows bid on lists.
_LEAST_REPEATS_OF_LARGE = 1 / 4


class _Groups(NamedTuple):
    """Equal vectors: the class of each (S,), one example of each class, and where the places of each class begin."""

    labels: NDArray[np.int64]
    examples: NDArray[np.int64]
    begins: NDArray[np.int64]


def match_classes(prepared: Prepared, tolerance: float) -> ExactResults | None:
    """The optimum by an auction between classes; None where there are few equal vectors, or it does not end."""
    size, scale = len(prepared.start), prepared.scale
    least = LEAST_REPEATS if size < LIST_AUCTION_FROM else _LEAST_REPEATS_OF_LARGE
    if sum(map(count_repeats, read_only(prepared.x, prepared.y))) < least * size:
        return None
    rows, columns = _groups_of(prepared.x), _groups_of(prepared.y)
    found = _bid(prepared, rows, columns, tolerance)
    if found is None:
        return None
    holds, prices, rounding, work = found
    assignment, duals = Assignment.empty(size), np.empty((1, 2, size))
    # Places of rows and of columns are in order of their classes.
    of_rows, of_columns = (np.argsort(groups.labels, kind="stable") for groups in (rows, columns))
    assignment.column_of[of_rows[np.argsort(holds, kind="stable")]] = of_columns
    assignment.row_of[assignment.column_of] = np.arange(size)
    duals[0, 1] = prices[columns.labels]
    rounded = duals[0, 1].astype(prepared.affinity.dtype)
    state = Finish(prepared.affinity, duals[0, 1], rounded, rounding, assignment)
    slack = proven_slack(state, None, scale, tolerance, duals[0, 0])
    if slack == np.inf:
        # Products of equal vectors can differ in their last digit.
        waiting, *done = correct(state, None, 0.0, LOOKS * size)
        work[1:] += done
        slack = proven_slack(state, None, scale, tolerance, duals[0, 0]) if waiting == 0 else np.inf
    return ExactResults(assignment.column_of[None], work[None], np.array([slack]), duals) if slack < np.inf else None


def _bid(
    prepared: Prepared, rows: _Groups, columns: _Groups, tolerance: float
) -> tuple[Integers, NDArray[np.float64], float, NDArray[np.int64]] | None:
    """Auctions with ever smaller eps, each with a correction, until all pairs are tight; None where they never are.

    Returns the class of columns that each row gets, by place; the prices of classes; a bound on the error of ``affinity - prices``;
    and bids, looks and cycles.
    """
    size, scale = len(prepared.start), prepared.scale
    block = block_of(prepared.affinity, rows.examples, columns.examples)
    classes = Classes(block, rows.begins, columns.begins, np.sort(columns.labels))
    prices, free = prepared.start[columns.examples], np.empty(len(block), np.int64)
    owners, held, places = np.empty((3, size), np.int64)
    holdings = Holdings(prices, np.empty(size, prices.dtype), owners, held, places, free)
    work = np.zeros(3, np.int64)
    for phase, share in enumerate(_SHARES):
        left, bids = classes_phase(classes, holdings, prepared.eps(share), MAX_BIDS * size)
        work[0] += bids
        if left or phase < _FIRST_CORRECTED:
            continue
        exact, rounding = prices.astype(np.float64), room_for_rises(scale, prepared.start, prices)
        holds = classes.class_of[holdings.held]
        step = smallest_rise(scale, tolerance, exact) if phase > _FIRST_CORRECTED else 0.0
        most = (LOOKS if phase + 1 < len(_SHARES) else _LAST_LOOKS) * len(block)
        waiting, *done = correct_classes(classes, holdings, exact, rounding, holds, step, most)
        work[1:] += done
        if waiting == 0:
            return holds, exact, rounding, work
    return None


def _groups_of(vectors: Floats) -> _Groups:
    """Classes of equal vectors, (S, C); each its own where two that differ have one key."""
    # -0 becomes 0.
    vectors = np.ascontiguousarray(vectors) + 0
    keys = keys_of(vectors.view(f"u{vectors.itemsize}"))
    _, examples, labels, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    if not np.array_equal(vectors, vectors[examples[labels]]):
        examples = labels = np.arange(len(vectors))
        counts = np.ones(len(vectors), np.int64)
    return _Groups(labels, examples, np.concatenate(([0], np.cumsum(counts))))
