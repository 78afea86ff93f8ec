"""The gate's rules: which changes are regressions.

They use everything measured: measuring again adds evidence and never replaces any, so that a lucky second attempt cannot hide
a regression and an unlucky first one cannot fail a commit. A cell near a limit is measured again, whether it would pass or fail.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from semrsm_bench.bench.gate.options import EVERYTHING, GateLimits
from semrsm_bench.core.stats import Interval, exceeds, median_interval

Severity = Literal["regression", "failure", "unmeasured", "improvement", "note"]
Said = Iterator[tuple[Severity, str]]
# The status of a side that could not be measured by the machine's fault, such as a full disk.
MACHINE = "machine"
# A smaller change of time counts for nothing: at a few microseconds the interpreter and the memory allocator decide.
LEAST_SECONDS = 1e-5
# Under an approximate solver one pair may fall by up to this many times the limit on the mean.
PAIR_FACTOR = 4.0


@dataclass
class Evidence:
    """Everything measured on one side of a cell.

    Status "absent" (the side has no such solver), "unavailable", `MACHINE`, or that of a reply. By pair, ``quality`` is
    chance-corrected and has one entry for each round: the mean over its answers. ``relative`` is time over the reference kernel's,
    one for each round.
    """

    status: str = "ok"
    message: str = ""
    kind: str = ""
    quality: dict[str, list[float]] = field(default_factory=dict)
    relative: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there are figures to compare."""
        return self.status == "ok"

    def mean_quality(self) -> float:
        """Mean over pairs of the mean over rounds; NaN without any."""
        means = [statistics.fmean(values) for values in self.quality.values()]
        return statistics.fmean(means) if means else float("nan")


@dataclass
class GateCell:
    """One solver at one size under one centring, on both sides; rounds of the two belong together."""

    solver: str
    size: int
    centring: str
    base: Evidence = field(default_factory=Evidence)
    head: Evidence = field(default_factory=Evidence)
    attempts: int = 0
    rounds: int = 0

    @property
    def sides(self) -> dict[str, Evidence]:
        """The evidence by the side's label."""
        return {"base": self.base, "head": self.head}

    @property
    def where(self) -> str:
        """The cell in words."""
        return f"{self.solver} at S={self.size} ({self.centring})"

    @property
    def kind(self) -> str:
        """'exact' if either commit says so; a commit cannot loosen its own limit."""
        return "exact" if "exact" in (self.base.kind, self.head.kind) else self.head.kind or self.base.kind

    @property
    def comparable(self) -> bool:
        """Whether both sides have figures."""
        return self.base.ok and self.head.ok

    @property
    def spoiled(self) -> Evidence | None:
        """A side that the machine failed on."""
        return next((side for side in self.sides.values() if side.status == MACHINE), None)

    def time_ratio(self) -> Interval:
        """Head over base, round by round: median and its interval."""
        ratios = [h / b for h, b in zip(self.head.relative, self.base.relative)]
        return Interval(*(float(np.exp(v)) for v in median_interval(np.log(ratios))))


@dataclass(frozen=True)
class Finding:
    """One line of the result, about one cell."""

    severity: Severity
    solver: str
    size: int
    centring: str
    text: str


def undecided(cell: GateCell, limits: GateLimits) -> bool:
    """Whether a cell is to be measured again: it would fail, the limit is in its time's interval, or the machine failed."""
    if not cell.comparable:
        return cell.spoiled is not None
    ratio, limit = cell.time_ratio(), limits.factor(cell.solver)
    if ratio.low <= limit <= ratio.high and max(cell.head.seconds, default=0.0) >= LEAST_SECONDS:
        return True
    return any(finding.severity == "regression" for finding in judge(cell, limits))


def judge(cell: GateCell, limits: GateLimits) -> list[Finding]:
    """The findings about a cell; none where nothing changed. A figure that is NaN fails."""
    if spoiled := cell.spoiled:
        said: list[tuple[Severity, str]] = [("unmeasured", f"not measured: the machine failed ({spoiled.message})")]
    elif cell.comparable:
        said = [*_quality(cell, limits), *_time(cell, limits)]
    else:
        said = [_new(cell, limits) if cell.base.status == "absent" else _not_comparable(cell, limits)]
    return [Finding(s, cell.solver, cell.size, cell.centring, f"{cell.where}: {text}") for s, text in said]


def _new(cell: GateCell, limits: GateLimits) -> tuple[Severity, str]:
    head = cell.head
    if head.status in ("absent", "unavailable"):
        return "note", f"new, and cannot run here: {head.message}"
    if not head.ok:
        return "failure", f"new, and it failed ({head.status}): {head.message}"
    worst = min((v for values in head.quality.values() for v in values), default=1.0)
    if cell.kind == "exact" and exceeds(1 - worst, limits.fall(cell.solver, "exact")):
        return "regression", f"new, called exact, but its worst pair has quality {worst:.6f}"
    took = f", {1e3 * statistics.median(head.seconds):.3g} ms" if head.seconds else ""
    return "note", f"new, quality {head.mean_quality():.4f}{took}"


def _not_comparable(cell: GateCell, limits: GateLimits) -> tuple[Severity, str]:
    """One side or both have no figures; what only the head lacks is a failure unless it is allowed."""
    base, head = cell.base, cell.head
    if head.ok:
        was = f"could not run ({base.message})" if base.status == "unavailable" else f"failed ({base.status})"
        return "improvement", f"works now, the base {was}"
    if not base.ok and head.status == base.status == "unavailable":
        return "note", f"not measured, on either side: {head.message}"
    if not base.ok and head.status != "unavailable":
        return "note", f"not compared, no figures on either side ({base.status}, {head.status})"
    severity: Severity = "regression" if head.status in ("absent", "unavailable", "timeout") else "failure"
    text = {
        "absent": "removed, the head has no such solver",
        "unavailable": f"can no longer run here: {head.message}",
        "timeout": f"no longer finishes, {head.message}",
    }.get(head.status, f"fails now ({head.status}): {head.message}")
    if {cell.solver, EVERYTHING} & {*limits.missing}:
        return "note", f"{text} (allowed)"
    return severity, text if head.status != "absent" else f"{text} (--allow-missing {cell.solver} allows it)"


def _quality(cell: GateCell, limits: GateLimits) -> Said:
    limit, exact = limits.fall(cell.solver, cell.kind), cell.kind == "exact"
    both = [pair for pair in cell.base.quality if cell.head.quality.get(pair)]
    if lost := [pair for pair in cell.base.quality if pair not in both]:
        yield "regression", f"no quality of the pairs {', '.join(lost)}, which the base has"
    if not both:
        return
    old, new = ({pair: statistics.fmean(side.quality[pair]) for pair in both} for side in (cell.base, cell.head))
    falls = {pair: old[pair] - new[pair] for pair in both}
    pair, fall = max(falls, key=lambda p: falls[p]), statistics.fmean(falls.values())
    # An exact solver is exact on every pair; an approximate one may trade one pair against another, within reason.
    pair_limit = limit if exact else PAIR_FACTOR * limit
    digits = 8 if exact else 4
    change = f"from {cell.base.mean_quality():.{digits}f} to {cell.head.mean_quality():.{digits}f}"
    if exceeds(fall, limit):
        yield "regression", f"chance-corrected quality fell {change} (allowed: {limit:g} less)"
    elif exceeds(falls[pair], pair_limit):
        change = f"from {old[pair]:.{digits}f} to {new[pair]:.{digits}f}"
        yield "regression", f"quality of pair {pair} fell {change} (allowed: {pair_limit:g} less)"
    elif fall < -limit:
        yield "improvement", f"chance-corrected quality rose {change}"


def _time(cell: GateCell, limits: GateLimits) -> Said:
    sides = (cell.base, cell.head)
    if not all(side.relative for side in sides):
        return
    ratio, limit = cell.time_ratio(), limits.factor(cell.solver)
    old, new = (statistics.median(side.relative) for side in sides)
    seconds = [statistics.median(side.seconds) for side in sides]
    if abs(seconds[1] - seconds[0]) < LEAST_SECONDS:
        return
    change = f"from {old:.3g} to {new:.3g} ({' to '.join(f'{1e3 * value:.3g} ms' for value in seconds)})"
    interval = f"{ratio.value:.2f} times, interval {ratio.low:.2f} to {ratio.high:.2f}"
    if exceeds(ratio.value, limit):
        yield "regression", f"time relative to the reference kernel rose {change}: {interval} (allowed: {limit:g})"
    elif ratio.high < 1 / limit:
        yield "improvement", f"time relative to the reference kernel fell {change}: {interval}"


def exit_code(cells: list[GateCell], findings: list[Finding]) -> int:
    """1 a regression, 3 a solver failed, 4 the machine failed or nothing was comparable that both sides had, 0 fine."""
    severities = {finding.severity for finding in findings}
    if "regression" in severities:
        return 1
    if "failure" in severities:
        return 3
    if "unmeasured" in severities:
        return 4
    compared = any(cell.comparable for cell in cells)
    all_new = bool(cells) and all(cell.base.status == "absent" for cell in cells) and any(c.head.ok for c in cells)
    return 0 if compared or all_new else 4
