"""``semrsm-bench study``: the experiments of the papers, one command each."""

from __future__ import annotations

import functools
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semrsm_bench.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from semrsm_bench.studies.study import StudyResult

_PLACE = "semrsm_bench.cli.studies"
# study -> (module, attribute, one line of help shown without importing the module)
STUDIES: dict[str, tuple[str, str, str]] = {
    "translation": (f"{_PLACE}.translation", "command", "Do RSMs see that two overlapping crops show the same thing?"),
    "matching-quality": (
        f"{_PLACE}.matching_quality",
        "command",
        "k/k_opt and c per layer and solver, and what they cost downstream.",
    ),
    "runtime": (f"{_PLACE}.runtime", "command", "Runtime of the solvers over S, from a run of `semrsm-bench run`."),
    "retrieval": (f"{_PLACE}.retrieval", "command", "Which kernel and matching retrieve images with the same objects?"),
    "outputs": (f"{_PLACE}.outputs", "command", "Do similar representations mean similar class probabilities?"),
    "cka": (f"{_PLACE}.cka", "command", "CKA between layers and networks, of semantic and of spatio-semantic RSMs."),
    "barycenter": (f"{_PLACE}.barycenter", "command", "On which pictures do several networks agree most and least?"),
}
RESULTS = Path("results")


@click.group(cls=LazyGroup, table=STUDIES, noun="study", context_settings={"help_option_names": ["-h", "--help"]})
def study() -> None:
    """The experiments of the papers, on the project's own networks and pictures by default, on yours with options.

    Each prints tables, says in one sentence what it shows, and writes study.json, rows.csv and its figures to
    results/studies/NAME (or --out), where `semrsm-bench report` finds them. --quick takes less than a minute.
    """


def common_options(command: Callable[..., StudyResult]) -> Callable[..., int]:
    """Options that every study has, and what happens with its result: written, printed.

    The decorated function takes its own options and ``quick``, ``quiet`` and returns a `StudyResult`. Exit code 3: a solver
    gave back something that is no permutation.
    """

    @click.option("--quick", is_flag=True, help="A small version, under a minute.")
    @click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Default: results/studies/NAME.")
    @click.option(
        "--format",
        "formats",
        multiple=True,
        type=click.Choice(["png", "svg", "pdf"]),
        help="Of the figures; repeatable; png always.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print study.json instead of tables.")
    @click.option("--quiet", is_flag=True, help="No progress bars.")
    @click.pass_context
    @functools.wraps(command)
    def run(
        ctx: click.Context,
        /,
        *,
        quick: bool,
        out: Path | None,
        formats: tuple[str, ...],
        as_json: bool,
        quiet: bool,
        **options: Any,
    ) -> int:
        from semrsm_bench.solvers import InvalidMatchingError
        from semrsm_bench.studies.study import write_study

        started = time.perf_counter()
        try:
            result = command(quick=quick, quiet=quiet, **options)
        except InvalidMatchingError as error:
            click.echo(f"semrsm-bench: {error}", err=True)
            return 3
        folder = out or RESULTS / "studies" / result.name
        content = write_study(
            result,
            folder,
            command=_command_line(ctx, result.name),
            options={name: _plain_option(value) for name, value in options.items()},
            seconds=time.perf_counter() - started,
            quick=quick,
            formats=list(dict.fromkeys(("png", *formats))),
        )
        if as_json:
            click.echo(json.dumps(content, indent=2))
        else:
            _print(result, folder)
        return 0

    return run


def picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--images --classes --count --seed`` for studies that look at pictures."""
    for option in reversed(
        (
            click.option(
                "--images",
                multiple=True,
                type=click.Path(exists=True, path_type=Path),
                help="Folder, zip archive or file; repeatable. Default: photographs that installed packages ship.",
            ),
            click.option(
                "--classes",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="Class directories in label order, one a line.",
            ),
            click.option("--count", type=click.IntRange(min=2), help="How many pictures."),
            click.option("--seed", type=int, default=0, show_default=True),
        )
    ):
        command = option(command)
    return command


def _command_line(ctx: click.Context, name: str) -> str:
    """The command that repeats this study, with file names in place of paths: those differ between machines."""
    words = sys.argv[1:] if ctx.find_root().info_name else []
    arguments = words[words.index(name) + 1 :] if name in words else []
    return shlex.join(["semrsm-bench", "study", name, *map(_without_folders, arguments)])


def _without_folders(word: str) -> str:
    path = Path(word)
    return path.name if path.is_absolute() or ("/" in word and path.exists()) else word


def _plain_option(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str):
        return _without_folders(value)
    if isinstance(value, tuple):
        return [_plain_option(part) for part in value]
    return value


def _print(result: StudyResult, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    from semrsm_bench.studies.study import cell_text

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)
    for table in (*result.tables, *result.paper):
        shown = RichTable(title=table.title, title_justify="left", caption=table.note or None, caption_justify="left")
        numeric = _numeric_columns(table.rows, len(table.columns))
        for column, right in zip(table.columns, numeric):
            shown.add_column(column, justify="right" if right else "left")
        for row in table.rows:
            shown.add_row(*(cell_text(cell) for cell in row))
        console.print(shown)
        console.print()
    for note in result.notes:
        console.print(f"Note: {note}")
    console.print(result.sentence)
    console.print(f"Written to {folder}", soft_wrap=True)


def _numeric_columns(rows: Sequence[Sequence[Any]], count: int) -> list[bool]:
    return [
        all(row[k] is None or (isinstance(row[k], int | float) and not isinstance(row[k], bool)) for row in rows)
        for k in range(count)
    ]
