"""What does a metric give for representations that have nothing in common?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.task import Case, Profile, Score
from semrsm_bench.metrics.nulls import calibrated_score
from semrsm_bench.tasks.features import FeatureNetwork, FeatureOptions, FeatureSet
from semrsm_bench.tasks.pairs import UNDEFINED, FeatureTask, Pairs, Side, make_case
from semrsm_bench.tasks.registry import register_task

Array = NDArray[np.float32]


@dataclass(frozen=True)
class NullOptions(FeatureOptions):
    """Networks, numbers of stimuli, and how often they are reordered."""

    sizes: tuple[int, ...] | None = option(
        None, help="Numbers of stimuli that are compared; default: the profile's.", minimum=4
    )
    orders: int | None = option(
        None, help="Reorderings of the stimuli for each pair; default: the profile's.", minimum=2
    )


@register_task
class Null(FeatureTask):
    """The same layer of two networks, with the stimuli of one of them reordered: real representations that share nothing.

    A cell is a layer and a number of stimuli. Beside the reordered pairs there is the pair as it is, which shows how much of the
    way from an unrelated pair to the best value a metric gives to two seeds of one network.
    """

    name = "null"
    question = "What does a metric give for representations that have nothing in common?"
    scores = (
        Score(
            "share",
            "way to the best %",
            low=-float("inf"),
            chance=0.0,
            style="percent",
            meaning="(two seeds - unrelated) / (best value - unrelated)",
            undefined="the best value is infinite or that of an unrelated pair",
        ),
        Score("null", "value, unrelated", low=-float("inf"), high=float("inf")),
        Score("spread", "SD, unrelated", best="min", high=float("inf")),
        UNDEFINED,
    )
    across = ("layer", "stimuli")
    leading: ClassVar[Mapping[str, str | int]] = {"stimuli": 250}
    options = NullOptions
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "3 networks, 50 and 250 pictures, 5 reorderings",
            {"networks": 3, "count": 250, "sizes": (50, 250), "orders": 5},
            20.0,
            20.0,
        ),
        "paper": Profile(
            "10 networks, 50 to 500 pictures, 10 reorderings",
            {"networks": 10, "count": 500, "sizes": (50, 250, 500), "orders": 10},
            120.0,
            300.0,
        ),
    }

    def cases(self, options: NullOptions) -> Iterator[Case]:
        """Pairs of networks of one group, at each number of stimuli that there are."""
        found = options.read(("w16",))
        found.require_pair(self.name)
        for cell, one, other, layer, size in sampled(found, options.layers, options.sizes):
            rng = np.random.default_rng([options.seed, size])
            rows = rng.permutation(len(found.ids))[:size]
            orders = [np.arange(size), *(rng.permutation(size) for _ in range(options.orders or 2))]
            x, y = (network.pooled[layer][rows] for network in (one, other))
            yield make_case(
                f"{one.path}/{other.path}/{layer}/{size}",
                cell,
                Side((x,)),
                partial(taken, y, tuple(orders)),
                [(0, k) for k in range(len(orders))],
                (one, other),
                found.sha256,
            )

    def judge(self, case: Case, pairs: Pairs, declared: Declaration) -> Mapping[str, float]:
        """In the metric's own direction: of the pair as it is, and of the others."""
        values = (1 if declared.facts["best"] == "max" else -1) * pairs.mean
        matched, null = float(values[0]), values[1:]
        try:
            share = calibrated_score(matched, null, best_value(declared))
        except ValueError:
            share = math.nan
        return {"share": share, "null": null.mean(), "spread": null.std(ddof=1)}


def best_value(declared: Declaration) -> float:
    """The value of a metric for two representations that agree; NaN where it has no bound."""
    low, high = declared.facts["range"]
    end = high if declared.facts["best"] == "max" else low
    return math.nan if end is None else float(end)


def sampled(
    found: FeatureSet, layers: Sequence[str], sizes: Sequence[int] | None
) -> Iterator[tuple[dict[str, str | int], FeatureNetwork, FeatureNetwork, str, int]]:
    """Cell, two networks, layer and number of stimuli: each network of a group with the next one, the last with the first.

    Of the layers that are there the first and the last, or those that are named; of the sizes those that do not exceed the
    stimuli, or all stimuli.
    """
    n = len(found.ids)
    kept = sorted({size for size in sizes or () if size <= n}) or [n]
    for group, networks in found.groups.items():
        names = list(networks[0].layers)
        for layer in layers or dict.fromkeys((names[0], names[-1])):
            for size in kept:
                widths = networks[0].pooled[layer].shape[1]
                cell: dict[str, str | int] = {"layer": f"{group} {layer}, {widths} units", "stimuli": size}
                for one, other in zip(networks, [*networks[1:], *networks[:1]][: None if len(networks) > 2 else 1]):
                    if one is not other:
                        yield cell, one, other, layer, size


def taken(features: Array, rows: Sequence[NDArray[np.intp]]) -> Side:
    """The features (n, p) once for each choice or order of stimuli."""
    return Side(tuple(features[each] for each in rows))
