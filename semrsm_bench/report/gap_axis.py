"""A logarithmic axis for the gap to the optimum that has a place for the optimum itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from semrsm_bench.report.formatting import OPTIMAL_TOLERANCE, format_gap

# Gaps below 0.001 % matter to nobody, and would take the room that the others need.
_DECADES = 5


@dataclass(frozen=True)
class GapAxis:
    """Places of gaps ``1 - c``: decades below 100 %, better is higher.

    Attributes
    ----------
    lowest : float
        Place of the worst gap, 0 or less.
    optimum : float
        Place of the gap 0, above all others.
    """

    lowest: float
    optimum: float

    @classmethod
    def covering(cls, gaps: Iterable[float]) -> GapAxis:
        """The axis on which all these gaps have a place."""
        places = [_decades(gap) for gap in gaps if gap > OPTIMAL_TOLERANCE]
        return cls(min([0.0, *places]), math.ceil(max([0.0, *places]) - 0.2) + 0.7)

    def place(self, gap: float) -> float:
        """Where a gap stands; gaps of less than 0.001 % share a place below the optimum."""
        return self.optimum if gap <= OPTIMAL_TOLERANCE else _decades(gap)

    def ticks(self) -> tuple[list[float], list[str]]:
        """Places and labels: every decade, and the optimum."""
        decades = list(range(math.floor(self.optimum - 0.5) + 1))
        return [*map(float, decades), self.optimum], [*(format_gap(10.0**-d) for d in decades), "optimal"]


def _decades(gap: float) -> float:
    return min(-math.log10(gap), _DECADES + 0.2)
