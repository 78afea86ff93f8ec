"""The notes under a table: marks explained, failures and their reasons, cells with other cases than their neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from semrsm_bench.bench.contest import is_ranked
from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import UNKNOWN
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.formatting import NOTHING, format_score, plural, plurals
from semrsm_bench.report.places import label
from semrsm_bench.report.results import TaskResults
from semrsm_bench.solvers.registry import PRECISION

UNDEFINED = "*"
PARTIAL = "†"


def score_text(score: Score, summary: Summary) -> str:
    """A score as printed: its value with the farther end of its interval, a bound, or a mark."""
    interval = summary.scores.get(score.name, UNKNOWN)
    if not math.isnan(interval.value):
        return format_score(score, *interval)
    if score.name in summary.bounds:
        sign = "≥" if score.best == "max" else "≤"
        return f"{sign} {format_score(score, summary.bounds[score.name], bound=True)}"
    return UNDEFINED if _undefined(summary, score.name) else NOTHING


def seeds_text(summary: Summary, score: str) -> str:
    """How far a score lies apart from seed to seed; "" of a method that had one seed."""
    values = summary.seeds.get(score, np.empty(0))
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return ""
    return f"{score} {values.std(ddof=1):.2g} ({values.min():.4g} to {values.max():.4g}, {len(values)} seeds)"


def failure_text(summary: Summary | None) -> str:
    """The text of a cell without a figure: the status, and for a skip its reason where that is short."""
    if summary is None or not summary.failure:
        return "not run"
    reason = summary.message.split(":")[0].split(";")[0].split("(")[0].strip().rstrip(".")
    is_short = summary.failure == "skipped" and 0 < len(reason) <= 40
    return f"{summary.failure}: {reason}" if is_short else summary.failure


def is_partial(summary: Summary, most: int) -> bool:
    """Whether a cell rests on fewer cases than its neighbours: some failed, or fewer were tried."""
    return bool(summary.ok) and (bool(summary.failure) or summary.ok < most)


def _undefined(summary: Summary, score: str) -> int:
    """Cases without a score; of a task with several, those without any score are unknown and do not count."""
    unknown = min(summary.undefined.values()) if len(summary.undefined) > 1 else 0
    return summary.undefined.get(score, 0) - unknown


def panel_notes(results: TaskResults, cells: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Sentences under the panel of these cells, which the keys tell apart."""
    places = {cell: label(keys, results.places[cell]) for cell in cells}
    present = [(m, c, results.cells[c, m]) for m in results.methods for c in cells if (c, m) in results.cells]
    names = {m: results.catalogue.display_name(m) for m, *_ in present}
    cases = plurals(results.noun)
    notes = []
    for score in results.task.scores:
        # It usually depends on the case and not on the method: of each cell the largest count.
        worst: dict[str, tuple[int, int]] = {}
        some: dict[MethodKey, tuple[int, int]] = {}
        for method, cell, summary in present:
            if count := _undefined(summary, score.name):
                if math.isnan(summary.scores.get(score.name, UNKNOWN).value):
                    worst[cell] = max(worst.get(cell, (0, 0)), (count, summary.ok))
                else:
                    n, ok = some.get(method, (0, 0))
                    some[method] = n + count, ok + summary.ok
        if some:
            where = ", ".join(f"{names[m]} {n} of {ok}" for m, (n, ok) in some.items())
            notes.append(f"{score.title} has no value in some {cases}: {where}.")
        if worst:
            where = "; ".join(": ".join(filter(None, (places[c], f"{n} of {ok}"))) for c, (n, ok) in worst.items())
            notes.append(f"{UNDEFINED} {score.undefined or f'{score.title} has no value in some {cases}'} ({where}).")
    notes += [f"{said}." for said in dict.fromkeys(results.task.caution(results.places[c]) for c in cells) if said]
    if any(s.bounds for _, _, s in present):
        notes.append("≥ certified lower bound: the optimum is not known, only an upper bound of it.")
    # What is said of how a method was measured is said of those that ran.
    ran = {m: names[m] for m, _, s in present if set(s.counts) - {"skipped"}}
    facts = {m: results.catalogue.about(m).get("facts") or {} for m in names}
    if keeping := [name for m, name in ran.items() if facts[m].get("stateful")]:
        notes.append(f"Keeping state between calls, as declared; a first call may take longer: {', '.join(keeping)}.")
    apart: dict[str, list[str]] = {}
    for m, name in ran.items():
        if environment := results.catalogue.about(m).get("environment"):
            apart.setdefault(" ".join(environment), []).append(name)
    if apart:
        said = "; ".join(f"{', '.join(found)} ({environment})" for environment, found in apart.items())
        notes.append(f"In environments of their own, timed there by the same clock: {said}.")
    promised = {name: p for m, name in ran.items() if (p := facts[m].get("precision")) not in (None, PRECISION)}
    if promised:
        said = ", ".join(f"{name} {p:g}" for name, p in promised.items())
        notes.append(f"Exact up to what they declare, as a share of k_opt - k_rand: {said}; all others {PRECISION:g}.")
    drawn = [
        f"{', '.join(filter(None, (names[m], places[c])))}: {said}"
        for m, c, s in present
        if (said := seeds_text(s, results.task.scores[0].name))
    ]
    if drawn:
        notes.append(
            f"Over seeds, standard deviation (lowest to highest); ± is of the mean over them: {'; '.join(drawn)}."
        )
    partial = [
        f"{', '.join(filter(None, (names[m], places[c])))}: {_observed(s, results.noun)}"
        for m, c, s in present
        if is_partial(s, results.most_cases[c])
    ]
    if partial:
        notes.append(f"{PARTIAL} not the same {cases} as the others: {'; '.join(partial)}.")
    notes += _contests(results, places)
    notes += _leaks(results, cells, places)
    # Why cells are empty, each reason once with the cells it is true of; one that the cell itself gives is left out.
    reasons: dict[str, dict[str, list[str]]] = {}
    for method, cell, summary in present:
        reason = f"{summary.failure}: {summary.message.rstrip('.')}"
        if not summary.ok and summary.message and reason != failure_text(summary):
            reasons.setdefault(reason, {}).setdefault(names[method], []).append(places[cell])
    for reason, methods in reasons.items():
        where = "; ".join(f"{name} ({', '.join(p)})" if any(p) else name for name, p in methods.items())
        notes.append(f"{reason} — {where}.")
    return notes


def _contests(results: TaskResults, places: Mapping[str, str]) -> list[str]:
    """Which of these cells do not rank methods, and in which of the others a number of each side does well."""
    summaries, task = results.summaries, results.task
    checks = {places[cell]: why for cell, why in results.checks.items() if cell in places}
    sided = {
        places[cell]: f"{name} {score_text(task.scores[0], summary)}"
        for cell, name in results.one_sided.items()
        if cell in places and cell not in results.checks
        for summary in summaries
        if (cell_key(summary.place), summary.method) == (cell, name)
    }
    notes = []
    if checks:
        cells_do = "This cell does" if len(checks) == 1 else "These cells do"
        notes.append(f"{cells_do} not rank methods: {_listed(checks)}.")
    if sided:
        notes.append(
            "One number of each side, which compares nothing with the other side, has half of the median method's "
            f"{task.scores[0].title} or more, so that a method may have part of its own by that: {_listed(sided)}."
        )
    return notes


def _listed(said: Mapping[str, str]) -> str:
    return "; ".join(": ".join(filter(None, one)) for one in said.items())


def _leaks(results: TaskResults, cells: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """Of each cell where nothing real can be found the methods that find something, best first: a sentence where any does."""
    task, found = results.task, []
    for cell in cells:
        if not task.is_leak(results.places[cell]):
            continue
        chance = next(
            (s.chance for (c, _), s in results.cells.items() if c == cell and not math.isnan(s.chance)), math.nan
        )
        above = [
            (interval.value, results.catalogue.display_name(m))
            for (c, m), s in results.cells.items()
            if c == cell and is_ranked(s) and (interval := s.scores.get(task.scores[0].name, UNKNOWN)).low > chance
        ]
        if above:
            said = ", ".join(
                f"{name} {format_score(task.scores[0], value)}" for value, name in sorted(above, reverse=True)
            )
            found.append(
                f"{places[cell]}{': ' if places[cell] else ''}{said} (chance {format_score(task.scores[0], chance)})"
            )
    return (
        [
            "Above chance where nothing real is left, but for numbers of one side (by single 95 % intervals, "
            "so that one in forty is there by luck): " + "; ".join(found) + "."
        ]
        if found
        else []
    )


def _observed(summary: Summary, noun: str) -> str:
    """``3 of 4 pairs (1 timeout: no answer after 1 s)``; of skipped ones the reason alone."""
    bad = {status: n for status, n in summary.counts.items() if status != "ok"}
    if set(bad) == {"skipped"} and summary.message:
        return summary.message
    text = plural(summary.ok, noun)
    if summary.cases > summary.ok:
        text = f"{summary.ok} of {summary.cases} {plurals(noun)}"
    failures = ", ".join(f"{count} {status}" for status, count in bad.items())
    return text + (f" ({': '.join(filter(None, (failures, summary.message)))})" if failures else "")
