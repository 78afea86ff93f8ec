"""What tasks share that compare many networks, one layer of each, and ask which of them are more alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations, product
from typing import Any, ClassVar

import numpy as np

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import row_weights
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Result, Scored
from semrsm_bench.tasks.features import FeatureNetwork, FeatureOptions, FeatureSet
from semrsm_bench.tasks.orders import spearman
from semrsm_bench.tasks.pairs import PERMUTED, UNDEFINED, FeatureTask, Pairs, Side, make_case

# Fewer pairs have no order to speak of.
_LEAST_PAIRS = 3

Pair = tuple[int, int]


class BetweenNetworks(FeatureTask):
    """A task whose case is one layer of all networks of a cell, in all pairs; the last layer of each by default.

    Pairs that share a network are not independent, so a row holds all of them, and scores are computed again in each draw of the
    networks. "permuted" has the stimuli of one network of each pair in another order: what is found there is not found in what
    networks do with a stimulus.
    """

    groups: ClassVar[tuple[str, ...]]  #: where the user names none
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile("5 networks of a group, 200 pictures", {"networks": 5, "count": 200}, 20.0, 20.0),
        "paper": Profile("10 networks of a group, 500 pictures", {"networks": 10, "count": 500}, 120.0, 600.0),
    }

    def default_groups(self) -> Sequence[str]:
        """Groups that are compared where the user names none."""
        return self.groups

    def cells(self, found: FeatureSet) -> Iterator[tuple[str, list[Pair]]]:
        """Name and pairs of each cell: every group by itself, and from two groups one network each."""
        places = {g: [i for i, n in enumerate(found.networks) if n.group == g] for g in found.groups}
        yield from ((name, list(combinations(here, 2))) for name, here in places.items())
        yield from ((f"{a} x {b}", list(product(places[a], places[b]))) for a, b in combinations(places, 2))

    def targets(self, found: FeatureSet) -> Mapping[str, Floats]:
        """How alike any two networks are, (m, m), by score; ValueError where the files do not say."""
        return {}

    def measure(
        self, values: Floats, weights: Floats, units: Sequence[str], known: Mapping[str, Any]
    ) -> dict[str, Floats]:
        """Scores of values (P,) in draws in which each pair counts ``weights`` (B, P) times; ``known`` is the row's truth."""
        names = [score.name for score in self.scores if score.name in known]
        return {name: spearman(values, np.asarray(known[name], dtype=np.float64), weights) for name in names}

    def cases(self, options: FeatureOptions) -> Iterator[Case]:
        """A case for each cell and layer; the last cell also with the stimuli permuted."""
        found = options.read(self.default_groups())
        targets = self.targets(found)
        cells = [(cell, pairs) for cell, pairs in self.cells(found) if len(pairs) >= _LEAST_PAIRS]
        if not cells:
            raise ValueError(f"{self.name} needs three networks of a group; there are {len(found.networks)} in all")
        layers = dict.fromkeys(layer for network in found.networks for layer in network.layers)
        for layer in layers if options.layers else ("",):
            sides = _sides(found.networks, layer)
            side = Side.join(sides)
            moved = [one.reordered(options.seed, network.path) for one, network in zip(sides, found.networks)]
            # Chance needs no precision: the last cell will do.
            for cell, pairs, other in [
                *((*cell, side) for cell in cells),
                (f"{cells[-1][0]} {PERMUTED}", cells[-1][1], Side.join(moved)),
            ]:
                there = sorted(set(chain.from_iterable(pairs)))
                place = {network: i for i, network in enumerate(there)}
                known: dict[str, Any] = {"pairs": [[place[i], place[j]] for i, j in pairs]}
                known |= {name: [float(matrix[pair]) for pair in pairs] for name, matrix in targets.items()}
                networks = [found.networks[i] for i in there]
                name = f"{cell}/{layer or 'last'}"
                yield make_case(name, {"networks": cell}, side, other, pairs, networks, found.sha256, known)

    def judge(self, case: Case, pairs: Pairs, declared: Declaration) -> Mapping[str, float]:
        """Nothing: `score` has the values as rows keep them, so that draws give the same."""
        return {}

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """The scores with each network counted once; the truth stays beside the values, for draws of the networks."""
        scored = super().score(case, arrays, answer, truth, declared)
        if scored.status != "ok":
            return scored
        units = case.units[self.unit]
        raw = {**scored.raw, "sign": 1.0 if declared.facts["best"] == "max" else -1.0, **truth}
        found = self._drawn(raw, units, np.ones((1, len(units))), units)
        return replace(
            scored, scores={**{name: float(one[0]) for name, one in found.items()}, **scored.scores}, raw=raw
        )

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """Scores in every draw of the networks, the mean over layers."""
        made = [self._drawn(result.raw, result.units[self.unit], draws, units) for result in results]
        undefined = np.mean([result.score(UNDEFINED.name) for result in results])
        means = {name: np.mean([found[name] for found in made], axis=0) for name in made[0]}
        return {**means, UNDEFINED.name: np.full(len(draws), undefined)}

    def _drawn(
        self, raw: Mapping[str, Any], here: Sequence[str], draws: Floats, units: Sequence[str]
    ) -> dict[str, Floats]:
        forth = np.array(raw["values"], dtype=np.float64)
        back = np.array(raw.get("values_yx", raw["values"]), dtype=np.float64)
        weights = row_weights([(here[i], here[j]) for i, j in raw["pairs"]], draws, units)
        return self.measure(raw["sign"] * (forth + back) / 2, weights, here, raw)


def _sides(networks: Sequence[FeatureNetwork], layer: str) -> list[Side]:
    """One layer of each network, by default its last."""
    if lacks := next((network for network in networks if layer and layer not in network.layers), None):
        raise ValueError(f"{lacks.path} has no layer {layer!r}, which another network has")
    return [Side.of(network, [layer or list(network.layers)[-1]]) for network in networks]
