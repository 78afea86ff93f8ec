"""``semrsm-bench table | plot | report``: a run, or a part of it, as tables, figures and a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from semrsm_bench.cli.options import OutputOptions, PluginOptions, options_from
from semrsm_bench.cli.text import print_json, say, terminal_width
from semrsm_bench.core.options import OptionError, option

if TYPE_CHECKING:
    from semrsm_bench.report.results import TaskResults

PAGE = "report.html"
_WORDS = click.argument("words", metavar="[RUN] [TASK]...", nargs=-1)


@dataclass(frozen=True)
class SelectionOptions(PluginOptions):
    """Which cells and scores are shown, and what methods are compared with."""

    where: tuple[str, ...] = option((), help="Only these cells; one key twice: either value.", metavar="KEY=VALUE,...")
    scores: tuple[str, ...] = option((), help="Only these scores, named as in --json; the first one leads.")
    against: str | None = option(
        None, help="Compare with this method by paired differences; default: the task's.", metavar="METHOD"
    )

    def __post_init__(self) -> None:
        for word in self.where:
            if not all(word.partition("=")):
                raise OptionError("where", f"{word!r} is not KEY=VALUE")

    @property
    def cells(self) -> dict[str, tuple[str, ...]]:
        """Values by key; empty for all cells."""
        words = [word.partition("=")[::2] for word in self.where]
        return {key: tuple(value for k, value in words if k == key) for key, _ in words}


@dataclass(frozen=True)
class TableOptions(SelectionOptions):
    """How a table is printed."""

    format: Literal["text", "md", "latex", "csv"] = option("text", help="The format of the table.")
    paper: bool = option(False, help="The figures that papers print, beside ours.")
    end_to_end: bool = option(False, help="T with the affinity, for solvers that need one.")
    told_apart: bool = option(False, help="Which pairs of methods differ, by paired differences of all of them.")
    statistics: bool = option(False, help="Of solvers performance profiles, mean times, ranks, and growth with S.")
    untimed: bool = option(False, help="Leave out the times.")
    width: int | None = option(None, help="Columns of a text table; default: the terminal's.", minimum=40)


@dataclass(frozen=True)
class ReportOptions(SelectionOptions):
    """What the page holds, and where it goes."""

    out: Path | None = option(None, help=f"The file; default: {PAGE} in the run's folder.")
    private: bool = option(False, help="Also figures that show your own pictures, whose licence may forbid that.")


@dataclass(frozen=True)
class PlotOptions(ReportOptions):
    """What is drawn, and where it goes."""

    out: Path | None = option(None, help="Folder; default: figures/ in the run's folder.")
    formats: tuple[Literal["png", "svg", "pdf"], ...] = option(
        ("png", "svg", "pdf"), help="The format of the figures; repeatable.", name="format"
    )


def select(words: Sequence[str], results: Path, options: SelectionOptions) -> tuple[Path, list[TaskResults]]:
    """The folder of a run, and what is shown of it; without any row there the command ends with exit code 4.

    The first word is the run's id or folder, the latest where it is left out; the others are tasks, default: all that the run
    has. ValueError or FileNotFoundError: there is no such run, task, score or method.
    """
    from semrsm_bench.bench.methods import sort_plugins
    from semrsm_bench.bench.results import ENVIRONMENT_FILE, LATEST, find_run
    from semrsm_bench.report.results import NothingMeasuredError, read_results
    from semrsm_bench.tasks.registry import task_names

    sort_plugins(options.plugins)  # tasks are imported; what is shown of methods is in the run
    tasks = list(words)
    run = LATEST
    # A first word that names a task and no run is a task of the latest run.
    if tasks and (tasks[0] not in task_names() or (results / tasks[0] / ENVIRONMENT_FILE).is_file()):
        run = tasks.pop(0)
    folder = find_run(results, run)
    try:
        found = read_results(folder, tasks=tasks, where=options.cells)
    except NothingMeasuredError as error:
        _nothing(str(error))
    return folder, list(_seen_as(found, options)) if options.scores or options.against else found


def _nothing(message: str) -> NoReturn:
    say(f"semrsm-bench: {message}", err=True)
    click.get_current_context().exit(4)


def _seen_as(results: Sequence[TaskResults], options: SelectionOptions) -> Iterator[TaskResults]:
    """The tasks that have what is asked for, as if their scores and their reference were these."""
    scores = {score.name for one in results for score in one.task.scores}
    methods = {summary.method for one in results for summary in one.summaries}
    for what, names, known in (("score", options.scores, scores), ("method", (options.against,), methods)):
        for name in names:
            if name and name not in known:
                raise ValueError(f"there is no {what} {name!r} here; there are {', '.join(sorted(known))}")
    for one in results:
        task = copy(one.task)
        chosen = tuple(s for name in options.scores for s in task.scores if s.name == name) or task.scores
        vars(task).update(scores=chosen, reference=options.against or task.reference)
        yield replace(one, task=task)


@click.command()
@_WORDS
@options_from(leave_out=("quiet",))
def table(words: tuple[str, ...], options: TableOptions, output: OutputOptions) -> None:
    """Print the tables of RUN, a run's id or folder; the latest one when left out. TASK: only these; default: all it has.

    Methods are rows, cells are columns, grouped by their outer keys; for solvers md and latex are laid out as the paper's Table 5;
    csv and --json hold every figure unrounded, in seconds; --json is one object, or a list of them where tasks are several. Exit
    code 4: nothing was measured.
    """
    from semrsm_bench.core.stats import UNKNOWN
    from semrsm_bench.report.tables import render_table, task_object

    _, results = select(words, output.results, options)
    if options.statistics and options.format == "csv" and not output.json:
        raise OptionError("statistics", "a table in csv has none; take --json or another --format")
    if options.untimed:
        results = [
            replace(one, summaries=[replace(s, seconds=UNKNOWN, total_seconds=UNKNOWN) for s in one.summaries])
            for one in results
        ]
    if output.json:
        found = [task_object(one, options.paper, options.told_apart, options.statistics) for one in results]
        print_json(found[0] if len(found) == 1 else found)
        return
    width = options.width or terminal_width()
    shown = {"end_to_end": options.end_to_end, "told_apart": options.told_apart, "statistics": options.statistics}
    text = render_table(results, options.format, options.paper, **shown, width=width)
    say(text, nl=False)


@click.command()
@_WORDS
@options_from(leave_out=("json", "quiet"))
def plot(words: tuple[str, ...], options: PlotOptions, output: OutputOptions) -> None:
    """Draw the figures of RUN, a run's id or folder; the latest run when left out. TASK: only these; default: all it has.

    The time-score front, the time over S, the scores of single cases, and the pictures of each task. RUN may also be an .npy file
    of `semrsm-bench rsm`: then the matrix is drawn, ordered by label, beside the file or in --out. Exit code 4: nothing
    was measured.
    """
    if words and words[0].endswith(".npy"):
        from semrsm_bench.report.rsm_picture import save_rsm_picture

        file = Path(words[0])
        folder = options.out or file.parent
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{file.stem}.{suffix}" for suffix in options.formats]
        for path in paths:
            save_rsm_picture(file, path)
    else:
        from joblib import cpu_count

        from semrsm_bench.report.figures import draw_all
        from semrsm_bench.report.write import FIGURES_FOLDER

        folder, results = select(words, output.results, options)
        folder = options.out or folder / FIGURES_FOLDER
        paths = draw_all(results, folder, formats=options.formats, private=options.private, jobs=cpu_count())
    if not paths:
        _nothing("no row of this run is ok, so there is nothing to draw")
    say("\n".join(map(str, paths)))


@click.command()
@_WORDS
@options_from(leave_out=("json", "quiet"))
def report(words: tuple[str, ...], options: ReportOptions, output: OutputOptions) -> None:
    """Write one HTML file about RUN, a run's id or folder; the latest run when left out. TASK: only these; default: all it has.

    The file holds all it needs: it opens without a network, can be mailed, and prints. Exit code 4: nothing was measured.
    """
    from semrsm_bench.bench.results import RUN_FILE, read_json
    from semrsm_bench.report.page.assets import require_packages
    from semrsm_bench.report.page.build import build_page
    from semrsm_bench.report.write import write_text

    require_packages()
    folder, results = select(words, output.results, options)
    description = read_json(folder / RUN_FILE) if (folder / RUN_FILE).is_file() else {}
    made = f"Made by semrsm-bench on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    path = options.out or folder / PAGE
    write_text(path, build_page(results, description, private=options.private, made=made))
    tasks = ", ".join(one.task.name for one in results)
    say(f"{path} ({path.stat().st_size / 1e6:.1f} MB): run {folder.name}, {tasks}")
