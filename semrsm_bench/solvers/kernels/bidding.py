"""The bidding of an auction: free rows wait in a queue, first in first out, and bid on whole rows or on candidate lists.

The queue is a ring with one place for each row: ``head`` is where the next row is, ``waiting`` how many there are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Index, Integers, Scalar
from semrsm_bench.solvers.kernels.lists import Lists, list_row, listed_best_two
from semrsm_bench.solvers.kernels.rows import best_two, best_two_of_four, best_value
from semrsm_bench.solvers.kernels.scale import Scale, rounding_of


class Assignment(NamedTuple):
    """A partial matching kept from both sides: column of each row and row of each column, (S,) int64, -1 where free."""

    column_of: NDArray[np.int64]
    row_of: NDArray[np.int64]

    @classmethod
    def empty(cls, size: int) -> Assignment:
        """Nothing matched yet."""
        return cls(np.full(size, -1, np.int64), np.full(size, -1, np.int64))


@njit(**COMPILED)
def _queue_of_free_rows(column_of: Integers) -> tuple[Integers, int]:
    """The queue with the free rows in order of index, and how many there are."""
    queue, waiting = np.empty(column_of.shape[0], np.int64), 0
    for i in range(column_of.shape[0]):
        if column_of[i] < 0:
            queue[waiting] = i
            waiting += 1
    return queue, waiting


@njit(forceinline=True, **COMPILED)
def wrap(at: int, size: int) -> int:
    """A place of the ring, from one that may be past its end."""
    return at - size if at >= size else at


@njit(forceinline=True, **COMPILED)
def bid(
    i: Index, j: Index, rise: Scalar, prices: Floats, assignment: Assignment, queue: Integers, head: int, waiting: int
) -> int:
    """Raise the price of column j and give it to row i, which has left the queue; its owner joins the queue.

    Returns how many wait then. No branch depends on whether there is an owner: the processor cannot predict it, and a wrong guess
    costs as much as a bid.
    """
    column_of, row_of = assignment
    prices[j] += rise
    owner = row_of[j]
    row_of[j] = i
    queue[wrap(head + waiting, queue.shape[0])] = owner
    column_of[owner if owner >= 0 else i] = -1
    column_of[i] = j
    return int(waiting + (owner >= 0))


@njit(**COMPILED)
def dense_phase(
    affinity: Floats, prices: Floats, assignment: Assignment, eps: Scalar, max_bids: int
) -> tuple[int, int]:
    """Free the pairs that ``eps`` no longer allows, then let the free rows bid until none is free or ``max_bids`` were made.

    A bid raises the price of the row's best column by its lead over the second best plus ``eps`` and evicts the owner.
    Every pair made here stays within ``eps`` of its row's maximum, because prices only rise. Returns rows still free and bids made.

    Rows bid in fours. What a row knows is then a little old: a column that an earlier row of its four has just taken is
    not available, so it goes back into the queue; and a price that rose meanwhile only makes its own bid smaller.
    """
    column_of, row_of = assignment
    n = affinity.shape[0]
    for i in range(n):
        j = column_of[i]
        if j >= 0 and affinity[i, j] - prices[j] < best_value(affinity[i], prices) - eps:
            column_of[i] = -1
            row_of[j] = -1
    rows = np.empty(4, np.int64)
    columns = np.empty(4, np.int64)
    bests = np.empty(4, prices.dtype)
    runners_up = np.empty(4, prices.dtype)
    queue, waiting = _queue_of_free_rows(column_of)
    head = 0
    bids = 0
    while waiting > 0 and bids < max_bids:
        if waiting < 3:
            i = queue[head]
            j, best, runner_up = best_two(affinity[i], prices)
            head = wrap(head + 1, n)
            waiting = bid(i, j, best - runner_up + eps, prices, assignment, queue, head, waiting - 1)
            bids += 1
            continue
        number = min(waiting, 4)
        for k in range(4):
            rows[k] = queue[wrap(head + min(k, number - 1), n)]
        a, b, c, d = rows[0], rows[1], rows[2], rows[3]
        best_two_of_four(affinity[a], affinity[b], affinity[c], affinity[d], prices, columns, bests, runners_up)
        head = wrap(head + number, n)
        waiting -= number
        bids += number
        for k in range(number):
            i = rows[k]
            j = columns[k]
            if affinity[i, j] - prices[j] == bests[k]:
                rise = bests[k] - runners_up[k] + eps
                waiting = bid(i, j, rise, prices, assignment, queue, head, waiting)
            else:
                queue[wrap(head + waiting, n)] = i
                waiting += 1
    return waiting, bids


@njit(**COMPILED)
def dense_phases(
    affinity: Floats, prices: Floats, assignment: Assignment, shares: Floats, scale: Scale, max_bids: int
) -> int:
    """Dense auctions of falling ``eps`` from starting prices and an empty matching; returns the bids made.

    Each ``eps`` is a share of the deviation, but never so little that a bid could leave a price unchanged.
    """
    floor = 4.0 * rounding_of(scale, prices)
    total = 0
    for share in shares:
        eps = prices.dtype.type(max(share * scale.deviation, floor))
        total += dense_phase(affinity, prices, assignment, eps, max_bids)[1]
    return total


@njit(**COMPILED)
def match_leftovers(assignment: Assignment) -> int:
    """Match what is free on both sides in order of index; returns how many pairs that makes."""
    column_of, row_of = assignment
    j = made = 0
    for i in range(column_of.shape[0]):
        if column_of[i] < 0:
            while row_of[j] >= 0:
                j += 1
            column_of[i] = j
            row_of[j] = i
            made += 1
    return made


@njit(**COMPILED)
def list_phase(
    affinity: Floats, prices: Floats, lists: Lists, assignment: Assignment, eps: Scalar, slack: Scalar, max_bids: int
) -> tuple[int, int, int]:
    """`dense_phase` on lists: returns rows still free, rows scanned anew, and bids made.

    A pair whose column is not on its row's list is freed too: nothing is known of it. A row is scanned anew when the best of its
    list is more than ``slack`` below its bound. With ``slack = 0`` every pair ends within ``eps`` of its row's maximum over *all*
    columns; a larger slack relies on it that prices of columns left out have risen as well.
    """
    columns, values, bounds = lists
    column_of, row_of = assignment
    for i in range(column_of.shape[0]):
        j = column_of[i]
        if j >= 0:
            _, best, _ = listed_best_two(columns[i], values[i], prices)
            own = -np.inf
            for k in range(columns.shape[1]):
                if columns[i, k] == j and values[i, k] > -np.inf:
                    own = np.float64(values[i, k] - prices[j])
            if not own >= max(best, bounds[i] - slack) - eps:
                column_of[i] = -1
                row_of[j] = -1
    queue, waiting = _queue_of_free_rows(assignment.column_of)
    head = 0
    bids = 0
    behind = 0
    while waiting > 0 and bids < max_bids:
        i = queue[head]
        head = wrap(head + 1, queue.shape[0])
        waiting -= 1
        j, best, runner_up = listed_best_two(columns[i], values[i], prices)
        if not best >= bounds[i] - slack or best == -np.inf:
            behind += 1
            bounds[i] = list_row(affinity[i], prices, columns[i], values[i])
            j, best, runner_up = listed_best_two(columns[i], values[i], prices)
        # The best column left out may be as good as the bound; rounding must not put it above the best listed one.
        runner_up = min(best, max(runner_up, bounds[i] - slack))
        if runner_up == -np.inf:
            # A list of one column has no second choice; then a bid rises by eps alone.
            runner_up = best
        bids += 1
        waiting = bid(i, j, best - runner_up + eps, prices, assignment, queue, head, waiting)
    return waiting, behind, bids
