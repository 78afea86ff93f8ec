"""Where a score is on an axis on which better is farther along: by its gap to the optimum, or as it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semrsm_bench.core.task import Score
from semrsm_bench.report.formatting import OPTIMAL_TOLERANCE

if TYPE_CHECKING:
    from matplotlib.axis import Axis

# Gaps below 0.001 % would take the room that the others need.
_DECADES = 5


@dataclass(frozen=True)
class ScoreAxis:
    """The axis of a score with its ends, in places; see `covering`.

    A quality has decades of ``1 - value`` below 100 % as places, and above all others one for the optimum; other axes are linear.
    """

    score: Score
    low: float
    high: float
    optimum: float | None = None

    @classmethod
    def covering(cls, score: Score, values: Iterable[float], lowest: float = -math.inf) -> ScoreAxis:
        """The axis on which all these values have a place; none below ``lowest`` widens a linear one."""
        seen = [max(v, lowest) for v in values]
        if score.style == "quality":
            places = [0.0, *(_decades(1 - v) for v in seen if 1 - v > OPTIMAL_TOLERANCE)]
            optimum = math.ceil(max(places) - 0.2) + 0.7
            return cls(score, min(places) - 0.25, optimum + 0.8, optimum)
        seen = (seen or [0.0, 1.0]) + [1.0] * (score.style == "percent")
        room = 0.06 * ((max(seen) - min(seen)) or 1.0)
        return cls(score, min(seen) - room, max(seen) + room)

    @property
    def title(self) -> str:
        """The text beside the axis."""
        return "gap to the optimum, 1 − c" if self.optimum is not None and self.score.name == "c" else self.score.title

    @property
    def limits(self) -> tuple[float, float]:
        """Its ends, the worse one first."""
        return (self.high, self.low) if self.optimum is None and self.score.best == "min" else (self.low, self.high)

    def place(self, value: float) -> float:
        """Where a value is; gaps of less than 0.001 % share a place below the optimum."""
        if self.optimum is None:
            return value
        return self.optimum if 1 - value <= OPTIMAL_TOLERANCE else _decades(1 - value)

    def ticks(self) -> tuple[list[float], list[str]]:
        """Places and labels of a logarithmic axis: every decade, and the optimum."""
        assert self.optimum is not None
        decades = range(math.floor(self.optimum - 0.5) + 1)
        return [*map(float, decades), self.optimum], [*(f"{10.0 ** (2 - d):g} %" for d in decades), "optimal"]

    def apply(self, axis: Axis, *, sparse: bool = False) -> None:
        """Ticks and limits; ``sparse`` names every other tick."""
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        axis.axes.set(**{f"{axis.axis_name}lim": self.limits})  # type: ignore[attr-defined]
        if self.optimum is not None:
            places, texts = self.ticks()
            if sparse:
                texts = [*(t if i % 2 == 0 else "" for i, t in enumerate(texts[:-1])), "0"]
            axis.set_ticks(places, texts)
        elif self.score.style == "percent":
            # The title says what the numbers are.
            axis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        if sparse and self.optimum is None:
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _decades(gap: float) -> float:
    return min(-math.log10(gap), _DECADES + 0.2)
