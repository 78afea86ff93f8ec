"""Do RSMs stay the same, and do they still find the same layer of another network, where one side's pictures are changed?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from semrsm_bench.activations.cache import Cache
from semrsm_bench.activations.pictures import PLAIN, changed_pictures
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.misleading import MisleadingWarning
from semrsm_bench.core.options import option
from semrsm_bench.core.stats import row_weights, weighted_mean
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Result, Score, Scored, Task
from semrsm_bench.metrics import cka, cka_matrix
from semrsm_bench.metrics.arrays import as_rsm
from semrsm_bench.metrics.rsa import compare_rsms
from semrsm_bench.tasks.networks import BLOCKS, CachedActivations, CountOptions, LayerActivations, NetworkActivations
from semrsm_bench.tasks.orders import credits
from semrsm_bench.tasks.registry import register_task
from semrsm_bench.tasks.rsms import METHODS, TIME_PER, CachedOptions, answered_rsm, image_pairs, layer_cases

# With fewer, CKA and rank correlations of RSMs say little.
LEAST_IMAGES = 10
SAME, ACROSS = "same width", "across widths"
CHANGES = (PLAIN, "shift-2", "shift-4", "shift-8", "flip", "noise")


@dataclass(frozen=True)
class ShiftsOptions(CachedOptions, CountOptions):
    """Networks, layers, pictures, and how the pictures of one side are changed."""

    changes: tuple[str, ...] = option(
        (), help=f"Changes: plain, shift-PIXELS, flip, noise. Default: {', '.join(CHANGES)}, or those of a cache."
    )

    def sides(self) -> Iterator[dict[str, LayerActivations]]:
        """Each network on the plain pictures, and on the changed ones by the name of the change."""
        if caches := self.caches("shifts"):
            for cache in caches:
                yield self._cached(cache)
            return
        changes = dict.fromkeys((PLAIN, *(self.changes or CHANGES)))
        seen, pictures = self.seen((BLOCKS,), least=LEAST_IMAGES)
        pixels = {change: changed_pictures(pictures.pixels, change, self.seed) for change in changes}
        for one in seen:
            yield {change: NetworkActivations(one.model, changed) for change, changed in pixels.items()}

    def _cached(self, cache: Cache) -> dict[str, LayerActivations]:
        places: dict[str, dict[str, int]] = {PLAIN: {}}
        for place, name in enumerate(cache.images):
            picture, _, change = name.partition("#")
            places.setdefault(change or PLAIN, {})[picture] = place
        names = list(places[PLAIN])[: self.count]
        wanted = dict.fromkeys((PLAIN, *(self.changes or places)))
        for change in wanted:
            if missing := [name for name in names if name not in places.get(change, {})]:
                raise ValueError(
                    f"{cache.path}: it has no {missing[0]}#{change}; make it with `data extract --changes`"
                )
        if len(names) < LEAST_IMAGES:
            raise ValueError(f"{cache.path}: at least {LEAST_IMAGES} pictures are needed, it has {len(names)}")
        return {c: CachedActivations(cache, [places[c][name] for name in names], self.layers) for c in wanted}


@register_task
class Shifts(Task):
    """RSMs of changed pictures against those of the plain ones: of the same network, and of another."""

    name = "shifts"
    question = "Do RSMs survive it where the pictures of one side are shifted, flipped or noisy?"
    kind = "rsm"
    scores = (
        Score("identification", "layers identified %", style="percent", meaning="of another network of the same width"),
        Score("biased", "by biased CKA %", style="percent", meaning="layers identified where CKA is the biased one"),
        Score("across", "across widths %", style="percent", meaning="layers identified, networks of different width"),
        Score(
            "stability",
            "CKA",
            low=-1.0,
            chance=0.0,
            meaning="debiased, of a layer's RSMs of plain and changed pictures",
        ),
        Score("stability_rsa", "Spearman", low=-1.0, chance=0.0, meaning="of their entries above the diagonal"),
    )
    unit = "network"
    time_per = TIME_PER
    resampling: ClassVar[Literal["bootstrap", "jackknife"]] = "jackknife"
    across = ("centring", "kernel", "images", "change")
    beside = "change"
    reference = "identity"
    options = ShiftsOptions
    methods = METHODS
    source = "Wald et al., NeurIPS 2024, section 4.1; Kornblith et al., ICML 2019, section 6.1"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "shipped activations of 24 pictures", {"shipped": True, "count": 24}, 60.0, 120.0, patience=20.0
        ),
        "paper": Profile("32 pictures, all networks", {"count": 32}, 1800.0, 7200.0),
    }

    def cases(self, options: ShiftsOptions) -> Iterator[Case]:
        """One case a change, network, layer, centring and kernel, with the plain pictures beside the changed ones."""
        for sides in options.sides():
            plain = sides[PLAIN]
            for change, changed in sides.items():
                inputs = {"z": changed, "beside": plain}
                for place, layer in enumerate(plain.layers):
                    known = {"network": plain.name, "layer": layer, "place": place}
                    units = {"network": (plain.name,)}
                    for case in layer_cases(options, ("cosine",), inputs, layer, units, known, part=change):
                        kept = {key: case.cell[key] for key in ("centring", "kernel")}
                        yield replace(case, cell={**kept, "images": plain.shape(layer)[0], "change": change})

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """How much the RSM is that of the plain pictures; which layers it finds shows over all rows."""
        count = len(arrays["z"])
        changed, plain = answered_rsm(answer, count), as_rsm(answer.arrays["beside"], "its RSM of the plain pictures")
        scores: dict[str, float] = {}
        if case.cell["change"] != PLAIN:
            scores["stability"] = cka(plain, changed, "debiased")
            scores["stability_rsa"] = _spearman(plain, changed)
        raw = {**truth, "channels": case.channels, "positions": case.size, "pairs": image_pairs(count)}
        return Scored(scores, raw, {"changed": changed, "plain": plain})

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """Means of stability; and of the shares of layers identified, over ordered pairs of networks."""
        found = super().aggregate(results, draws, units)
        for score, estimator, width in (
            ("identification", "debiased", SAME),
            ("biased", "biased", SAME),
            ("across", "debiased", ACROSS),
        ):
            if pairs := identified(results, estimator).get(width):
                found[score] = weighted_mean(np.array(list(pairs.values())), row_weights(list(pairs), draws, units))
        return found

    def cell_order(self, cell: Mapping[str, Any]) -> tuple[Any, ...]:
        """As they come: `CHANGES` are in order."""
        return ()


def identified(results: Sequence[Result], estimator: str = "debiased") -> dict[str, dict[tuple[str, str], float]]:
    """For each ordered pair of networks the share of layers that are found; pairs of the same width, and of different widths.

    By CKA of the first one's RSMs of plain pictures with the second one's of changed pictures, in both directions: of all
    layers of either network, how often the layer of the other that is most alike has the same name. Ties share the credit, what is
    undefined earns none, and layers without a partner are only in the way.
    """
    networks: dict[str, list[int]] = {}
    for row, result in enumerate(results):
        networks.setdefault(str(result.raw["network"]), []).append(row)
    plain, changed = ([r.arrays[side] for r in results] for side in ("plain", "changed"))
    with warnings.catch_warnings():
        # The biased estimator is there to be compared with the other.
        warnings.simplefilter("ignore", MisleadingWarning)
        alike = cka_matrix(plain, changed, estimator=estimator)
    names = np.array([str(result.raw["layer"]) for result in results])
    widths = {
        name: {results[i].raw["layer"]: results[i].raw["channels"] for i in rows} for name, rows in networks.items()
    }
    found: dict[str, dict[tuple[str, str], float]] = {SAME: {}, ACROSS: {}}
    for first, rows in networks.items():
        for second, columns in networks.items():
            right = names[rows][:, None] == names[columns]
            if first != second and right.any() and right.size > 1:
                table = alike[np.ix_(rows, columns)]
                shares = [*credits(table, right), *credits(table.T, right.T)]
                shared = widths[first].keys() & widths[second].keys()
                same = all(widths[first][layer] == widths[second][layer] for layer in shared)
                found[SAME if same else ACROSS][first, second] = float(np.mean(shares))
    return found


def _spearman(a: Floats, b: Floats) -> float:
    """NaN where all values of an RSM are equal."""
    try:
        return compare_rsms(a, b, "spearman")
    except ValueError:
        return float("nan")
