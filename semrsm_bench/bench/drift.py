"""Whether the machine kept its speed: a fixed kernel is timed between observations, and what was measured off its level."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# A reading takes 1 to 5 ms: at most a quarter of a percent of the run.
PAUSE = 2.0
# Farther from the level than by this factor a row is measured again; fewer readings make no level.
LIMIT, FEWEST = 1.2, 10
# What is measured again ends with so many tries of a row, and with this share of the time that all rows took.
TRIES, SHARE = 2, 0.1
REASON = "drift: "


class Speedometer:
    """Keeps the last reading of ``measure``, seconds of the kernel, and takes a new one where it is older than `PAUSE`."""

    def __init__(self, measure: Callable[[], float | None]) -> None:
        self._measure, self._read_at = measure, -math.inf
        self._last: float | None = None

    def read(self) -> float | None:
        """Seconds; None where the kernel could not be timed."""
        if time.monotonic() - self._read_at > PAUSE:
            self._last = self._measure()
            self._read_at = time.monotonic()
        return self._last


@dataclass(frozen=True)
class Steadiness:
    """Of timed rows: how many there are, the readings around them with their median ``level``, s, and the range that holds 90 % of
    them, as multiples of the level; how many rows were measured off it, and how many once more for that.
    """

    rows: int
    readings: int
    level: float
    low: float
    high: float
    off: int
    again: int

    def __str__(self) -> str:
        return (
            f"a fixed kernel, timed {self.readings} times between observations, took {self.low:.2f} to {self.high:.2f} times its "
            f"median (5 to 95 %); {self.off} of {self.rows} timed rows are of moments beyond {100 * (LIMIT - 1):.0f} %, "
            f"{self.again} were measured again"
        )


def level_of(readings: Iterable[float]) -> float:
    """The median of the readings, each counted once however many rows it belongs to; NaN where they are few."""
    known = set(readings)
    return float(np.median([*known])) if len(known) >= FEWEST else math.nan


def is_off(seconds: float | None, level: float) -> bool:
    """Whether a reading is farther from the level than `LIMIT`; what is unknown is not."""
    return seconds is not None and not math.isnan(level) and max(seconds / level, level / seconds) > LIMIT


def steadiness(rows: Iterable[Mapping[str, Any]]) -> Steadiness | None:
    """What the rows that count say of the machine; None where there are too few readings."""
    timed = [row for row in rows if row["reference_seconds"] and row["seconds"] is not None]
    readings = [row["reference_seconds"] for row in timed]
    level = level_of(readings)
    if math.isnan(level):
        return None
    low, high = np.quantile([*set(readings)], [0.05, 0.95]) / level
    off = sum(is_off(each, level) for each in readings)
    again = sum(row["replaces"].startswith(REASON) for row in timed)
    return Steadiness(len(timed), len(set(readings)), level, float(low), float(high), off, again)
