"""Whole auctions in one compiled call, for one problem after another: no Python between the affinity and the matching.

A batch is one image x against many images y. A problem that needs more than the plain way (its numbers too large, too
small or too close together for its precision, or no certificate found) is left unsolved, and the caller takes the long
way with it. The kernels release the GIL for the whole batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from semrsm_bench.solvers.auction_kernels import dense_auction, free_slack_pairs
from semrsm_bench.solvers.candidate_kernels import WIDTH, Lists, list_rows
from semrsm_bench.solvers.exact_kernels import Finish, bid_exactly, check_tight, free_loose_pairs
from semrsm_bench.solvers.path_kernels import augment
from semrsm_bench.solvers.queue_kernels import COMPILED
from semrsm_bench.solvers.setup_kernels import dearest, least_eps, mean_and_longest, spread_of, starting_prices


@njit(**COMPILED)
def dense_phases(
    affinity: Any, prices: Any, column_of: Any, row_of: Any, shares: Any, spread: float, floor: float, most_bids: int
) -> Any:
    """Auctions of falling ``eps`` from a matching that is empty: ``shares`` of the spread, but at least ``floor``.

    Returns the rows still free after the last phase, and the bids made in all.
    """
    column_of[:] = -1
    row_of[:] = -1
    left = affinity.shape[0]
    total = 0
    for k in range(len(shares)):
        eps = prices.dtype.type(max(shares[k] * spread, floor))
        if k > 0:
            free_slack_pairs(affinity, prices, column_of, row_of, eps)
        left, bids = dense_auction(affinity, prices, column_of, row_of, eps, most_bids)
        total += bids
    return left, total


@njit(**COMPILED)
def match_leftovers(column_of: Any, row_of: Any) -> None:
    """Match what is free on both sides in order of index."""
    j = 0
    for i in range(column_of.shape[0]):
        if column_of[i] < 0:
            while row_of[j] >= 0:
                j += 1
            column_of[i] = j
            row_of[j] = i


class Outcome(NamedTuple):
    """What the exact kernels fill for b problems of one size.

    ``perms`` (b, S) int64, ``prices`` and ``duals`` (b, S) float64, ``slacks`` (b,), the largest of a matched pair or infinite
    where a problem is left unsolved, and ``counters`` (b, COUNTERS) int64.
    """

    perms: Any
    prices: Any
    duals: Any
    slacks: Any
    counters: Any


@njit(**COMPILED)
def make_lists(affinity: Any, prices: Any, wanted: int, rounding: float) -> Lists:
    """New lists under these prices, with bounds in float64 that allow for ``rounding``."""
    size = affinity.shape[0]
    columns = np.empty((size, WIDTH), np.int32)
    lists = Lists(columns, np.empty((size, WIDTH), prices.dtype), np.empty(size), wanted)
    list_rows(affinity, prices, lists)
    lists.bounds[:] += rounding
    return lists


@njit(**COMPILED)
def finish_exactly(
    affinity: Any,
    rounded: Any,
    lists: Lists,
    rounding: float,
    row_of: Any,
    largest: float,
    unit: float,
    effort: Any,
    tolerance: float,
    outcome: Outcome,
    t: int,
) -> None:
    """From the almost optimal matching in ``outcome.perms[t]`` to the optimum and its duals; unsolved if it gives up.

    ``rounded`` are the prices of the auction, in the precision of the affinity; they change. The lists are valid under them, see
    `Finish`; if they have no columns, bids read whole rows, and lists are made only if there is a path to look for. ``rounding``
    bounds the error of ``affinity - prices`` for all prices up to the end. See `Setup` for ``largest`` and ``unit``.
    """
    _, exact_bids, whole_rows, wanted, _ = effort
    size = affinity.shape[0]
    column_of, prices = outcome.perms[t], outcome.prices[t]
    prices[:] = rounded
    reduced = np.empty(WIDTH, rounded.dtype)
    state = Finish(affinity, prices, rounded, lists, rounding, column_of, row_of, reduced, outcome.counters[t])
    free_loose_pairs(state)
    bid_exactly(state, exact_bids * size)
    if (row_of < 0).any():
        if lists.columns.shape[1] == 0:
            lists = make_lists(affinity, rounded, wanted, rounding)
            state = Finish(affinity, prices, rounded, lists, rounding, column_of, row_of, reduced, outcome.counters[t])
        if not augment(state, whole_rows * size):
            return
    rounded[:] = prices
    scale = largest + dearest(prices)
    slack = check_tight(affinity, prices, rounded, column_of, unit * scale, outcome.duals[t])
    if slack <= tolerance * scale:
        outcome.slacks[t] = slack


@njit(**COMPILED)
def solve_exactly(
    affinity: Any,
    start: Any,
    shares: Any,
    spread: float,
    largest: float,
    unit: float,
    effort: Any,
    tolerance: float,
    outcome: Outcome,
    t: int,
) -> None:
    """Auction, exact finish and check of one problem; see `finish_exactly`."""
    size = affinity.shape[0]
    most_bids, _, _, wanted, lists_from = effort
    rounded = start.copy()
    row_of = np.empty(size, np.int64)
    floor = least_eps(unit * (largest + dearest(start)))
    dense_phases(affinity, rounded, outcome.perms[t], row_of, shares, spread, floor, most_bids * size)
    # Prices rise in the finish; the factor leaves them room before the rounding of a scan exceeds its allowance.
    rounding = 4.0 * unit * (largest + max(dearest(start), dearest(rounded)))
    if size < lists_from:
        lists = Lists(np.empty((size, 0), np.int32), np.empty((size, 0), rounded.dtype), np.empty(size), wanted)
    else:
        lists = make_lists(affinity, rounded, wanted, rounding)
    finish_exactly(affinity, rounded, lists, rounding, row_of, largest, unit, effort, tolerance, outcome, t)


@njit(**COMPILED)
def measure(y: Any, affinity: Any, mean: Any, longest: float, limits: Any, start: Any) -> Any:
    """Starting prices into ``start``; returns spread, largest, and whether the problem goes the plain way.

    ``mean`` and ``longest`` are of x, ``limits`` those of `auction_setup.limits_of`.
    """
    low, high, unit, coarsest = limits
    largest = 1.001 * longest * starting_prices(y, mean, start)
    if not low < largest < high:
        return 0.0, largest, False
    spread = spread_of(affinity, start)
    coarse = spread > 0.0 and unit * (largest + dearest(start)) > coarsest * spread
    return spread, largest, not coarse


@njit(**COMPILED)
def auction_batch(
    x: Any, ys: Any, affinities: Any, shares: Any, limits: Any, most_bids: int, perms: Any, facts: Any
) -> None:
    """Dense auctions of x (S, C) with every y: ys (b, S, C), affinities (b, S, S), ``limits`` of `auction_setup.limits_of`.

    ``perms`` (b, S) receives the matchings, ``facts`` (b, 3) whether a problem was solved, the bids, and the rows they left free.
    ``most_bids`` is for each row of a problem.
    """
    mean = np.empty(x.shape[1], x.dtype)
    longest = mean_and_longest(x, mean)
    size = x.shape[0]
    prices = np.empty(size, x.dtype)
    row_of = np.empty(size, np.int64)
    for t in range(len(ys)):
        spread, largest, plain = measure(ys[t], affinities[t], mean, longest, limits, prices)
        facts[t, 0] = plain
        if plain:
            floor = least_eps(limits[2] * (largest + dearest(prices)))
            facts[t, 2], facts[t, 1] = dense_phases(
                affinities[t], prices, perms[t], row_of, shares, spread, floor, most_bids * size
            )
            match_leftovers(perms[t], row_of)


@njit(**COMPILED)
def exact_batch(
    x: Any, ys: Any, affinities: Any, shares: Any, limits: Any, effort: Any, tolerance: float, outcome: Outcome
) -> None:
    """Certified optimal matchings of x with every y, as for `auction_batch`.

    ``effort`` holds limits (bids of the auction, exact bids and whole rows, each for every row of a problem), how many columns a
    list should hold, and the size from which lists pay. Slacks come in infinite and stay so where a problem is left unsolved.
    """
    mean = np.empty(x.shape[1], x.dtype)
    longest = mean_and_longest(x, mean)
    start = np.empty(x.shape[0], x.dtype)
    for t in range(len(ys)):
        spread, largest, plain = measure(ys[t], affinities[t], mean, longest, limits, start)
        if plain:
            solve_exactly(affinities[t], start, shares, spread, largest, limits[2], effort, tolerance, outcome, t)
