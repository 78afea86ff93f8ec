"""Does a metric say less agreement, the more noise is added to one network?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from semrsm_bench.core.task import Floats
from semrsm_bench.tasks.graded import GradedTask, Labels, Steps
from semrsm_bench.tasks.layers import EQUALISED, with_spectrum
from semrsm_bench.tasks.registry import register_task

_LEVELS = 0.02, 0.2  # standard deviation of the noise, in root mean squares of the centred features


@register_task
class Noise(GradedTask):
    """Normal noise, in fine steps, on one of two networks that differ in their seed.

    Noise also flattens the spectrum, which a metric may see without comparing stimuli: "equalised" gives every step the spectrum
    that the layer had before. "permuted" has the stimuli of that network in another order, so that the spectrum alone changes.
    """

    name = "noise"
    question = "Does a metric say less agreement, the more noise is added?"
    source = "semrsm-bench"
    forms = ("", EQUALISED)
    leading: ClassVar[Mapping[str, str | int]] = {"networks": f"w16 {EQUALISED}"}

    def change(self, x: Floats, y: Floats, labels: Labels, form: str, steps: int, rng: np.random.Generator) -> Steps:
        """No noise, then levels that grow by the same factor; the draws of all steps are independent."""
        levels = np.concatenate([[0.0], np.geomspace(*_LEVELS, steps - 1)])
        centred = y - y.mean(axis=0)
        rms = np.sqrt(np.mean(centred**2))
        ys = [y + level * rms * rng.standard_normal(y.shape) for level in levels]
        if form == EQUALISED:
            spectrum = np.linalg.svd(centred, compute_uv=False)
            ys = [y.mean(axis=0) + with_spectrum(noisy - noisy.mean(axis=0), spectrum) for noisy in ys]
        return Steps(x, ys, -levels)
