"""Does a metric say less agreement, the more noise is added to one network?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from semrsm_bench.core.task import Floats, Profile
from semrsm_bench.tasks.graded import GradedTask, Labels, Steps
from semrsm_bench.tasks.registry import register_task

EQUALISED = "equalised"
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
        """No noise, then levels that grow by the same factor; the draws of all steps are independent."""
        levels = np.concatenate([[0.0], np.geomspace(*_LEVELS, steps - 1)])
        centred = y - y.mean(axis=0)
        rms = np.sqrt(np.mean(centred**2))
        ys = [y + level * rms * rng.standard_normal(y.shape) for level in levels]
        if form == EQUALISED:
            spectrum = np.linalg.svd(centred, compute_uv=False)
            ys = [y.mean(axis=0) + _with_spectrum(noisy - noisy.mean(axis=0), spectrum) for noisy in ys]
        return Steps(x, ys, -levels)


def _with_spectrum(z: Floats, spectrum: Floats) -> Floats:
    u, _, vt = np.linalg.svd(z, full_matrices=False)
    return np.asarray(u * spectrum @ vt)
