"""Two sets of figures side by side: what changed beyond noise, in both directions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from semrsm_bench.bench.readers import CellKey, Figures, Measurements
from semrsm_bench.core.stats import Interval, mean_interval, median_interval

Metric = Literal["time", "gap"]
# Two runs of the same code differ by this much even where each of them is steady: the machine's clock moves between them.
TIME_NOISE = 1.10
GAP_NOISE = 0.0005


@dataclass(frozen=True)
class Change:
    """One metric of one cell on both sides.

    Attributes
    ----------
    cell : CellKey
    metric : {"time", "gap"}
    before, after : float
        Median seconds, or mean gap 1 - c.
    change : Interval
        Factor on the time, or difference of gaps.
    paired : bool
        Whether it was worked out pair by pair.
    """

    cell: CellKey
    metric: Metric
    before: float
    after: float
    change: Interval
    paired: bool

    @property
    def verdict(self) -> Literal["worse", "better", "same"]:
        """Beyond noise: the interval excludes no change, and the change is not a trifle."""
        if self.metric == "time":
            worse = self.change.low > 1 and self.change.value > TIME_NOISE
            better = self.change.high < 1 and self.change.value < 1 / TIME_NOISE
        else:
            worse = self.change.low > 0 and self.change.value > GAP_NOISE
            better = self.change.high < 0 and self.change.value < -GAP_NOISE
        return "worse" if worse else "better" if better else "same"


@dataclass(frozen=True)
class Rule:
    """A limit that makes a comparison fail.

    Attributes
    ----------
    metric : {"time", "gap"}
    limit : float
        Factor on the time, or rise of the gap as a fraction.
    """

    metric: Metric
    limit: float

    def broken_by(self, change: Change) -> bool:
        """Whether the change is worse beyond noise and beyond the limit."""
        return change.metric == self.metric and change.verdict == "worse" and change.change.value > self.limit


@dataclass(frozen=True)
class RunComparison:
    """Everything about two sides.

    Attributes
    ----------
    before, after : Measurements
    changes : list of Change
        One for each cell and metric that both sides have.
    lost : dict of CellKey to str
        Cells that worked before and fail now, with what they fail with.
    only_before, only_after : list of CellKey
    notices : list of str
        What a reader should know before believing any of it.
    """

    before: Measurements
    after: Measurements
    changes: list[Change]
    lost: dict[CellKey, str]
    only_before: list[CellKey]
    only_after: list[CellKey]
    notices: list[str]

    def broken(self, rules: Iterable[Rule]) -> list[Change]:
        """Changes that break a rule."""
        rules = list(rules)
        return [change for change in self.changes if any(rule.broken_by(change) for rule in rules)]


def parse_rule(text: str) -> Rule:
    """``gap:0.5%`` (the gap 1 - c may rise by half a percentage point) or ``time:2x`` (a solve may take twice as long).

    Raises
    ------
    ValueError
        Anything else; the message shows the forms.
    """
    match = re.fullmatch(r"\s*(gap|time)\s*:\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([%x]?)\s*", text)
    try:
        metric, number, unit = match.groups() if match else ("", "", "")
        value = float(number)
    except ValueError:
        metric = ""
    if metric == "gap" and unit != "x":
        return Rule("gap", value / 100 if unit == "%" else value)
    if metric == "time":
        factor = 1 + value / 100 if unit == "%" else value
        if factor > 1:
            return Rule("time", factor)
    raise ValueError(
        f"a limit is written gap:0.5% (points that the gap may rise by), time:2x or time:50%, got {text!r}"
    )


def compare(before: Measurements, after: Measurements) -> RunComparison:
    """Compare cell by cell; where both sides name the pairs of images, pair by pair."""
    shared = [key for key in before.cells if key in after.cells]
    changes: list[Change] = []
    lost = {}
    for key in shared:
        old, new = before.cells[key], after.cells[key]
        if new.failure and not old.failure:
            lost[key] = new.failure
        changes += _changes(key, old, new)
    return RunComparison(
        before,
        after,
        changes,
        lost,
        [key for key in before.cells if key not in after.cells],
        [key for key in after.cells if key not in before.cells],
        _notices(before, after, changes),
    )


def _notices(before: Measurements, after: Measurements, changes: Sequence[Change]) -> list[str]:
    found = [f"{side.name}: {text}" for side in (before, after) for text in side.notices]
    if before.machine and after.machine and before.machine != after.machine:
        found.append(f"the processors differ ({before.machine}; {after.machine}): compare gaps, not times")
    if before.data and after.data and before.data != after.data:
        found.append("the two were measured on different data: gaps and times are of different problems")
    if any(not c.paired for c in changes if c.metric == "time"):
        found.append("some times are not of the same pairs of images, or of one pair only: their intervals say little")
    found.append(
        "times of two separate runs also differ by what the machine did meanwhile; `semrsm-bench gate` takes turns"
    )
    return found


def _changes(key: CellKey, old: Figures, new: Figures) -> list[Change]:
    found = []
    if old.seconds and new.seconds:
        found.append(_time_change(key, old, new))
    if old.gaps and new.gaps:
        found.append(_gap_change(key, old, new))
    return found


def _time_change(key: CellKey, old: Figures, new: Figures) -> Change:
    pairs = _common(old.seconds, new.seconds)
    if len(pairs) > 1:
        before, after = ([float(np.median(side.seconds[p])) for p in pairs] for side in (old, new))
        ratio = median_interval(np.log(after) - np.log(before))
        change = Interval(*(math.exp(v) for v in ratio))
        return Change(key, "time", float(np.median(before)), float(np.median(after)), change, True)
    chosen = [[v for p in (pairs or side.seconds) for v in side.seconds[p]] for side in (old, new)]
    a, b = (median_interval(values) for values in chosen)
    return Change(key, "time", a.value, b.value, Interval(b.value / a.value, b.low / a.high, b.high / a.low), False)


def _gap_change(key: CellKey, old: Figures, new: Figures) -> Change:
    pairs = _common(old.gaps, new.gaps)
    if pairs:
        before, after = ([float(np.mean(side.gaps[p])) for p in pairs] for side in (old, new))
        change = mean_interval(np.subtract(after, before))
        return Change(key, "gap", float(np.mean(before)), float(np.mean(after)), change, True)
    a, b = (mean_interval([np.mean(values) for values in side.gaps.values()]) for side in (old, new))
    return Change(key, "gap", a.value, b.value, Interval(b.value - a.value, b.low - a.high, b.high - a.low), False)


def _common(old: Iterable[str], new: Iterable[str]) -> list[str]:
    there = set(new)
    return [pair for pair in old if pair in there]
