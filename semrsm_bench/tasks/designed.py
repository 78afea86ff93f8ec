"""Are networks that were trained alike found alike? Three tasks on groups that were made to differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from semrsm_bench.activations.folders import shipped_groups
from semrsm_bench.core.task import Floats, Profile, Score
from semrsm_bench.tasks.between import BetweenNetworks, Pair
from semrsm_bench.tasks.features import FeatureSet
from semrsm_bench.tasks.orders import average_precision, credit
from semrsm_bench.tasks.pairs import UNDEFINED
from semrsm_bench.tasks.registry import register_task


class _Designed(BetweenNetworks):
    """Pairs of networks of one group against pairs of it with others; scores are means over groups."""

    scores = (
        Score(
            "conformity",
            "conformity %",
            chance=0.5,
            style="percent",
            meaning="pairs of a group above pairs of it with others",
        ),
        Score("auprc", "AUPRC", meaning="precision over recall of the pairs of a group among all pairs that it is in"),
        UNDEFINED,
    )
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile("3 networks of a group, 200 pictures", {"networks": 3, "count": 200}, 20.0, 20.0),
        "paper": Profile("5 networks of a group, 500 pictures", {"networks": 5, "count": 500}, 120.0, 600.0),
    }
    source = "Klabunde, Wald et al. (ReSi), ICLR 2025, grounding by design"

    def default_groups(self) -> Sequence[str]:
        """The groups that ship; all, so that the error names what is missing, where fewer than two do."""
        there = [group for group in self.groups if group in shipped_groups()]
        return there if len(there) > 1 else self.groups

    def cells(self, found: FeatureSet) -> Iterator[tuple[str, list[Pair]]]:
        """All pairs of all groups."""
        if len(found.groups) < 2:
            raise ValueError(f"{self.name} compares groups of networks; there is only {', '.join(found.groups)}")
        for group, networks in found.groups.items():
            if len(networks) < 2:
                raise ValueError(f"{self.name} needs two networks of each group; {group} has {len(networks)}")
        yield " x ".join(found.groups), list(combinations(range(len(found.networks)), 2))

    def measure(
        self, values: Floats, weights: Floats, units: Sequence[str], known: Mapping[str, Any]
    ) -> dict[str, Floats]:
        """Conformity rate and area under the precision-recall curve, of each group, then their mean."""
        groups = np.array([unit.partition(":")[0] for unit in units])[np.array(known["pairs"])]
        conformity, auprc = [], []
        for group in dict.fromkeys(groups.ravel()):
            ours = (groups == group).sum(axis=1)
            inside, across = ours == 2, ours == 1
            agreement = credit(values[inside][:, None], values[across])
            w, v = weights[:, inside], weights[:, across]
            with np.errstate(invalid="ignore", divide="ignore"):
                conformity.append(np.einsum("bi,ij,bj->b", w, agreement, v) / (w.sum(axis=1) * v.sum(axis=1)))
            auprc.append(average_precision(values[ours > 0], inside[ours > 0], weights[:, ours > 0]))
        return {"conformity": np.mean(conformity, axis=0), "auprc": np.mean(auprc, axis=0)}


@register_task
class RandomLabels(_Designed):
    """Networks trained on the right labels, on half random ones, on random ones."""

    name = "random-labels"
    question = "Does a metric tell networks apart that were trained on classes from those trained on random labels?"
    groups = ("w8", "labels-50", "labels-100")


@register_task
class Shortcuts(_Designed):
    """Networks trained on pictures in which a dot gives the class away never, half of the time, always."""

    name = "shortcuts"
    question = "Does a metric tell networks apart that learned a shortcut from those that had none?"
    groups = ("shortcut-0", "shortcut-50", "shortcut-100")


@register_task
class Augmentation(_Designed):
    """Networks trained on pictures that were not changed, a little, or strongly."""

    name = "augmentation"
    question = "Does a metric tell networks apart by how their training pictures were changed?"
    groups = ("augmentation-none", "w8", "augmentation-strong")
