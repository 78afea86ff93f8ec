"""How far does the value of a metric move when there are few stimuli?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.stats import row_weights, weighted_mean
from semrsm_bench.core.task import Case, Floats, Profile, Result, Score
from semrsm_bench.metrics.ranks import TIE
from semrsm_bench.tasks.null import NullOptions, best_value, sampled, taken
from semrsm_bench.tasks.pairs import UNDEFINED, FeatureTask, Pairs, make_case
from semrsm_bench.tasks.registry import register_task

_ALL = "all"


@dataclass(frozen=True)
class SamplesOptions(NullOptions):
    """Networks, numbers of stimuli, and how often they are drawn."""

    orders: int | None = option(None, help="Samples of the stimuli for each pair; default: the profile's.", minimum=2)


@register_task
class Samples(FeatureTask):
    """The same layer of two networks on a random sample of the stimuli, against its value on all of them.

    A cell is a layer and a number of stimuli. Differences are in shares of the way from the value of an unrelated pair (the
    stimuli of one network reordered) to the best one, so that metrics compare; positive where few stimuli make representations
    look more alike.
    """

    name = "samples"
    question = "How far does the value of a metric move when there are few stimuli?"
    scores = (
        Score(
            "error",
            "error %",
            best="min",
            high=float("inf"),
            style="percent",
            meaning="root of bias squared plus spread squared",
            undefined="the best value is infinite or that of an unrelated pair, or the metric has none on few stimuli",
        ),
        Score(
            "bias",
            "bias %",
            low=-float("inf"),
            high=float("inf"),
            style="percent",
            meaning="(few stimuli - all) / (best value - unrelated)",
        ),
        Score(
            "spread",
            "spread %",
            best="min",
            high=float("inf"),
            style="percent",
            meaning="SD over samples / (best value - unrelated)",
        ),
        UNDEFINED,
    )
    across = ("layer", "stimuli")
    options = SamplesOptions
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "the last layer of 3 networks, 30 and 125 of 250 pictures, 5 samples",
            {"networks": 3, "count": 250, "sizes": (30, 125), "orders": 5},
            20.0,
            20.0,
        ),
        "paper": Profile(
            "the last layer of 10 networks, 30 to 250 of 500 pictures, 10 samples",
            {"networks": 10, "count": 500, "sizes": (30, 60, 125, 250), "orders": 10},
            120.0,
            300.0,
        ),
    }

    def cases(self, options: SamplesOptions) -> Iterator[Case]:
        """Pairs of networks of one group: samples of each size, and all stimuli."""
        found = options.read(("w16",))
        found.require_pair(self.name)
        names = list(found.networks[0].layers)
        n = len(found.ids)
        few = tuple(size for size in options.sizes or () if size < n)
        if not few:
            raise ValueError(f"--sizes must name a number below that of the stimuli, {n}")
        for cell, one, other, layer, size in sampled(found, options.layers or (names[-1],), few):
            rng = np.random.default_rng([options.seed, size])
            whole = np.arange(n)
            samples = [(rows, rows) for rows in (rng.permutation(n)[:size] for _ in range(options.orders or 2))]
            against = [(whole, whole), (whole, rng.permutation(n))]
            for form, rows in ((str(size), samples), (_ALL, against)):
                x, y = (
                    partial(taken, network.pooled[layer], tuple(each[side] for each in rows))
                    for side, network in enumerate((one, other))
                )
                name = f"{one.path}/{other.path}/{layer}/{size}/{form}"
                pairs = [(k, k) for k in range(len(rows))]
                yield make_case(name, cell, x, y, pairs, (one, other), found.sha256, known=form == _ALL)

    def judge(self, case: Case, pairs: Pairs, declared: Declaration) -> Mapping[str, float]:
        """Values in the metric's own direction; the range and the direction for `aggregate`."""
        sign = 1 if declared.facts["best"] == "max" else -1
        values = sign * pairs.mean
        if case.known:
            return {"whole": float(values[0]), "range": best_value(declared) - float(values[1])}
        return {
            "value": float(values.mean()),
            "variance": float(values.var(ddof=1)),
            "none": float(np.isnan(values).mean()),
        }

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """Means over pairs of networks, and from these the shares of the range; undefined where it is no wider than rounding."""
        weights = row_weights([result.units[self.unit] for result in results], draws, units)
        names = ("value", "variance", "whole", "range", "none")
        mean = {name: weighted_mean(np.array([r.score(name) for r in results]), weights) for name in names}
        scale = np.where(np.abs(mean["range"]) > TIE, mean["range"], np.nan)
        found = {UNDEFINED.name: mean["none"]}
        found["bias"] = (mean["value"] - mean["whole"]) / scale
        found["spread"] = np.sqrt(mean["variance"]) / np.abs(scale)
        found["error"] = np.hypot(found["bias"], found["spread"])
        return {name: values for name, values in found.items() if not np.isnan(values).all()}
