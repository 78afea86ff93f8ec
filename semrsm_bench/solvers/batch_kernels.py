"""Whole auctions in one compiled call, for one problem after another: no Python between the affinity and the matching.

A batch is one image x against many images y. A problem that needs more than the plain way (its numbers too large, too
small or too close together for its precision, or no certificate found) is left unsolved, and the caller takes the long
way with it. The kernels release the GIL for the whole batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from semrsm_bench.solvers.auction_kernels import dense_auction, free_slack_pairs
from semrsm_bench.solvers.candidate_kernels import WIDTH, list_rows
from semrsm_bench.solvers.exact_kernels import bid_exactly, check_tight, free_loose_pairs
from semrsm_bench.solvers.path_kernels import augment
from semrsm_bench.solvers.queue_kernels import COMPILED
from semrsm_bench.solvers.setup_kernels import dearest, least_eps, mean_and_longest, spread_of, starting_prices


@njit(**COMPILED)
def dense_phases(
    affinity: Any, prices: Any, column_of: Any, row_of: Any, shares: Any, spread: float, floor: float, most_bids: int
) -> Any:
    """Auctions of falling ``eps`` from a matching that is empty: ``shares`` of the spread, but at least ``floor``.

    Returns
    -------
    left, bids : int
        Rows still free after the last phase, bids made in all.
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


@njit(**COMPILED)
def finish_exactly(
    affinity: Any,
    rounded: Any,
    wanted: int,
    columns: Any,
    values: Any,
    bounds: Any,
    rounding: float,
    largest: float,
    unit: float,
    column_of: Any,
    row_of: Any,
    exact_bids: int,
    whole_rows: int,
    prices: Any,
    duals: Any,
    counters: Any,
) -> Any:
    """From an almost optimal matching to the optimum and its duals; returns the largest slack of a matched pair.

    Infinite where the shortest paths gave up.

    Parameters
    ----------
    rounded : ndarray, (S,)
        Prices of the auction, in the precision of the affinity; they change.
    columns, values, bounds
        Lists that are valid under these prices. If they have no columns, bids read whole rows, and lists are made only if
        there is a path to look for.
    rounding : float
        Bound on the rounding error of ``affinity - prices``, for all prices up to the end.
    largest, unit : float
        See `auction_setup.Setup`.
    prices, duals : ndarray, (S,), float64
        Receive the duals.
    """
    size = affinity.shape[0]
    prices[:] = rounded
    wide = bounds + np.float64(rounding)
    state = (affinity, prices, rounded, wanted, columns, values, wide, rounding, column_of, row_of)
    free_loose_pairs(*state, counters)
    bid_exactly(*state, exact_bids * size, counters)
    if (row_of < 0).any():
        if columns.shape[1] == 0:
            columns, values, bounds = make_lists(affinity, rounded, wanted)
            wide = bounds + np.float64(rounding)
        if not augment(
            affinity,
            prices,
            rounded,
            wanted,
            columns,
            values,
            wide,
            rounding,
            column_of,
            row_of,
            whole_rows * size,
            counters,
        ):
            return np.inf
    rounded[:] = prices
    return check_tight(affinity, prices, rounded, column_of, unit * (largest + dearest(prices)), duals)


@njit(**COMPILED)
def make_lists(affinity: Any, prices: Any, wanted: int) -> Any:
    """Columns, values and bounds of new lists under these prices."""
    size = affinity.shape[0]
    columns = np.empty((size, WIDTH), np.int32)
    values = np.empty((size, WIDTH), prices.dtype)
    bounds = np.empty(size, prices.dtype)
    list_rows(affinity, prices, wanted, columns, values, bounds)
    return columns, values, bounds


@njit(**COMPILED)
def solve_exactly(
    affinity: Any,
    start: Any,
    shares: Any,
    spread: float,
    largest: float,
    unit: float,
    effort: Any,
    column_of: Any,
    prices: Any,
    duals: Any,
    counters: Any,
) -> Any:
    """Auction, exact finish and check of one problem; returns the largest slack. See `finish_exactly`.

    ``effort`` holds the limits (bids of the auction, exact bids and whole rows, each for every row of the problem), how many
    columns a list should hold, and the size from which lists pay.
    """
    size = affinity.shape[0]
    most_bids, exact_bids, whole_rows, wanted, lists_from = effort
    rounded = start.copy()
    row_of = np.empty(size, np.int64)
    floor = least_eps(unit * (largest + dearest(start)))
    dense_phases(affinity, rounded, column_of, row_of, shares, spread, floor, most_bids * size)
    if size < lists_from:
        columns = np.empty((size, 0), np.int32)
        values = np.empty((size, 0), rounded.dtype)
        bounds = np.empty(size, rounded.dtype)
    else:
        columns, values, bounds = make_lists(affinity, rounded, wanted)
    # Prices rise in the finish; the factor leaves them room before the rounding of a scan exceeds its allowance.
    rounding = 4.0 * unit * (largest + max(dearest(start), dearest(rounded)))
    return finish_exactly(
        affinity,
        rounded,
        wanted,
        columns,
        values,
        bounds,
        rounding,
        largest,
        unit,
        column_of,
        row_of,
        exact_bids,
        whole_rows,
        prices,
        duals,
        counters,
    )


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
    """Dense auctions of x with every y.

    Parameters
    ----------
    x : ndarray, (S, C)
    ys, affinities : ndarray, (b, S, C) and (b, S, S)
    shares : ndarray, (phases,), float64
    limits : tuple
    most_bids : int
        For each row of a problem.
    perms : ndarray, (b, S), int64
        Receives the matchings.
    facts : ndarray, (b, 3), int64
        Receives whether the problem was solved, the bids, and the rows they left free.
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
    x: Any,
    ys: Any,
    affinities: Any,
    shares: Any,
    limits: Any,
    effort: Any,
    tolerance: float,
    perms: Any,
    prices: Any,
    duals: Any,
    slacks: Any,
    counters: Any,
) -> None:
    """Certified optimal matchings of x with every y.

    Parameters
    ----------
    tolerance : float
        See `exact_auction`.
    perms : ndarray, (b, S), int64
    prices, duals : ndarray, (b, S), float64
    slacks : ndarray, (b,), float64
        Largest slack of a matched pair; infinite where the problem is left unsolved.
    counters : ndarray, (b, COUNTERS), int64
    """
    mean = np.empty(x.shape[1], x.dtype)
    longest = mean_and_longest(x, mean)
    start = np.empty(x.shape[0], x.dtype)
    for t in range(len(ys)):
        spread, largest, plain = measure(ys[t], affinities[t], mean, longest, limits, start)
        slacks[t] = np.inf
        if plain:
            slack = solve_exactly(
                affinities[t],
                start,
                shares,
                spread,
                largest,
                limits[2],
                effort,
                perms[t],
                prices[t],
                duals[t],
                counters[t],
            )
            if slack <= tolerance * (largest + dearest(prices[t])):
                slacks[t] = slack
