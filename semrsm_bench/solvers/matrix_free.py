"""The list auction without an affinity: S = 65,536, where A would take 17 GB.

The same three ideas as in `list_auction`, each without the S x S matrix: the sample is small enough to be solved exactly;
its row duals give prices to all columns in one pass over m x S inner products; the lists come from `ColumnSearch`, which
looks at a few hundred columns for each row. Rows whose list falls behind its bound are parked during the bidding and
get a new list, under the prices of the moment, in the next round.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.auction_setup import trivial_matching
from semrsm_bench.solvers.centred import BLOCK_BYTES, Centred, centre
from semrsm_bench.solvers.column_search import ColumnSearch, Rows, prices_from_rows
from semrsm_bench.solvers.kernels.bidding import Assignment, bid_on_lists
from semrsm_bench.solvers.kernels.lists import WIDTH, empty_lists
from semrsm_bench.solvers.list_auction import draw_sample, settle_leftovers
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution, get_solver, register_solver

_REFERENCE = "this project; inverted lists as in Jegou et al. 2011 (product quantization), auction as in Bertsekas 1988"
SAMPLE = 2048
_SHARE = 12
_LEFTOVERS = 4096
_MEGABYTE = 1 << 20
# Bids per row of one round, and of the last one, in which lists are not renewed any more.
_BIDS = 40
_LAST_BIDS = 4
# The last round begins when fewer than one row in this many is parked.
_LAST_ROUND = 1024


_SEARCHED: dict[str, Any] = {"kind": "approximate", "matrix_free": True, "reference": _REFERENCE}
_COMPLEXITY = "O(S m C + S T S/m C), m = S/12 up to 2048 sampled, T = "


@register_solver(
    "matrix-free-coarse",
    **_SEARCHED,
    complexity=f"{_COMPLEXITY}16 buckets",
    probes=16,
    eps=0.1,
    trust=1.0,
    renewals=0.3,
)
@register_solver(
    "matrix-free-fine",
    **_SEARCHED,
    complexity=f"{_COMPLEXITY}32 buckets, a few lists for a row",
    probes=32,
    eps=0.02,
    trust=0.3,
    renewals=12.0,
)
def matrix_free_auction(
    problem: MatchingProblem,
    *,
    probes: int = 16,
    eps: float = 0.1,
    trust: float = 1.0,
    renewals: float = 0.3,
    sample: int | None = None,
    seed: int = 0,
    memory: float = 600.0,
) -> Solution:
    """List auction in which candidates are searched for, not read off the affinity; O(S C) memory.

    Parameters
    ----------
    problem : MatchingProblem
    probes : int
        Buckets of columns that a row looks into when its list is made.
    eps, trust : float
        As in `list-auction-coarse`, in units of the spread of a row of the sample.
    renewals : float
        Lists that may be made anew, as a multiple of S.
    sample : int, optional
        Rows and columns of the sample; a twelfth of S by default, and at most 2,048. A problem no larger than the sample
        (by default, than 2,048) is solved exactly.
    seed : int
        Of the sample.
    memory : float
        Most megabytes the solver may allocate.

    Raises
    ------
    ValueError
        An option is out of range, or ``memory`` too small; the message says how much is needed.
    """
    if sample is None:
        sample = SAMPLE if problem.size <= SAMPLE else min(SAMPLE, problem.size // _SHARE)
    if probes < 1 or sample < 2 or not eps > 0 or not trust >= 0 or not renewals >= 0:
        raise ValueError(
            "probes must be at least 1, sample at least 2, eps positive, trust and renewals not negative; "
            f"got {probes}, {sample}, {eps}, {trust}, {renewals}"
        )
    needed = working_bytes(problem.size, problem.channels, sample) / _MEGABYTE
    if needed > memory:
        raise ValueError(
            f"S={problem.size}, C={problem.channels} with a sample of {sample} needs {needed:.0f} MB, more than memory={memory:g}"
        )
    if (trivial := trivial_matching(problem)) is not None:
        return trivial
    if problem.size <= sample:
        whole = MatchingProblem.trusted(problem.x, problem.y)
        return get_solver("exact-auction").run(whole)
    assignment, _, info = _solve(centre(problem), probes, eps, trust, renewals, sample, seed)
    return Solution(assignment.column_of, info=info)


def working_bytes(size: int, channels: int, sample: int) -> int:
    """What `matrix_free_auction` allocates at most: vectors, their packed copy, lists, the sample and the blocks."""
    drawn = min(sample, size)
    vectors = size * 4 * (2 * channels + 4 * 33) + size * 8 * channels
    packed = (size + 8 * drawn) * 4 * (channels + 3)
    lists = size * (WIDTH * 8 + 5 * 8)
    sampled = 3 * drawn * drawn * 4 + 2 * drawn * channels * 4
    leftovers = min(size, _LEFTOVERS) ** 2 * 4
    return vectors + packed + lists + sampled + leftovers + 6 * BLOCK_BYTES


def sampled_prices(centred: Centred, sample: int = SAMPLE, seed: int = 0) -> Floats:
    """Prices of all columns from the optimal duals of a random sample of rows and columns."""
    rows, columns = draw_sample(len(centred.x), sample, seed)
    return _prices(centred, rows, columns)


def auction_prices(centred: Centred) -> Floats:
    """Prices after a matrix-free auction with a small eps."""
    return _solve(centred, probes=32, eps=0.01, trust=0.1, renewals=6.0, sample=SAMPLE, seed=0)[1]


def _prices(centred: Centred, rows: Rows, columns: Rows) -> Floats:
    problem = MatchingProblem(centred.x[rows], centred.y[columns])
    duals = get_solver("exact-auction").run(problem).duals
    if duals is None:
        return np.zeros(len(centred.y), np.float32)
    return prices_from_rows(centred, rows, duals[0].astype(np.float32))


def _spread(centred: Centred, rows: Rows, columns: Rows) -> float:
    block = centred.x[rows[:: max(1, len(rows) // 64)]] @ centred.y[columns].T
    deviations = block.std(axis=1)
    return float(np.median(deviations)) or float(deviations.mean())


def _solve(
    centred: Centred, probes: int, eps: float, trust: float, renewals: float, sample: int, seed: int
) -> tuple[Assignment, Floats, dict[str, int]]:
    size = len(centred.x)
    rows, columns = draw_sample(size, sample, seed)
    prices = _prices(centred, rows, columns)
    search = ColumnSearch(centred, rows, columns, probes)
    spread = max(_spread(centred, rows, columns), 1e-6)
    step, allowed = np.float32(eps * spread), np.float32(trust * spread)
    lists = empty_lists(size, np.dtype(np.float32))._replace(wanted=WIDTH)
    search.fill(np.arange(size), prices, lists)
    assignment = Assignment.empty(size)
    queue: NDArray[np.int64] = np.arange(size)
    parked = np.empty(size, np.int64)
    waiting, renewed, bids = size, 0, 0
    last = False
    while waiting:
        slack = np.float32(np.inf if last else allowed)
        most = (_LAST_BIDS if last else _BIDS) * size
        left, aside, made = bid_on_lists(None, prices, lists, assignment, step, slack, most, queue, waiting, parked)
        bids += made
        if last or left:
            break
        # The last round is about a few rows that push one another around: they take what their lists have.
        last = renewed >= renewals * size or aside < size // _LAST_ROUND
        waiting = aside
        queue[:waiting] = np.sort(parked[:aside])
        search.fill(queue[:waiting], prices, lists)
        renewed += aside
    settled = settle_leftovers(centred.x, centred.y, prices, assignment, step, _LEFTOVERS)
    return assignment, prices, {"bids": int(bids), "renewed": int(renewed), "left": settled}
