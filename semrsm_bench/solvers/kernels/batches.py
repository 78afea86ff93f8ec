"""Whole solves in one compiled call, for one problem after another: no Python between the affinity and the matching.

A batch is one image x against many images y. A problem that is not ready for its precision (see `scale.measure`), or for which no
certificate is found, is left unsolved; the caller solves it alone. The kernels release the GIL for the whole batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Integers
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phases, match_leftovers
from semrsm_bench.solvers.kernels.exact import Finish, finish_exactly, make_lists
from semrsm_bench.solvers.kernels.lists import WIDTH
from semrsm_bench.solvers.kernels.scale import READY, mean_and_longest, measure, rounding_of

# Bids for each row after which an auction is cut off; real activations need 5 to 25.
MAX_BIDS = 200
# From this size on the exact finish, which comes back to the same rows, begins with lists.
_LISTS_FROM = 512


class Results(NamedTuple):
    """What b problems of one size have for an answer.

    ``perms`` (b, S) int64, -1 where unsolved. ``facts`` (b, 3) float64: the largest slack of a matched pair, infinite where a
    problem is unsolved and 0 where nobody looked; bids; rows matched along paths or, by an auction alone, left over.
    ``duals`` (b, 2, S) float64, of rows and of columns, of exact solves.
    """

    perms: NDArray[np.int64]
    facts: Floats
    duals: Floats

    @classmethod
    def empty(cls, number: int, size: int) -> Results:
        """All unsolved."""
        return cls(np.full((number, size), -1), np.full((number, 3), np.inf), np.empty((number, 2, size)))

    @property
    def solved(self) -> NDArray[np.bool_]:
        """Which problems have an answer, (b,)."""
        return np.isfinite(self.facts[:, 0])


@njit(**COMPILED)
def solve_batch(
    x: Floats,
    ys: Floats,
    affinities: Floats,
    shares: Floats,
    tolerance: float | None,
    perms: Integers,
    facts: Floats,
    duals: Floats,
) -> None:
    """Match x (S, C) with every y: ys (b, S, C), affinities (b, S, S). An auction with phases of these shares of the deviation.

    Where a tolerance is given, the exact finish and the check follow. The answers go to the arrays of `Results`.
    """
    size = x.shape[0]
    mean, longest = mean_and_longest(x)
    start, prices = np.empty(size, x.dtype), np.empty(size, x.dtype)
    column_of, row_of = np.empty(size, np.int64), np.empty(size, np.int64)
    for t in range(len(ys)):
        affinity = affinities[t]
        scale, status = measure(ys[t], affinity, mean, longest, start)
        if status != READY:
            continue
        column_of[:] = -1
        row_of[:] = -1
        prices[:] = start
        assignment = Assignment(column_of, row_of)
        bids = dense_phases(affinity, prices, assignment, shares, scale, MAX_BIDS * size)
        if tolerance is None:
            facts[t, 1] = bids
            facts[t, 2] = (row_of < 0).sum()
            match_leftovers(assignment)
            facts[t, 0] = 0.0
        else:
            # Prices rise in the finish; the factor leaves them room before the rounding of a scan exceeds its allowance.
            rounding = 4.0 * max(rounding_of(scale, start), rounding_of(scale, prices))
            lists = make_lists(affinity, prices, rounding, WIDTH if size >= _LISTS_FROM else 0)
            state = Finish(affinity, duals[t, 1], prices, lists, rounding, assignment)
            finish_exactly(state, scale, tolerance, duals[t, 0], facts[t])
        if facts[t, 0] < np.inf:
            perms[t] = column_of
