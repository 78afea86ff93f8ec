"""What got worse: rules over everything measured of a cell, first attempts and later ones together.

Measuring again adds evidence and never replaces any, so that a lucky second attempt cannot hide a regression and an unlucky
first one cannot fail a commit. Cells on either side of a limit are measured again alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from semrsm_bench.core.stats import Interval, median_interval

Severity = Literal["regression", "failure", "improvement", "note"]
QUALITY, EXACT_QUALITY, TIME = 0.005, 1e-6, 2.0
# A call may take this much longer whatever its limit: at a few microseconds the interpreter and the memory allocator decide.
LEAST_SECONDS = 1e-5
# One pair may fall by more than the mean of all may, but not by this many times as much.
PAIR_FACTOR = 4.0


@dataclass(frozen=True)
class GateLimits:
    """What may change without a failure.

    Attributes
    ----------
    quality, exact : float
        Fall of the chance-corrected quality of approximate and of exact solvers.
    time : float
        Factor on the time relative to the reference kernel.
    quality_of, time_of : mapping of solver to limit
        Instead of the general ones.
    """

    quality: float = QUALITY
    exact: float = EXACT_QUALITY
    time: float = TIME
    quality_of: Mapping[str, float] = field(default_factory=dict)
    time_of: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in [("quality", self.quality), *self.quality_of.items()]:
            if not 0 <= value < 1:
                raise ValueError(f"a fall of quality lies between 0 and 1, got {value} for {name}")
        for name, value in [("time", self.time), *self.time_of.items()]:
            if not value > 1:
                raise ValueError(f"a factor on time is larger than 1, got {value} for {name}")

    def fall(self, solver: str, kind: str) -> float:
        """How much a solver's quality may fall."""
        return self.quality_of.get(solver, self.exact if kind == "exact" else self.quality)

    def factor(self, solver: str) -> float:
        """How many times as long a solver may take."""
        return self.time_of.get(solver, self.time)


@dataclass
class Evidence:
    """Everything measured on one side of a cell.

    Attributes
    ----------
    status : str
        "ok", "absent" (the side has no such solver), "unavailable", "timeout", "memory", "crashed", "error" or "invalid".
    message : str
    kind : str
    quality : dict of pair to list of float
        Chance-corrected quality, one entry for each round on the pair: the mean over its answers.
    relative, seconds : list of float
        Time over the reference kernel's and in seconds, one entry for each round.
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

    def side(self, label: str) -> Evidence:
        """The evidence of "base" or "head"."""
        return self.base if label == "base" else self.head

    @property
    def where(self) -> str:
        """The cell in words."""
        return f"{self.solver} at S={self.size} ({self.centring})"

    @property
    def kind(self) -> str:
        """Exact if either side says so: calling a solver approximate does not loosen what it has to keep."""
        return "exact" if "exact" in (self.base.kind, self.head.kind) else self.head.kind or self.base.kind

    @property
    def comparable(self) -> bool:
        """Whether both sides have figures."""
        return self.base.ok and self.head.ok

    def time_ratio(self) -> Interval:
        """Head over base, round by round: median and its interval."""
        pairs = list(zip(self.head.relative, self.base.relative))
        ratio = median_interval(np.log([h / b for h, b in pairs]) if pairs else [], resamples=1000)
        return Interval(*(float(np.exp(v)) for v in ratio))

    def falls(self) -> dict[str, float]:
        """Fall of the mean quality of each pair that both sides have solved."""
        both = [pair for pair in self.base.quality if self.head.quality.get(pair)]
        return {p: statistics.fmean(self.base.quality[p]) - statistics.fmean(self.head.quality[p]) for p in both}


@dataclass(frozen=True)
class Finding:
    """One thing worth saying about a cell."""

    severity: Severity
    solver: str
    size: int
    centring: str
    text: str


def undecided(cell: GateCell, limits: GateLimits) -> bool:
    """Whether a cell should be measured again: it would fail, or its time's interval touches the limit from either side."""
    if not cell.comparable:
        return False
    ratio, limit = cell.time_ratio(), limits.factor(cell.solver)
    if ratio.low <= limit <= ratio.high and max(cell.head.seconds, default=0.0) >= LEAST_SECONDS:
        return True
    return any(finding.severity == "regression" for finding in judge(cell, limits))


def judge(cell: GateCell, limits: GateLimits) -> list[Finding]:
    """Everything there is to say about a cell; nothing where nothing changed."""
    found = _status_findings(cell, limits) if not cell.comparable else [*_quality(cell, limits), *_time(cell, limits)]
    return [Finding(severity, cell.solver, cell.size, cell.centring, text) for severity, text in found]


def _status_findings(cell: GateCell, limits: GateLimits) -> list[tuple[Severity, str]]:
    base, head = cell.base, cell.head
    if head.status == "absent":
        return [("note", f"{cell.where}: removed; the head has no such solver")]
    if base.status == "absent":
        if head.status == "unavailable":
            return [("note", f"{cell.where}: new, and cannot run here: {head.message}")]
        if not head.ok:
            return [("failure", f"{cell.where}: new, and it failed ({head.status}): {head.message}")]
        worst = min((v for values in head.quality.values() for v in values), default=1.0)
        if cell.kind == "exact" and worst < 1 - limits.fall(cell.solver, "exact"):
            return [("regression", f"{cell.where}: new, called exact, but its worst pair has quality {worst:.6f}")]
        return [("note", f"{cell.where}: new, quality {head.mean_quality():.4f}{_took(head)}")]
    if head.status == "unavailable":
        if base.status == "unavailable":
            return [("note", f"{cell.where}: not measured, on either side: {head.message}")]
        return [("regression", f"{cell.where}: can no longer run here: {head.message}")]
    if not head.ok and not base.ok:
        return [("note", f"{cell.where}: not compared, it failed on both sides ({base.status}, {head.status})")]
    if head.ok:
        was = f"could not run ({base.message})" if base.status == "unavailable" else f"failed ({base.status})"
        return [("improvement", f"{cell.where}: works now, the base {was}")]
    if head.status == "timeout":
        return [("regression", f"{cell.where}: no longer finishes, {head.message}")]
    return [("failure", f"{cell.where}: fails now ({head.status}): {head.message}")]


def _quality(cell: GateCell, limits: GateLimits) -> list[tuple[Severity, str]]:
    falls = cell.falls()
    if not falls:
        return []
    limit = limits.fall(cell.solver, cell.kind)
    old, new = cell.base.mean_quality(), cell.head.mean_quality()
    fall = statistics.fmean(falls.values())
    pair, worst = max(falls.items(), key=lambda item: item[1])
    digits = 8 if cell.kind == "exact" else 4
    # An exact solver is exact on every pair; an approximate one may trade one pair against another, within reason.
    pair_limit = limit if cell.kind == "exact" else PAIR_FACTOR * limit
    if fall > limit:
        text = f"chance-corrected quality fell from {old:.{digits}f} to {new:.{digits}f} (allowed: {limit:g} less)"
        return [("regression", f"{cell.where}: {text}")]
    if worst > pair_limit:
        values = (statistics.fmean(side.quality[pair]) for side in (cell.base, cell.head))
        change = " to ".join(f"{value:.{digits}f}" for value in values)
        return [
            ("regression", f"{cell.where}: quality of pair {pair} fell from {change} (allowed: {pair_limit:g} less)")
        ]
    if fall < -limit:
        return [
            ("improvement", f"{cell.where}: chance-corrected quality rose from {old:.{digits}f} to {new:.{digits}f}")
        ]
    return []


def _time(cell: GateCell, limits: GateLimits) -> list[tuple[Severity, str]]:
    if not cell.head.relative or not cell.base.relative:
        return []
    ratio, limit = cell.time_ratio(), limits.factor(cell.solver)
    old, new = (statistics.median(side.relative) for side in (cell.base, cell.head))
    seconds = [statistics.median(side.seconds) for side in (cell.base, cell.head)]
    if abs(seconds[1] - seconds[0]) < LEAST_SECONDS:
        return []
    times = " to ".join(f"{1e3 * value:.3g} ms" for value in seconds)
    change = f"from {old:.3g} to {new:.3g} ({times})"
    interval = f"{ratio.value:.2f} times, interval {ratio.low:.2f} to {ratio.high:.2f}"
    if ratio.value > limit:
        text = f"time relative to the reference kernel rose {change}: {interval} (allowed: {limit:g})"
        return [("regression", f"{cell.where}: {text}")]
    if ratio.high < 1 / limit:
        return [("improvement", f"{cell.where}: time relative to the reference kernel fell {change}: {interval}")]
    return []


def _took(side: Evidence) -> str:
    return f", {1e3 * statistics.median(side.seconds):.3g} ms" if side.seconds else ""


def exit_code(cells: list[GateCell], findings: list[Finding]) -> int:
    """1 a regression, 3 a solver failed, 4 nothing could be compared although both sides had something, 0 fine."""
    severities = {finding.severity for finding in findings}
    if "regression" in severities:
        return 1
    if "failure" in severities:
        return 3
    compared = any(cell.comparable for cell in cells)
    all_new = bool(cells) and all(cell.base.status == "absent" for cell in cells) and any(c.head.ok for c in cells)
    return 0 if compared or all_new else 4
