"""Performance profiles, mean times, ranks and growth of solvers: as panels of a table, for machines, and as curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from semrsm_bench.bench.profiles import FACTORS, FEWEST_SIZES, LEVELS, SHIFT, Standing, TimeTable, time_table
from semrsm_bench.bench.results import RUN_FILE, read_json
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import Interval, interval_of
from semrsm_bench.report.catalogue import NOUNS, MethodKey
from semrsm_bench.report.formatting import NOTHING, plural
from semrsm_bench.report.layout import RANK, ColumnGroup, Layout, Panel, Sheet, make_panel, time_text
from semrsm_bench.report.results import TaskResults

VIRTUAL = "virtual best"
STANDING_HEADS = (RANK, "T/best", *(f"≤ {factor:g}×" for factor in FACTORS), "reached")


def has_statistics(results: TaskResults) -> bool:
    """Whether they say something: solvers, with times and a quality."""
    timed = any(math.isfinite(summary.seconds.value) for summary in results.summaries)
    return timed and results.task.kind == "solver" and results.task.scores[0].style == "quality"


def deadline_of(results: TaskResults) -> float:
    """Seconds that a call had in this run; those of its first profile where the run does not say."""
    path = results.folder / RUN_FILE if results.folder else None
    plan = (read_json(path).get("plan") or {}) if path and path.is_file() else {}
    said = (plan.get("tasks") or {}).get(results.task.name) or {}
    return float(said.get("deadline") or next(iter(results.task.profiles.values())).deadline)


@dataclass(frozen=True)
class SheetStatistics:
    """Of the cells of one sheet, which may be several that are ``joined``."""

    layout: Layout
    sheet: Sheet
    joined: bool = False

    @cached_property
    def table(self) -> TimeTable[MethodKey]:
        """All times."""
        results = self.layout.results
        rows = [row for row in results.rows if cell_key(row["cell"]) in self.sheet.cells]
        return time_table(rows, results.task, deadline_of(results), MethodKey.of_row)

    @cached_property
    def observed(self) -> list[MethodKey]:
        """The methods that were tried on any case."""
        return [m for m, times in zip(self.table.methods, self.table.total) if not np.isnan(times).all()]

    @cached_property
    def standings(self) -> dict[str, dict[MethodKey, Standing]]:
        """By level."""
        return {level: self.table.standings(level) for level in LEVELS}

    @cached_property
    def means(self) -> dict[Any, dict[str, Interval]]:
        """Mean times by line and cell: of every method, and by the name of the level of the virtual best solver."""
        lines: dict[Any, Any] = {m: self.table.total[[i]] for i, m in enumerate(self.table.methods)}
        lines |= {level: self.table.best(self.table.to_reach(level))[None] for level in LEVELS}
        means = {name: self.table.means(times) for name, times in lines.items()}
        return {name: {cell: interval_of(drawn[0]) for cell, drawn in found.items()} for name, found in means.items()}

    @cached_property
    def growth(self) -> dict[MethodKey, Interval]:
        """Exponents of S."""
        return self.table.growth()


def statistics_of(layout: Layout) -> list[SheetStatistics]:
    """Sheet by sheet, then of those that are joined; empty where a task has none."""
    if not has_statistics(layout.results):
        return []
    alone = [SheetStatistics(layout, sheet) for sheet in layout.sheets(wide=True)]
    return alone + [SheetStatistics(layout, sheet, joined=True) for sheet in layout.together()]


def statistics_note(layout: Layout) -> str:
    """What the numbers are."""
    affinity = ", affinity included" if layout.results.shared else ""
    return (
        f"Statistics: times end to end{affinity}, over {layout.results.resampled}. T/best: mean time until the level is reached "
        "over that of the virtual best solver, which takes the fastest of each case; each cell counts alike. #: place by T/best, "
        "with the range that holds 95 % of the draws. ≤ n×: cases within n times the fastest that reaches the level, in percent "
        "(Dolan and Moré 2002), of those that the method was given, each cell alike. "
        f"Means are shifted geometric ones, shift {1e3 * SHIFT:g} ms (S/1024)². Failures count as "
        f"{deadline_of(layout.results):g} s; what a budget cut, or was skipped as too slow or unfit, is left out, and so is a "
        "case that only one of those was given that reach the level anywhere, or fail. p: growth of the "
        f"call alone, over {FEWEST_SIZES} or more sizes."
    )


def statistics_panels(layout: Layout) -> list[Panel]:
    """Of each sheet the standings at each level, then mean times by cell with their growth; last the standings of all together."""
    panels: list[Panel] = []
    catalogue, noun = layout.results.catalogue, NOUNS["solver"]
    for one in statistics_of(layout):
        methods = [m for m in layout.results.methods if m in one.observed]
        stubs: dict[Any, tuple[str, tuple[str, ...]]] = {
            m: (m.category_title, (catalogue.display_name(m),)) for m in methods
        }
        columns = [
            (ColumnGroup(level, STANDING_HEADS), {m: standing_texts(found[m]) for m in methods})
            for level, found in one.standings.items()
        ]
        title = ", ".join(filter(None, (layout.title(one.sheet), plural(len(one.table.cases), layout.results.noun))))
        panels.append(make_panel(f"{title}: until a level is reached", (noun,), stubs, columns))
        if one.joined:
            continue
        lines = stubs | {level: ("Virtual best", (level,)) for level in LEVELS}
        means = [
            (
                ColumnGroup(layout.group_title(one.sheet, cell), ("mean T",)),
                {m: (time_text(one.means[m][cell]),) for m in lines},
            )
            for cell in one.sheet.cells
            if cell in one.table.places
        ]
        if any(math.isfinite(p.value) for p in one.growth.values()):
            texts = {m: (exponent_text(one.growth[m]),) if m in one.growth else (NOTHING,) for m in lines}
            means.append((ColumnGroup("growth", ("p of S^p",)), texts))
        panels.append(make_panel(f"{title}: mean times", (noun,), lines, means))
    return panels


def standing_texts(found: Standing) -> tuple[str, ...]:
    """The entries under `STANDING_HEADS`."""
    shares = [*found.within.values(), found.reached]
    rank = NOTHING
    if math.isfinite(found.rank.value):
        value, low, high = (f"{x:.0f}" for x in found.rank)
        rank = value if low == high == value else f"{value} ({low}–{high})"
    return (
        rank,
        _with_margin(found.behind, 1 if found.behind.value < 100 else 0),
        *(f"{100 * s:.0f}" if math.isfinite(s) else NOTHING for s in shares),
    )


def exponent_text(exponent: Interval) -> str:
    """An exponent with the farther end of its interval."""
    return _with_margin(exponent, 2)


def _with_margin(interval: Interval, decimals: int) -> str:
    if not math.isfinite(interval.value):
        return NOTHING
    margin = f" ±{interval.margin:.{decimals}f}" if interval.margin > 0 else ""
    return f"{interval.value:.{decimals}f}{margin}"


def statistics_records(layout: Layout) -> list[dict[str, Any]]:
    """The same for machines, sheet by sheet, with the profiles at factors from 1 to 1000."""
    factors = np.geomspace(1, 1000, 31)
    found = []
    for one in statistics_of(layout):
        names = {m: layout.results.catalogue.display_name(m) for m in one.table.methods}
        levels = {}
        for level, standings in one.standings.items():
            shares = dict(zip(one.table.methods, one.table.profile(level, factors).tolist()))
            levels[level] = [
                {
                    "method": names[m],
                    **s.rank.named("rank"),
                    **s.behind.named("behind"),
                    "reached": s.reached,
                    "cases": s.cases,
                    "profile": shares[m],
                }
                for m, s in standings.items()
            ]
        found.append(
            {
                "cells": [layout.cell_names[cell] for cell in one.sheet.cells],
                "deadline": one.table.deadline,
                "shift": SHIFT,
                "factors": factors.tolist(),
                "levels": levels,
                "means": [
                    {"method": names.get(m, f"{VIRTUAL}, {m}"), "cell": layout.cell_names[cell], **mean.named("mean")}
                    for m, means in one.means.items()
                    for cell, mean in means.items()
                ],
                "growth": [{"method": names[m], **p.named("exponent")} for m, p in one.growth.items()],
            }
        )
    return found
