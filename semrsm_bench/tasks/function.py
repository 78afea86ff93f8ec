"""Does a metric say less agreement where a probe of the classes loses accuracy?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Case, Floats, Profile
from semrsm_bench.tasks.graded import GradedTask, Labels, Steps
from semrsm_bench.tasks.pairs import Pairs
from semrsm_bench.tasks.registry import register_task

_COMPONENTS = 16
_LAST = 4  # layers: earlier ones hardly tell classes
_DECIMALS = 6


@register_task
class Function(GradedTask):
    """The first principal components of one network against as many of another one, drawn from ever more of its components.

    The truth is the accuracy of a linear probe on what was drawn. All have one number of components and one spectrum, and are
    rotated at random. "permuted" has the stimuli of the second network in another order, and is judged by a probe of that.
    """

    name = "function"
    question = "Does a metric say less agreement where a probe loses accuracy?"
    source = "after Ding et al., NeurIPS 2021"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "4 networks, 3 layers, 12 subsets, 200 pictures",
            {"networks": 4, "count": 200, "partners": 1, "depths": 3, "steps": 12},
            20.0,
            20.0,
        ),
        "paper": Profile(
            "10 networks with 2 others each, 4 layers, 12 subsets, 500 pictures",
            {"networks": 10, "count": 500, "partners": 2, "depths": 4, "steps": 12},
            120.0,
            600.0,
        ),
    }

    def layers(self, names: Sequence[str]) -> Sequence[str]:
        """The last ones."""
        return names[-_LAST:]

    def lacking(self, labels: Labels) -> str:
        """A probe needs classes."""
        if len(_classes(labels)) > 1:
            return ""
        return "a probe needs labels of at least two classes, with two stimuli of each"

    def change(self, x: Floats, y: Floats, labels: Labels, form: str, steps: int, rng: np.random.Generator) -> Steps:
        """First the first components, at last any."""
        (u, s), (v, t) = map(_components, (x, y))
        width = max(1, min(_COMPONENTS, len(s) // 2, len(t) // 2))
        spectrum = np.sqrt(s[:width] / np.linalg.norm(s[:width]) * t[:width] / np.linalg.norm(t[:width]))
        # Rows of norm 1 on average, whatever their number.
        spectrum *= np.sqrt(len(x)) / np.linalg.norm(spectrum)

        def rotated(basis: Floats) -> Floats:
            return np.asarray(basis * spectrum @ np.linalg.qr(rng.standard_normal((width, width)))[0])

        ys = []
        for among in np.linspace(width, len(t), steps).astype(int):
            drawn = np.sort(rng.choice(among, width, replace=False))
            ys.append(rotated(v[:, drawn]))
        return Steps(rotated(u[:, :width]), ys, np.array([probe_accuracy(z, labels) for z in ys]))

    def judge(self, case: Case, pairs: Pairs, declared: Declaration) -> Mapping[str, float]:
        """As for all, with values to six decimals: all means are 0 up to rounding, and no metric shall be judged by that."""
        return super().judge(case, Pairs(*(np.round(values, _DECIMALS) for values in pairs)), declared)


def _components(z: Floats) -> tuple[Floats, Floats]:
    """Left singular vectors and singular values of the centred features, those above rounding."""
    u, s, _ = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    rank = int((s > 1e-6 * s[0]).sum())
    return u[:, :rank], s[:rank]


def probe_accuracy(z: Floats, labels: Labels) -> float:
    """Share of stimuli whose class least squares finds, from the other half of the stimuli; every class is in both halves.

    z (n, p); labels (n,) are -1 where unknown, and these stimuli are left out, as are classes of one stimulus.
    """
    classes = _classes(labels)
    known = np.isin(labels, classes)
    z, labels = np.column_stack([z, np.ones(len(z))])[known], labels[known]
    half = np.zeros(len(labels), dtype=np.int64)
    for name in classes:
        half[np.flatnonzero(labels == name)[1::2]] = 1
    targets = (labels[:, None] == classes).astype(np.float64)
    right = 0
    for trained in (0, 1):
        weights = np.linalg.lstsq(z[half == trained], targets[half == trained], rcond=None)[0]
        right += int((classes[(z[half != trained] @ weights).argmax(axis=1)] == labels[half != trained]).sum())
    return right / len(labels)


def _classes(labels: Labels) -> Labels:
    """Classes with stimuli for both halves."""
    names, counts = np.unique(labels, return_counts=True)
    return names[(names >= 0) & (counts > 1)]
