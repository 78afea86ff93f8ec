"""Both sides are halved together, again and again, and small blocks are matched exactly: no affinity, S = 65,536 and beyond.

Halves that belong together are the best coupling of rank 2, found by turns: a side is cut in two along the difference of the other
side's halves. Halmos, Gold, Liu and Raphael (ICML 2025) refine a matching in this way. What follows is this project's: pairs are
put into blocks along random axes, and each block is matched anew, which never makes a matching worse. The prices of a block are
those of the whole problem but for a constant; averaged over the rounds they are nearly optimal duals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.solvers.auction import trivial_matching
from semrsm_bench.solvers.centring import Centred, centre, row_duals
from semrsm_bench.solvers.list_auction import draw_sample
from semrsm_bench.solvers.problem import Floats, MatchingProblem
from semrsm_bench.solvers.registry import Solution, get_solver, register_solver

Indices = NDArray[np.intp]
_Halves = Sequence[tuple[Indices, Indices]]

# Rows and columns whose optimum gives the first prices; a problem no larger is solved as a whole.
_SAMPLE = 2048
# Vectors that tell where a random axis may lie, and turns in which halves are found.
_SHOWN, _TURNS = 2048, 3

_REGISTERED: dict[str, Any] = {
    "kind": "approximate",
    "matrix_free": True,
    "reference": "Halmos et al., ICML 2025 (hierarchical refinement); blocks of pairs matched anew: this project",
}


@register_solver("hierarchical-coarse", **_REGISTERED, complexity="O(S b C), b = 512", block=512, rounds=1)
@register_solver("hierarchical-fine", **_REGISTERED, complexity="O(S b C), b = 1024, five times", block=1024, rounds=4)
def hierarchical(problem: MatchingProblem, *, block: int = 512, rounds: int = 1, seed: int = 0) -> Solution:
    """Exact matchings of blocks of positions that belong together; O(S C) memory.

    Parameters
    ----------
    block : int
        Positions of a block at most, at least 2. A problem that is no larger is solved exactly.
    rounds : int
        How often pairs are put into other blocks and matched anew.
    seed : int
        Seed of the axes along which blocks are cut.
    """
    check_blocks(block, rounds)
    if (trivial := trivial_matching(problem)) is not None:
        return trivial
    if problem.size <= block:
        # Not the caller's problem: this solver promises to leave ``problem.affinity`` alone.
        return get_solver("exact-auction").run(MatchingProblem.trusted(problem.x, problem.y))
    centred = centre(problem)
    return Solution(match_blocks(centred.x, centred.y, block, rounds, seed))


def check_blocks(block: int, rounds: int) -> None:
    """Raise ValueError unless these are options of `hierarchical`."""
    if block < 2 or rounds < 0:
        raise ValueError(f"block must be at least 2 and rounds not negative, got {block} and {rounds}")


def priced_matching(centred: Centred, block: int, rounds: int, seed: int = 0) -> tuple[Indices, Floats]:
    """The matching of `match_blocks` and prices (S,) of the columns, nearly optimal; those of few positions are."""
    x, y = centred.x, centred.y
    rows, columns = draw_sample(len(x), _SAMPLE, seed=0)
    found = get_solver("exact-auction").run(MatchingProblem(x[rows], y[columns]))
    prices = np.zeros(len(y), np.float32)
    if found.duals is not None:
        prices = row_duals(y, x[rows], found.duals[0].astype(np.float32))
    if len(x) > _SAMPLE:
        return match_blocks(x, y, block, rounds, seed, prices), prices
    perm: Indices = np.empty(len(x), np.intp)
    perm[rows] = columns[found.perm]
    return perm, prices


def match_blocks(x: Floats, y: Floats, block: int, rounds: int, seed: int, prices: Floats | None = None) -> Indices:
    """The matching of centred vectors (S, C); ``prices`` (S,) of the columns are made better in place, by the average of rounds."""
    rng = np.random.default_rng(seed)
    every: Indices = np.arange(len(x))
    perm = np.empty_like(every)

    def couple(x: Floats, y: Floats) -> _Halves:
        keys = y @ _axis(y, rng)
        for _ in range(_TURNS):
            theirs = _cut(keys)
            mine = _cut(x @ _difference(y, theirs))
            keys = y @ _difference(x, mine)
        return [*zip(mine, _cut(keys))]

    def regroup(x: Floats, y: Floats) -> _Halves:
        pairs = x + y
        return [(half, half) for half in _cut(pairs @ _axis(pairs, rng))]

    for part in _parts(_Part(every, every, x, y), block, couple):
        perm[part.rows] = part.columns[part.solve().perm]
    for number in range(rounds):
        for part in _parts(_Part(every, perm.copy(), x, y[perm]), block, regroup):
            found = part.solve()
            perm[part.rows] = part.columns[found.perm]
            if prices is not None and found.duals is not None:
                change = found.duals[1] - prices[part.columns]
                prices[part.columns] += (change - np.median(change)) / (number + 2)
    return perm


class _Part(NamedTuple):
    """Rows and columns of a problem, and their vectors."""

    rows: Indices
    columns: Indices
    x: Floats
    y: Floats

    def solve(self) -> Solution:
        return get_solver("exact-auction").run(MatchingProblem.trusted(self.x, self.y))


def _parts(whole: _Part, most: int, halve: Callable[[Floats, Floats], _Halves]) -> Iterator[_Part]:
    """Halves of halves, down to so many rows."""
    waiting = [whole]
    while waiting:
        rows, columns, x, y = part = waiting.pop()
        if len(rows) <= most:
            yield part
        else:
            waiting += [_Part(rows[i], columns[j], x[i], y[j]) for i, j in halve(x, y)]


def _axis(vectors: Floats, rng: np.random.Generator) -> Floats:
    """A random axis (C,), longer where the vectors are farther spread."""
    shown = vectors[:: -(-len(vectors) // _SHOWN)]
    axis: Floats = rng.standard_normal(len(shown), vectors.dtype) @ (shown - shown.mean(axis=0))
    return axis


def _cut(keys: Floats) -> tuple[Indices, Indices]:
    """Indices of the lower half, and of the upper one."""
    half = len(keys) // 2
    order = np.argpartition(keys, half)
    return order[:half], order[half:]


def _difference(vectors: Floats, halves: tuple[Indices, Indices]) -> Floats:
    """From the mean of the lower half to that of the upper one, but for its length."""
    sides = np.empty(len(vectors), vectors.dtype)
    for half, weight in zip(halves, (-1.0, 1.0)):
        sides[half] = weight / len(half)
    difference: Floats = sides @ vectors
    return difference
