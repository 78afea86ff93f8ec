"""Where pairs to match come from: caches of activations, maps changed by code, problems made by code from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import cycle, groupby
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.cache import Cache, Centring
from semrsm_bench.activations.store import open_caches
from semrsm_bench.core.task import Arrays

ImagePairs = list[tuple[int, int]]
Maps = NDArray[np.float32]
Grid = tuple[int, int]
Make = Callable[[int, int, np.random.Generator], Arrays]
# Synthetic instances of one size; more tell no more.
_MOST = 100
_CHANGED = "#"


@dataclass(frozen=True)
class Instance:
    """One pair, or one matrix: its name, what intervals resample, and its arrays under a centring."""

    name: str
    units: Mapping[str, tuple[str, ...]]
    arrays: Callable[[Centring], Arrays]
    data_sha256: str = ""


@dataclass(frozen=True)
class Place:
    """Instances of one kind and size: one place of the table, but for the centring.

    ``instances`` gives at most so many; ``channels`` is 0 of a matrix; what is ``centred`` has all centrings, else "none" alone.
    """

    model: str
    layer: str
    size: int
    channels: int
    instances: Callable[[int], Iterator[Instance]]
    centred: bool = True


def cache_places(
    caches: Sequence[Cache], model: str = "", choose: Callable[[Cache, int], ImagePairs] | None = None
) -> list[Place]:
    """Layers of caches as places; caches with the same layer at the same size share one, and take turns, where ``model`` names all.

    ``choose`` gives the pairs of images, by default all in the order of `choose_pairs`.
    """

    def key(entry: tuple[Cache, str]) -> tuple[str, str, int, int]:
        cache, layer = entry
        _, channels, size = cache.shape(layer)
        return model or cache.name, layer, size, channels

    entries = [(cache, layer) for cache in caches for layer in cache.layers]
    alike = groupby(sorted(entries, key=key) if model else entries, key)
    return [
        Place(*where, partial(_pairs_of, [cache for cache, _ in found], where[1], choose or _all_pairs))
        for where, found in alike
    ]


def _pairs_of(
    caches: Sequence[Cache], layer: str, choose: Callable[[Cache, int], ImagePairs], count: int
) -> Iterator[Instance]:
    fewest = min(caches, key=len)
    for cache, (i, j) in zip(cycle(caches), choose(fewest, count)):
        pictures = [_picture(cache, k) for k in (i, j)]
        # Caches may hold the same pictures or others: their names say it.
        several = len(caches) > 1
        name = f"{cache.name}:{i}-{j}" if several else f"{i}-{j}"
        images = (cache.images[k] if several else str(k) for k in pictures)
        units = {"pair": (name,), "image": tuple(dict.fromkeys(images))}
        yield Instance(name, units, partial(_pair, cache, layer, i, j), cache.sha256)


def _pair(cache: Cache, layer: str, i: int, j: int, centring: Centring) -> Arrays:
    return {"x": _positions(cache, layer, i, centring), "y": _positions(cache, layer, j, centring)}


@lru_cache(maxsize=64)
def _positions(cache: Cache, layer: str, image: int, centring: Centring) -> NDArray[np.float32]:
    return cache.positions(layer, image, centring)


def choose_pairs(images: int, count: int, seed: int = 0) -> ImagePairs:
    """At most ``count`` pairs (i, j), i < j, in a seeded order whose every beginning uses all images alike, give or take one.

    The rounds of a round-robin tournament, one after the other: in each of them every image plays once.
    """
    if images < 2:
        raise ValueError(f"pairs need at least two images, got {images}")
    players = [int(i) for i in np.random.default_rng(seed).permutation(images)] + [-1] * (images % 2)
    half = len(players) // 2
    pairs: ImagePairs = []
    for _ in range(len(players) - 1):
        if len(pairs) >= count:
            break
        pairs += [(min(p), max(p)) for p in zip(players[:half], reversed(players[half:])) if min(p) >= 0]
        players[1:] = [players[-1], *players[1:-1]]
    return pairs[: max(0, count)]


def _all_pairs(cache: Cache, count: int) -> ImagePairs:
    return choose_pairs(len(cache), count)


def plain_pairs(cache: Cache, count: int) -> ImagePairs:
    """Pairs of different pictures, as they are."""
    plain = [i for i in range(len(cache)) if _picture(cache, i) == i]
    return [(plain[i], plain[j]) for i, j in choose_pairs(len(plain), count)]


def _picture(cache: Cache, image: int) -> int:
    """The image that this one is a change of, or itself."""
    name = cache.images[image].partition(_CHANGED)[0]
    return cache.images.index(name) if name in cache.images else image


def changed_pairs(cache: Cache, count: int) -> ImagePairs:
    """Every picture with itself after a change, the changes in turn."""
    place = {image: i for i, image in enumerate(cache.images)}
    plain = [image for image in cache.images if _CHANGED not in image]
    changes = list(dict.fromkeys(image.partition(_CHANGED)[2] for image in cache.images if _CHANGED in image))
    order = [plain[i] for i in np.random.default_rng(0).permutation(len(plain))]
    turns = [
        (image, changes[(k + turn) % len(changes)]) for turn in range(len(changes)) for k, image in enumerate(order)
    ]
    return [(place[image], place[f"{image}{_CHANGED}{change}"]) for image, change in turns[:count]]


def synthetic_places(name: str, make: Make, shapes: Sequence[tuple[int, int]]) -> list[Place]:
    """Problems that ``make(S, C, rng)`` makes; number i of a shape is the same in every run."""

    def instances(size: int, channels: int, count: int) -> Iterator[Instance]:
        for i in range(min(count, _MOST)):

            def arrays(centring: Centring, i: int = i) -> Arrays:
                return make(size, channels, np.random.default_rng([i, size, channels, crc32(name.encode())]))

            yield Instance(f"{size}-{i}", {"pair": (str(i),)}, arrays)

    return [Place(name, "vectors" if c else "matrix", s, c, partial(instances, s, c), centred=False) for s, c in shapes]


def map_places(
    name: str, choose: Callable[[int, int], ImagePairs], change: Callable[[Maps, Maps, Grid, int], Arrays]
) -> list[Place]:
    """Maps that ship, changed by array operations: no network is needed."""

    def instances(cache: Cache, layer: str, grid: Grid, count: int) -> Iterator[Instance]:
        for number, (i, j) in enumerate(choose(len(cache), count)):

            def arrays(centring: Centring, i: int = i, j: int = j, number: int = number) -> Arrays:
                pair = _pair(cache, layer, i, j, centring)
                return change(pair["x"], pair["y"], grid, number + number // len(cache))

            units = {"pair": (f"{i}-{j}-{number}",), "image": tuple(dict.fromkeys((str(i), str(j))))}
            yield Instance(f"{number}:{i}-{j}", units, arrays, cache.sha256)

    return [
        Place(name, layer, cache.shape(layer)[2], cache.shape(layer)[1], partial(instances, cache, layer, grid))
        for cache in open_caches()
        for layer in cache.layers
        if (grid := cache.grid(layer)) is not None
    ]


def each_with_itself(images: int, count: int) -> ImagePairs:
    """Every image three times, for three changes."""
    return [(k % images, k % images) for k in range(min(count, 3 * images))]


def changed_self(x: Maps, y: Maps, grid: Grid, number: int) -> Arrays:
    """A map and itself moved round its edges, mirrored, or with noise of a tenth of its spread."""
    kind = number % 3
    if kind == 2:
        noise = np.random.default_rng(number).standard_normal(x.shape, dtype=np.float32)
        return {"x": x, "y": x + noise * np.float32(0.1 * x.std(dtype=np.float64))}
    height, width = grid
    maps = x.reshape(height, width, -1)
    moved = np.roll(maps, (5 * height // 16, width // 8), axis=(0, 1)) if kind == 0 else maps[:, ::-1]
    return {"x": x, "y": np.ascontiguousarray(moved).reshape(x.shape)}


def with_bars(x: Maps, y: Maps, grid: Grid, number: int) -> Arrays:
    """The upper and the lower quarter of each map become the mean of the upper one: half of the positions are equal."""
    height, width = grid
    bar = max(1, height // 4) * width
    found = {}
    for name, maps in (("x", x), ("y", y)):
        maps = maps.copy()
        maps[:bar] = maps[-bar:] = maps[:bar].mean(axis=0, dtype=np.float64)
        found[name] = maps
    return found
