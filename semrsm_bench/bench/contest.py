"""Methods of a cell against each other: paired differences, who is told apart, what baselines leave, which cell is no contest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core import stats
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import UNKNOWN, Floats, Interval, Resampling, interval_of
from semrsm_bench.core.task import Score, Task
from semrsm_bench.metrics.ranks import TIE

# A cell does not rank methods where so many of them are so close to the best, or so far up; fewer methods say nothing either way.
_MOST, _CLOSE, _PASSED, _FEWEST = 0.9, 0.02, 0.9, 3
# Nor where what must lose has so much of what the median method has.
_HALF = 0.5
# Methods are told apart where the corrected p of their difference is below.
ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """A method's score minus that of a reference method in the same cell, in the same draws.

    p is two-sided, and corrected by Holm's method over all that were made together.
    """

    place: Mapping[str, Any]
    score: str
    method: str
    reference: str
    interval: Interval
    p: float


@dataclass(frozen=True)
class ToldApart:
    """The methods that a cell ranks, best first, and the differences of all their pairs, the better one minus the other."""

    place: Mapping[str, Any]
    methods: tuple[str, ...]
    pairs: tuple[Difference, ...]

    @property
    def share(self) -> float:
        """Of the pairs, those that are told apart; NaN without any."""
        return float(np.mean([d.p < ALPHA for d in self.pairs])) if self.pairs else math.nan

    def alike(self, method: str) -> list[str]:
        """The methods that one is not told apart from, best first."""
        pairs = [{d.method, d.reference} for d in self.pairs if not d.p < ALPHA]
        close = set().union(*(pair for pair in pairs if method in pair))
        return [name for name in self.methods if name in close - {method}]


def is_ranked(summary: Summary) -> bool:
    """Whether a cell ranks a method: not baselines, statistics of one side, and exact solvers, which end the scale."""
    return summary.category not in ("baseline", "statistic", "exact")


def differences(
    summaries: Sequence[Summary], score: str, reference: str, how: Resampling = "bootstrap"
) -> list[Difference]:
    """Every method of every cell against a reference method, with paired intervals; ``how`` is the task's resampling."""
    known = {cell_key(s.place): s for s in summaries if s.method == reference and score in s.replicates}
    pairs = [
        (s, known[cell])
        for s in summaries
        if (cell := cell_key(s.place)) in known and s.method != reference and score in s.replicates
    ]
    return _differences(pairs, score, how)


def told_apart(summaries: Sequence[Summary], task: Task) -> list[ToldApart]:
    """All pairs of methods of each cell in the task's first score, corrected for those of the cell; only cells with any."""
    score, found = task.scores[0], []
    for methods in _by_cell([s for s in summaries if is_ranked(s) and not math.isnan(_value(s, score))]).values():
        methods.sort(key=lambda s: _value(s, score), reverse=score.best == "max")
        pairs = _differences(list(itertools.combinations(methods, 2)), score.name, task.resampling)
        if pairs:
            found.append(ToldApart(methods[0].place, tuple(s.method for s in methods), tuple(pairs)))
    return found


def _differences(pairs: Iterable[tuple[Summary, Summary]], score: str, how: Resampling) -> list[Difference]:
    made = [(a, b, _difference(a.replicates[score], b.replicates[score])) for a, b in pairs]
    corrected = stats.holm([stats.two_sided_p(drawn, how, a.units) for a, _, drawn in made])
    return [
        Difference(a.place, score, a.method, b.method, interval_of(drawn, how), p)
        for (a, b, drawn), p in zip(made, corrected)
    ]


def _difference(a: Floats, b: Floats) -> Floats:
    """The difference, 0 where it is rounding alone."""
    return np.where(np.isclose(a, b, rtol=TIE, atol=0), 0.0, a - b)


def _value(summary: Summary, score: Score) -> float:
    return summary.scores.get(score.name, UNKNOWN).value


def _by_cell(summaries: Iterable[Summary]) -> dict[str, list[Summary]]:
    found: dict[str, list[Summary]] = {}
    for summary in summaries:
        found.setdefault(cell_key(summary.place), []).append(summary)
    return found


@dataclass
class _Cell:
    """First scores of a cell from chance, 0, to the end of the scale, 1: those of its methods, by name those of what must lose, and
    those of numbers of one side whose intervals are clear of chance.
    """

    methods: list[float]
    baselines: dict[str, float]
    statistics: dict[str, float]

    def best(self, of: Mapping[str, float]) -> str:
        """The best of these, where it reaches half of the median method; else ""."""
        name = max(of, key=of.__getitem__, default="")
        return name if name and self.methods and of[name] >= np.median(self.methods) * _HALF else ""


def _ends(summaries: Iterable[Summary], task: Task) -> tuple[float, float]:
    """Chance, as rows of a cell say, and the best value; infinite where there is none."""
    score = task.scores[0]
    end, other = (score.high, score.low) if score.best == "max" else (score.low, score.high)
    return next((s.chance for s in summaries if not math.isnan(s.chance)), other), end


def _cells(summaries: Sequence[Summary], task: Task) -> dict[str, _Cell]:
    """By `cell_key`, those alone whose scale has two ends. A score that is undefined is that of chance: it earns nothing."""
    score, found = task.scores[0], {}
    for key, part in _by_cell(summaries).items():
        chance, end = _ends(part, task)
        if not math.isfinite(end - chance):
            continue
        cell = found[key] = _Cell([], {}, {})
        for summary in part:
            value = (_value(summary, score) - chance) / (end - chance)
            known = not math.isnan(value)
            if is_ranked(summary) and (known or (summary.ok and score.name not in summary.bounds)):
                cell.methods.append(value if known else 0.0)
            elif known and summary.category == "baseline":
                cell.baselines[summary.method] = value
            elif known and summary.category == "statistic" and not _may_be(summary.scores[score.name], chance, end):
                cell.statistics[summary.method] = value
    return found


def _may_be(interval: Interval, chance: float, end: float) -> bool:
    """Whether an interval reaches to chance, or beyond it, from the end of the scale."""
    return interval.low <= chance if end > chance else interval.high >= chance


def beyond_baselines(summaries: Sequence[Summary], task: Task) -> list[Interval]:
    """Of each summary (value - b)/(end - b) in the task's first score, b the strongest baseline of its cell, paired.

    1 is the end of the scale, 0 no better than the baseline. `UNKNOWN` for baselines, where there is none, where the scale has no
    end, and where the baseline leaves less than half of the way from chance: divided by a small rest any value is far from 0.
    """
    score, cells = task.scores[0], _by_cell(summaries)
    ends = {cell: _ends(part, task) for cell, part in cells.items()}
    strongest: dict[str, Summary] = {}
    for cell, part in cells.items():
        baselines = [s for s in part if s.category == "baseline" and not math.isnan(_value(s, score))]
        if baselines:
            strongest[cell] = min(baselines, key=lambda s: abs(ends[cell][1] - _value(s, score)))
    found = []
    for s in summaries:
        cell = cell_key(s.place)
        baseline, (chance, end) = strongest.get(cell), ends[cell]
        # What is no number, without a baseline or an end, is not below a half.
        share = (_value(baseline, score) - chance) / (end - chance) if baseline and math.isfinite(end) else math.nan
        if baseline is None or s.category == "baseline" or score.name not in s.replicates or not share < _HALF:
            found.append(UNKNOWN)
            continue
        floor = baseline.replicates[score.name]
        room = np.where(np.isclose(floor, end, rtol=0, atol=TIE), np.nan, end - floor)
        beyond = interval_of((s.replicates[score.name] - floor) / room, task.resampling)
        found.append(beyond._replace(high=float(np.minimum(beyond.high, 1.0))))
    return found


def without_ranking(summaries: Sequence[Summary], task: Task) -> dict[str, str]:
    """Cells that are a check and not a contest, by `cell_key`, each with the reason.

    There the best baseline reaches half of the median method's first score, corrected for chance, or 90 % of the methods, of three
    or more, are within .02 of the best, or nearly at the end of the scale: .9 of the way from chance. The last is not asked of
    solvers, where what is left to the optimum is what counts.
    """
    score = task.scores[0]
    found = {}
    for key, cell in _cells(summaries, task).items():
        values, most = np.array(cell.methods), _MOST * len(cell.methods)
        close = int((values >= values.max(initial=-math.inf) - _CLOSE).sum())
        passed = int((values >= _PASSED).sum()) if score.style != "quality" else 0
        said = f"of {len(values)} methods are"
        if name := cell.best(cell.baselines):
            found[key] = f"the baseline {name} reaches half of the median method's {score.title}"
        elif len(values) >= _FEWEST and close >= most:
            found[key] = f"{close} {said} within {_CLOSE:g} of the best {score.title}"
        elif len(values) >= _FEWEST and passed >= most:
            found[key] = (
                f"{passed} {said} {100 * _PASSED:.0f} % of the way from chance to the best {score.title}, or more"
            )
    return found


def one_sided(summaries: Sequence[Summary], task: Task) -> dict[str, str]:
    """Cells where one number of each side does as a baseline must not (see `without_ranking`), by `cell_key`: which, the best.

    It compares no stimuli, and a method may have part of its score in the same way.
    """
    cells = _cells(summaries, task).items()
    return {key: name for key, cell in cells if (name := cell.best(cell.statistics))}


def without_baselines(summaries: Sequence[Summary], task: Task) -> bool:
    """Whether there are methods to rank, and nothing was measured that must lose, so that no cell can be found a check."""
    cells = _cells(summaries, task).values() if task.scores[0].style != "quality" else ()
    return any(cell.methods for cell in cells) and not any(cell.baselines for cell in cells)
