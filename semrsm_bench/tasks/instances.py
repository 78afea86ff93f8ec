"""Does the similarity of single pictures predict on which of them networks disagree in their outputs?

After Saha, He and Khosla (2026), of which the abstract alone was at hand: generalised Procrustes on some pictures brings the
networks into one space, and each of the other pictures gets a score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import counts_of
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Result, Score, Scored, Solve, Task
from semrsm_bench.metrics.baselines import STATISTICS
from semrsm_bench.metrics.instances import distance_from_mean
from semrsm_bench.metrics.ranks import TIE, correlation, partial_correlation, weighted_ranks
from semrsm_bench.tasks.held_out import (
    assign_folds,
    disjoint_halves,
    held_out,
    nearest_is_own,
    reordered,
    resampling_units,
)
from semrsm_bench.tasks.registry import register_task
from semrsm_bench.tasks.stimuli import DIVERGENCE, InstancesOptions, Stimuli

ALL, REORDERED = "all", "reordered"
LENGTH = "length"


@register_task
class Instances(Task):
    """Scores of single stimuli against the outputs of networks."""

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
        """Three cells a layer: all networks; the same with every network's pictures reordered; halves of the networks."""
        stimuli = Stimuli.of_files(options) if options.features else Stimuli.of_networks(options)
        fold = assign_folds(stimuli.groups, options.folds, options.seed)
        names, unit = resampling_units(stimuli.groups, options.seed)

        @cache
        def aligned(layer: str, models: tuple[str, ...]) -> Floats:
            features = [stimuli.models[name](layer) for name in models]
            return held_out(features, fold, options.group, options.components, options.seed)

        def inputs(layer: str, part: str, models: tuple[str, ...]) -> Arrays:
            found = aligned(layer, models)
            if part == REORDERED:
                seeds = [[options.seed, k] for k in range(options.reorderings or 1)]
                found = np.concatenate([reordered(found, fold, seed) for seed in seeds], axis=1)
            return {"aligned": found} if stimuli.pixels is None else {"aligned": found, "pixels": stimuli.pixels}

        everyone = tuple(stimuli.models)
        parts = [(ALL, everyone), (REORDERED, everyone)]
        for k, halves in enumerate(disjoint_halves(len(everyone), seed=options.seed)):
            parts += [(f"half-{k}{side}", tuple(everyone[i] for i in half)) for side, half in zip("ab", halves)]
        for layer in stimuli.layers:
            for part, models in parts:
                yield Case(
                    f"{layer}/{options.group}/{part}",
                    {"layer": layer, "networks": len(everyone), "stimuli": len(fold), "group": options.group},
                    partial(inputs, layer, part, models),
                    {self.unit: names},
                    {} if stimuli.pixels is not None else {"lacks": ["pixels"]},
                    data_sha256=stimuli.sha256,
                    known=(part, stimuli, fold, unit),
                )

    def truth(self, case: Case, arrays: Arrays, solve: Solve) -> Mapping[str, Floats]:
        """What the scores of all networks are compared with: outputs, statistics of pictures, distance from the mean."""
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
        sign = 1.0 if raw["best"] == "max" else -1.0
        with_each, at_equal, scores = (
            {name: float(values[0]) for name, values in part.items()}
            for part in _correlations(sign * found, truth, np.ones((1, count)))
        )
        low, high = np.quantile(found, [0.05, 0.95])
        raw |= {"with": with_each, "at_equal_length": at_equal, "low": float(low), "high": float(high)}
        return Scored({"mean": float(found.mean()), **scores}, raw, kept)

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """The correlations over the drawn groups of pictures; what was reordered has no intervals."""
        parts = {str(result.raw["part"]): result for result in results}
        if ALL not in parts:
            return {}
        main = parts[ALL]
        weights = counts_of(main.units[self.unit], draws, units)[:, main.arrays["unit"]]
        sign = 1.0 if main.raw["best"] == "max" else -1.0
        scores = np.asarray(main.arrays["scores"])
        facts = {score.name: main.arrays[score.name] for score in self.scores if score.name in main.arrays}
        *_, found = _correlations(sign * scores, {**facts, LENGTH: main.arrays[LENGTH]}, weights)
        found["mean"] = weights @ scores / weights.sum(axis=1)
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
            equal = TIE * max(np.abs(null).max(), np.abs(scores).max())
            above = (1 + len(null) - np.searchsorted(null, sign * scores - equal, side="left")) / (1 + len(null))
            found["beyond"] = weights @ (above <= 0.05) / weights.sum(axis=1)
        return found


def _correlations(
    agreement: Floats, facts: Mapping[str, Floats], weights: Floats
) -> tuple[dict[str, Floats], dict[str, Floats], dict[str, Floats]]:
    """Rank correlations (B,) of agreement (n,) with facts; at equal distance from the mean; and those of both that are scores."""
    ranked = weighted_ranks(agreement, weights)
    ranks = {name: weighted_ranks(values, weights) for name, values in facts.items()}
    with_each = {name: correlation(ranked, r, weights) for name, r in ranks.items()}
    at_equal = {
        name: partial_correlation(ranked, r, ranks[LENGTH], weights) for name, r in ranks.items() if name != LENGTH
    }
    scores = {name: r for name, r in with_each.items() if name in ("entropy", "confidence", "same_top")}
    if DIVERGENCE in with_each:
        scores |= {DIVERGENCE: -with_each[DIVERGENCE], "at_equal_length": -at_equal[DIVERGENCE]}
    return with_each, at_equal, scores
