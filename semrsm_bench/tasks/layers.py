"""Does a metric find the same layer of another network?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations, pairwise, product
from typing import Any, ClassVar

import numpy as np

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Score, Scored
from semrsm_bench.tasks.features import FeatureNetwork, FeatureOptions
from semrsm_bench.tasks.orders import credits
from semrsm_bench.tasks.pairs import PERMUTED, UNDEFINED, FeatureTask, Given, Pairs, Side, make_case, reordered
from semrsm_bench.tasks.registry import register_task

EQUALISED = "equalised"
# Principal components that are left of each layer where widths and spectra are made equal.
_COMPONENTS = 16
# Rounds in which norms of stimuli and spectra are made equal in turn; norms then differ by little more than rounding.
_ROUNDS = 60
# What is left of a constant layer when its mean is taken off, as a share of it: rounding.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class LayersOptions(FeatureOptions):
    """Networks and stimuli, and which networks of one group are compared."""

    within: int | None = option(
        None,
        help="Where no groups are named: of so many, the first ones, networks are compared with one another, too; "
        "default: the profile's.",
        minimum=0,
    )


@register_task
class Layers(FeatureTask):
    """Layer identification: for each layer of a network, the layer of another one that a metric finds most alike.

    A cell is a group of networks, or two groups ("A x B"): across widths nothing but what a layer does gives it away. Inside of a
    group its width and spectrum do, so "A equalised" has the first principal components alone, with one spectrum for all, rotated
    at random. "permuted" has the stimuli of one network in another order: what is right there is right by chance.
    """

    name = "layers"
    question = "Does a metric find the same layer of another network?"
    scores = (
        Score("identification", "layers identified %", style="percent"),
        Score("same", "value, same layer", low=-float("inf"), high=float("inf")),
        Score("other", "value, other layers", low=-float("inf"), high=float("inf")),
        UNDEFINED,
    )
    leading: ClassVar[Mapping[str, str | int]] = {"networks": "w16 x w8"}
    by_default = True
    in_a_row = None  # each network is in many cases
    options = LayersOptions
    source = "Kornblith et al., ICML 2019, section 6.1"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "4 networks of each width, 200 pictures; those of width 8 only with those of width 16",
            {"networks": 4, "count": 200, "within": 1},
            20.0,
            20.0,
        ),
        "paper": Profile("10 networks of each width, 500 pictures", {"networks": 10, "count": 500}, 120.0, 600.0),
    }

    def cases(self, options: LayersOptions) -> Iterator[Case]:
        """Pairs of networks, all layers of one with all of the other."""
        found = options.read(("w16", "w8"))
        if len(found.groups) < 2:
            found.require_pair(self.name)
        sides = {network.path: Side.of(network) for network in found.networks}
        within = list(found.groups)[: None if options.chosen else options.within]
        for a, b in [*((g, g) for g in within), *combinations(found.groups, 2)]:
            first, second = found.groups[a], found.groups[b]
            if list(first[0].layers) != list(second[0].layers) or len(first[0].layers) < 2:
                continue
            pairs = list(combinations(first, 2)) if a == b else list(product(first, second))
            forms: dict[str, Mapping[str, Given]] = {"": sides}
            if a == b and len(first) > 1:
                paths = [network.path for network in first]
                forms[EQUALISED] = dict(zip(paths, equalised_later([sides[path] for path in paths], options.seed)))
            for form, there in forms.items():
                leaks = _few(first, second)
                moved = {path: reordered(there[path], options.seed, path) for path in {y.path for _, y in leaks}}
                for word, kept, ys in (("", pairs, there), (PERMUTED, leaks, moved)):
                    cell = " ".join(filter(None, (a if a == b else f"{a} x {b}", form, word)))
                    for one, other in kept:
                        yield _case(cell, one, other, there[one.path], ys[other.path], found.sha256)

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """As for all tasks on features; the row names the layers, for maps of its values."""
        found = super().score(case, arrays, answer, truth, declared)
        return replace(found, raw={**found.raw, "layers": list(case.known)})

    def by_chance(self, raw: Mapping[str, Any]) -> float:
        """One in the number of layers."""
        return 1 / len(raw["layers"]) if raw.get("layers") else math.nan

    def judge(self, case: Case, pairs: Pairs, declared: Declaration) -> Mapping[str, float]:
        """Share of layers found, of both directions; and mean values in the metric's own direction."""
        forth, back = (values.reshape(len(case.known), -1) for values in pairs)
        same = np.eye(len(forth), dtype=bool)
        sign = 1.0 if declared.facts["best"] == "max" else -1.0
        values = sign * (forth + back) / 2
        return {
            # Each layer of y is looked for in x by the metric of (y, x).
            "identification": float(np.mean([*credits(forth, same), *credits(back.T, same)])),
            "same": float(values[same].mean()),
            "other": float(values[~same].mean()),
        }


def _few(
    first: Sequence[FeatureNetwork], second: Sequence[FeatureNetwork]
) -> list[tuple[FeatureNetwork, FeatureNetwork]]:
    """Some pairs, as chance needs no precision: every network in as many as the others of its group, give or take one."""
    alone = first == second
    count = len(first) - (len(first) < 3) if alone else max(len(first), len(second))
    return [(first[i % len(first)], second[(i + alone) % len(second)]) for i in range(count)]


def equalised(sides: Sequence[Side], seed: int) -> list[Side]:
    """First principal components of every layer, with one spectrum and stimuli of one norm, rotated at random.

    As many components as the narrowest layer has, up to 16. The spectrum is the geometric mean of all layers', each of norm 1. Axes
    are at random, so that no metric finds a layer by them. A layer that is the same for all stimuli becomes zero.
    """
    parts = [part for side in sides for part in side.features]
    width = min(_COMPONENTS, *(min(len(part) - 1, part.shape[1]) for part in parts))
    bases: list[Floats | None] = []
    spectra = []
    for part in parts:
        x = part.astype(np.float64)
        u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        if s[0] <= _CONSTANT * np.linalg.norm(x):
            bases.append(None)
            continue
        bases.append(u[:, :width])
        # A layer of lower rank has a spectrum that ends in rounding.
        spectra.append(np.maximum(s[:width], 1e-6 * s[0]) / np.linalg.norm(s[:width]))
    spectrum = np.exp(np.mean(np.log(spectra), axis=0)) if spectra else np.zeros(width)
    rng = np.random.default_rng([seed, 2])
    even = [
        np.zeros((len(part), width)) if base is None else _even(base * spectrum, spectrum)
        for part, base in zip(parts, bases)
    ]
    rotated = [part @ np.linalg.qr(rng.standard_normal((width, width)))[0] for part in even]
    ends = np.cumsum([0, *(len(side.features) for side in sides)])
    return [Side(tuple(rotated[a:b])) for a, b in pairwise(ends)]


def equalised_later(sides: Sequence[Side], seed: int) -> list[Given]:
    """As `equalised`, but made when the first of them is asked for: a plan needs none."""
    made = cache(partial(equalised, sides, seed))
    return [lambda i=i: made()[i] for i in range(len(sides))]  # type: ignore[misc]


def _even(x: Floats, spectrum: Floats) -> Floats:
    """Features (n, k) with rows of one norm and, exactly, these singular values: one condition after the other, again and again."""
    for _ in range(_ROUNDS):
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        x = x / np.where(norms > 0, norms, 1.0)
        x = with_spectrum(x - x.mean(axis=0), spectrum)
    return x


def with_spectrum(centred: Floats, spectrum: Floats) -> Floats:
    """Features (n, p) with these singular values in place of their own."""
    u, _, axes = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(u * spectrum @ axes)


def _case(cell: str, one: FeatureNetwork, other: FeatureNetwork, x: Given, y: Given, sha256: str) -> Case:
    every = list(product(range(len(one.layers)), range(len(other.layers))))
    name = f"{one.path}/{other.path}/{cell}"
    return make_case(name, {"networks": cell}, x, y, every, (one, other), sha256, tuple(one.layers))
