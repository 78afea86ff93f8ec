"""Are layers of a network less alike the farther they are apart?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import ClassVar

import numpy as np

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Case, Floats, Profile, Score
from semrsm_bench.tasks.features import FeatureOptions
from semrsm_bench.tasks.layers import EQUALISED, equalised_later
from semrsm_bench.tasks.orders import credit, spearman
from semrsm_bench.tasks.pairs import PERMUTED, UNDEFINED, FeatureTask, Given, Pairs, Side, few, make_case, reordered
from semrsm_bench.tasks.registry import register_task

_LEAST_LAYERS = 3


@register_task
class Monotonicity(FeatureTask):
    """Layers of one network: for i < j < k, those at i and k should be no more alike than those at i and j, or at j and k.

    Widths and spectra change from layer to layer too, so "A equalised" has neither, as in the task layers; "permuted" has the
    stimuli of one of the layers in another order.
    """

    name = "monotonicity"
    question = "Does a metric find layers of a network less alike the farther they are apart?"
    scores = (
        Score(
            "conformity",
            "conformity %",
            chance=0.5,
            style="percent",
            meaning="nearer layers above farther ones, from each layer on",
        ),
        Score("nested", "nested %", chance=0.5, style="percent", meaning="layers inside of an interval above its ends"),
        Score(
            "distance", "Spearman", low=-1.0, chance=0.0, meaning="of value and -distance of layers, mean over layers"
        ),
        UNDEFINED,
    )
    leading: ClassVar[Mapping[str, str | int]] = {"networks": f"w16 {EQUALISED}"}
    source = "Klabunde, Wald et al. (ReSi), ICLR 2025, grounding by design"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile("2 networks of each width, 200 pictures", {"networks": 2, "count": 200}, 20.0, 20.0),
        "paper": Profile("10 networks of each width, 500 pictures", {"networks": 10, "count": 500}, 120.0, 600.0),
    }

    def cases(self, options: FeatureOptions) -> Iterator[Case]:
        """Networks, all layers of one with one another."""
        found = options.read(("w16", "w8"))
        for group, networks in found.groups.items():
            if len(networks[0].layers) < _LEAST_LAYERS:
                raise ValueError(
                    f"monotonicity needs three layers; networks of {group} have {', '.join(networks[0].layers)}"
                )
            sides = [Side.of(network) for network in networks]
            forms: dict[str, Sequence[Given]] = {"": sides, EQUALISED: equalised_later(sides, options.seed)}
            for form, xs in forms.items():
                leaks = few(networks)
                moved = [reordered(x, options.seed, network.path) for network, x in zip(leaks, xs)]
                for word, ys, kept in (("", xs, networks), (PERMUTED, moved, leaks)):
                    cell = " ".join(filter(None, (group, form, word)))
                    for network, x, y in zip(kept, xs, ys):
                        count = len(network.layers)
                        pairs = list(combinations(range(count), 2))
                        name = f"{network.path}/{cell}"
                        yield make_case(name, {"networks": cell}, x, y, pairs, (network,), found.sha256, count)

    def judge(self, case: Case, pairs: Pairs, declared: Declaration) -> Mapping[str, float]:
        """Shares of comparisons that come out as layers are ordered; and the rank correlation from each layer on."""
        count = case.known
        values = np.full((count, count), np.nan)
        values[np.triu_indices(count, 1)] = pairs.mean
        values = np.fmax(values, values.T)
        chains = [values[i, side] for i in range(count) for side in (range(i + 1, count), range(i - 1, -1, -1))]
        steps = [(chain[a], chain[b]) for chain in chains for a, b in combinations(range(len(chain)), 2)]
        ends = list(combinations(range(count), 2))
        nested = [
            (values[j, k], values[i, end])
            for (i, end), (j, k) in product(ends, ends)
            if i <= j < k <= end and (i, end) != (j, k)
        ]
        return {
            "conformity": _rate(steps),
            "nested": _rate(nested),
            "distance": float(np.mean([_falling(chain) for chain in chains if len(chain) > 1])),
        }


def _rate(comparisons: Sequence[tuple[float, float]]) -> float:
    more, less = np.array(comparisons).T
    return float(credit(more, less).mean())


def _falling(chain: Floats) -> float:
    """Rank correlation of values with their place, from the last on."""
    return float(spearman(chain, -np.arange(len(chain), dtype=np.float64), np.ones((1, len(chain))))[0])
