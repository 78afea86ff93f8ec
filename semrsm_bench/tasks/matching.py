"""How fast is a solver, and how near the optimum? One case is one pair of images of one layer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from semrsm_bench.activations.cache import CENTRINGS
from semrsm_bench.activations.folders import DATA_VARIABLE, file_sha256, large_folder, list_caches
from semrsm_bench.activations.layouts import LayoutOptions
from semrsm_bench.activations.store import open_caches
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import check, option
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Result, Score, Scored, Solve, Task
from semrsm_bench.solvers import (
    MatchingProblem,
    chance_corrected,
    check_permutation,
    matching_value,
    quality,
    random_value,
)
from semrsm_bench.solvers.registry import LARGEST_PRECISION
from semrsm_bench.tasks.families import lacking, places_of, sample_places
from semrsm_bench.tasks.problems import read_problems
from semrsm_bench.tasks.registry import register_task
from semrsm_bench.tasks.sources import Instance, Place, cache_places


@dataclass(frozen=True)
class MatchingOptions(LayoutOptions):
    """Which pairs are matched."""

    data: Path | None = option(
        None, help="Activations: a cache, .npy, .npz, .pt, .safetensors, .h5, .zarr, or a folder."
    )
    problems: Path | None = option(
        None, help="Problems of yours in place of a cache: a file .npz of x and y, or of matrices."
    )
    family: tuple[str, ...] = option(
        (),
        help="Families of instances in place of a cache, see `semrsm-bench list families`; all: those that are here.",
    )
    layers: tuple[str, ...] = option((), help="Only these layers; default: all in the data.")
    centring: tuple[str, ...] = option(
        ("none",),
        help="Which means are subtracted first. Those of channels change no optimum.",
        choices=CENTRINGS,
        aliases=("centrings",),
    )
    pairs: Mapping[str, int] | None = option(
        None,
        help="Pairs in each cell; 1024=20 is for S up to 1024. Default: the profile's.",
        minimum=1,
        nameless=True,
        metavar="[S=]N",
    )
    smallest: int | None = option(
        None, help="Leave out layers with fewer positions; default: the profile's.", minimum=0
    )

    sample: Mapping[str, int] | None = option(
        None,
        help="Pairs, as in --pairs, of a small part of other families, where none and no data is named; default: the profile's.",
        minimum=0,
        nameless=True,
        metavar="[S=]N",
    )

    def __post_init__(self) -> None:
        for name in ("pairs", "sample"):
            if isinstance(number := getattr(self, name), int):
                object.__setattr__(self, name, {"": number})
        check(self)
        if self.problems is not None and (self.data is not None or self.layers):
            raise ValueError("problems: a file of problems takes the place of --data and has no --layers")
        if self.family and (self.problems is not None or self.data is not None):
            raise ValueError("family: it takes the place of --data and of --problems; name one of the three")
        for pairs in (self.pairs, self.sample):
            pairs_at(pairs or {"": 1}, 1)


@register_task
class MatchingTask(Task):
    """Solvers on pairs of images."""

    name = "matching"
    question = "How fast is a solver, and how near the optimum does it come?"
    kind = "solver"
    scores = (
        Score("c", "c", low=-float("inf"), chance=0.0, style="quality", meaning="(k - k_rand)/(k_opt - k_rand)"),
        Score(
            "quality",
            "k/k_opt %",
            low=-float("inf"),
            style="percent",
            undefined="k_opt is not positive in some pairs, where k/k_opt means nothing; use c",
        ),
    )
    unit = "image"
    case_unit = "pair"
    by_default = True
    across = ("model", "size", "layer", "channels", "centring")
    beside = "centring"
    options = MatchingOptions
    source = "Wald et al., NeurIPS 2024, section 4.4 and appendix F, Table 5"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "under five minutes",
            {"pairs": {"1024": 12, "4096": 3, "": 1}, "sample": {"256": 2}},
            30.0,
            30.0,
            patience=20.0,
        ),
        "paper": Profile("1000 pairs or all there are, every solver", {"pairs": {"": 1000}}, 180.0, 600.0),
        "large": Profile("S above 4096", {"pairs": {"16384": 5, "": 3}, "smallest": 4097}, 300.0, 1200.0),
    }

    def cases(self, options: MatchingOptions) -> Iterator[Case]:
        """Pairs in an order whose every beginning uses all images alike, by ascending S, then layer and centring.

        Of a file of problems these, as they are.
        """
        if options.problems is not None:
            yield from _given(options.problems, options.pairs or {"": 20})
            return
        pairs = options.pairs or {"": 20}
        for place in self._places(options):
            for centring in options.centring if place.centred else ("none",):
                cell: dict[str, str | int] = {"model": place.model, "layer": place.layer, "size": place.size}
                cell |= {"channels": place.channels, "centring": centring}
                for instance in place.instances(pairs_at(pairs, place.size)):
                    yield Case(
                        f"{place.model}/{place.layer}/{centring}/{instance.name}",
                        cell,
                        partial(instance.arrays, centring),  # type: ignore[arg-type]
                        instance.units,
                        {} if place.channels else {"lacks": ("x", "y")},
                        data_sha256=instance.data_sha256,
                        size=place.size,
                        channels=place.channels,
                    )

    def _places(self, options: MatchingOptions) -> list[Place]:
        smallest, data = options.smallest or 0, options.data
        if options.family:
            places = places_of(options.family)
        else:
            # Where nothing is named, large layers are those of ``semrsm-bench data large``.
            named = data or os.environ.get(DATA_VARIABLE)
            if smallest > 4096 and not named and list_caches(large_folder()):
                data = large_folder()
            places = cache_places(open_caches(data, **options.layouts))
            if options.sample and not (named or options.layers or smallest):
                for place in sample_places():
                    few = partial(_at_most, pairs_at(options.sample, place.size), place)
                    places.append(replace(place, instances=few))
        return _chosen(places, options.layers, smallest, options.family)

    def notices(self, options: MatchingOptions) -> Iterator[str]:
        """Sizes of families that are not here, and places that get no pair."""
        yield from lacking(options.family, options.smallest or 0)
        pairs = options.pairs or {"": 20}
        if "" in pairs:
            return
        places: list[tuple[str, int]]
        if options.problems is not None:
            places = [(options.problems.stem, problem.size) for problem in read_problems(options.problems)]
        else:
            places = [(place.model, place.size) for place in self._places(options)]
        without: dict[str, list[str]] = {}
        for model, size in dict.fromkeys(places):
            if not pairs_at(pairs, size):
                without.setdefault(model, []).append(str(size))
        for model, sizes in without.items():
            ends = f"--pairs ends at S = {max(map(int, pairs))}; add --pairs {sizes[-1]}=N"
            yield f"{model} gets no pair at S = {', '.join(sizes)}: {ends}"

    def caution(self, place: Mapping[str, Any]) -> str:
        """The ratio k/k_opt depends on the offset of the features."""
        if place.get("centring", "none") == "none":
            return ""
        return "k/k_opt of centred features is not that of raw ones, which papers print: compare c"

    def truth(self, case: Case, arrays: Arrays, solve: Solve) -> Any:
        """The certified optimum, and the mean over all permutations."""
        problem = (
            MatchingProblem.from_affinity(arrays["affinity"]) if "affinity" in arrays else MatchingProblem(**arrays)
        )
        return problem, random_value(problem), solve(problem)

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """Every timed answer is validated; k is their mean, in float64 from x and y."""
        problem, k_rand, optimum = truth
        raw: dict[str, Any] = {
            "k_opt": optimum.k_opt,
            "k_rand": k_rand,
            "k_upper": optimum.k_upper,
            "optimum_solver": optimum.solver,
            "optimum_certificate": optimum.certificate,
            "matrix_free": bool(declared.facts.get("matrix_free")),
        }
        if remark := getattr(optimum, "remark", ""):
            raw["optimum_remark"] = remark
        try:
            perms = np.unique(answer.arrays["perms"], axis=0, return_counts=True)
            values = [matching_value(problem, check_permutation(perm, problem.size)) for perm in perms[0]]
        except ValueError as error:
            return Scored(raw=raw, status="invalid", message=str(error))
        k = float(np.average(values, weights=perms[1])) if len(values) > 1 else values[0]
        raw |= {"k": k, "answers": len(values)}
        length = float(np.linalg.norm(problem.x.astype(np.float64)) * np.linalg.norm(problem.y.astype(np.float64)))
        if optimum.k_opt is None:
            return Scored({"c": None, "quality": None}, raw)
        # As far as an affinity of this dtype can lead a solver astray, which was given as it is where it is all that there is;
        # beyond what may be promised at all nothing is exact.
        noise = 0.0 if problem.is_matrix else 8 * float(np.finfo(problem.x.dtype).eps) * length
        if max(values) > optimum.k_upper + 1e-9 * length:
            message = (
                f"k = {max(values):.9g} is above what is certified, {optimum.k_upper:.9g}: delete the optima in the user's "
                "cache folder and report this"
            )
            return Scored(raw=raw, status="invalid", message=message)
        missing, span = optimum.k_opt - min(values), optimum.k_opt - k_rand
        precision = declared.facts.get("precision") or 0.0
        most = max(LARGEST_PRECISION * span, 1e-12 * length)
        if declared.category == "exact" and missing > min(noise, most) + precision * span:
            message = (
                f"it is registered as exact to {precision:g}, but its k = {min(values):.9g} is below the optimum "
                f"{optimum.k_opt:.9g} by {missing / span:.2g} of the range from chance to the optimum"
            )
            if noise > most:
                message += (
                    f"; affinities in {problem.x.dtype} are too coarse for these vectors: subtract means (--centring)"
                )
            return Scored(raw=raw, status="wrong", message=message)
        scores = {"c": chance_corrected(k, optimum.k_opt, k_rand), "quality": quality(k, optimum.k_opt)}
        return Scored(scores, raw)

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """Means over pairs; k/k_opt is undefined as soon as one pair has k_opt <= 0, and both where one is unknown."""
        found = super().aggregate(results, draws, units)
        lacking = [name for name in found if any(np.isnan(result.score(name)) for result in results)]
        return found | {name: np.full(len(draws), np.nan) for name in lacking}

    def bounds(self, results: Sequence[Result]) -> dict[str, float]:
        """Means against k_upper where k_opt is not known for every pair: bounds from below where numerators are positive."""
        known = all(r.raw.get("k_opt") is not None for r in results)
        if known or any(r.raw.get(name) is None for r in results for name in ("k", "k_upper", "k_rand")):
            return {}
        found = {}
        k, upper, rand = (np.array([r.raw[name] for r in results]) for name in ("k", "k_upper", "k_rand"))
        if (k > 0).all():
            found["quality"] = float(np.mean(k / upper))
        if (k >= rand).all():
            found["c"] = float(np.mean([chance_corrected(*values) for values in zip(k, upper, rand)]))
        return found


def _given(path: Path, pairs: Mapping[str, int]) -> Iterator[Case]:
    problems = list(read_problems(path))
    sha256, counts = file_sha256(path), Counter[str]()
    for found in problems:
        place: dict[str, str | int] = {"model": path.stem, "layer": found.form, "size": found.size}
        place |= {"channels": found.channels, "centring": "none"}
        counts[cell_key(place)] += 1
        if counts[cell_key(place)] <= pairs_at(pairs, found.size):
            yield Case(
                f"{path.stem}/{found.name}",
                place,
                partial(dict, found.arrays),
                {"pair": (found.name,)},
                {} if found.form == "vectors" else {"lacks": ("x", "y")},
                data_sha256=sha256,
                size=found.size,
                channels=found.channels,
            )


def pairs_at(pairs: Mapping[str, int], size: int) -> int:
    """Number of pairs at S: the entry of the smallest S that reaches it, or else the one without an S; 0 where there is none."""
    try:
        limits = sorted((int(largest), count) for largest, count in pairs.items() if largest)
    except ValueError:
        raise ValueError(f"pairs: an entry is S=N with a number of positions, got {', '.join(pairs)}") from None
    return next((count for largest, count in limits if size <= largest), pairs.get("", 0))


def _at_most(most: int, place: Place, count: int) -> Iterator[Instance]:
    return place.instances(min(most, count))


def _chosen(places: Sequence[Place], layers: Sequence[str], smallest: int, families: Sequence[str]) -> list[Place]:
    """Places by ascending S; ValueError: a layer that none has, or none that is large enough, with what is not here of families."""
    names = ", ".join(dict.fromkeys(place.model for place in places))
    known = dict.fromkeys(place.layer for place in places)
    for name in layers:
        if name not in known:
            raise ValueError(
                "; ".join([f"no layer {name!r} in {names}; there are {', '.join(known)}", *lacking(families, smallest)])
            )
    chosen = [p for p in places if p.size >= smallest and (not layers or p.layer in layers)]
    if not chosen:
        largest = max((place.size for place in places), default=0)
        larger = f"the largest S is {largest}; larger images, up to S = 65536, are made with: semrsm-bench data large"
        remedy = "; ".join(lacking(families, smallest)) or larger
        raise ValueError(f"needed are layers of at least {smallest} positions, and {names} has none; {remedy}")
    return sorted(chosen, key=lambda place: place.size)
