"""Are networks that predict alike found alike? Two tasks: how good they are, and what they say of each stimulus."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from scipy.special import softmax

from semrsm_bench.core.task import Floats, Score
from semrsm_bench.metrics import jensen_shannon
from semrsm_bench.tasks.between import BetweenNetworks
from semrsm_bench.tasks.features import FeatureSet
from semrsm_bench.tasks.pairs import UNDEFINED
from semrsm_bench.tasks.registry import register_task

_correlation = partial(Score, low=-1.0, chance=0.0)


class _Predictions(BetweenNetworks):
    groups = ("w16", "w8")
    source = "Klabunde, Wald et al. (ReSi), ICLR 2025, grounding by prediction"


@register_task
class Accuracy(_Predictions):
    """Rank correlation with how close two networks are in accuracy, on the same stimuli."""

    name = "accuracy"
    question = "Does a metric find networks more alike that are about as good?"
    scores = (_correlation("closeness", "Spearman", meaning="of value and -|difference of accuracy|"), UNDEFINED)

    def targets(self, found: FeatureSet) -> Mapping[str, Floats]:
        """The difference of accuracies, negative, over the stimuli whose class is known."""
        labelled = found.labels >= 0
        if not labelled.any():
            raise ValueError("accuracy needs the stimuli's classes: an array `labels` (n,)")
        top = _logits(found).argmax(axis=2)[:, labelled]
        accuracy = (top == found.labels[labelled]).mean(axis=1)
        return {"closeness": -np.abs(accuracy[:, None] - accuracy)}


@register_task
class OutputDifference(_Predictions):
    """Rank correlation with how little the class probabilities of two networks differ, stimulus by stimulus."""

    name = "output-difference"
    question = "Does a metric find networks more alike that say the same of each stimulus?"
    scores = (
        _correlation(
            "divergence", "Spearman, divergence", meaning="of value and -Jensen-Shannon divergence of the outputs"
        ),
        _correlation(
            "disagreement",
            "Spearman, disagreement",
            meaning="of value and -share of stimuli put into different classes",
        ),
        UNDEFINED,
    )

    def targets(self, found: FeatureSet) -> Mapping[str, Floats]:
        """Jensen-Shannon divergence and share of differing classes, both over all stimuli and negative."""
        logits = _logits(found)
        top = logits.argmax(axis=2)
        outputs = softmax(logits, axis=2).swapaxes(0, 1)
        return {
            "divergence": -np.mean([jensen_shannon(of_one) for of_one in outputs], axis=0),
            "disagreement": -np.mean(top[:, None] != top, axis=2),
        }


def _logits(found: FeatureSet) -> Floats:
    """Of all networks, (m, n, classes); ValueError where one has none, or another number of classes."""
    for network in found.networks:
        if network.logits is None:
            raise ValueError(f"{network.path} has no logits: an array {network.path}/logits (n, classes)")
    if len(classes := {network.logits.shape[1] for network in found.networks if network.logits is not None}) > 1:
        raise ValueError(
            f"networks of {' and '.join(map(str, sorted(classes)))} classes do not compare by their outputs"
        )
    return np.stack([np.asarray(network.logits, dtype=np.float64) for network in found.networks])
