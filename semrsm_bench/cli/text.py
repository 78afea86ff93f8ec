"""What the command line prints: plain text, also in columns, and JSON."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from semrsm_bench.core.escape import clean


def say(text: object, *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print lines for people: what a terminal would take as a command, in a name or a message from outside, is shown as text."""
    lines = str(text).split("\n")
    click.secho("\n".join(map(clean, lines)), err=err, nl=nl, **style)


def print_json(value: Any) -> None:
    """All that standard output gets with --json: `semrsm_bench.cli.main` sends the rest to standard error."""
    click.echo(json.dumps(value, indent=1, default=str), file=click.get_current_context().obj)


@contextmanager
def warnings_said() -> Iterator[None]:
    """Warnings to users meanwhile as lines on standard error, each once; other ones keep their place in the code."""
    said: set[str] = set()
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, UserWarning):
            shown(message, category, *place, **more)
        elif (text := str(message)) not in said:
            said.add(text)
            say(f"warning: {text}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]  # which has them one by one
        yield


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell; columns of ``right`` are set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    sides = [">" if i in right else "<" for i in range(len(widths))]
    return ["  ".join(f"{c:{s}{w}}" for c, s, w in zip(row, sides, widths)).rstrip() for row in rows]


def duration(seconds: float) -> str:
    """``12 s``, ``3.4 min``, ``2.0 h`` or ``1.5 days``."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"


def terminal_width() -> int:
    """Columns of the terminal, 120 where there is none."""
    return max(shutil.get_terminal_size((120, 24)).columns, 40)
