"""What stands under a table: marks explained, failures and their reasons, cells with other cases than their neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from semrsm_bench.bench.summary import Summary, not_a_contest
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.formatting import NOTHING, format_score, plural, plurals
from semrsm_bench.report.places import short_label
from semrsm_bench.report.results import TaskResults

UNDEFINED = "*"
PARTIAL = "†"


def case_noun(unit: str) -> str:
    """What one case is called: the unit where it is the case itself; others, such as images, only make it up."""
    return unit if unit in ("pair", "batch") else "case"


def score_text(score: Score, summary: Summary) -> str:
    """A score as printed: its value with the farther end of its interval, a bound, or a mark."""
    interval = summary.scores.get(score.name)
    if interval is not None and not math.isnan(interval.value):
        return format_score(score, *interval)
    if score.name in summary.bounds:
        sign = "≥" if score.best == "max" else "≤"
        return f"{sign} {format_score(score, summary.bounds[score.name], bound=True)}"
    return UNDEFINED if undefined_cases(summary, score.name) else NOTHING


def failure_text(summary: Summary | None) -> str:
    """What stands in a cell without a figure: the status, and for a skip its reason where that is short."""
    if summary is None or not summary.failure:
        return "not run"
    reason = summary.message.split(":")[0].split(";")[0].split("(")[0].strip().rstrip(".")
    is_short = summary.failure == "skipped" and 0 < len(reason) <= 40
    return f"{summary.failure}: {reason}" if is_short else summary.failure


def is_partial(summary: Summary, usual: int) -> bool:
    """Whether a cell rests on other cases than its neighbours: some failed, or fewer (or more) were tried."""
    return bool(summary.ok) and (bool(summary.failure) or summary.ok != usual)


def undefined_cases(summary: Summary, score: str) -> int:
    """Cases for whose lack of a score a cell has none, 0 where it has one; cases without any score are unknown and do not count."""
    interval = summary.scores.get(score)
    if interval is not None and not math.isnan(interval.value):
        return 0
    return summary.undefined.get(score, 0) - min(summary.undefined.values(), default=0)


def panel_notes(results: TaskResults, cells: Sequence[str], keys: Sequence[str], usual: Mapping[str, int]) -> list[str]:
    """Sentences under the panel of these cells, which the keys tell apart."""
    places = {cell: short_label(keys, results.places[cell]) for cell in cells}
    present = [(m, c, results.cells[c, m]) for m in results.methods for c in cells if (c, m) in results.cells]
    name, noun = results.catalogue.display_name, case_noun(results.task.unit)
    notes = []
    for score in results.task.scores:
        # Usually a matter of the case and not of the method: the worst of a cell speaks for it.
        worst: dict[str, tuple[int, int]] = {}
        for _, cell, summary in present:
            if count := undefined_cases(summary, score.name):
                worst[cell] = max(worst.get(cell, (0, 0)), (count, summary.ok))
        if worst:
            where = "; ".join(": ".join(filter(None, (places[c], f"{n} of {ok}"))) for c, (n, ok) in worst.items())
            why = score.undefined or f"{score.title} has no value in some {plurals(noun)}"
            notes.append(f"{UNDEFINED} {why} ({where}).")
    if any(s.bounds for _, _, s in present):
        notes.append("≥ certified lower bound: the optimum is not known, only an upper bound of it.")
    keeping = dict.fromkeys(name(m) for m, _, _ in present if results.catalogue.is_stateful(m))
    if keeping:
        notes.append(f"Keeping state between calls, as declared; a first call may take longer: {', '.join(keeping)}.")
    partial = [
        f"{name(m)}{places[c] and f', {places[c]}'}: {_observed(s, noun)}"
        for m, c, s in present
        if is_partial(s, usual[c])
    ]
    if partial:
        notes.append(f"{PARTIAL} not the same {plurals(noun)} as the others: {'; '.join(partial)}.")
    checks = [(places[c], why) for c, why in not_a_contest(results.summaries, results.task).items() if c in places]
    if checks:
        notes.append(f"A check, not a contest: {'; '.join(': '.join(filter(None, check)) for check in checks)}.")
    return notes + _reasons(present, places, results)


def _observed(summary: Summary, noun: str) -> str:
    bad = {status: n for status, n in summary.counts.items() if status != "ok"}
    if set(bad) == {"skipped"} and summary.message:
        return summary.message
    text = (
        f"{summary.ok} of {summary.cases} {plurals(noun)}" if summary.cases > summary.ok else plural(summary.ok, noun)
    )
    failures = ", ".join(f"{count} {status}" for status, count in bad.items())
    return text + (f" ({': '.join(filter(None, (failures, summary.message)))})" if failures else "")


def _reasons(
    present: Sequence[tuple[MethodKey, str, Summary]], places: Mapping[str, str], results: TaskResults
) -> list[str]:
    """Why cells are empty, each reason once with the cells it is true of; one that the cell itself gives is left out."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for method, cell, summary in present:
        reason = f"{summary.failure}: {summary.message.rstrip('.')}"
        if not summary.ok and summary.message and reason != failure_text(summary):
            methods = reasons.setdefault(reason, {})
            methods.setdefault(results.catalogue.display_name(method), []).append(places[cell])
    notes = []
    for reason, methods in reasons.items():
        where = "; ".join(f"{name} ({', '.join(p)})" if any(p) else name for name, p in methods.items())
        notes.append(f"{reason} — {where}.")
    return notes
