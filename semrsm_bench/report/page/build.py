"""The results of a run -> one HTML file."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semrsm_bench.core import __version__
from semrsm_bench.core.escape import cleaned
from semrsm_bench.report.figures import drawings_of
from semrsm_bench.report.figures.overview import overview
from semrsm_bench.report.page import assets
from semrsm_bench.report.page.plots import front_plot
from semrsm_bench.report.page.tables import PageTables
from semrsm_bench.report.paper import printed_tables, published
from semrsm_bench.report.provenance import day, environment_facts, machine, plan_facts
from semrsm_bench.report.render import shared_notes
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import RC, Drawing
from semrsm_bench.report.tables import TableFormat, render_table

# Label of the copy button -> format of `render_table`.
COPIES: dict[str, TableFormat] = {"LaTeX": "latex", "Markdown": "md", "CSV": "csv"}


def build_page(
    results: Sequence[TaskResults],
    description: Mapping[str, Any] | None = None,
    *,
    private: bool = False,
    made: str = "",
) -> str:
    """The page as text: one HTML document that loads nothing.

    ``description`` is ``run.json``: what was planned, and whether it was finished. ``private`` adds figures that show a user's
    own pictures, whose licence may forbid to pass them on. ``made`` says at the foot when and how the page was made. ImportError:
    plotly, itables or jinja2 is not installed.
    """
    assets.require_packages()
    from jinja2 import Environment, StrictUndefined

    templates = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    source = {p.name: p.read_text(encoding="utf-8") for p in (Path(__file__).parent / "templates").iterdir()}
    description = cleaned(description or {})
    tasks = [_task(one, private) for one in results]
    plots = {task["plot"]["name"]: task["plot"]["variants"] for task in tasks if task["plot"]}
    scripts = [*([assets.plotly_script()] if plots else []), assets.tables_script(), source["page.js"]]
    environment = results[0].environment
    # What the browser may do for this page: run these scripts, show what is inside; it refuses any request.
    hashes = " ".join(assets.content_hash(script) for script in scripts)
    shown = "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    return templates.from_string(source["page.html"]).render(
        run=results[0].run,
        day=day(environment),
        machine=machine(environment),
        alerts=_alerts(results, description),
        tasks=tasks,
        overview=_overview(results),
        facts=[*plan_facts(description), *environment_facts(environment, [row for one in results for row in one.rows])],
        made=made,
        version=__version__,
        notices=assets.notices(),
        policy=f"default-src 'none'; script-src {hashes}; {shown}",
        scripts=scripts,
        style=source["page.css"],
        # No text in it can end the script element that it is in.
        data=json.dumps(plots, allow_nan=False).replace("<", "\\u003c"),
    )


def _task(results: TaskResults, private: bool) -> dict[str, Any]:
    """What the template shows of a task."""
    import matplotlib as mpl

    tables, name = PageTables(results), results.task.name
    layout = tables.layout
    # Differences and the paper have tables of their own here.
    panels, shared = shared_notes([layout.panel(sheet) for sheet in layout.sheets(wide=True)])
    # The page has the front as an interactive plot.
    with mpl.rc_context(dict(RC)):
        drawings = list(drawings_of(results, fronts=False))
        pictures = [_picture(drawing) for drawing in drawings if drawing.shareable or private]
    return {
        "task": results.task,
        "plot": front_plot(layout),
        "tables": tables,
        "shared_notes": shared,
        "notes": [(panel.title, panel.notes) for panel in panels if panel.notes],
        "copies": {label: render_table(results, fmt) for label, fmt in COPIES.items()},
        "paper": render_table(results, paper=True) if published(name) or printed_tables(name) else "",
        "pictures": pictures,
        "withheld": len(drawings) - len(pictures),
    }


def _overview(results: Sequence[TaskResults]) -> list[dict[str, Any]]:
    import matplotlib as mpl

    with mpl.rc_context(dict(RC)):
        return [_picture(drawing) for drawing in overview(results)]


def _picture(drawing: Drawing) -> dict[str, Any]:
    """A figure inside of the page, with its natural width in CSS pixels."""
    out = io.BytesIO()
    drawing.figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
    data = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    width = round(96 * drawing.figure.get_figwidth())
    return {"source": data, "width": width, "caption": drawing.caption, "alt": drawing.alt}


def _alerts(results: Sequence[TaskResults], description: Mapping[str, Any]) -> list[str]:
    alerts = [
        f"No method gave a result in the task {one.task.name}; the reasons are under Failures and skips."
        for one in results
        if not any(summary.ok for summary in one.summaries)
    ]
    if description and not description.get("finished"):
        alerts.append("This run is not finished: cells are missing or rest on fewer cases.")
    if results[0].environment.get("dirty"):
        alerts.append("The code had local changes when this was measured: its commit alone does not reproduce it.")
    return alerts
