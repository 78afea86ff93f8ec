"""The search of the matrix-free auction: inner products with the columns of a few buckets, made where needed and never stored."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Integers
from semrsm_bench.solvers.kernels.lists import Lists, list_row
from semrsm_bench.solvers.kernels.vectors import fill, load, minus, plus_product, store

# Columns of a packed block: the lanes of a float32 vector.
LANES = 16


class Packed(NamedTuple):
    """Vectors of buckets in blocks of 16: bucket b has the blocks ``begins[b]`` to ``begins[b + 1]``.

    ``columns`` says which column each of the 16 places is, -1 for one left over; ``vectors`` (blocks, C * 16), channel by channel.
    """

    begins: Integers
    columns: Integers
    vectors: Floats


@njit(**COMPILED)
def score_buckets(
    x: Floats, rows: Integers, buckets: Integers, packed: Packed, packed_prices: Floats, lists: Lists
) -> None:
    """Lists of the given rows from exact inner products with every column of their buckets.

    ``buckets`` (len(rows), T) are the buckets to look into, -1 for none; ``packed_prices`` those of the packed columns,
    infinite for places left over. The bound of a list covers the columns looked at, not those of other buckets.
    """
    columns, values, bounds, wanted = lists
    blocks = packed.begins
    channels = x.shape[1]
    most = 1
    for r in range(len(rows)):
        total = 0
        for b in buckets[r]:
            if b >= 0:
                total += blocks[b + 1] - blocks[b]
        most = max(most, total)
    scores = np.empty(most * LANES, np.float32)
    places = np.empty(most * LANES, np.int64)
    nothing = np.zeros(most * LANES, np.float32)
    for r in range(len(rows)):
        i = rows[r]
        count = 0
        for b in buckets[r]:
            if b < 0:
                continue
            # Each row begins elsewhere in the bucket: of many equal columns, every row then lists others.
            inside = blocks[b + 1] - blocks[b]
            for step in range(inside):
                block = blocks[b] + (step + i) % inside
                line = packed.vectors[block]
                even = fill(scores, 0.0)
                odd = even
                for c in range(0, channels - 1, 2):
                    even = plus_product(even, load(line, c * LANES), fill(scores, x[i, c]))
                    odd = plus_product(odd, load(line, (c + 1) * LANES), fill(scores, x[i, c + 1]))
                if channels % 2 == 1:
                    even = plus_product(even, load(line, (channels - 1) * LANES), fill(scores, x[i, channels - 1]))
                store(scores, count, minus(even, minus(load(packed_prices, block * LANES), odd)))
                for lane in range(LANES):
                    places[count + lane] = block * LANES + lane
                count += LANES
        bounds[i] = list_row(scores[:count], nothing, wanted, columns[i], values[i])
        for k in range(columns.shape[1]):
            if values[i, k] > -np.inf:
                place = places[columns[i, k]]
                columns[i, k] = packed.columns[place]
                values[i, k] += packed_prices[place]
            else:
                columns[i, k] = 0
