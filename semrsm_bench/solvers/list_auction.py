"""The list auction: bids are made on short lists of columns, so that a bid no longer costs a pass over a row.

Three ideas carry it. (1) *Prices from a sample*: a random eighth of rows and columns is solved as a dense auction; its
row duals give every column a price, ``p_j = max_i (A_ij - u_i)`` over the sampled rows, close to the final one.
(2) *Lists*: under those prices one pass over the affinity keeps, for each row, the dozen columns that look best and a
bound on all others. (3) *Trust*: while a list's best value is within ``trust`` of its bound, the row bids from the
list; only then is it scanned again. With ``trust = 0`` every pair is within ``eps`` of its row's maximum over all
columns, as in the dense auction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.auction import Matching, check_eps, dense_phase
from semrsm_bench.solvers.auction_kernels import column_maxima, row_maxima
from semrsm_bench.solvers.auction_setup import Setup, prepare, trivial_matching
from semrsm_bench.solvers.candidate_kernels import WIDTH, Lists, free_listed_pairs, list_auction, list_rows
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution, register_solver

_REFERENCE = "this project; lists as in Bertsekas 1991, ch. 7, and Jonker & Volgenant's column reduction"
# Columns that a list should hold: few enough that few lists overflow.
WANTED = 12
_SAMPLE_EPS = 0.2
_SMALLEST_SAMPLE = 64
# Bids per row; real activations need 10 to 20.
_MAX_BIDS = 60

Round = tuple[float, float]


def empty_lists(size: int, dtype: np.dtype[Any]) -> Lists:
    """Room for lists of all rows."""
    return Lists(np.empty((size, WIDTH), np.int32), np.empty((size, WIDTH), dtype), np.empty(size, dtype), WANTED)


def bid_on_lists(
    setup: Setup, lists: Lists, prices: Floats, matching: Matching, share: float, trust: float
) -> tuple[int, int]:
    """Free the pairs that this ``eps`` does not allow, then bid; both in units of the spread. Returns bids and scans."""
    eps, slack = setup.eps(share), prices.dtype.type(trust * setup.spread)
    column_of, row_of = matching.column_of, matching.row_of
    if (column_of >= 0).any():
        free_listed_pairs(lists, prices, column_of, row_of, eps, slack)
    most = _MAX_BIDS * len(prices)
    _, bids, scans = list_auction(setup.affinity, prices, lists, slack, column_of, row_of, eps, most)
    return int(bids), int(scans)


def draw_sample(size: int, number: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random rows and columns, each in order of index."""
    draw = np.random.default_rng(seed)
    rows, columns = (np.sort(draw.permutation(size)[:number]) for _ in range(2))
    return rows, columns


def sampled_prices(setup: Setup, share: int, seed: int) -> Floats:
    """Prices of all columns from the dense auction of every ``share``-th row and column, drawn at random."""
    size = len(setup.start)
    number = size // share
    if number < _SMALLEST_SAMPLE:
        return setup.start.copy()
    rows, columns = draw_sample(size, number, seed)
    block = setup.x[rows] @ setup.y[columns].T
    block.flags.writeable = False
    prices = setup.start[columns].copy()
    dense_phase(block, prices, Matching(number), setup.eps(_SAMPLE_EPS))
    duals = np.empty_like(prices)
    row_maxima(block, prices, duals)
    strip = setup.affinity[rows]
    strip.flags.writeable = False
    all_prices = np.empty_like(setup.start)
    column_maxima(strip, duals, all_prices)
    return all_prices


def settle_leftovers(
    x: Floats, y: Floats, prices: Floats, matching: Matching, eps: np.floating, at_once: int = 1 << 30
) -> int:
    """Match rows that the bidding left free with the free columns by dense auctions; returns how many there were."""
    rows, columns = np.flatnonzero(matching.column_of < 0), np.flatnonzero(matching.row_of < 0)
    for i in range(0, len(rows), at_once):
        some, others = rows[i : i + at_once], columns[i : i + at_once]
        part = Matching(len(some))
        if len(some) > 1:
            block = x[some] @ y[others].T
            block.flags.writeable = False
            dense_phase(block, prices[others].copy(), part, eps)
        part.fill()
        matching.pair(some, others[part.column_of])
    return len(rows)


_LISTED: dict[str, Any] = {
    "kind": "approximate",
    "complexity": "O(S^2 + S bids)",
    "reference": _REFERENCE,
    "releases_gil": True,
}


@register_solver("list-auction-coarse", **_LISTED, rounds=((0.1, 1.0),))
@register_solver("list-auction-fine", **_LISTED, rounds=((0.1, 1.0), (0.02, 0.1)))
def list_auction_solver(
    problem: MatchingProblem,
    *,
    rounds: Sequence[Round] = ((0.1, 1.0), (0.02, 0.1)),
    sample: int = 8,
    seed: int = 0,
) -> Solution:
    """Auction on candidate lists, for large S: about one pass over the affinity for each round, and some rows again.

    Parameters
    ----------
    problem : MatchingProblem
    rounds : sequence of (eps, trust)
        Each makes new lists under the prices of the moment and runs an auction with that ``eps``; ``trust`` says how
        far a list may fall below its bound before the row is scanned again. Both in units of `Setup.spread`.
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
    setup = prepare(problem)
    prices = sampled_prices(setup, sample, seed)
    matching, lists = Matching(problem.size), empty_lists(problem.size, prices.dtype)
    bids = scans = 0
    for eps, trust in rounds:
        list_rows(setup.affinity, prices, lists)
        more_bids, more_scans = bid_on_lists(setup, lists, prices, matching, eps, trust)
        bids += more_bids
        scans += more_scans
    left = settle_leftovers(setup.x, setup.y, setup.start, matching, setup.eps(rounds[-1][0]))
    return Solution(matching.column_of, info={"bids": bids, "scans": scans, **({"left": left} if left else {})})
