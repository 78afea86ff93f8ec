"""What every study gives back, and the folder it is written to.

A study is a function that returns a `StudyResult`; the command line prints it and writes ``results/studies/<name>/`` with
``study.json`` (the sentence, tables, provenance), ``rows.csv`` (tidy) and the figures. `semrsm-bench report` reads that folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from semrsm_bench.bench.environment import describe_environment
from semrsm_bench.bench.results import plain, write_json
from semrsm_bench.report.formatting import format_cell
from semrsm_bench.report.page.studies import SCHEMA, STUDY_FILE
from semrsm_bench.report.style import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS_FILE = "rows.csv"


@dataclass(frozen=True)
class Table:
    """A small table: text stays text, numbers are formatted where they are shown.

    Attributes
    ----------
    title : str
    columns : sequence of str
    rows : sequence of sequences
        Numbers, text, or None for "not measured" (NaN counts as None).
    note : str
        Below the table: what was averaged, what a figure in brackets is.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r} has {len(self.columns)} columns, a row has {len(row)}: {row}")

    def as_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        rows = [[plain(cell) for cell in row] for row in self.rows]
        return {"title": self.title, "columns": list(self.columns), "rows": rows, "note": self.note}


@dataclass(frozen=True)
class Drawing:
    """A figure with its file name (no suffix), its caption and a text for those who cannot see it."""

    name: str
    figure: Figure
    caption: str
    alt: str


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes
    ----------
    name, title : str
    sentence : str
        What it shows, in one sentence with the figures in it.
    tables : sequence of Table
    rows : sequence of mappings
        Tidy: one observation each, the same keys throughout.
    drawings : sequence of Drawing
    inputs : mapping
        Provenance of networks and images: names, sha256, counts. No paths of this machine.
    paper : sequence of Table
        Figures that the paper prints, for comparison; their titles name the paper and the table.
    notes : sequence of str
        What a reader must know before believing it.
    """

    name: str
    title: str
    sentence: str
    tables: Sequence[Table]
    rows: Sequence[Mapping[str, Any]]
    drawings: Sequence[Drawing] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    paper: Sequence[Table] = ()
    notes: Sequence[str] = ()


def write_study(
    result: StudyResult,
    folder: Path,
    *,
    command: str,
    options: Mapping[str, Any],
    seconds: float,
    quick: bool,
    formats: Sequence[str] = ("png",),
) -> dict[str, Any]:
    """Write a study's folder; ``study.json`` comes last, so that a folder with one is complete.

    Returns
    -------
    dict
        What ``study.json`` holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STUDY_FILE).unlink(missing_ok=True)
    pd.DataFrame([dict(row) for row in result.rows]).to_csv(folder / ROWS_FILE, index=False)
    figures = []
    for drawing in result.drawings:
        paths = save_figure(drawing.figure, folder / drawing.name, formats)
        figures.append({"file": paths[0].name, "caption": drawing.caption, "alt": drawing.alt})
    environment = describe_environment()
    content = {
        "schema": SCHEMA,
        "name": result.name,
        "title": result.title,
        "sentence": result.sentence,
        "command": command,
        "date": environment["started"],
        "seconds": round(seconds, 1),
        "quick": quick,
        "options": plain(dict(options)),
        "inputs": plain(dict(result.inputs)),
        "environment": environment,
        "tables": [table.as_json() for table in result.tables],
        "paper": [table.as_json() for table in result.paper],
        "figures": figures,
        "notes": list(result.notes),
    }
    write_json(folder / STUDY_FILE, content)
    return content


def read_study(folder: Path) -> dict[str, Any]:
    """What ``study.json`` of a folder holds.

    Raises
    ------
    ValueError
        Damaged, or of a newer schema; the message names the file.
    FileNotFoundError
        There is none.
    """
    path = folder / STUDY_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not readable ({error}); run the study again") from None
    if content.get("schema") != SCHEMA:
        raise ValueError(f"{path}: schema {content.get('schema')}, this version reads {SCHEMA}")
    return content


# Cells look the same in the terminal and on the page.
cell_text = format_cell
