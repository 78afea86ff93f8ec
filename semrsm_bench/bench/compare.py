"""Two sets of figures side by side: what changed beyond noise, in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from semrsm_bench.bench.readers import CellKey, Figures, Measurements
from semrsm_bench.core.stats import Interval, mean_interval, median_interval

Metric = Literal["time", "gap"]
Samples = Mapping[str, Sequence[float]]
# A limit that makes a comparison fail: a factor on the time, or a rise of the gap as a fraction.
Rule = tuple[Metric, float]
# Two runs of the same code differ by this much even where each of them is steady: the machine's clock moves between them.
TIME_NOISE = 1.10
GAP_NOISE = 0.0005


@dataclass(frozen=True)
class Change:
    """One metric of one cell on both sides: median seconds and their factor, or mean gaps 1 - c and their difference."""

    cell: CellKey
    metric: Metric
    before: float
    after: float
    change: Interval
    paired: bool  # worked out pair by pair

    @property
    def verdict(self) -> Literal["worse", "better", "same"]:
        """Beyond noise: the interval excludes no change, and the change is not a trifle."""
        none, up, down = (1.0, TIME_NOISE, 1 / TIME_NOISE) if self.metric == "time" else (0.0, GAP_NOISE, -GAP_NOISE)
        if self.change.low > none and self.change.value > up:
            return "worse"
        return "better" if self.change.high < none and self.change.value < down else "same"


@dataclass(frozen=True)
class RunComparison:
    """Two sides: a change for each cell and metric that both have, and the cells with figures that only one of them knows.

    Cells with figures before that lack some of them now are lost, each with the reason: failed, null, NaN or absent. Notices say
    what limits the comparison.
    """

    before: Measurements
    after: Measurements
    changes: list[Change]
    lost: dict[CellKey, str]
    only_before: list[CellKey]
    only_after: list[CellKey]
    notices: list[str]

    def broken(self, rules: Iterable[Rule]) -> list[Change]:
        """Changes that are worse beyond noise and beyond the limit of a rule."""
        limits = list(rules)
        worse = [change for change in self.changes if change.verdict == "worse"]
        return [c for c in worse if any(c.metric == metric and c.change.value > limit for metric, limit in limits)]

    def missing(self, allowed: Container[str] = ()) -> dict[CellKey, str]:
        """What is lost, without the methods that may be missing; "all" allows it for any."""
        return {} if "all" in allowed else {k: why for k, why in self.lost.items() if k.method not in allowed}


def parse_rule(text: str) -> Rule:
    """``gap:0.5%`` (the gap 1 - c may rise by half a percentage point) or ``time:2x`` (a solve may take twice as long)."""
    match = re.fullmatch(r"\s*(gap|time)\s*:\s*(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)\s*([%x]?)\s*", text)
    metric, number, unit = match.groups() if match else ("", "0", "")
    value = float(number) / (100 if unit == "%" else 1)
    if metric == "gap" and unit != "x":
        return "gap", value
    if metric == "time" and (factor := value + (unit == "%")) > 1:
        return "time", factor
    raise ValueError(
        f"a limit is written gap:0.5% (points that the gap may rise by), time:2x or time:50%, got {text!r}"
    )


def compare(before: Measurements, after: Measurements) -> RunComparison:
    """Compare cell by cell; where both sides name the pairs of images, pair by pair."""
    old = {key: figures for key, figures in before.cells.items() if figures.measured}
    changes, lost = [], {}
    for key, figures in old.items():
        new = after.cells.get(key, Figures())
        if why := _lost(figures, new, alike=before.source == after.source):
            lost[key] = why
        if figures.seconds and new.seconds:
            changes.append(_change(key, "time", figures.seconds, new.seconds))
        if figures.gaps and new.gaps:
            changes.append(_change(key, "gap", figures.gaps, new.gaps))
    notices = [f"{side.name}: {text}" for side in (before, after) for text in side.notices]
    if before.machine and after.machine and before.machine != after.machine:
        notices.append(f"the processors differ ({before.machine}; {after.machine}): compare gaps, not times")
    if before.data and after.data and before.data != after.data:
        notices.append("the two were measured on different data: gaps and times are of different problems")
    if any(not c.paired for c in changes if c.metric == "time"):
        notices.append(
            "some times are not of the same pairs of images, or of one pair only: their intervals say little"
        )
    notices.append(
        "times of two separate runs also differ by what else the machine did; `semrsm-bench gate` measures alternately"
    )
    only_before = [key for key in old if key not in after.cells]
    only_after = [key for key, figures in after.cells.items() if figures.measured and key not in before.cells]
    return RunComparison(before, after, changes, lost, only_before, only_after, notices)


def _lost(old: Figures, new: Figures, alike: bool) -> str:
    """Why figures of a cell are missing now; "" where none is. Only files of one kind are held to the same cases."""
    for name, had, has in (("time", old.seconds, new.seconds), ("score", old.gaps, new.gaps)):
        failed = {unit for unit in had if unit in new.failures and unit not in old.failures}
        gone = [unit for unit in had if unit in failed or (unit not in has and (alike or not has))]
        if gone:
            why = [new.failures[unit] for unit in ("", *gone) if unit in new.failures]
            return f"no {name} of {len(gone)} of {len(had)} cases: {[*why, *new.failures.values(), 'absent'][0]}"
    return ""


def _change(key: CellKey, metric: Metric, old: Samples, new: Samples) -> Change:
    """Ratio of median times or difference of mean gaps; pair by pair where that gives an interval."""
    time = metric == "time"
    middle: Callable[..., Any] = np.median if time else np.mean
    interval: Callable[..., Interval] = median_interval if time else mean_interval
    scale: Callable[..., Any] = np.log if time else np.asarray
    back: Callable[..., Any] = np.exp if time else np.asarray
    pairs = [pair for pair in old if pair in new]
    paired = len(pairs) >= (2 if time else 1)
    if paired:
        before, after = ([float(middle(side[p])) for p in pairs] for side in (old, new))
        change = interval(scale(after) - scale(before))
        values = float(middle(before)), float(middle(after))
    else:
        a, b = (interval([v for p in (pairs or side) for v in side[p]]) for side in (old, new))
        change = Interval(*(scale(y) - scale(x) for y, x in ((b.value, a.value), (b.low, a.high), (b.high, a.low))))
        values = a.value, b.value
    return Change(key, metric, *values, Interval(*(float(back(v)) for v in change)), paired)
