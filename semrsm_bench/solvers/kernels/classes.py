"""Matching where many rows or columns are equal: a transport problem between classes of equal ones.

In pictures with flat parts thousands of position vectors are equal. One by one, equal rows outbid each other by little more than
eps, and so do the owners of equal columns; here a whole class of rows bids at once, and for all columns of a class (Bertsekas
and Castanon 1989). Each column has a price; the price of a class is that of its cheapest column, and in the end that of all: a row
class is within eps of its best for these prices. `correct_classes` is `exact.correct` between classes.

Rows of class i have the places ``rows[i]`` to ``rows[i + 1]``, columns of class j the places ``columns[j]`` to ``columns[j + 1]``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Index, Integers, Scalar
from semrsm_bench.solvers.kernels.exact import Queue, append, full_queue, take_next
from semrsm_bench.solvers.kernels.rows import best_two, columns_reaching
from semrsm_bench.solvers.kernels.scale import SUMS

# Owner of a column that is free.
_FREE = -1
# Weights of a sum are 1/offset, 1/(1 + offset), ...; a table finds its numbers by so many parts of the largest, in so many steps.
_OFFSET, _BUCKETS, _PROBES = 0.618, 2.0**40, 8
# An odd number with bits all over; keys are products modulo 2^64.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Classes(NamedTuple):
    """R classes of rows and K of columns: their affinity (R, K), and where the places of each begin, (R + 1,) and (K + 1,).

    ``class_of`` (S,) is the class of each column, by place.
    """

    affinity: Floats
    rows: Integers
    columns: Integers
    class_of: Integers


class Holdings(NamedTuple):
    """Who owns what, and the prices: of each class of columns (K,), and of each column its own (S,).

    ``owners`` (S,) are classes of rows. What class i owns has the places from ``rows[i]`` on in ``held`` (S,), and ``places`` (S,)
    says where each column is there. ``free`` (R,) are the rows of each class that own nothing.
    """

    prices: Floats
    own_prices: Floats
    owners: Integers
    held: Integers
    places: Integers
    free: Integers


class _View(NamedTuple):
    """What a class sees, by class of columns (K,): price and number of those that it does not own; and lists of classes."""

    asked: Floats
    room: Integers
    owned: Integers
    chosen: Integers


@njit(**SUMS)
def _sums_of(vectors: Floats) -> Floats:
    """A weighted sum of each vector: the same of equal ones, and of hardly any others."""
    size, channels = vectors.shape
    sums, weights = np.empty(size, vectors.dtype), np.empty(channels, vectors.dtype)
    for c in range(channels):
        weights[c] = 1.0 / (c + _OFFSET)
    for i in range(size):
        total = vectors.dtype.type(0)
        for c in range(channels):
            total += vectors[i, c] * weights[c]
        sums[i] = total
    return sums


@njit(**COMPILED)
def count_repeats(vectors: Floats) -> int:
    """About how many vectors equal an earlier one: from a sum over each, and a table that is left after a few collisions."""
    numbers, most, room, repeats = _sums_of(vectors), 0.0, 2, 0
    for i in range(numbers.shape[0]):
        most = max(most, abs(np.float64(numbers[i])))
    if not 0.0 < most < np.inf:
        return numbers.shape[0] - 1
    while room < 4 * numbers.shape[0]:
        room *= 2
    table = np.empty(room, np.int64)
    for at in range(room):
        table[at] = -1
    for i in range(numbers.shape[0]):
        first = np.int64(abs(np.float64(numbers[i])) / most * _BUCKETS)
        for probe in range(_PROBES):
            here = (first + probe) & (room - 1)
            if table[here] < 0:
                table[here] = i
                break
            if numbers[table[here]] == numbers[i]:
                repeats += 1
                break
    return repeats


@njit(**COMPILED)
def keys_of(bits: Integers) -> NDArray[np.uint64]:
    """A number of each row, (S,): equal ones of equal rows, different ones of almost all others."""
    keys = np.empty(bits.shape[0], np.uint64)
    for i in range(bits.shape[0]):
        key = np.uint64(0)
        for c in range(bits.shape[1]):
            key = (key ^ np.uint64(bits[i, c])) * _FACTOR
            key ^= key >> np.uint64(29)
        keys[i] = key
    return keys


@njit(**COMPILED)
def block_of(affinity: Floats, rows: Integers, columns: Integers) -> Floats:
    """``affinity[rows][:, columns]``."""
    block = np.empty((rows.shape[0], columns.shape[0]), affinity.dtype)
    for i in range(rows.shape[0]):
        row = affinity[rows[i]]
        for j in range(columns.shape[0]):
            block[i, j] = row[columns[j]]
    return block


@njit(**COMPILED)
def classes_phase(classes: Classes, holdings: Holdings, eps: Scalar, max_bids: int) -> tuple[int, int]:
    """An auction from the prices of the classes, with nothing matched; returns how many rows are still free, and bids made."""
    affinity, rows, columns, class_of = classes
    prices, own_prices, owners, _, _, free = holdings
    for u in range(owners.shape[0]):
        own_prices[u] = prices[class_of[u]]
        owners[u] = _FREE
    for i in range(free.shape[0]):
        free[i] = rows[i + 1] - rows[i]
    queue = full_queue(free.shape[0])
    number = prices.shape[0]
    view = _View(
        np.empty_like(prices), np.empty(number, np.int64), np.empty(number, np.int64), np.empty(number, np.int64)
    )
    for j in range(number):
        view.room[j] = columns[j + 1] - columns[j]
    bids = 0
    while queue.state[1] > 0 and bids < max_bids:
        bidder = take_next(queue)
        if rows[bidder + 1] - rows[bidder] == 1:
            bids += 1
            column, first, second = best_two(affinity[bidder], prices)
            limit = affinity[bidder, column] - (first if second == -np.inf else second)
            _take(bidder, column, 1, limit, eps, classes, holdings, queue)
        else:
            bids += 1 + _bid_for_class(bidder, classes, holdings, eps, view, queue)
        if free[bidder] > 0:
            append(bidder, queue)
    left = 0
    for i in range(free.shape[0]):
        left += free[i]
    return left, bids


@njit(**COMPILED)
def _bid_for_class(i: Index, classes: Classes, holdings: Holdings, eps: Scalar, view: _View, queue: Queue) -> int:
    """The free rows of class i bid for the best columns that it does not own; returns how many classes of columns that takes.

    Those that are taken whole rise to the value of the last one, that one to the value of the next best, and what class i owns
    rises with them.
    """
    affinity, rows, columns, class_of = classes
    prices, own_prices, owners, held, _, free = holdings
    asked, room, owned, chosen = view
    row, wanted = affinity[i], free[i]
    # Not by a slice, here or elsewhere: numba takes seconds to compile what that can raise.
    for j in range(prices.shape[0]):
        asked[j] = prices[j]
    number = 0
    for place in range(rows[i], rows[i + 1] - wanted):
        j = class_of[held[place]]
        if room[j] == columns[j + 1] - columns[j]:
            owned[number] = j
            number += 1
            asked[j] = np.inf
            for u in range(columns[j], columns[j + 1]):
                if owners[u] == i:
                    room[j] -= 1
                else:
                    asked[j] = min(asked[j], own_prices[u])
    picked, last = 0, -np.inf
    while wanted > 0:
        best, value, after = best_two(row, asked)
        if value == -np.inf:
            break
        last = np.float64(value)
        wanted -= room[best]
        chosen[picked] = best
        picked += 1
        asked[best] = np.inf
    level = np.float64(after) if after > -np.inf else last
    whole = level if wanted == 0 else last
    for k in range(number):
        j = owned[k]
        room[j] = columns[j + 1] - columns[j]
        limit = row[j] - prices.dtype.type(whole)
        for u in range(columns[j], columns[j + 1]):
            if owners[u] == i and own_prices[u] <= limit:
                own_prices[u] = limit + eps
        prices[j] = _lowest(own_prices, columns[j], columns[j + 1])
    for k in range(picked):
        j = chosen[k]
        limit = row[j] - prices.dtype.type(whole if k + 1 < picked else level)
        _take(i, j, free[i], limit, eps, classes, holdings, queue)
    return picked


@njit(forceinline=True, **COMPILED)
def _lowest(own_prices: Floats, begin: int, end: int) -> Scalar:
    """The smallest of a range."""
    lowest = own_prices[begin]
    for u in range(begin + 1, end):
        lowest = min(lowest, own_prices[u])
    return lowest


@njit(**COMPILED)
def _take(
    i: Index, j: Index, wanted: int, limit: Scalar, eps: Scalar, classes: Classes, holdings: Holdings, queue: Queue
) -> None:
    """Class i takes so many columns of class j, if they cost no more than ``limit``, at that plus eps.

    First free ones, then those of others, who wait again.
    """
    prices, own_prices, owners, held, places, free = holdings
    rows, begin, end = classes.rows, classes.columns[j], classes.columns[j + 1]
    price, most = limit + eps, limit + prices.dtype.type(0.5) * eps
    for only_free in (True, False):
        for u in range(begin, end):
            owner = owners[u]
            if wanted > 0 and owner != i and own_prices[u] <= most and (owner < 0) == only_free:
                if owner >= 0:
                    free[owner] += 1
                    last = rows[owner + 1] - free[owner]
                    held[places[u]] = held[last]
                    places[held[last]] = places[u]
                    append(owner, queue)
                own_prices[u] = price
                owners[u] = i
                places[u] = rows[i + 1] - free[i]
                held[places[u]] = u
                free[i] -= 1
                wanted -= 1
    prices[j] = _lowest(own_prices, begin, end)


@njit(**COMPILED)
def correct_classes(
    classes: Classes, holdings: Holdings, prices: Floats, rounding: float, held: Integers, step: float, most: int
) -> tuple[int, int, int]:
    """`semrsm_bench.solvers.kernels.exact.correct` between classes: raise prices, and turn cycles, until all pairs are tight.

    ``prices`` (K,) are float64, those of ``holdings`` the same in the precision of the affinity; ``held`` (S,) is the class of what
    each row owns, by place. Returns how many row classes were still to look after ``most`` looks, the looks, and the cycles.
    """
    affinity, rows, columns, _ = classes
    rounded, owners = holdings.prices, holdings.owners
    number = affinity.shape[1]
    queue = full_queue(affinity.shape[0])
    # Who raised a class of columns, and for want of which: the worst that it held.
    raised_by, instead_of = np.empty(number, np.int64), np.empty(number, np.int64)
    walked, found = np.empty(number, np.int64), np.empty(number, np.int32)
    for k in range(number):
        raised_by[k] = instead_of[k] = -1
        walked[k] = 0
    looks = cycles = walk = 0
    first_of_pass, left_of_pass = 1, affinity.shape[0]
    while queue.state[1] > 0 and looks < most:
        if left_of_pass == 0:
            first_of_pass, left_of_pass = walk + 1, queue.state[1]
        left_of_pass -= 1
        i = take_next(queue)
        looks += 1
        walk += 1
        own, worst = np.inf, -1
        for place in range(rows[i], rows[i + 1]):
            value = np.float64(affinity[i, held[place]]) - prices[held[place]]
            if value < own:
                own, worst = value, held[place]
        k = worst
        while k >= 0 and walked[k] < first_of_pass:
            walked[k] = walk
            k = instead_of[k] if raised_by[k] >= 0 else -1
        if k >= 0 and walked[k] == walk:
            cycles += _turn(k, classes, held, owners, raised_by, instead_of, queue)
            append(i, queue)
            continue
        for c in range(columns_reaching(affinity[i], rounded, rounded.dtype.type(own - 2.0 * rounding), found)):
            better = np.int64(found[c])
            if np.float64(affinity[i, better]) - prices[better] > own + step:
                prices[better] = np.float64(affinity[i, better]) - own
                rounded[better] = prices[better]
                raised_by[better] = i
                instead_of[better] = worst
                for u in range(columns[better], columns[better + 1]):
                    append(owners[u], queue)
    return queue.state[1], looks, cycles


@njit(**COMPILED)
def _turn(
    first: Index,
    classes: Classes,
    held: Integers,
    owners: Integers,
    raised_by: Integers,
    instead_of: Integers,
    queue: Queue,
) -> int:
    """As many rows as can take the columns that their classes raised round a cycle; returns 1, or 0 where there are none."""
    rows, columns = classes.rows, classes.columns
    most = held.shape[0]
    k = first
    while True:
        i, given = raised_by[k], instead_of[k]
        count = 0
        for place in range(rows[i], rows[i + 1]):
            count += held[place] == given
        most = min(most, count)
        k = given
        if k == first:
            break
    while True:
        i, given = raised_by[k], instead_of[k]
        moved = 0
        for place in range(rows[i], rows[i + 1]):
            if moved < most and held[place] == given:
                held[place] = k
                moved += 1
        # The columns of the class that is given up go to who raised it.
        moved = 0
        for u in range(columns[given], columns[given + 1]):
            if moved < most and owners[u] == i:
                owners[u] = raised_by[given]
                moved += 1
        append(i, queue)
        k = given
        if k == first:
            break
    while True:
        given = instead_of[k]
        raised_by[k] = instead_of[k] = -1
        k = given
        if k == first:
            return int(most > 0)
