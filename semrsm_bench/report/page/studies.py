"""Folders of studies as the page shows them: ``results/studies/<name>/`` with ``study.json`` and its figures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semrsm_bench.bench.results import read_json

SCHEMA = 1
STUDY_FILE = "study.json"
_SIGNATURES = {".png": ("image/png", b"\x89PNG\r\n\x1a\n"), ".jpg": ("image/jpeg", b"\xff\xd8\xff")}


@dataclass(frozen=True)
class StudyTable:
    """A table of a study; cells are numbers, text or None."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str


@dataclass(frozen=True)
class StudyFigure:
    """A picture inside the page: ``source`` is a data URI, ``width`` its natural one in CSS pixels where the file tells."""

    source: str
    caption: str
    alt: str
    width: int | None = None


@dataclass(frozen=True)
class Study:
    """What a study found, as far as it can be shown.

    Attributes
    ----------
    paper : tuple of StudyTable
        Figures that the paper prints.
    warnings : tuple of str
        What of the folder could not be shown.
    """

    name: str
    title: str
    sentence: str
    command: str
    date: str
    seconds: float | None
    quick: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[StudyTable, ...] = ()
    paper: tuple[StudyTable, ...] = ()
    figures: tuple[StudyFigure, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_studies(folder: Path) -> tuple[list[Study], list[str]]:
    """Every study below a folder in the order of their names, and what could not be read of them.

    A folder that does not exist holds none; nothing in it makes this fail.
    """
    if not folder.is_dir():
        return [], []
    studies, warnings = [], []
    for place in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        try:
            study = read_study(place)
        except (ValueError, OSError) as error:
            warnings.append(f"study {place.name} is left out: {error}")
            continue
        studies.append(study)
        warnings += [f"study {place.name}: {text}" for text in study.warnings]
    return studies, warnings


def read_study(folder: Path) -> Study:
    """The study in a folder.

    Parameters
    ----------
    folder : Path
        As `semrsm-bench study` writes it. Figures that are missing or no pictures, and tables that are none, are left out
        with a warning.

    Raises
    ------
    ValueError, FileNotFoundError
        ``study.json`` is missing, broken, or of a newer version.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is missing; was the study interrupted? Run it again")
    try:
        content = read_json(path)
    except ValueError as error:
        # The page may be passed on: it names the file, not where it lies on this machine.
        reason = str(error).replace(str(path), path.name)
        raise ValueError(f"damaged, {reason}; run the study again") from None
    schema = content.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise ValueError(f"{path.name} names no schema; it is not the file of a study")
    if schema > SCHEMA:
        raise ValueError(f"{path.name} has schema {schema}, this version reads up to {SCHEMA}; update semrsm-bench")
    warnings: list[str] = []
    name = _text(content.get("name")) or folder.name
    seconds = content.get("seconds")
    return Study(
        name=name,
        title=_text(content.get("title")) or name,
        sentence=_text(content.get("sentence")),
        command=_text(content.get("command")),
        date=_text(content.get("date")),
        seconds=float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None,
        quick=content.get("quick") is True,
        options=_mapping(content.get("options")),
        inputs=_mapping(content.get("inputs")),
        environment=_mapping(content.get("environment")),
        tables=_tables(content.get("tables"), warnings),
        paper=_tables(content.get("paper"), warnings),
        figures=_figures(content.get("figures"), folder, warnings),
        notes=tuple(_text(note) for note in _list(content.get("notes"))),
        warnings=tuple(warnings),
    )


def _tables(content: Any, warnings: list[str]) -> tuple[StudyTable, ...]:
    tables = []
    for number, entry in enumerate(_list(content), start=1):
        table = _mapping(entry)
        columns: Any = table.get("columns")
        rows: Any = table.get("rows")
        title = _text(table.get("title"))
        sound = isinstance(columns, list) and isinstance(rows, list) and len(columns) > 0
        if not sound or any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
            warnings.append(f"table {number}{f' ({title})' if title else ''} is damaged and left out")
            continue
        texts = tuple(_text(column) for column in columns)
        tables.append(StudyTable(title, texts, tuple(tuple(row) for row in rows), _text(table.get("note"))))
    return tuple(tables)


def _figures(content: Any, folder: Path, warnings: list[str]) -> tuple[StudyFigure, ...]:
    figures = []
    for entry in _list(content):
        figure = _mapping(entry)
        name = _text(figure.get("file"))
        kind, signature = _SIGNATURES.get(Path(name).suffix.lower(), ("", b""))
        # A name with a folder in it could put any file of the reader's machine into a page that is passed on.
        if not kind or Path(name).name != name or (folder / name).is_symlink():
            warnings.append(f"figure {name!r} is left out: it is no PNG or JPEG file of this folder")
            continue
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            warnings.append(f"figure {name!r} is left out: {error.strerror or error}")
            continue
        if not data.startswith(signature):
            warnings.append(f"figure {name!r} is left out: it is damaged")
            continue
        caption, alt = _text(figure.get("caption")), _text(figure.get("alt"))
        source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        figures.append(StudyFigure(source, caption, alt or caption or name, _natural_width(data)))
    return tuple(figures)


def _natural_width(data: bytes) -> int | None:
    """Width of a PNG at the resolution it was drawn for, of which CSS has 96 pixels to the inch; None for other files."""
    if data[12:16] != b"IHDR":
        return None
    pixels = int.from_bytes(data[16:20], "big")
    place = data.find(b"pHYs", 0, 4096)
    per_metre = (
        int.from_bytes(data[place + 4 : place + 8], "big")
        if place > 0 and data[place + 12 : place + 13] == b"\1"
        else 0
    )
    return max(1, round(pixels / (per_metre * 0.0254) * 96)) if per_metre else pixels


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []
