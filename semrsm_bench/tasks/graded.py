"""What `exchange`, `noise` and `function` share: a network against another one that is changed step by step."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.task import Case, Floats, Profile, Score
from semrsm_bench.tasks.features import FeatureNetwork, FeatureOptions, FeatureSet
from semrsm_bench.tasks.orders import spearman
from semrsm_bench.tasks.pairs import PERMUTED, UNDEFINED, FeatureTask, Pairs, Side, few, make_case

Labels = NDArray[np.int64]
_DECIMALS = 6
# Cases whose representations are kept for the methods that meet them next; those of a case take some 20 MB.
_KEPT = 32


@dataclass(frozen=True)
class GradedOptions(FeatureOptions):
    """Networks, stimuli, and how finely one of two networks is changed."""

    partners: int | None = option(
        None, help="With how many others each network is compared; default: the profile's.", minimum=1
    )
    depths: int | None = option(None, help="So many layers, evenly over the depth; default: the profile's.", minimum=1)
    steps: int | None = option(None, help="Steps of the change; default: the profile's.", minimum=3)


class Steps(NamedTuple):
    """A layer of one network, that of another one in every step of its change, and what agreement should rise with."""

    x: Floats  #: (n, p)
    ys: Sequence[Floats]  #: (n, q) each, the least changed first
    truth: Floats  #: (steps,)


class GradedTask(FeatureTask):
    """A task whose score is whether values of a metric have the order of the truth, over the steps of a change."""

    options = GradedOptions
    in_a_row = _KEPT - 1  # made once for all methods; a worker that has to start again and again costs more
    scores = (
        Score("spearman", "Spearman", low=-1.0, chance=0.0, meaning="rank correlation of the value with the truth"),
        Score("first", "value, first step", low=-float("inf"), high=float("inf")),
        Score("last", "value, last step", low=-float("inf"), high=float("inf")),
        UNDEFINED,
    )
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "4 networks, 2 layers, 6 steps, 200 pictures",
            {"networks": 4, "count": 200, "partners": 1, "depths": 2, "steps": 6},
            20.0,
            20.0,
        ),
        "paper": Profile(
            "10 networks with 2 others each, 5 layers, 11 steps, 500 pictures",
            {"networks": 10, "count": 500, "partners": 2, "depths": 5, "steps": 11},
            120.0,
            600.0,
        ),
    }
    forms: ClassVar[tuple[str, ...]] = ("",)  #: kinds of the change, as cells name them

    @abstractmethod
    def change(self, x: Floats, y: Floats, labels: Labels, form: str, steps: int, rng: np.random.Generator) -> Steps:
        """The steps for one layer: features x (n, p) of one network, y (n, q) of another one with the labels (n,) of its rows."""

    def layers(self, names: Sequence[str]) -> Sequence[str]:
        """Layers to choose from, of those that the networks of a group have."""
        return names

    def lacking(self, labels: Labels) -> str:
        """Why the task cannot be set on stimuli with these labels; "" where it can."""
        return ""

    def cases(self, options: GradedOptions) -> Iterator[Case]:
        """Each network with the next ones of its group; a case has all steps of all layers."""
        found = options.read(("w16",))
        partners, depths, steps = options.partners or 1, options.depths or 1, options.steps or 3
        found.require_pair(self.name)
        skip = self.lacking(found.labels)
        for group, networks in found.groups.items():
            names = self.layers(list(networks[0].layers))
            layers = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, depths).round().astype(int))]
            settings = f"{found.sha256} {options.seed} {steps} {layers}"
            digest = hashlib.sha256(settings.encode()).hexdigest()
            pairs = [
                (one, networks[(i + ahead) % len(networks)])
                for ahead in range(1, min(partners + 1, len(networks)))
                for i, one in enumerate(networks)
            ]
            of_one = pairs[: len(networks)]
            for form, word in product(self.forms, ("", PERMUTED)):
                cell = " ".join(filter(None, (group, form, word)))
                for pair in few(of_one) if word else pairs:
                    which = (form, bool(word), options.seed, steps)
                    made = partial(_made, partial(self._steps, found, pair, layers, *which))
                    yield replace(
                        make_case(
                            f"{pair[0].path}/{pair[1].path}/{cell}",
                            {"networks": cell},
                            partial(_part, made, 0),
                            partial(_part, made, 1),
                            [(i, i * steps + j) for i in range(len(layers)) for j in range(steps)],
                            pair,
                            digest,
                            partial(_part, made, 2),
                        ),
                        skip=skip,
                    )

    def _steps(
        self,
        found: FeatureSet,
        pair: tuple[FeatureNetwork, ...],
        layers: Sequence[str],
        form: str,
        permuted: bool,
        seed: int,
        steps: int,
    ) -> list[Steps]:
        made = []
        for layer in layers:
            x, y = (network.pooled[layer].astype(np.float64) for network in pair)
            labels = found.labels
            # The same draws in all forms, and in a run with other networks beside these.
            place = "/".join([*(network.path for network in pair), layer]).encode()
            if permuted:
                # One order for all would agree with the other side by the same chance everywhere.
                order = np.random.default_rng([seed, 1, *place]).permutation(len(y))
                y, labels = y[order], labels[order]
            made.append(self.change(x, y, labels, form, steps, np.random.default_rng([seed, 2, *place])))
        return made

    def judge(self, case: Case, pairs: Pairs, declared: Declaration) -> Mapping[str, float]:
        """Mean over layers of Spearman's correlation with the truth; and mean values in the metric's own direction."""
        truth = case.known()
        values = pairs.mean.reshape(truth.shape)
        sign = 1.0 if declared.facts["best"] == "max" else -1.0
        return {
            "spearman": float(np.mean([order(*layer) for layer in zip(values, truth)])),
            "first": sign * float(values[:, 0].mean()),
            "last": sign * float(values[:, -1].mean()),
        }


def order(values: Floats, truth: Floats) -> float:
    """Spearman's correlation as `semrsm_bench.tasks.orders.spearman`: what is undefined is in the wrong place.

    Values that differ by less than about a millionth of the largest are ties: representations reach a metric in float32.
    """
    largest = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    return float(spearman(np.round(values / largest, _DECIMALS), truth, np.ones((1, len(truth))))[0])


def _part(made: Callable[[], tuple[Any, ...]], which: int) -> Any:
    return made()[which]


@lru_cache(maxsize=_KEPT)
def _made(steps: Callable[[], list[Steps]]) -> tuple[Side, Side, Floats]:
    """Both sides of a case and the truth (layers, steps), which all methods share."""
    made = steps()
    x = Side(tuple(layer.x.astype(np.float32) for layer in made))
    y = Side(tuple(part.astype(np.float32) for layer in made for part in layer.ys))
    return x, y, np.array([layer.truth for layer in made])
