"""Which part of a run is shown: what the verbs `table`, `plot` and `report` have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from semrsm_bench.cli.options import PluginOptions
from semrsm_bench.core.options import OptionError, option

if TYPE_CHECKING:
    from semrsm_bench.report.results import TaskResults


@dataclass(frozen=True)
class SelectionOptions(PluginOptions):
    """Which cells and scores are shown, and what methods are compared with."""

    where: tuple[str, ...] = option(
        (), help="Only cells whose KEY has this value; one key twice: either value.", metavar="KEY=VALUE,..."
    )
    centring: Literal["none", "channel", "position", "both"] | None = option(
        None, help="Short for --where centring=...; both: none and channel."
    )
    scores: tuple[str, ...] = option((), help="Only these scores, named as in --json; the first one leads.")
    against: str | None = option(
        None,
        help="Method that the others are compared with by paired differences; default: the task's.",
        metavar="METHOD",
    )

    def __post_init__(self) -> None:
        for word in self.where:
            if not all(word.partition("=")):
                raise OptionError("where", f"{word!r} is not KEY=VALUE")

    @property
    def wanted(self) -> dict[str, tuple[str, ...]]:
        """Values by key; empty for all cells."""
        words = [word.partition("=")[::2] for word in self.where]
        if self.centring is not None:
            words += [("centring", c) for c in (("none", "channel") if self.centring == "both" else (self.centring,))]
        return {key: tuple(value for k, value in words if k == key) for key, _ in words}


class NothingToShow(click.ClickException):
    """The run has no rows there; exit code 4."""

    exit_code = 4

    def show(self, file: Any = None) -> None:
        """One line, as for other errors."""
        click.echo(f"semrsm-bench: {self.message}", err=True)


def select(words: Sequence[str], results: Path, options: SelectionOptions) -> tuple[Path, list[TaskResults]]:
    """The folder of a run, and what is shown of it.

    The first word is the run's id or folder, the latest where it is left out; the others are tasks, default: all that the run
    has. Raises FileNotFoundError or ValueError where there is no such run, task, score or method, and
    `NothingToShow` where the run has no rows there.
    """
    from semrsm_bench.bench.methods import sort_plugins
    from semrsm_bench.bench.results import ENVIRONMENT_FILE, LATEST, find_run
    from semrsm_bench.report.results import NothingMeasuredError, read_results
    from semrsm_bench.tasks.registry import task_names

    sort_plugins(options.plugins)  # tasks are imported; what is shown of methods stands in the run
    tasks = list(words)
    run = LATEST
    # A first word that names a task and no run is a task of the latest run.
    if tasks and (tasks[0] not in task_names() or (results / tasks[0] / ENVIRONMENT_FILE).is_file()):
        run = tasks.pop(0)
    folder = find_run(results, run)
    try:
        results_of_run = read_results(folder, tasks=tasks, where=options.wanted)
    except NothingMeasuredError as error:
        raise NothingToShow(str(error)) from None
    return folder, list(_seen_as(results_of_run, options)) if options.scores or options.against else results_of_run


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
