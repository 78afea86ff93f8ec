"""Instance-level agreement of networks on pictures: scores by layer, what predicts them, how well they repeat. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.stats import Interval
from semrsm_bench.progress import progress_bar
from semrsm_bench.studies.agreement import Features, disjoint_halves, output_predictors
from semrsm_bench.studies.held_out import PRIMARY, HeldOut, IntArray, agreement_order, assign_folds, held_out_scores
from semrsm_bench.studies.image_statistics import image_statistics
from semrsm_bench.studies.predictors import LabelEffect, Ridge, label_effect, rank_correlations, ridge

FloatArray = NDArray[np.float64]

IMAGE, OUTPUTS = "image", "outputs"
LENGTH = "distance from the mean"
# With fewer permutations no p-value reaches 0.05.
FEWEST_DRAWS = 20


@dataclass(frozen=True)
class Settings:
    """How networks are aligned and intervals made; see `semrsm_bench.studies.barycenter.barycenter`."""

    folds: int = 5
    group: str = "orthogonal"
    components: int | None = None
    draws: int = 200
    resampled: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < FEWEST_DRAWS:
            raise ValueError(f"the null needs at least {FEWEST_DRAWS} permutations to show anything, got {self.draws}")


@dataclass(frozen=True)
class Repeat:
    """Spearman's correlation of two scores of the same pictures.

    Attributes
    ----------
    what : str
        "networks", "layers" or "depth".
    first, second : str
    spearman : Interval
    scores : tuple of ndarray, (N,)
    """

    what: str
    first: str
    second: str
    spearman: Interval
    scores: tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class Findings:
    """Everything the study's tables and figures show.

    Attributes
    ----------
    scored : dict of HeldOut
        By layer; the last one is looked at closely.
    fold : ndarray, (N,)
    predictors : dict of (str, ndarray)
        "image" or "outputs", and the values.
    correlations : dict of Interval
        Of the main layer's score with each predictor, and with `LENGTH`.
    partial : dict of Interval
        The same for the predictors, given `LENGTH`.
    by_layer : dict of dict of float
        Spearman by layer and predictor.
    explained : dict of Ridge or None
        By set of predictors.
    label : LabelEffect or None
    repeats : list of Repeat
    """

    scored: dict[str, HeldOut]
    fold: IntArray
    predictors: dict[str, tuple[str, FloatArray]]
    correlations: dict[str, Interval]
    partial: dict[str, Interval]
    by_layer: dict[str, dict[str, float]]
    explained: dict[str, Ridge | None]
    label: LabelEffect | None
    repeats: list[Repeat]

    @property
    def main(self) -> str:
        """The layer that is looked at closely."""
        return list(self.scored)[-1]

    @property
    def score(self) -> FloatArray:
        """The primary score at the main layer, (N,)."""
        return self.scored[self.main].scores[PRIMARY]

    @property
    def order(self) -> IntArray:
        """Pictures from most to least agreed on."""
        return agreement_order(self.score)

    @property
    def regression(self) -> Ridge | None:
        """On all predictors together."""
        return list(self.explained.values())[-1]


def analyse(
    networks: Mapping[str, Features],
    pixels: NDArray[np.uint8],
    groups: Any,
    labels: Any,
    settings: Settings,
    *,
    quiet: bool = False,
) -> Findings:
    """Score pictures by how alike networks represent them, layer by layer, and look for what goes with the score.

    Parameters
    ----------
    networks : mapping of name to Features
        At least two, of the same N pictures, with the same layers.
    pixels : ndarray, (N, H, W, 3), uint8
    groups : array_like, (N,)
        Pictures that are never parted between training and held-out part, nor in the bootstrap.
    labels : array_like, (N,)
    settings : Settings
    quiet : bool
        No progress bar.

    Raises
    ------
    ValueError
        As `assign_folds` and `held_out_scores` do.
    """
    found = list(networks.values())
    layers = list(found[0].layers)
    resampling: dict[str, Any] = {"resampled": settings.resampled, "seed": settings.seed}
    fold = assign_folds(groups, settings.folds, settings.seed)
    scored = {}
    with progress_bar(len(layers), "aligning", unit="layer", quiet=quiet) as bar:
        for layer in layers:
            scored[layer] = _with_null([f.layers[layer] for f in found], fold, settings, main=layer == layers[-1])
            bar.update()
    score, length = scored[layers[-1]].scores[PRIMARY], scored[layers[-1]].length

    image, outputs = image_statistics(pixels), output_predictors([f.probabilities for f in found])
    everything = {**image, **outputs}
    sets = {IMAGE: image, OUTPUTS: outputs, f"{IMAGE} and {OUTPUTS}": everything} if outputs else {IMAGE: image}
    return Findings(
        scored=scored,
        fold=fold,
        predictors={name: (IMAGE if name in image else OUTPUTS, values) for name, values in everything.items()},
        correlations=rank_correlations(score, {**everything, LENGTH: length}, groups, **resampling),
        partial=rank_correlations(score, everything, groups, given=length, **resampling),
        by_layer={
            layer: {
                name: r.value
                for name, r in rank_correlations(held.scores[PRIMARY], everything, groups, resampled=1).items()
            }
            for layer, held in scored.items()
        },
        explained={
            title: ridge(score, chosen, groups, folds=settings.folds, **resampling) for title, chosen in sets.items()
        },
        label=label_effect(score, labels, draws=settings.resampled, seed=settings.seed),
        repeats=[
            *_between_networks(networks, layers[-1], fold, groups, settings),
            *_between_layers(scored, groups, settings),
            *_through_depth(networks, fold, groups, settings),
        ],
    )


def _with_null(features: Sequence[Any], fold: IntArray, settings: Settings, *, main: bool) -> HeldOut:
    """Every kind of score; the null of every kind for the main layer, of the primary one for the others."""
    return held_out_scores(
        features,
        fold,
        group=settings.group,
        components=settings.components,
        draws=settings.draws,
        null_kinds=None if main else (PRIMARY,),
        seed=settings.seed,
    )


def _scores(features: Sequence[Any], fold: IntArray, settings: Settings) -> FloatArray:
    """The primary score alone."""
    held = held_out_scores(
        features, fold, kinds=(PRIMARY,), group=settings.group, components=settings.components, seed=settings.seed
    )
    return held.scores[PRIMARY]


def _repeat(
    what: str, first: tuple[str, FloatArray], second: tuple[str, FloatArray], groups: Any, settings: Settings
) -> Repeat:
    found = rank_correlations(first[1], {"second": second[1]}, groups, resampled=settings.resampled, seed=settings.seed)
    return Repeat(what, first[0], second[0], found["second"], (first[1], second[1]))


def _between_networks(
    networks: Mapping[str, Features], layer: str, fold: IntArray, groups: Any, settings: Settings
) -> list[Repeat]:
    """Do disjoint sets of networks, each aligned on its own, rank the pictures alike?"""
    names = list(networks)
    repeats = []
    for halves in disjoint_halves(len(names), seed=settings.seed):
        sides = [
            (
                " + ".join(names[k] for k in half),
                _scores([networks[names[k]].layers[layer] for k in half], fold, settings),
            )
            for half in halves
        ]
        repeats.append(_repeat("networks", sides[0], sides[1], groups, settings))
    return repeats


def _between_layers(scored: Mapping[str, HeldOut], groups: Any, settings: Settings) -> list[Repeat]:
    """Are pictures agreed on at one layer agreed on at another?"""
    return [
        _repeat("layers", (a, first.scores[PRIMARY]), (b, second.scores[PRIMARY]), groups, settings)
        for (a, first), (b, second) in combinations(scored.items(), 2)
    ]


def _through_depth(networks: Mapping[str, Features], fold: IntArray, groups: Any, settings: Settings) -> list[Repeat]:
    """The layers of one network aligned with each other: do the networks rank pictures alike by that?"""
    if len(next(iter(networks.values())).layers) < 2:
        return []
    through = {name: _scores(list(features.layers.values()), fold, settings) for name, features in networks.items()}
    return [_repeat("depth", first, second, groups, settings) for first, second in combinations(through.items(), 2)]
