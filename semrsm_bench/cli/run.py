"""``semrsm-bench run``: measure methods on tasks, then show the tables and where the files are."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from semrsm_bench.bench.plan import RunOptions
from semrsm_bench.bench.results import ROWS_FILE, SessionOptions
from semrsm_bench.cli.list import ROOMS
from semrsm_bench.cli.options import OutputOptions, click_option, joined, made, options_from
from semrsm_bench.cli.text import aligned, duration, print_json, say, terminal_width
from semrsm_bench.core.options import OptionError, OptionInfo, describe
from semrsm_bench.core.row import METHOD_FAULTS

# Words for all tasks that judge a kind of method, as in `list`.
KINDS = {room: kind for room, (kind, _) in ROOMS.items() if kind not in ("task", "family")}
_SHOWN = (*METHOD_FAULTS, "timeout", "memory")
# Of the methods that a table ranks, where nobody asked for a task by its name.
_BEST = 12
_NUMBER = re.compile(r"[-+]?\d[\d.]*(e[-+]?\d+)?")


class TaskCommand(click.Command):
    """A command with the options of `run` and those of the tasks that its arguments name.

    A flag that several of these tasks have is read by each as it declares it, also where it is an alias for one of them.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find out which tasks are named, take their options in, then parse."""
        from semrsm_bench.bench.methods import sort_plugins
        from semrsm_bench.tasks.features import FeatureOptions
        from semrsm_bench.tasks.registry import TASKS, default_tasks, get_task

        names = set(TASKS.names())
        params = self.params
        try:
            # A word may be the value of an option, too: only a parser that knows all options tells which are arguments.
            named = tasks_of(args)
            self.params, _ = _with_options(params, named or default_tasks())
            with contextlib.suppress(click.UsageError):
                words = self.make_parser(ctx).parse_args(args.copy())[0]["named"]
                named = tasks_of(words if isinstance(words, tuple) else ())
            if not named:  # those that a file brings, or else the default
                files = [Path(after) for word, after in itertools.pairwise(args) if word == "--plugin"]
                files += [Path(word.partition("=")[2]) for word in args if word.startswith("--plugin=")]
                named = sort_plugins([path for path in files if path.is_file()])[1]
            ctx.meta["by_default"] = not named
            named = named or default_tasks()
            tasks = {name: get_task(name).options for name in named}
            ctx.meta["tasks"] = tasks
            self.params, ctx.meta["owners"] = _with_options(params, named)
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name == "--data" and all(issubclass(kind, FeatureOptions) for kind in tasks.values()):
                raise click.UsageError(
                    f"{', '.join(tasks)}: give activations by --features, one file a network"
                ) from None
            others = [
                name
                for name in sorted(names)
                if error.option_name in {i.flag for i in describe(get_task(name).options)}
            ]
            if others:
                text = (
                    f"{', '.join(tasks)}: there is no {error.option_name} here; it is an option of {', '.join(others)}"
                )
                raise click.UsageError(text) from None
            raise
        finally:
            if not ctx.resilient_parsing:
                self.params = params

    def invoke(self, ctx: click.Context) -> Any:
        """Call the function with the tasks' options as instances of their classes."""
        tasks: dict[str, type] = ctx.meta["tasks"]
        owners: dict[str, str] = ctx.meta["owners"]
        words = {flag: ctx.params.pop(_name(flag)) for flag in set(owners.values())}
        given = {flag for flag, word in words.items() if word not in (None, ())}
        found, problems = {}, []
        for name, options in tasks.items():
            infos = {info.field: info for info in describe(options)}
            heard = {field: {owners[flag] for flag in info.flags} for field, info in infos.items()}
            if ctx.meta["by_default"] and not given <= set().union(*heard.values()):
                continue  # of the tasks that nobody named, those that have all options that are given
            try:
                values = {
                    field: joined(info, _read(info, _words(words, heard[field]))) for field, info in infos.items()
                }
                found[name] = made(options, values, infos)
            except click.UsageError as error:
                if not ctx.meta["by_default"]:
                    raise
                problems.append(error)
        if problems and not found:
            raise problems[0]
        if not found:
            raise click.UsageError(f"no task has all of {', '.join(sorted(given))}; name the tasks")
        ctx.params |= {"tasks": found, "by_default": ctx.meta["by_default"]}
        return super().invoke(ctx)


def tasks_of(words: Sequence[str]) -> list[str]:
    """Names of the tasks that words name, by themselves or as all of a kind; others name none."""
    from semrsm_bench.tasks.registry import task_names

    known = {name: [name] for name in task_names()} | {word: task_names(kind) for word, kind in KINDS.items()}
    return list(dict.fromkeys(name for word in words for name in known.get(word, ())))


def _with_options(
    params: Sequence[click.Parameter], tasks: Sequence[str]
) -> tuple[list[click.Parameter], dict[str, str]]:
    """Parameters of `run` and of the options of tasks; and who of these has a flag."""
    from semrsm_bench.tasks.registry import get_task

    known = {name for param in params for name in (param.name, *param.opts)}
    infos = [info for name in tasks for info in describe(get_task(name).options)]
    for info in infos:
        if known & {info.field, *info.flags}:
            raise TypeError(f"the option {info.flag} of a task is one of `run` itself")
    owners = _owners(infos)
    return [*params, *_shared_options(infos, owners)], owners


def _owners(infos: Sequence[OptionInfo]) -> dict[str, str]:
    """Of each flag the option that has it on the command line: its own, or else the first that has it as an alias."""
    owners = {info.flag: info.flag for info in infos}
    for info in infos:
        for flag in info.flags:
            owners.setdefault(flag, info.flag)
    return owners


def _shared_options(infos: Sequence[OptionInfo], owners: Mapping[str, str]) -> list[click.Option]:
    """An option for each owner of flags, described as the first task does."""
    first: dict[str, OptionInfo] = {}
    for info in infos:
        first.setdefault(info.flag, info)
    own = {flag: tuple(_name(f, "-") for f, owner in owners.items() if owner == flag != f) for flag in first}
    return [
        click_option(replace(info, field=_name(flag), name=_name(flag, "-"), aliases=own[flag]), raw=True)
        for flag, info in first.items()
    ]


def _name(flag: str, dash: str = "_") -> str:
    return flag.removeprefix("--").replace("-", dash)


def _words(words: Mapping[str, Any], flags: Iterable[str]) -> Any:
    """What the command line gave by any of an option's flags."""
    given = [words[flag] for flag in sorted(flags) if words[flag] not in (None, ())]
    return tuple(itertools.chain.from_iterable(given)) if len(given) > 1 else given[0] if given else None


def _read(info: Any, words: Any) -> Any:
    """Words of a raw option as this task reads them; the last one counts where it takes one value."""
    if info.kind == "flag" or not words:
        return words
    try:
        parsed = [info.parse(word) for word in words]
    except OptionError as error:
        raise click.BadParameter(error.problem, param_hint=" / ".join(info.flags)) from None
    return tuple(parsed) if info.shape != "one" else parsed[-1]


@click.command(cls=TaskCommand)
@click.argument("named", metavar="[TASK]...", nargs=-1)
@options_from(leave_out=("results",))
def run(
    named: tuple[str, ...],
    options: RunOptions,
    session: SessionOptions,
    output: OutputOptions,
    tasks: dict[str, Any],
    by_default: bool,
) -> int:
    """Measure methods on TASKs, row by row; ends with their tables. Without a task: those that are measured by default.

    Of these the ones that have all options that are given, and all libraries that they need. `semrsm-bench list tasks`
    names all tasks, `semrsm-bench run TASK --help` shows the options of one; metrics, rsms, solvers and instances are all
    tasks of that kind for which there is what they need, such as logits. Started again with the same
    options, a run that was interrupted is resumed. Exit codes: 0 fine, 1 the machine failed (the same command resumes), 2 wrong
    use, 3 a method failed (crashed, raised, or gave no valid answer), 4 nothing was measured.
    """
    from semrsm_bench.bench.engine import run as measure
    from semrsm_bench.tasks.registry import get_task

    for name in named:
        if name not in KINDS:
            get_task(name)
    silent = output.quiet or output.json
    finished, ledger = measure(
        options,
        session,
        tasks,
        leave_out=by_default or not KINDS.keys().isdisjoint(named),
        quiet=silent,
        report=lambda text: None if silent else say(text, err=True),
    )
    folder = finished.folder
    facts = {**vars(finished), "run_id": folder.name, "folder": str(folder), "complete": not session.estimate}
    if spoiled := list(ledger.spoiled.values()):
        again = f"run the same command with --run-id {folder.name} to measure them again"
        say(f"the machine spoiled {len(spoiled)} rows: {spoiled[0]}; {again}", err=True)
    if session.estimate:
        _show_estimate(ledger.forecast(), facts, output.json)
        return finished.exit_code
    from semrsm_bench.report.write import write_report

    try:
        results, files = write_report(folder)
    except OSError:
        again = f"semrsm-bench table {folder} and semrsm-bench plot {folder}"
        say(f"the rows are complete; {again} make the rest", err=True)
        raise
    if output.json:
        print_json({**facts, "files": [str(path) for path in files]})
    elif output.quiet:
        say(folder)
    else:
        _show(folder, results, finished.counts, files, brief=by_default and len(results) > 1)
    return finished.exit_code


def _show(
    folder: Path, results: Sequence[Any], counts: Mapping[str, int], files: Sequence[Path], brief: bool = False
) -> None:
    """Print the tables of a run, or of each task the best of one cell, its failures, and where everything is."""
    from semrsm_bench.report.tables import render_table
    from semrsm_bench.report.write import FIGURES_FOLDER, MOST_DRAWN

    if results:
        say(render_table(results, width=terminal_width(), best=_BEST if brief else None))
    if results and brief:
        say(
            f"Of each task one score in one cell, with the best {_BEST} methods. All of it: semrsm-bench table {folder} TASK\n"
        )
    rows = [row for one in results for row in one.rows if row["status"] in _SHOWN]
    failures: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in rows:  # one line for messages that differ in numbers alone
        failures[row["method"], row["status"], _NUMBER.sub("", row["message"])].append(row["message"])
    for (method, status, _), messages in failures.items():
        such = ", such as" if len(set(messages)) > 1 else ""
        say(f"{method}: {status} in {len(messages)} of its rows{such}: {messages[0]}")
    rows_text = ", ".join(f"{n} {status}" for status, n in counts.items()) or "none"
    say(f"rows     {folder / ROWS_FILE}  ({rows_text})")
    tables = [path for path in files if path.parent == folder]
    if tables:
        say(f"table    {', '.join(map(str, tables))}")
    if len(files) > len(tables):
        more = f"; those of each task: semrsm-bench plot {folder}" if len(results) > MOST_DRAWN else ""
        say(f"figures  {folder / FIGURES_FOLDER}  ({len(files) - len(tables)} files{more})")


def _show_estimate(forecast: list[dict[str, Any]], facts: dict[str, Any], as_json: bool) -> None:
    from semrsm_bench.report.formatting import plural

    least, most = (sum(line[key] for line in forecast) for key in ("least_seconds", "seconds"))
    counts = Counter(line["known"] for line in forecast)
    if as_json:
        numbers = {f"cells_{how.replace(' ', '_')}": counts[how] for how in ("measured", "guessed", "given up")}
        print_json({**facts, "least_seconds": least, "seconds": most, **numbers, "cells": forecast})
        return
    lines = [("task", "method", "cell", "cases", "s a case", "total", "")]
    for line in forecast:
        cell, cases = "/".join(map(str, line["cell"].values())), f"{line['cases']} of {line['wanted']}"
        times = f"{line['seconds_a_case']:.3g}", _range(line["least_seconds"], line["seconds"])
        lines.append((line["task"], line["method"], cell, cases, *times, line["reason"]))
    say("\n".join(aligned(lines, right=(3, 4, 5))))
    known = f"{plural(counts['measured'], 'cell')} measured, {counts['guessed']} guessed"
    if counts["given up"]:
        known += f", {counts['given up']} given up, for which there is a range"
    say(f"about {_range(least, most)} in all: {known}; the same command without --estimate resumes from here")


def _range(least: float, most: float) -> str:
    return " to ".join(dict.fromkeys(map(duration, (least, most))))
