"""Two sets of figures side by side: what changed beyond noise, in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from semrsm_bench.bench.readers import CellKey, Figures, Measurements
from semrsm_bench.core.stats import Interval, mean_interval, median_interval

Metric = Literal["time", "gap"]
Samples = Mapping[str, Sequence[float]]
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
        none, up, down = (1.0, TIME_NOISE, 1 / TIME_NOISE) if self.metric == "time" else (0.0, GAP_NOISE, -GAP_NOISE)
        if self.change.low > none and self.change.value > up:
            return "worse"
        return "better" if self.change.high < none and self.change.value < down else "same"


class Rule(NamedTuple):
    """A limit that makes a comparison fail: a factor on the time, or a rise of the gap as a fraction."""

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
        Cells with figures before that lack some of them now, and why: failed, null, NaN or absent.
    only_before, only_after : list of CellKey
        Cells with figures that the other side does not know at all.
    notices : list of str
        What limits the comparison.
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

    def missing(self, allowed: Container[str] = ()) -> dict[CellKey, str]:
        """What is lost, without the methods that may be missing; "all" allows it for any."""
        return {} if "all" in allowed else {k: why for k, why in self.lost.items() if k.method not in allowed}


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
    alike = before.source == after.source
    old = {key: figures for key, figures in before.cells.items() if figures.measured}
    lost = {key: _lost(figures, after.cells.get(key, Figures()), alike) for key, figures in old.items()}
    changes = [
        c for key, figures in old.items() if key in after.cells for c in _changes(key, figures, after.cells[key])
    ]
    return RunComparison(
        before,
        after,
        changes,
        {key: why for key, why in lost.items() if why},
        [key for key in old if key not in after.cells],
        [key for key, figures in after.cells.items() if figures.measured and key not in before.cells],
        _notices(before, after, changes),
    )


def _lost(old: Figures, new: Figures, alike: bool) -> str:
    """Why figures of a cell are missing now; "" where none is. Only files of one kind are held to the same cases."""
    for name, had, has in (("time", old.seconds, new.seconds), ("score", old.gaps, new.gaps)):
        failed = {unit for unit in had if unit in new.failures and unit not in old.failures}
        gone = [unit for unit in had if unit in failed or (unit not in has and (alike or not has))]
        if gone:
            why = [new.failures[unit] for unit in ("", *gone) if unit in new.failures] or [
                *new.failures.values(),
                "absent",
            ]
            return f"no {name} of {len(gone)} of {len(had)} cases: {why[0]}"
    return ""


def _notices(before: Measurements, after: Measurements, changes: Sequence[Change]) -> list[str]:
    found = [f"{side.name}: {text}" for side in (before, after) for text in side.notices]
    if before.machine and after.machine and before.machine != after.machine:
        found.append(f"the processors differ ({before.machine}; {after.machine}): compare gaps, not times")
    if before.data and after.data and before.data != after.data:
        found.append("the two were measured on different data: gaps and times are of different problems")
    if any(not c.paired for c in changes if c.metric == "time"):
        found.append("some times are not of the same pairs of images, or of one pair only: their intervals say little")
    found.append(
        "times of two separate runs also differ by what else the machine did; `semrsm-bench gate` measures alternately"
    )
    return found


def _changes(key: CellKey, old: Figures, new: Figures) -> Iterator[Change]:
    if old.seconds and new.seconds:
        yield _change(key, "time", old.seconds, new.seconds)
    if old.gaps and new.gaps:
        yield _change(key, "gap", old.gaps, new.gaps)


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
