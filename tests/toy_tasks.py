"""Tasks for tests of the engine that have nothing to do with pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from semrsm_bench.core.options import check, option
from semrsm_bench.core.task import Case, Profile, Score, Scored, Task


@dataclass(frozen=True)
class ToyOptions:
    """How many cases there are, and how noisy."""

    cases: int | None = option(None, help="Cases.", minimum=0)
    noise: float | None = option(None, help="Noise.", minimum=0)

    def __post_init__(self) -> None:
        check(self)


class Toy(Task):
    """How large is a number?"""

    name = "toy"
    question = "How large is it?"
    kind = "metric"
    scores: ClassVar[tuple[Score, ...]] = (Score("value", "value"),)
    unit = "item"
    across = ("cell",)
    options = ToyOptions
    profiles: ClassVar[Any] = {
        "quick": Profile("six", {"cases": 6}, 20.0, 30.0, patience=20.0),
        "paper": Profile("sixty", {"cases": 60}, 20.0, 30.0),
    }
    skips: ClassVar[dict[str, str]] = {}
    cells, size = 1, 5
    settings: ClassVar[dict[str, Any]] = {}

    def cases(self, options):
        for i in range(options.cases):
            yield Case(
                str(i),
                {"cell": i % self.cells, "size": self.size},
                lambda i=i: self.inputs(i),
                {"item": (str(i),)},
                settings=self.settings,
                size=self.size,
                skip=self.skips.get(str(i), ""),
            )

    def inputs(self, i):
        """Features, and positions for methods that ask for them."""
        z = np.random.default_rng(i).random((2, 5, 3, 4))
        return {"x": z[0, ..., 0], "y": z[1, ..., 0], "zx": lambda: z[0], "zy": lambda: z[1]}

    def score(self, case, arrays, answer, truth, declared):
        (value, *_) = (a for name, a in answer.arrays.items() if name in ("value", "values"))
        return Scored({"value": float(value.flat[0])})


def toy(name: str = "toy", **changes: Any) -> Task:
    """A task with other attributes."""
    return type("Toy", (Toy,), {"__module__": __name__, "name": name, **changes})()
