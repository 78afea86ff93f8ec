"""Tables in the pages of tasks, from rows that are kept in ``docs/runs``.

    semrsm-bench run metrics --profile paper --run-id metrics
    semrsm-bench run rsm-cost --profile paper --run-id rsm-cost
    python docs/task_tables.py --keep results/metrics    # keep its rows
    python docs/task_tables.py                           # print the tables
    python docs/task_tables.py --write                   # put them into the pages

A page says in a comment which part of a run it shows, as the words after ``semrsm-bench table``. With ``--json`` it shows the
first score of all cells side by side. Rows are kept without the values of single pairs, most of their size, where no score is made
of these again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import lzma
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from click.testing import CliRunner

from semrsm_bench.bench.results import ENVIRONMENT_FILE, ROWS_FILE, RUN_FILE, load_rows
from semrsm_bench.cli import cli
from semrsm_bench.core.task import Task
from semrsm_bench.tasks.registry import get_task

HERE = Path(__file__).resolve().parent
# Of a kept run, which many pages show
_rows = functools.cache(load_rows)
_BLOCK = re.compile(r"(<!-- table: (?P<words>.+?) -->\n).*?(<!-- end of the table -->)", re.DOTALL)


def table(words: str) -> str:
    """The table of a part of a run as Markdown, and the command that prints it."""
    is_grid = "--json" in words
    words = words if is_grid else f"{words} --format md"
    command = ["table", *shlex.split(words)]
    with contextlib.chdir(HERE.parent), mock.patch("semrsm_bench.report.results.load_rows", _rows):
        found = CliRunner().invoke(cli, command)
    if found.exit_code:
        raise SystemExit(f"semrsm-bench {shlex.join(command)}: {found.output.strip() or found.exception}")
    shown = grid(json.loads(found.stdout)["rows"]) if is_grid else found.stdout.strip()
    return f"`semrsm-bench table {words}`:\n\n{shown}\n"


def grid(rows: Sequence[dict[str, Any]]) -> str:
    """Methods down, cells across, two digits of the first score in each."""
    values = {(row["method"], row["cell"]): row["score"] for row in rows}
    methods, cells = (list(dict.fromkeys(column)) for column in zip(*values))
    lines = [["", *(cell.replace(", ", " x ") for cell in cells)], ["---", *("--:" for _ in cells)]]
    for method in methods:
        scores = (values.get((method, cell)) for cell in cells)
        lines.append([f"`{method}`", *("-" if score is None else f"{float(f'{score:.2g}'):g}" for score in scores)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(page: str) -> str:
    """The page with the tables of kept runs."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{table(block['words'])}\n{block[3]}", page)


def pages() -> Iterator[Path]:
    """Those that have a table of a kept run."""
    return (path for path in sorted((HERE / "tasks").glob("*.md")) if _BLOCK.search(path.read_text()))


def keep(run: Path) -> None:
    """Put the rows of a run, with what is said of it, where `table` finds them."""
    kept = HERE / "runs" / run.name
    kept.mkdir(exist_ok=True)
    rows = [json.loads(line) for line in (run / ROWS_FILE).read_text().splitlines()]
    for row in rows:
        if type(get_task(row["task"])).aggregate is Task.aggregate:
            for name in ("values", "values_yx"):
                row["raw"].pop(name, None)
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (kept / f"{ROWS_FILE}.xz").write_bytes(lzma.compress(lines.encode(), preset=9))
    for name in (RUN_FILE, ENVIRONMENT_FILE):
        shutil.copy(run / name, kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="RUN")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.keep:
        keep(given.keep)
    for path in pages():
        page = written(path.read_text())
        if given.write:
            path.write_text(page)
        else:
            print("".join(block[0] + "\n" for block in _BLOCK.finditer(page)))
