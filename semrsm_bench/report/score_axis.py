"""Where a score stands on an axis on which better is higher: by its gap to the optimum, or as it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semrsm_bench.core.task import Score
from semrsm_bench.report.gap_axis import GapAxis

if TYPE_CHECKING:
    from matplotlib.axis import Axis


@dataclass(frozen=True)
class ScoreAxis:
    """The axis of a score; see `covering`.

    Attributes
    ----------
    score : Score
    gaps : GapAxis or None
        The logarithmic axis of ``1 - score`` for a quality; None for a linear one.
    low, high : float
        Ends, in places.
    """

    score: Score
    gaps: GapAxis | None
    low: float
    high: float

    @classmethod
    def covering(cls, score: Score, values: Iterable[float], lowest: float = -math.inf) -> ScoreAxis:
        """The axis on which all these values have a place; none below ``lowest`` widens a linear one."""
        values = list(values)
        if score.style == "quality":
            gaps = GapAxis.covering(1 - v for v in values)
            return cls(score, gaps, gaps.lowest - 0.25, gaps.optimum + 0.4)
        seen = [max(v, lowest) for v in values] or [0.0, 1.0]
        if score.style == "percent":
            seen.append(1.0)
        room = 0.06 * ((max(seen) - min(seen)) or 1.0)
        return cls(score, None, min(seen) - room, max(seen) + room)

    @property
    def title(self) -> str:
        """What stands beside the axis."""
        return "gap to the optimum, 1 − c" if self.gaps and self.score.name == "c" else self.score.title

    @property
    def is_reversed(self) -> bool:
        """Whether smaller values are better."""
        return self.gaps is None and self.score.best == "min"

    def place(self, value: float) -> float:
        """Where a value stands."""
        return self.gaps.place(1 - value) if self.gaps else value

    def apply(self, axis: Axis, *, sparse: bool = False) -> None:
        """Ticks and limits, better values farther along; ``sparse`` names every other tick."""
        limits = (self.high, self.low) if self.is_reversed else (self.low, self.high)
        set_limits = axis.axes.set_ylim if axis.axis_name == "y" else axis.axes.set_xlim  # type: ignore[attr-defined]
        set_limits(*limits)
        if self.gaps:
            places, texts = self.gaps.ticks()
            if sparse:
                texts = [*(t if i % 2 == 0 else "" for i, t in enumerate(texts[:-1])), "0"]
            axis.set_ticks(places, texts)
            return
        if self.score.style == "percent":
            from matplotlib.ticker import PercentFormatter

            # The title says what the numbers are.
            axis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        if sparse:
            from matplotlib.ticker import MaxNLocator

            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
