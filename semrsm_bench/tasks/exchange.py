"""Does a metric say less agreement, the more stimuli of one network are exchanged?"""

from __future__ import annotations

import numpy as np

from semrsm_bench.core.task import Floats
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
