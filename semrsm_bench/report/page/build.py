"""Rows, environment and studies -> one HTML file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from semrsm_bench import __version__
from semrsm_bench.report.caption import day, machine, table_caption
from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import collect_cells, order_blocks
from semrsm_bench.report.distribution import pair_values
from semrsm_bench.report.formatting import format_seconds
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.page import assets, contents, facts
from semrsm_bench.report.page.drawing import Plot
from semrsm_bench.report.page.plots import make_plots
from semrsm_bench.report.page.studies import Study
from semrsm_bench.report.render import shared_notes
from semrsm_bench.report.style import looks
from semrsm_bench.report.tables import TableFormat, affinity_times, prepared, render_layout, run_name

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# Label of the copy button -> format of `render_layout`.
COPIES: dict[str, TableFormat] = {"LaTeX": "latex", "Markdown": "md", "CSV": "csv"}


@dataclass(frozen=True)
class RunContent:
    """A run as it is read from its folder.

    Attributes
    ----------
    rows : DataFrame
        From `semrsm_bench.bench.results.load_rows`, of one run.
    environment : mapping
        From `semrsm_bench.bench.results.load_environment`; may be empty.
    description : mapping
        ``run.json``: what was planned, and whether it was finished; may be empty.
    """

    rows: pd.DataFrame
    environment: Mapping[str, Any]
    description: Mapping[str, Any] = field(default_factory=dict)


def build_page(
    run: RunContent | None,
    studies: Sequence[Study] = (),
    warnings: Sequence[str] = (),
    *,
    centrings: Iterable[str] | None = None,
    made: str = "",
) -> str:
    """The page as text.

    Parameters
    ----------
    run : RunContent, optional
        Without one the page shows the studies alone.
    studies : sequence of Study
    warnings : sequence of str
        Shown at the head of the page.
    centrings : iterable of str, optional
        Of the run; default: all there are.
    made : str
        When and how the page was made, shown at its foot.

    Returns
    -------
    str
        One HTML document that loads nothing.

    Raises
    ------
    semrsm_bench.report.page.assets.MissingExtraError
        plotly, itables or jinja2 is not installed.
    semrsm_bench.report.tables.NothingMeasuredError
        The run has no rows (of these centrings).
    ValueError
        The rows are not those of one run.
    """
    assets.require_extra()
    shown = None if run is None else _run_context(run, None if centrings is None else list(centrings))
    plots: list[Plot] = shown["plots"] if shown else []
    scripts = [assets.plotly_script() if plots else "", assets.tables_script(), _source("page.js")]
    scripts = [script for script in scripts if script]
    data = json.dumps({plot.name: [dataclasses.asdict(v) for v in plot.variants] for plot in plots}, allow_nan=False)
    return (
        _templates()
        .get_template("page.html")
        .render(
            run=shown,
            studies=[_study_context(study) for study in studies],
            warnings=list(warnings),
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
    rules = [
        "default-src 'none'",
        f"script-src {hashes}",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)


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


def _run_context(run: RunContent, centrings: list[str] | None) -> dict[str, Any]:
    frame = prepared(run.rows, centrings)
    environment = run.environment
    layout = Layout(collect_cells(frame), affinity_times(frame), Catalogue(environment))
    blocks = order_blocks(block for block, _ in layout.cells)
    style = looks(layout.catalogue.order(solver for _, solver in layout.cells))
    name = run_name(frame)
    panels, shared = shared_notes(layout.per_centring(blocks))
    return {
        "name": name,
        "day": day(environment),
        "machine": machine(environment),
        "alerts": _alerts(run, frame),
        "plots": make_plots(
            layout, blocks, style, pair_values(frame, "quality"), pair_values(frame, "chance_corrected")
        ),
        "results": contents.result_table(layout, dataclasses.replace(layout, end_to_end=True), blocks),
        "caption": table_caption(environment, name, end_to_end=False),
        "shared_notes": shared,
        "notes": [(panel.title, panel.notes) for panel in panels if panel.notes],
        "copies": {label: render_layout(layout, name, environment, fmt) for label, fmt in COPIES.items()},
        "paper": contents.paper_table(layout, blocks),
        "failures": contents.failure_table(frame, layout, blocks),
        "facts": facts.plan_facts(run.description) + facts.environment_facts(environment),
    }


def _alerts(run: RunContent, frame: pd.DataFrame) -> list[str]:
    alerts = []
    if not (frame["status"] == "ok").any():
        alerts.append("No solver gave a result in this run; the reasons stand under Failures and skips.")
    if run.description and not run.description.get("finished"):
        alerts.append("This run is not finished: cells are missing or rest on fewer pairs.")
    if run.environment.get("dirty"):
        alerts.append("The code had local changes when this was measured: its commit alone does not reproduce it.")
    return alerts


def _study_context(study: Study) -> dict[str, Any]:
    return {
        "study": study,
        "tables": [contents.study_table(table) for table in study.tables],
        "paper": [contents.study_table(table, of_paper=True) for table in study.paper],
        "day": study.date[:10],
        "took": "" if study.seconds is None else format_seconds(study.seconds),
        "options": facts.facts_of(study.options),
        "inputs": facts.facts_of(study.inputs),
        "facts": facts.environment_facts(study.environment),
    }
