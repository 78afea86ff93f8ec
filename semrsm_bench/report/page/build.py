"""The results of a run -> one HTML file."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semrsm_bench import __version__
from semrsm_bench.report.escape import cleaned
from semrsm_bench.report.figures import drawings_of
from semrsm_bench.report.page import assets
from semrsm_bench.report.page.plots import Plot, front_plot
from semrsm_bench.report.page.tables import PageTables
from semrsm_bench.report.provenance import day, environment_facts, machine, plan_facts
from semrsm_bench.report.render import shared_notes
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import RC
from semrsm_bench.report.tables import TableFormat, render_table

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# Label of the copy button -> format of `render_table`.
COPIES: dict[str, TableFormat] = {"LaTeX": "latex", "Markdown": "md", "CSV": "csv"}
_DPI = 150


def build_page(
    results: Sequence[TaskResults],
    description: Mapping[str, Any] | None = None,
    *,
    private: bool = False,
    made: str = "",
) -> str:
    """The page as text: one HTML document that loads nothing.

    ``description`` is ``run.json``: what was planned, and whether it was finished. ``private`` adds figures that show a user's
    own pictures, whose licence may forbid to pass them on. ``made`` says at the foot when and how the page was made. Raises
    `semrsm_bench.report.page.assets.MissingExtraError` where plotly, itables or jinja2 is not installed.
    """
    assets.require_extra()
    description = cleaned(description or {})
    tasks = [_task_context(one, private) for one in results]
    plots: list[Plot] = [task["plot"] for task in tasks if task["plot"]]
    scripts = [assets.plotly_script() if plots else "", assets.tables_script(), _source("page.js")]
    scripts = [script for script in scripts if script]
    data = json.dumps({plot.name: [dataclasses.asdict(v) for v in plot.variants] for plot in plots}, allow_nan=False)
    environment = results[0].environment
    return (
        _templates()
        .get_template("page.html")
        .render(
            run=results[0].run,
            day=day(environment),
            machine=machine(environment),
            alerts=_alerts(results, description),
            tasks=tasks,
            facts=[*plan_facts(description, results), *environment_facts(environment)],
            made=made,
            version=__version__,
            notices=assets.notices(),
            policy=_policy(scripts),
            scripts=scripts,
            style=_source("page.css"),
            data=assets.safe_json(data),
        )
    )


def _policy(scripts: Sequence[str]) -> str:
    """What the browser may do for this page: run these scripts, show what is inside; it refuses any request."""
    hashes = " ".join(assets.content_hash(script) for script in scripts)
    shown = "style-src 'unsafe-inline'; img-src data: blob:"
    return f"default-src 'none'; script-src {hashes}; {shown}; base-uri 'none'; form-action 'none'"


@lru_cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache
def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _task_context(results: TaskResults, private: bool) -> dict[str, Any]:
    tables = PageTables(results)
    layout = tables.layout
    # The first panels are those of the cells; differences and the paper have tables of their own here.
    panels, shared = shared_notes(layout.panels(wide=True)[: len(layout.sheets(wide=True))])
    pictures, withheld = _pictures(results, private)
    return {
        "task": results.task,
        "plot": front_plot(layout),
        "tables": tables,
        "shared_notes": shared,
        "notes": [(panel.title, panel.notes) for panel in panels if panel.notes],
        "copies": {label: render_table(results, fmt) for label, fmt in COPIES.items()},
        "pictures": pictures,
        "withheld": withheld,
    }


def _pictures(results: TaskResults, private: bool) -> tuple[list[dict[str, Any]], int]:
    """Figures of a task, and how many are left out because they show a user's own pictures; the front is there to hover over."""
    import matplotlib as mpl

    found = []
    withheld = 0
    with mpl.rc_context(dict(RC)):
        for drawing in drawings_of(results, fronts=False):
            if not (drawing.shareable or private):
                withheld += 1
                continue
            out = io.BytesIO()
            drawing.figure.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
            source = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
            told = {"caption": drawing.caption, "alt": drawing.alt or drawing.name}
            # The width is the natural one in CSS pixels.
            found.append({"source": source, "width": round(96 * drawing.figure.get_figwidth()), **told})
    return found, withheld


def _alerts(results: Sequence[TaskResults], description: Mapping[str, Any]) -> list[str]:
    alerts = [
        f"No method gave a result in the task {one.task.name}; the reasons stand under Failures and skips."
        for one in results
        if not any(summary.ok for summary in one.summaries)
    ]
    if description and not description.get("finished"):
        alerts.append("This run is not finished: cells are missing or rest on fewer cases.")
    if results[0].environment.get("dirty"):
        alerts.append("The code had local changes when this was measured: its commit alone does not reproduce it.")
    return alerts
