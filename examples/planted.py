"""A task of one's own: is a permutation that was planted found again under noise?"""

from dataclasses import dataclass

import numpy as np
import semrsm_bench as sb
from semrsm_bench.core.options import option


@dataclass(frozen=True)
class PlantedOptions:
    """What is planted."""

    positions: int = option(64, help="S of the planted problems.", minimum=2)
    problems: int = option(10, help="Problems at each level of noise.", minimum=1)


@sb.register_task
class Planted(sb.Task):
    """The positions of y are those of x in another order, plus noise."""

    name = "planted"
    question = "Which solver finds a planted permutation again?"
    kind = "solver"
    scores = (sb.Score("found", "positions found", chance=0.0),)
    unit = "problem"
    across = ("noise",)
    options = PlantedOptions
    methods = ("ortools", "exact-auction", "greedy", "identity")

    def cases(self, options):
        """Some problems at each of three levels of noise."""
        for noise in (0.1, 0.5, 1.0):
            for i in range(options.problems):

                def inputs(i=i, noise=noise):
                    rng = np.random.default_rng([i, options.positions])
                    x = rng.standard_normal((options.positions, 16))
                    perm = rng.permutation(options.positions)
                    y = np.empty_like(x)
                    y[perm] = x + noise * rng.standard_normal(x.shape)
                    return {"x": x.astype(np.float32), "y": y.astype(np.float32), "planted": lambda: perm}

                cell = {"noise": str(noise), "size": options.positions}
                yield sb.Case(f"{noise}/{i}", cell, inputs, {"problem": (str(i),)}, size=options.positions, channels=16)

    def truth(self, case, arrays, solve):
        """The planted permutation: the solvers do not get it."""
        return arrays["planted"]()

    def score(self, case, arrays, answer, truth, declared):
        """Share of positions that every answer found."""
        return sb.Scored({"found": float(np.mean(answer.arrays["perms"] == truth))})
