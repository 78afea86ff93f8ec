"""Does the similarity of single pictures predict on which of them networks disagree in what they say?

After Saha, He and Khosla (2026), of which the abstract alone was at hand: networks are brought into one space by generalised
Procrustes on some pictures, and each of the others gets a score of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.folders import small_weights
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.stats import counts_of
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Result, Score, Scored, Solve, Task
from semrsm_bench.metrics import jensen_shannon
from semrsm_bench.metrics.baselines import STATISTICS
from semrsm_bench.metrics.instances import distance_from_mean
from semrsm_bench.metrics.ranks import correlation, partial_correlation, weighted_ranks
from semrsm_bench.tasks.held_out import (
    Integers,
    assign_folds,
    disjoint_halves,
    held_out,
    nearest_is_own,
    reordered,
    resampling_units,
)
from semrsm_bench.tasks.networks import NetworkActivations, common_size, load_networks, require_libraries
from semrsm_bench.tasks.paired import read_paired
from semrsm_bench.tasks.pictures import CountOptions, thumbnails
from semrsm_bench.tasks.registry import register_task

ALL, REORDERED = "all", "reordered"
DIVERGENCE, LENGTH = "divergence", "length"
# Pictures at either end of the ranking that rows of the last layer keep to be shown.
_SHOWN = 16


@dataclass(frozen=True)
class InstancesOptions(CountOptions):
    """What is aligned, and how."""

    pooling: str = option("mean", help="Mean over positions, or all positions as they are.", choices=("mean", "none"))
    folds: int = option(5, help="Parts of the pictures; each is scored by an alignment of the others.", minimum=2)
    group: str = option(
        "orthogonal",
        help="Rotations and reflections, or reorderings of the units.",
        choices=("orthogonal", "permutation"),
    )
    components: int | None = option(None, help="Reduce each network to so many principal components.", minimum=1)
    reorderings: int | None = option(
        None, help="How often the pictures of each network are reordered to see what chance gives.", minimum=1
    )
    features: tuple[Path, ...] = option(
        (), help="Instead of networks: .npy of shape (n, d), the same items in each; repeat for each array."
    )
    ids: Path | None = option(
        None, help="With --features: names of the items, one a line; items of one name are never parted."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("images", "model", "layers", "size") if getattr(self, name)]
        if self.features and given:
            raise ValueError(f"--{given[0]} is for networks; it does not go with --features")
        if self.ids and not self.features:
            raise ValueError("--ids names the rows of --features; there are none")


@dataclass(frozen=True)
class Stimuli:
    """What is aligned: the same n stimuli in several models.

    Attributes
    ----------
    models : mapping of str to callable
        By name; ``models[name](layer)`` is (n, d_k).
    layers : sequence of str
    ids : sequence of str
    groups : sequence
        Stimuli of one group, such as crops of one photograph, are never parted between folds, nor in intervals.
    pixels : ndarray, (n, H, W, 3), or None
    outputs : callable
        Facts about what the models say of each stimulus, by name; see `output_facts`.
    sha256 : str
    shareable : bool
        Whether the pictures may be shown in the project's own docs.
    """

    models: Mapping[str, Callable[[str], NDArray[Any]]]
    layers: Sequence[str]
    ids: Sequence[str]
    groups: Sequence[Any]
    pixels: NDArray[np.uint8] | None
    outputs: Callable[[], Mapping[str, Floats]]
    sha256: str
    shareable: bool = True

    def shown(self, agreement: Floats) -> dict[str, NDArray[Any]]:
        """The pictures that are agreed on most, then those least, and their indices; nothing without pictures."""
        if self.pixels is None:
            return {}
        order, each = np.argsort(-agreement, kind="stable"), min(_SHOWN, len(agreement) // 2)
        ends = np.concatenate([order[:each], order[len(order) - each :]])
        return {"shown": ends, "pictures": thumbnails(self.pixels[ends])}

    @classmethod
    def of_networks(cls, options: InstancesOptions) -> Stimuli:
        """Networks on pictures."""
        require_libraries(Instances.name)
        models = load_networks(options.model, options.layers or (), small_weights)
        if len(models) < 2:
            raise ValueError(f"a comparison needs at least two networks, got {models[0].name} alone; repeat --model")
        layers = [layer for layer in models[0].layers if all(layer in other.layers for other in models)]
        if not layers:
            raise ValueError("the networks have no layer in common; name some that all have with --layers")
        pictures = options.pictures(common_size(models, options.size))
        seen = [NetworkActivations(model, pictures.pixels) for model in models]

        def features(network: NetworkActivations, layer: str) -> NDArray[Any]:
            z = network.activations(layer)
            return z.mean(axis=2) if options.pooling == "mean" else z.reshape(len(z), -1)

        return cls(
            {network.name: cache(partial(features, network)) for network in seen},
            layers,
            pictures.ids,
            # A crop's label is its photograph.
            pictures.ids if options.images else pictures.labels.tolist(),
            pictures.pixels,
            cache(lambda: output_facts([_probabilities(network) for network in seen])),
            hashlib.sha256(" ".join(network.sha256 for network in seen).encode()).hexdigest(),
            pictures.shareable,
        )

    @classmethod
    def of_files(cls, options: InstancesOptions) -> Stimuli:
        """Arrays of the same items, one file each."""
        arrays, ids = read_paired(options.features, options.ids)
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        models = {
            path.stem: partial(lambda array, layer: array, array) for path, array in zip(options.features, arrays)
        }
        if len(models) < len(arrays):
            raise ValueError("two of the files have the same name; names tell them apart in the tables")
        layer = " + ".join(models)
        return cls(models, [layer], ids, ids, None, dict, digest.hexdigest())


@register_task
class Instances(Task):
    """Scores of single stimuli against what networks say of them."""

    name = "instances"
    question = "Does the similarity of single pictures predict on which of them networks disagree in their outputs?"
    kind = "instance"
    scores = (
        Score("divergence", "predicts divergence", low=-1.0, chance=0.0),
        Score("at_equal_length", "at equal distance from the mean", low=-1.0, chance=0.0),
        Score("reliability", "between disjoint networks", low=-1.0, chance=0.0),
        Score("entropy", "with entropy", best="min", low=-1.0, chance=0.0),
        Score("confidence", "with confidence", low=-1.0, chance=0.0),
        Score("same_top", "with same top class", low=-1.0, chance=0.0),
        Score("mean", "mean", low=-float("inf"), high=float("inf")),
        Score("reordered", "mean, reordered", low=-float("inf"), high=float("inf")),
        Score("beyond", "beyond 95 % of reordered %", chance=0.05, style="percent"),
    )
    unit = "group"
    across = ("layer", "networks")
    options = InstancesOptions
    source = "Saha, He and Khosla, 2026 (abstract)"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile("88 pictures", {"count": 88, "reorderings": 5}, 120.0, 300.0),
        "paper": Profile("220 pictures", {"count": 220, "reorderings": 20}, 600.0, 1200.0),
    }

    def cases(self, options: InstancesOptions) -> Iterator[Case]:
        """Of each layer: all networks; the same with every network's pictures reordered; and halves of the networks."""
        stimuli = Stimuli.of_files(options) if options.features else Stimuli.of_networks(options)
        fold = assign_folds(stimuli.groups, options.folds, options.seed)
        names, unit = resampling_units(stimuli.groups, options.seed)

        @cache
        def aligned(layer: str, models: tuple[str, ...]) -> Floats:
            features = [stimuli.models[name](layer) for name in models]
            return held_out(features, fold, options.group, options.components, options.seed)

        everyone = tuple(stimuli.models)
        for layer in stimuli.layers:

            def case(part: str, models: tuple[str, ...], layer: str = layer) -> Case:
                return Case(
                    f"{layer}/{options.group}/{part}",
                    {"layer": layer, "networks": len(everyone), "stimuli": len(fold), "group": options.group},
                    partial(_inputs, stimuli, partial(aligned, layer, models), fold, options, part == REORDERED),
                    {self.unit: names},
                    {} if stimuli.pixels is not None else {"lacks": ["pixels"]},
                    data_sha256=stimuli.sha256,
                    known=(part, stimuli, fold, unit),
                )

            yield case(ALL, everyone)
            yield case(REORDERED, everyone)
            for k, halves in enumerate(disjoint_halves(len(everyone), seed=options.seed)):
                for side, half in zip("ab", halves):
                    yield case(f"half-{k}{side}", tuple(everyone[i] for i in half))

    def truth(self, case: Case, arrays: Arrays, solve: Solve) -> Mapping[str, Floats]:
        """What goes with the scores of all networks: what these say, what the pictures look like, how far they lie out."""
        part, stimuli, *_ = case.known
        if part != ALL:
            return {}
        return {
            **stimuli.outputs(),
            LENGTH: distance_from_mean(arrays["aligned"]),
            **({name: look(arrays["pixels"]) for name, look in STATISTICS.items()} if "pixels" in arrays else {}),
        }

    def score(
        self, case: Case, arrays: Arrays, answer: Answer, truth: Mapping[str, Floats], declared: Declaration
    ) -> Scored:
        """Rank correlations of agreement with what is known; agreement is the score, or its negative for distances."""
        part, stimuli, fold, unit = case.known
        given = arrays[declared.facts["takes"]]
        count = given.shape[1] if declared.facts["takes"] == "aligned" else len(given)
        found = np.asarray(answer.arrays["scores"], dtype=np.float64)
        if found.shape != (count,):
            return Scored(status="invalid", message=f"it gave scores of shape {found.shape} for {count} stimuli")
        if not np.isfinite(found).all():
            return Scored(status="invalid", message=f"{int((~np.isfinite(found)).sum())} of its scores are not finite")
        raw: dict[str, Any] = {"part": part, "best": declared.facts["best"]}
        kept: dict[str, NDArray[Any]] = {"scores": found}
        if part != ALL:
            return Scored({"mean": float(found.mean())}, raw, kept)
        kept |= {"unit": unit, "fold": fold, "ids": np.array(stimuli.ids), **truth}
        if stimuli.pixels is None:
            raw["nearest"], raw["nearest_by_chance"] = nearest_is_own(arrays["aligned"], fold, stimuli.ids)
        elif case.cell["layer"] == stimuli.layers[-1]:
            kept |= stimuli.shown(found if raw["best"] == "max" else -found)
            raw["shareable"] = stimuli.shareable
        one = np.ones((1, count))
        agreement = weighted_ranks(found if raw["best"] == "max" else -found, one)
        ranks = {name: weighted_ranks(values, one) for name, values in truth.items()}
        with_each = {name: float(correlation(agreement, r, one)[0]) for name, r in ranks.items()}
        at_equal = {
            name: float(partial_correlation(agreement, r, ranks[LENGTH], one)[0])
            for name, r in ranks.items()
            if name != LENGTH
        }
        low, high = np.quantile(found, [0.05, 0.95])
        raw |= {"with": with_each, "at_equal_length": at_equal, "low": float(low), "high": float(high)}
        scores: dict[str, float | None] = {"mean": float(found.mean())}
        scores |= {name: with_each[name] for name in ("entropy", "confidence", "same_top") if name in with_each}
        if DIVERGENCE in with_each:
            scores |= {DIVERGENCE: -with_each[DIVERGENCE], "at_equal_length": -at_equal[DIVERGENCE]}
        return Scored(scores, raw, kept)

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """The correlations over the drawn groups of pictures; what was reordered has no intervals."""
        parts = {str(result.raw["part"]): result for result in results}
        if ALL not in parts:
            return {}
        main = parts[ALL]
        weights = counts_of(main.units[self.unit], draws, units)[:, main.arrays["unit"]]
        sign = 1.0 if main.raw["best"] == "max" else -1.0
        scores = np.asarray(main.arrays["scores"])
        agreement = weighted_ranks(sign * scores, weights)
        found = {"mean": weights @ scores / weights.sum(axis=1)}
        for name in (DIVERGENCE, "entropy", "confidence", "same_top"):
            if name in main.arrays:
                ranks = weighted_ranks(main.arrays[name], weights)
                found[name] = correlation(agreement, ranks, weights)
                if name == DIVERGENCE:
                    length = weighted_ranks(main.arrays[LENGTH], weights)
                    found["at_equal_length"] = -partial_correlation(agreement, ranks, length, weights)
                    found[name] = -found[name]
        halves = [
            [weighted_ranks(parts[half].arrays["scores"], weights) for half in (first, f"{first[:-1]}b")]
            for first in parts
            if first.startswith("half-") and first.endswith("a") and f"{first[:-1]}b" in parts
        ]
        if halves:
            found["reliability"] = np.mean([correlation(a, b, weights) for a, b in halves], axis=0)
        if REORDERED in parts:
            null = np.sort(sign * np.asarray(parts[REORDERED].arrays["scores"]))
            found["reordered"] = np.full(len(draws), sign * null.mean())
            above = (1 + len(null) - np.searchsorted(null, sign * scores, side="left")) / (1 + len(null))
            found["beyond"] = weights @ (above <= 0.05) / weights.sum(axis=1)
        return found


def _inputs(
    stimuli: Stimuli, aligned: Callable[[], Floats], fold: Integers, options: InstancesOptions, null: bool
) -> Arrays:
    found = aligned()
    if null:
        found = np.concatenate(
            [reordered(found, fold, [options.seed, k]) for k in range(options.reorderings or 1)], axis=1
        )
    return {"aligned": found, **({} if stimuli.pixels is None else {"pixels": stimuli.pixels})}


def output_facts(probabilities: Sequence[Floats | None]) -> dict[str, Floats]:
    """What K networks say about each picture, in four figures.

    ``divergence``
        Mean Jensen-Shannon divergence between pairs of networks, in nats.
    ``entropy``
        Of the mean of their class probabilities, in nats.
    ``confidence``
        Mean of each network's largest probability.
    ``same_top``
        Share of the pairs of networks whose most probable class is the same.

    Parameters
    ----------
    probabilities : sequence of ndarray, (n, classes), or None

    Returns
    -------
    dict of ndarray, (n,)
        Empty where a network has no class probabilities, or the numbers of classes differ.
    """
    from scipy.special import entr

    known = [p for p in probabilities if p is not None]
    if not known or len(known) < len(probabilities) or len({p.shape[1] for p in known}) > 1:
        return {}
    stacked = np.stack(known, axis=1)
    first, second = np.array(list(combinations(range(len(known)), 2))).T
    top = stacked.argmax(axis=2)
    return {
        DIVERGENCE: np.array([jensen_shannon(p)[first, second].mean() for p in stacked]),
        "entropy": entr(stacked.mean(axis=1)).sum(axis=1),
        "confidence": stacked.max(axis=2).mean(axis=1),
        "same_top": np.mean(top[:, first] == top[:, second], axis=1),
    }


def _probabilities(network: NetworkActivations) -> Floats | None:
    try:
        return network.probabilities
    except ValueError:
        return None
