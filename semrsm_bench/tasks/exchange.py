"""Does a metric say less agreement, the more stimuli of one network are exchanged?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from semrsm_bench.core.task import Floats, Profile
from semrsm_bench.tasks.graded import GradedTask, Labels, Steps
from semrsm_bench.tasks.registry import register_task

_MOST = 0.2  # share of the stimuli


@register_task
class Exchange(GradedTask):
    """A share of the stimuli, growing to a fifth, changes places in one of two networks that differ in their seed.

    Width, spectrum and norms stay as they are, to the last bit: what ignores the stimuli scores 0. "permuted" has all stimuli of
    that network in another order to begin with, so that there is nothing left to lose.
    """

    name = "exchange"
    question = "Does a metric say less agreement, the more stimuli are exchanged?"
    source = "semrsm-bench"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "4 networks, 3 layers, 6 steps, 250 pictures",
            {"networks": 4, "count": 250, "partners": 1, "depths": 3, "steps": 6},
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

    def change(self, x: Floats, y: Floats, labels: Labels, form: str, steps: int, rng: np.random.Generator) -> Steps:
        """Other stimuli are drawn in each step; each takes the place of the next one drawn."""
        n = len(y)
        counts = [count if count > 1 else 0 for count in np.linspace(0, _MOST * n, steps).round().astype(int)]
        ys = []
        for count in counts:
            order, chosen = np.arange(n), rng.choice(n, count, replace=False)
            order[chosen] = np.roll(chosen, 1)
            ys.append(y[order])
        return Steps(x, ys, -np.array(counts, dtype=np.float64))
