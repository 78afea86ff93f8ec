"""What is measured: profiles, cells (solver x layer x centring) and the pairs of images in each."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from semrsm_bench.activations.locate import DATA_VARIABLE, large_folder
from semrsm_bench.activations.store import CENTRINGS, Cache, find_data, list_caches, open_cache
from semrsm_bench.solvers import get_solver, solver_names

TOO_SLOW = "too slow for quick"
# Measured medians at S = 4096 on one core: scipy 16.5 s, lapjv 20.6 s, lap 27 s, lapx 12.6 s a pair. Others are judged by what
# they need at smaller S in the same run.
SLOW_FROM = {"scipy": 4096, "lapjv": 4096, "lap": 4096, "lapx": 4096}


@dataclass(frozen=True)
class Profile:
    """How much of everything a run measures.

    Attributes
    ----------
    name, summary : str
    pairs : tuple of (largest S, pairs)
        In ascending S; the first entry that reaches S counts, the last one for everything larger.
    deadline : float
        Seconds for one solve.
    budget : float
        Seconds for one cell; what is left then is not measured, and a row says so.
    patience : float or None
        A solve expected to last longer, judged by smaller sizes, is skipped as too slow.
    smallest : int
        Layers with fewer positions are left out.
    """

    name: str
    summary: str
    pairs: tuple[tuple[int, int], ...]
    deadline: float
    budget: float
    patience: float | None = None
    smallest: int = 0

    def pairs_at(self, size: int) -> int:
        """Number of pairs at S positions."""
        return next((n for largest, n in self.pairs if size <= largest), self.pairs[-1][1])


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("quick", "under five minutes", ((1024, 20), (4096, 3), (16384, 1)), 30.0, 30.0, patience=20.0),
        Profile("paper", "1000 pairs or all there are, every solver", ((1024, 1000), (4096, 1000)), 180.0, 600.0),
        Profile("large", "S above 4096", ((16384, 5), (65536, 3)), 300.0, 1200.0, smallest=4097),
    )
}


@dataclass(frozen=True)
class Options:
    """Everything a user may choose about a run; None means what the profile says.

    Attributes
    ----------
    profile : str
    solvers, layers : tuple of str or None
        Default: all there are.
    centrings : tuple of str
    pairs : int or None
        Pairs in each cell.
    repeats : int
    deadline : float or None
        Seconds for one solve.
    memory : int
        Bytes a solve may take beyond its inputs and the affinity.
    budget : float or None
        Seconds for one cell.
    plugins : tuple of Path
    data : Path or None
    """

    profile: str = "quick"
    solvers: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None
    centrings: tuple[str, ...] = ("none", "channel")
    pairs: int | None = None
    repeats: int = 1
    deadline: float | None = None
    memory: int = 4 << 30
    budget: float | None = None
    plugins: tuple[Path, ...] = ()
    data: Path | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"unknown profile {self.profile!r}; there are {', '.join(PROFILES)}")
        for centring in self.centrings:
            if centring not in CENTRINGS:
                raise ValueError(f"unknown centring {centring!r}; there are {', '.join(CENTRINGS)}")
        for name in ("solvers", "layers", "centrings"):
            chosen = getattr(self, name)
            if chosen is not None and (not chosen or len(set(chosen)) != len(chosen)):
                raise ValueError(f"{name} must name at least one and none twice, got {', '.join(chosen) or 'none'}")
        for name in ("pairs", "repeats", "memory", "deadline", "budget"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be positive, got {value}")


@dataclass(frozen=True)
class Cell:
    """One solver on one layer under one centring.

    Attributes
    ----------
    solver, cache, layer, centring : str
    size, channels : int
    pairs : tuple of (int, int)
        In the order in which they are measured; any first few are spread over all images.
    skip : str
        Why the cell is not measured at all; empty when it is.
    """

    solver: str
    cache: str
    layer: str
    centring: str
    size: int
    channels: int
    pairs: tuple[tuple[int, int], ...]
    skip: str = ""

    @property
    def name(self) -> str:
        """Problem name of rows that speak for the whole cell."""
        return f"{self.cache}/{self.layer}/{self.centring}"

    def problem(self, pair: tuple[int, int]) -> str:
        """Problem name of one pair."""
        return f"{self.name}/{pair_name(pair)}"


def pair_name(pair: tuple[int, int]) -> str:
    """``i-j``."""
    return f"{pair[0]}-{pair[1]}"


@dataclass(frozen=True)
class Plan:
    """The cells of a run and the limits that hold in each.

    Attributes
    ----------
    cells : tuple of Cell
        By ascending S, then layer, centring and solver.
    caches : mapping of str to Cache
    """

    options: Options
    profile: Profile
    cells: tuple[Cell, ...]
    caches: dict[str, Cache] = field(repr=False)

    def describe(self) -> dict[str, Any]:
        """What must agree for a later sitting to go on with the same run, JSON-ready."""
        return {
            "profile": self.profile.name,
            "solvers": list(dict.fromkeys(cell.solver for cell in self.cells)),
            "layers": sorted({f"{cell.cache}/{cell.layer}" for cell in self.cells}),
            "centrings": list(self.options.centrings),
            "pairs": self.options.pairs,
            "repeats": self.options.repeats,
            "deadline": self.profile.deadline,
            "budget": self.profile.budget,
            "memory": self.options.memory,
        }


def choose_pairs(images: int, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, in a seeded order whose every beginning uses all images equally often, give or take one.

    The rounds of a round-robin tournament, one after the other: in each of them every image plays once.

    Parameters
    ----------
    images : int
        At least 2.
    count : int
        How many; all ``images * (images - 1) / 2`` where there are not so many.
    seed : int
    """
    if images < 2:
        raise ValueError(f"pairs need at least two images, got {images}")
    return list(itertools.islice(_tournament(images, seed), max(0, count)))


def _tournament(images: int, seed: int) -> Iterator[tuple[int, int]]:
    players: list[int] = [int(i) for i in np.random.default_rng(seed).permutation(images)]
    if images % 2:
        players.append(-1)
    half = len(players) // 2
    for _ in range(len(players) - 1):
        for a, b in zip(players[:half], reversed(players[half:])):
            if min(a, b) >= 0:
                yield min(a, b), max(a, b)
        players[1:] = [players[-1], *players[1:-1]]


def open_caches(data: Path | None) -> dict[str, Cache]:
    """The caches of a folder (all of them) or of a file, by name."""
    place = find_data(data)
    paths = list_caches(place) if place.is_dir() else [place]
    return {cache.name: cache for cache in map(open_cache, paths)}


def _large_data(data: Path | None) -> Path | None:
    """Where nothing else is named, the caches of large images that ``semrsm-bench data large`` has made, if any."""
    named = data is not None or os.environ.get(DATA_VARIABLE)
    return large_folder() if not named and list_caches(large_folder()) else data


def make_plan(options: Options) -> Plan:
    """Work out all cells of a run; plugins must be loaded already.

    Raises
    ------
    ValueError
        An unknown solver or layer, or nothing to measure.
    """
    base = PROFILES[options.profile]
    profile = replace(base, deadline=options.deadline or base.deadline, budget=options.budget or base.budget)
    names = list(options.solvers) if options.solvers is not None else solver_names()
    for name in names:
        get_solver(name)
    caches = open_caches(_large_data(options.data) if profile.smallest else options.data)
    layers = _layers(caches, options, profile)
    cells = [
        _cell(solver, caches[cache], layer, centring, options, profile)
        for (cache, layer), centring, solver in itertools.product(layers, options.centrings, names)
    ]
    return Plan(options, profile, tuple(cells), caches)


def _layers(caches: dict[str, Cache], options: Options, profile: Profile) -> list[tuple[str, str]]:
    found = [(name, layer) for name, cache in caches.items() for layer in cache.layers]
    for wanted in options.layers or ():
        if wanted not in {layer for _, layer in found}:
            known = ", ".join(dict.fromkeys(layer for _, layer in found))
            raise ValueError(f"no layer {wanted!r} in {', '.join(caches)}; there are {known}")
    chosen = [(c, layer) for c, layer in found if options.layers is None or layer in options.layers]
    chosen = [(c, layer) for c, layer in chosen if caches[c].shape(layer)[2] >= profile.smallest]
    if not chosen:
        raise ValueError(
            f"profile {profile.name!r} needs layers of at least {profile.smallest} positions, and {', '.join(caches)} "
            "has none; make activations of larger images with: semrsm-bench data large"
        )
    return sorted(chosen, key=lambda entry: caches[entry[0]].shape(entry[1])[2])


def _cell(solver: str, cache: Cache, layer: str, centring: str, options: Options, profile: Profile) -> Cell:
    images, channels, size = cache.shape(layer)
    count = options.pairs if options.pairs is not None else profile.pairs_at(size)
    pairs = tuple(choose_pairs(images, count))
    return Cell(
        solver, cache.name, layer, centring, size, channels, pairs, _reason_to_skip(solver, size, options, profile)
    )


def _reason_to_skip(name: str, size: int, options: Options, profile: Profile) -> str:
    solver = get_solver(name)
    if reason := solver.reason:
        return f"not available: {reason}"
    if solver.max_size is not None and size > solver.max_size:
        return f"meant for S up to {solver.max_size}"
    if not solver.matrix_free and 4 * size * size > options.memory:
        return f"its affinity alone takes {4 * size * size / 2**30:.1f} GiB, beyond the memory limit"
    if profile.patience is not None and size >= SLOW_FROM.get(name, size + 1):
        return TOO_SLOW
    return ""
