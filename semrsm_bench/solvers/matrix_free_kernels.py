"""Compiled kernels of the matrix-free auction: affinities are made where they are needed and never stored."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from semrsm_bench.solvers.candidate_kernels import Lists, list_row, listed_best_two
from semrsm_bench.solvers.queue_kernels import COMPILED, award, turn
from semrsm_bench.solvers.vectors import load, minus, plus_product, spread, store

# Columns of a packed block: the lanes of a float32 vector.
LANES = 16


class Packed(NamedTuple):
    """Vectors of buckets in blocks of 16: bucket b has the blocks ``begins[b]`` to ``begins[b + 1]``.

    ``columns`` says which column each of the 16 places is, -1 for one left over; ``vectors`` (blocks, C * 16), channel by channel.
    """

    begins: Any
    columns: Any
    vectors: Any


@njit(**COMPILED)
def pack(vectors: Any, members: Any, begins: Any, into: Packed) -> None:
    """Lay out the vectors ``members[begins[b] : begins[b + 1]]`` of every bucket, so that 16 inner products are one loop."""
    blocks, columns, packed = into
    for b in range(len(blocks) - 1):
        first = blocks[b] * LANES
        last = blocks[b + 1] * LANES
        number = begins[b + 1] - begins[b]
        for place in range(first, last):
            offset = place - first
            block = place // LANES
            lane = place - block * LANES
            if offset < number:
                j = members[begins[b] + offset]
                columns[place] = j
                for c in range(vectors.shape[1]):
                    packed[block, c * LANES + lane] = vectors[j, c]
            else:
                columns[place] = -1
                for c in range(vectors.shape[1]):
                    packed[block, c * LANES + lane] = 0


@njit(**COMPILED)
def score_buckets(x: Any, rows: Any, buckets: Any, packed: Packed, packed_prices: Any, lists: Lists) -> None:
    """Lists of the given rows from exact inner products with every column of their buckets.

    ``buckets`` (len(rows), T) are the buckets to look into, -1 for none. The bound of a list covers the columns looked
    at, not those of other buckets.
    """
    columns, values, bounds, wanted = lists
    blocks = packed.begins
    most = 0
    for r in range(len(rows)):
        total = 0
        for t in range(buckets.shape[1]):
            b = buckets[r, t]
            if b >= 0:
                total += blocks[b + 1] - blocks[b]
        most = max(most, total)
    scores = np.empty(max(1, most) * LANES, np.float32)
    places = np.empty(max(1, most) * LANES, np.int64)
    nothing = np.zeros(max(1, most) * LANES, np.float32)
    reduced = np.empty(columns.shape[1], np.float32)
    for r in range(len(rows)):
        i = rows[r]
        count = 0
        for t in range(buckets.shape[1]):
            b = buckets[r, t]
            if b < 0:
                continue
            # Each row begins elsewhere in the bucket: of many equal columns, every row then lists others.
            inside = blocks[b + 1] - blocks[b]
            for step in range(inside):
                block = blocks[b] + (step + i) % inside
                line = packed.vectors[block]
                even = spread(scores, 0.0)
                odd = even
                for c in range(0, x.shape[1] - 1, 2):
                    even = plus_product(even, load(line, c * LANES), spread(scores, x[i, c]))
                    odd = plus_product(odd, load(line, (c + 1) * LANES), spread(scores, x[i, c + 1]))
                if x.shape[1] % 2 == 1:
                    c = x.shape[1] - 1
                    even = plus_product(even, load(line, c * LANES), spread(scores, x[i, c]))
                even = minus(even, minus(load(packed_prices, block * LANES), odd))
                store(scores, count, even)
                for lane in range(LANES):
                    places[count + lane] = block * LANES + lane
                count += LANES
        bounds[i] = list_row(scores[:count], nothing, wanted, columns[i], values[i], reduced)
        for k in range(columns.shape[1]):
            if values[i, k] > -np.inf:
                place = places[columns[i, k]]
                columns[i, k] = packed.columns[place]
                values[i, k] += packed_prices[place]
            else:
                columns[i, k] = 0


@njit(**COMPILED)
def parking_auction(
    prices: Any,
    lists: Lists,
    trust: Any,
    column_of: Any,
    row_of: Any,
    eps: Any,
    max_bids: int,
    queue: Any,
    waiting: int,
    parked: Any,
) -> Any:
    """List auction of the rows in ``queue[:waiting]`` that never looks at a whole row.

    A row whose list has fallen ``trust`` below its bound is parked: the caller makes it a new list. Returns rows still in
    the queue, rows in ``parked``, and bids made.
    """
    columns, values, bounds, _ = lists
    n = len(queue)
    head = 0
    bids = 0
    aside = 0
    while waiting > 0 and bids < max_bids:
        i = queue[head]
        head = turn(head + 1, n)
        waiting -= 1
        j, best, runner_up = listed_best_two(columns[i], values[i], prices)
        if not best >= bounds[i] - trust or best == -np.inf:
            parked[aside] = i
            aside += 1
            continue
        # A list of one column has no second choice; then a bid rises by eps alone.
        runner_up = min(best, max(runner_up, bounds[i] - trust))
        if runner_up == -np.inf:
            runner_up = best
        prices[j] += best - runner_up + eps
        bids += 1
        waiting = award(i, j, column_of, row_of, queue, head, waiting)
    for k in range(waiting):
        parked[aside + k] = queue[(head + k) % n]
    return waiting, aside, bids
