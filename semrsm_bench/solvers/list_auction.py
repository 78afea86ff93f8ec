"""The list auction: bids are made on short lists of columns, so that a bid no longer costs a pass over a row.

Three ideas carry it. (1) *Prices from a sample*: a random eighth of rows and columns is solved as a dense auction; its
row duals give every column a price, ``p_j = max_i (A_ij - u_i)`` over the sampled rows, close to the final one.
(2) *Lists*: under those prices one pass over the affinity keeps, for each row, the dozen columns that look best and a
bound on all others. (3) *Slack*: until a list's best value falls ``slack`` below its bound, the row bids from the
list; only then is it scanned again. With ``slack = 0`` every pair is within ``eps`` of its row's maximum over all
columns, as in the dense auction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.auction import Prepared, check_eps, prepare, trivial_matching
from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.kernels.batches import MAX_BIDS
from semrsm_bench.solvers.kernels.bidding import Assignment, dense_phase, list_phase, match_leftovers
from semrsm_bench.solvers.kernels.lists import Lists, list_rows
from semrsm_bench.solvers.kernels.rows import column_maxima, row_maxima
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.products import inner_products
from semrsm_bench.solvers.registry import Solution, register_solver

_SAMPLE_EPS = 0.2
_SMALLEST_SAMPLE = 64
# Bids per row; real activations need 10 to 20.
_MAX_BIDS = 60
# Rows of a dense auction of those left over.
_LEFTOVERS = 4096

_LISTED: dict[str, Any] = {
    "kind": "approximate",
    "complexity": "O(S^2 + S bids)",
    "reference": "this project; lists as in Bertsekas 1991, ch. 7, and Jonker & Volgenant's column reduction",
    "releases_gil": True,
}


@register_solver("list-auction-coarse", **_LISTED, rounds=((0.1, 1.0),))
@register_solver("list-auction-fine", **_LISTED, rounds=((0.1, 1.0), (0.02, 0.1)))
def list_auction(
    problem: MatchingProblem,
    *,
    rounds: Sequence[tuple[float, float]] = ((0.1, 1.0), (0.02, 0.1)),
    sample: int = 8,
    seed: int = 0,
) -> Solution:
    """Auction on candidate lists, for large S: about one pass over the affinity for each round, and some rows again.

    Parameters
    ----------
    rounds : sequence of (eps, slack)
        Each makes new lists under the prices of the moment and runs an auction with that ``eps``; ``slack`` says how
        far a list may fall below its bound before the row is scanned again. Both in units of `Scale.deviation`.
    sample : int
        The starting prices come from one in ``sample`` rows and columns; small problems start from column means.
    seed : int
        Of the draw.
    """
    check_eps(tuple(eps for eps, _ in rounds))
    if sample < 1:
        raise ValueError(f"sample must be at least 1, got {sample}")
    if (trivial := trivial_matching(problem)) is not None:
        return trivial
    prepared = prepare(problem)
    assignment, _, bids, scans = bid_in_rounds(prepared, sampled_prices(prepared, sample, seed), rounds)
    left = settle_leftovers(prepared.x, prepared.y, prepared.start, assignment, prepared.eps(rounds[-1][0]))
    return Solution(assignment.column_of, info={"bids": bids, "scans": scans, **({"left": left} if left else {})})


def sampled_prices(prepared: Prepared, share: int = 8, seed: int = 0) -> Floats:
    """Prices of all columns from the dense auction of every ``share``-th row and column, drawn at random."""
    size = len(prepared.start)
    number = size // share
    if number < _SMALLEST_SAMPLE:
        return prepared.start.copy()
    rows, columns = draw_sample(size, number, seed)
    (block,) = read_only(inner_products(prepared.x[rows], prepared.y[columns]))
    prices = prepared.start[columns].copy()
    dense_phase(block, prices, Assignment.empty(number), prepared.eps(_SAMPLE_EPS), MAX_BIDS * number)
    return np.asarray(column_maxima(prepared.affinity, rows, row_maxima(block, prices)))


def draw_sample(size: int, number: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random rows and columns, each in order of index."""
    draw = np.random.default_rng(seed)
    rows, columns = (np.sort(draw.permutation(size)[:number]) for _ in range(2))
    return rows, columns


def bid_in_rounds(
    prepared: Prepared, prices: Floats, rounds: Sequence[tuple[float, float]]
) -> tuple[Assignment, Lists, int, int]:
    """Makes new lists in each round and bids on them; returns the matching, the last lists, bids and scans."""
    assignment, lists = Assignment.empty(len(prices)), Lists.empty(len(prices), prices.dtype)
    bids = scans = 0
    for share, slack in rounds:
        list_rows(prepared.affinity, prices, lists)
        eps, most = prepared.eps(share), prices.dtype.type(slack * prepared.scale.deviation)
        _, behind, made = list_phase(prepared.affinity, prices, lists, assignment, eps, most, _MAX_BIDS * len(prices))
        bids += int(made)
        scans += int(behind)
    return assignment, lists, bids, scans


def settle_leftovers(x: Floats, y: Floats, prices: Floats, assignment: Assignment, eps: np.floating) -> int:
    """Match rows that the bidding left free with the free columns by dense auctions; returns how many there were."""
    free_rows, free_columns = np.flatnonzero(assignment.column_of < 0), np.flatnonzero(assignment.row_of < 0)
    for i in range(0, len(free_rows), _LEFTOVERS):
        rows, columns = free_rows[i : i + _LEFTOVERS], free_columns[i : i + _LEFTOVERS]
        part = Assignment.empty(len(rows))
        if len(rows) > 1:
            (block,) = read_only(inner_products(x[rows], y[columns]))
            dense_phase(block, prices[columns], part, eps, MAX_BIDS * len(rows))
        match_leftovers(part)
        assignment.column_of[rows] = columns[part.column_of]
        assignment.row_of[columns[part.column_of]] = rows
    return len(free_rows)
