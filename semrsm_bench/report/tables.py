"""The tables of a run, one for each task: methods down, cells across, as text, Markdown, LaTeX, CSV or records."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.escape import escape_csv
from semrsm_bench.core.row import cell_key, plain
from semrsm_bench.core.stats import UNKNOWN
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.paper import note_on, printed_tables, published, published_note
from semrsm_bench.report.provenance import origin
from semrsm_bench.report.render import render_latex, render_markdown, render_text
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.statistics import has_statistics, statistics_note, statistics_panels, statistics_records

TableFormat = Literal["text", "md", "latex", "csv"]


def render_table(
    results: TaskResults | Sequence[TaskResults],
    fmt: TableFormat = "text",
    paper: bool = False,
    *,
    end_to_end: bool = False,
    told_apart: bool = False,
    best: int | None = None,
    statistics: bool = False,
    width: int = 120,
) -> str:
    """The table of a task, or those of several one after another; ends with a line break.

    For solvers, text has one panel per layer with its centrings side by side, md and latex one per centring with the sizes side by
    side, as the paper's Table 5; other tasks have one panel for each of the outer keys of their cells. csv has one line per method
    and cell with every figure unrounded, in seconds. ``paper`` adds what papers print, in columns or panels of their own, with the
    source; ``end_to_end`` counts into T what is timed apart, such as the affinity; ``told_apart`` adds which methods differ,
    ``statistics`` profiles, means and growth of solvers; ``best`` shows one cell of each task and its first score, with no more
    than so many of the methods that it ranks, those of plugins beside them; ``width`` is that of the terminal, for text.
    """
    several = [results] if isinstance(results, TaskResults) else list(results)
    if fmt == "csv":
        return _csv([record for one in several for record in table_records(one, paper)])
    out = []
    for one in several:
        layout, task = Layout(one, paper, end_to_end, told_apart, best), one.task
        panels = [*layout.panels(wide=fmt != "text"), *(statistics_panels(layout) if statistics else [])]
        heading = f"{task.name}: {task.question}" if len(several) > 1 else ""
        # What is the same for all tables of a run is under the last one; in LaTeX each is a table of its own.
        caption = [layout.caption]
        if one is several[-1] or fmt == "latex":
            caption += origin(one, [row for each in ([one] if fmt == "latex" else several) for row in each.rows])
        remarks = [published_note(task.name)] if paper and published(task.name) else []
        remarks += [statistics_note(layout)] if statistics and has_statistics(one) else []
        if paper and (apart := printed_tables(task.name)):
            words = "Tables of a paper are its own figures, of other networks and pictures"
            sources = dict.fromkeys(note_on(figures[0].paper) for _, figures in apart)
            remarks.append(f"{words}; source: {'; '.join(sources)}.")
        if fmt == "text":
            out.append(render_text(panels, caption, remarks, width, heading))
        elif fmt == "md":
            out.append(render_markdown(panels, caption, remarks, heading))
        else:
            out.append(render_latex(panels, caption, remarks))
    return "\n".join(out)


def table_records(results: TaskResults, paper: bool = False) -> list[dict[str, Any]]:
    """Every method in every cell of a task with its figures unrounded, for machines; unknown numbers are None.

    ``score`` is the task's first score with its interval ``low`` to ``high``, ``baseline`` whether the method is one. Times are in
    seconds, ratios are not in percent, and published figures (when asked for) are in ``paper_...``.
    """
    layout, task = Layout(results, paper), results.task
    differences = {(cell_key(d.place), d.method): d for d in layout.differences}
    records = []
    for cell in results.places:
        for method in (m for m in results.methods if (cell, m) in results.cells):
            summary, difference = results.cells[cell, method], differences.get((cell, method.name))
            record = _record(layout, method, summary) | _headline(layout, cell, method)
            if task.reference:
                compared = (difference.interval if difference else UNKNOWN).named("difference")
                record |= {"reference": task.reference, **compared}
                record["difference_p"] = difference.p if difference else math.nan
            records.append(plain(record, bounded=False))
    return records


def task_object(
    results: TaskResults, paper: bool = False, pairs: bool = False, statistics: bool = False
) -> dict[str, Any]:
    """A task for machines: which score ranks, which cells are a check and no contest, how many pairs of methods are told apart, and
    its `table_records` as ``rows``; ``pairs`` adds the differences of all pairs, ``statistics`` those of solvers.
    """
    layout, task = Layout(results, paper), results.task
    score, names = task.scores[0], layout.cell_names
    apart = []
    for cell in layout.told_apart:
        found = {
            "cell": names[cell_key(cell.place)],
            "methods": list(cell.methods),
            "pairs": len(cell.pairs),
            "share": cell.share,
        }
        if pairs:
            found["differences"] = [
                {"method": d.method, "other": d.reference, **d.interval.named("difference"), "p": d.p}
                for d in cell.pairs
            ]
        apart.append(found)
    known: dict[str, Any] = plain(
        {
            "task": task.name,
            "question": task.question,
            "score": {"name": score.name, "title": score.title, "best": score.best, "chance": score.chance},
            "unit": task.unit,
            "resampling": task.resampling,
            "checks": {names[cell]: why for cell, why in results.checks.items()},
            "one_sided": {names[cell]: name for cell, name in results.one_sided.items()},
            "told_apart": apart,
            "rows": table_records(results, paper),
            **({"statistics": statistics_records(layout)} if statistics else {}),
        },
        bounded=False,
    )
    return known


def _headline(layout: Layout, cell: str, method: MethodKey) -> dict[str, Any]:
    """What every task has under the same names: its first score, and what that is beside the strongest baseline."""
    summary, task = layout.results.cells[cell, method], layout.results.task
    score = task.scores[0].name
    value, *ends = summary.scores.get(score, UNKNOWN)
    beside = summary.scores if task.resampling == "jackknife" else summary.jackknife
    return {
        "cell": layout.cell_names[cell],
        "score": value,
        **dict(zip(("low", "high"), ends)),
        **dict(zip(("low_jackknife", "high_jackknife"), beside.get(score, UNKNOWN)[1:])),
        "units": summary.units,
        "unit": summary.unit,
        "cases_undefined": summary.undefined.get(score, 0),
        "baseline": method.category == "baseline",
        **layout.beyond[cell, method].named("beyond_baseline"),
    }


def _record(layout: Layout, method: MethodKey, summary: Summary) -> dict[str, Any]:
    names = [score.name for score in layout.results.task.scores]
    record: dict[str, Any] = {
        "task": layout.results.task.name,
        "method": method.name,
        "kind": method.kind,
        "category": method.category,
        "options": "; ".join(f"{name}={value}" for name, value in method.options),
        **summary.place,
        "complexity": layout.results.catalogue.complexity(method),
        "b": method.block_size or None,
        "status": summary.status,
        "cases": summary.cases,
        "cases_ok": summary.ok,
        "failures": "; ".join(f"{n} {status}" for status, n in summary.counts.items() if status != "ok"),
        "message": summary.message,
    }
    for name in names:
        record |= summary.scores.get(name, UNKNOWN).named(name)
        record[f"{name}_bound"] = summary.bounds.get(name, math.nan)
        record[f"{name}_worst"] = summary.worst.get(name, math.nan)
        record[f"{name}_undefined"] = summary.undefined.get(name, 0)
        if name in summary.seeds:
            record |= {
                "seeds": len(summary.seeds[name]),
                f"{name}_seeds_sd": float(np.std(summary.seeds[name], ddof=1)),
            }
    record |= {**summary.seconds.named("seconds"), **summary.total_seconds.named("total_seconds")}
    record |= {"shared_seconds": summary.shared_seconds, "peak_bytes": summary.peak_bytes}
    record["program_seconds"] = summary.program_seconds
    if layout.with_paper and published(layout.results.task.name):
        theirs = {m.name: figures for m, figures in layout.published_at(summary.place).items()}.get(method.name, {})
        record |= {f"paper_{name}": theirs.get(name, math.nan) for name in (*names, "seconds")}
    return record


def _csv(records: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    columns = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(out, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    # Decimals as repr writes them, so that reading back gives the same float.
    writer.writerows(
        {k: repr(v) if isinstance(v, float) else escape_csv(v) if isinstance(v, str) else v for k, v in r.items()}
        for r in records
    )
    return out.getvalue()
