"""The problems that commits are compared on, with certified optima."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.store import Cache, find_data, list_caches, open_cache
from semrsm_bench.bench.cases import choose_pairs
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.bench.worker import Limits, WorkerPool
from semrsm_bench.solvers import MatchingProblem, random_value

# Large problems vary less from pair to pair and cost more.
PAIRS: Mapping[int, int] = {256: 6, 1024: 4, 4096: 2}
_OPTIMUM_LIMITS = Limits(deadline=600.0, memory=8 << 30, warm_up=120.0)


@dataclass(frozen=True)
class GateProblem:
    """One pair of images at one size, with what its matchings are scored against.

    Attributes
    ----------
    size : int
        S.
    centring, pair : str
    x, y : ndarray, (S, C), float32
    k_opt : float or None
        None where no exact solver could prove its matching.
    k_rand : float
    """

    size: int
    centring: str
    pair: str
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    k_opt: float | None
    k_rand: float


def sizes_available(data: str | Path | None = None) -> dict[int, tuple[Cache, str]]:
    """Every S there is, ascending, with the cache and layer it comes from: the first of each."""
    place = find_data(data)
    found: dict[int, tuple[Cache, str]] = {}
    for cache in map(open_cache, list_caches(place) if place.is_dir() else [place]):
        if len(cache) < 2:
            continue
        for layer in cache.layers:
            found.setdefault(cache.shape(layer)[2], (cache, layer))
    return dict(sorted(found.items()))


def pairs_at(size: int) -> int:
    """Number of pairs a size is judged by."""
    return next((count for largest, count in PAIRS.items() if size <= largest), 1)


def load_problems(
    data: str | Path | None = None,
    sizes: Sequence[int] | None = None,
    centrings: Sequence[str] = ("none", "channel"),
    pairs: int | None = None,
) -> list[GateProblem]:
    """Problems by ascending size, then centring, then pair.

    Parameters
    ----------
    data : path, optional
        As in `find_data`.
    sizes : sequence of int, optional
        Default: all there are.
    centrings : sequence of {"none", "channel", "position"}
    pairs : int, optional
        Of each size; default: `pairs_at`.

    Raises
    ------
    ValueError
        A size that the data does not have.
    """
    there = sizes_available(data)
    wanted = sorted(sizes) if sizes is not None else list(there)
    for size in wanted:
        if size not in there:
            raise ValueError(f"the data has no layer with S = {size}; it has {', '.join(map(str, there)) or 'none'}")
    cache = OptimumCache()
    made = []
    with WorkerPool() as pool:

        def solve(name: str, task: Any) -> Any:
            return pool.solve(name, task, _OPTIMUM_LIMITS)

        for size in wanted:
            source, layer = there[size]
            for centring in centrings:
                for i, j in choose_pairs(len(source), pairs or pairs_at(size)):
                    x, y = (source.positions(layer, image, centring) for image in (i, j))  # type: ignore[arg-type]
                    problem = MatchingProblem(x, y)
                    optimum = cache.get(problem, solve)
                    made.append(GateProblem(size, centring, f"{i}-{j}", x, y, optimum.k_opt, random_value(problem)))
    return made
