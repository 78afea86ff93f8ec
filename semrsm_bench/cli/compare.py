"""``semrsm-bench compare | merge | gate``: figures of runs, of machines, or of two commits side by side."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click

from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.text import aligned, print_json, say
from semrsm_bench.core.options import option
from semrsm_bench.core.row import cell_key, plain
from semrsm_bench.report.formatting import format_seconds

_ORDER = ("worse", "better", "same")
_MOST_NAMES = 12


@dataclass(frozen=True)
class CompareOptions(OutputOptions):
    """What counts, and what is shown."""

    rules: tuple[str, ...] = option(
        (),
        help="Exit 1 where a cell got worse by more: gap:0.5% (points of 1 - c) or time:2x; repeatable.",
        name="fail",
        metavar="RULE",
    )
    missing: tuple[str, ...] = option((), help="Methods that may lack figures now; all: any.", name="allow-missing")
    show_all: bool = option(False, help="Also the cells that did not change.", name="all")


@click.command()
@click.argument("before")
@click.argument("after")
@options_from(leave_out=("quiet",))
def compare(before: str, after: str, options: CompareOptions) -> int:
    """Compare BEFORE with AFTER: what changed beyond noise, both ways, with 95 % intervals.

    Each is a run (folder, id or "latest"), an asv result (a file, or .asv/results@COMMIT), or a file that pytest-benchmark wrote
    with --benchmark-json. A cell that has figures before and is failed, null, NaN or absent after is a regression.
    """
    from semrsm_bench.bench import compare as bench

    rules = [bench.parse_rule(rule) for rule in options.rules]
    found = bench.compare(*(bench.read_measurements(side, options.results) for side in (before, after)))
    broken, missing = found.broken(rules), found.missing(options.missing)
    shared = any(key in found.after.cells for key in found.before.cells)
    nothing = found.nothing_for(rules)
    code = 4 if not shared else 1 if broken or missing else 4 if nothing and not found.lost else 0
    if options.json:
        print_json(_json(found, broken, nothing, code))
        return code
    for label, side in (("before", found.before), ("after", found.after)):
        say(f"{label:<8}{side.name}: {len(side.cells)} cells" + (f", {side.machine}" if side.machine else ""))
    for notice in found.notices:
        say(f"notice: {notice}")
    if not shared:
        say("nothing to compare: the two have no cell (method, S, place) in common")
        for label, side in (("before", found.before), ("after", found.after)):
            say(f"  {label:<6} has {_what_is_in(side.cells)}")
        return code
    _print(found, broken, missing, options.show_all)
    if code == 4:
        say(f"NOTHING TO JUDGE: no cell has a {' or a '.join(nothing)} on both sides")
        cells = [(side, *item) for side in (found.before, found.after) for item in side.cells.items()]
        for side, cell, failures in [(s, c, figures.failures) for s, c, figures in cells if figures.failures][:5]:
            say(f"  {side.name}: {_cell(cell)}: {next(iter(failures.values()))}")
    elif rules or code:
        lost = f", {len(missing)} cells lack figures (--allow-missing METHOD allows it)" if missing else ""
        say(f"{'FAIL' if code else 'PASS'}: {len(broken)} beyond the limits{lost}")
    return code


def _print(found: Any, broken: list[Any], missing: dict[Any, str], show_all: bool) -> None:
    shown = [c for c in found.changes if show_all or c.verdict != "same"]
    lines: list[tuple[str, ...]] = [("", "method", "S", "place", "", "before", "after", "change", "95 % interval")]
    for change in sorted(shown, key=lambda c: (_ORDER.index(c.verdict), c.metric, c.cell)):
        lines.append(_line(change, "FAIL" if change in broken else change.verdict))
    if shown:
        say("\n".join(aligned(lines, right=(2, 5, 6, 7))))
    for cell in [*missing][:_MOST_NAMES]:
        say(f"MISSING  {_cell(cell)}: {missing[cell]}")
    if more := [*missing][_MOST_NAMES:]:
        say(f"MISSING  also {_count(more)} (--json names all)")
    if allowed := [cell for cell in found.lost if cell not in missing]:
        say(f"missing, as allowed: {_count(allowed)}")
    only_before = [cell for cell in found.only_before if cell not in found.lost]
    for label, cells in (("only before", only_before), ("only after", found.only_after)):
        if cells:
            say(f"{label}: {_count(cells)}")
    counts = Counter((change.metric, change.verdict) for change in found.changes)
    said = []
    for metric, words in (("time", ("slower", "faster", "unchanged")), ("gap", ("worse", "better", "unchanged"))):
        said.append(f"{metric}: " + ", ".join(f"{counts[metric, v]} {word}" for v, word in zip(_ORDER, words)))
    say("; ".join(said))


def _count(cells: Sequence[Any]) -> str:
    names = sorted({cell.method for cell in cells})
    return f"{len(cells)} cells of {', '.join(_first(names))}"


def _first(names: Sequence[str]) -> list[str]:
    return [*names[:_MOST_NAMES], *["..."] * (len(names) > _MOST_NAMES)]


def _what_is_in(cells: Iterable[Any]) -> str:
    """Families or networks, S, places and methods of cells, in words; of many the first."""
    found: dict[str, dict[str, None]] = {"model": {}, "S =": {}, "place": {}, "method": {}}
    for cell in sorted(cells):
        words = (cell.layer.partition("/")[0], str(cell.size or ""), cell._replace(layer="").where, cell.method)
        for names, word in zip(found.values(), words):
            names |= {word: None} if word else {}
    shown = {what: _first([*names]) for what, names in found.items() if names}
    return "; ".join(f"{what} {', '.join(names)}" for what, names in shown.items()) or "no cell"


def _cell(cell: Any) -> str:
    return f"{cell.method} at S={cell.size} ({cell.where})"


def _line(change: Any, mark: str) -> tuple[str, ...]:
    where = (mark, change.cell.method, str(change.cell.size or ""), change.cell.where, change.metric)
    value, low, high = change.change
    if change.metric == "time":
        times = (f"{1e3 * seconds:.3g} ms" for seconds in (change.before, change.after))
        return (*where, *times, f"{value:.2f}x", f"{low:.2f} to {high:.2f}")
    # Adding 0.0 after rounding turns a minus zero into zero.
    old, new, rise = (round(100 * gap, 3) + 0.0 for gap in (change.before, change.after, value))
    return (*where, f"{old:.3f} %", f"{new:.3f} %", f"{rise:+.3f}", f"{100 * low:+.3f} to {100 * high:+.3f}")


def _json(found: Any, broken: list[Any], nothing: list[str], code: int) -> dict[str, Any]:
    changes = [
        {**c.cell._asdict(), "metric": c.metric, "before": c.before, "after": c.after, "change": c.change._asdict()}
        | {"paired": c.paired, "verdict": c.verdict, "broken": c in broken}
        for c in found.changes
    ]
    sides = {"before": found.before, "after": found.after}
    return {
        "exit_code": code,
        **{name: {k: v for k, v in vars(side).items() if k != "cells"} for name, side in sides.items()},
        "notices": found.notices,
        "not_compared": nothing,
        "changes": changes,
        "lost": [{**cell._asdict(), "failure": why} for cell, why in found.lost.items()],
        "only_before": [cell._asdict() for cell in found.only_before],
        "only_after": [cell._asdict() for cell in found.only_after],
    }


@dataclass(frozen=True)
class MergeOptions:
    """How the runs are shown."""

    relative_to: str | None = option(None, help="Show how many times faster than this method each is, on each machine.")
    format: Literal["text", "csv"] = option("text", help="The format of the table.")


@click.command()
@click.argument("runs", nargs=-1, required=True)
@options_from(leave_out=("quiet",))
def merge(runs: tuple[str, ...], options: MergeOptions, output: OutputOptions) -> None:
    """Lay RUNS (ids, or folders copied from other machines) side by side: a column for each, ratios, never an average."""
    import pandas as pd

    from semrsm_bench.bench.results import find_run
    from semrsm_bench.bench.summary import merge_runs
    from semrsm_bench.core.escape import clean, escape_csv

    lines, legend = merge_runs([find_run(output.results, run) for run in runs], relative_to=options.relative_to)
    if output.json:
        cells = [plain(asdict(line), bounded=False) for line in lines]
        print_json({"runs": legend, "cells": cells})
    elif options.format == "csv":
        rows = []
        for line in lines:
            rows.append({"task": line.task, "method": line.method, **line.place})
            for label, figures in line.runs.items():
                rows[-1] |= {f"{label}_{name}": value for name, value in figures.items()}
        table = pd.DataFrame(rows, dtype=object).map(
            lambda cell: escape_csv(clean(cell)) if isinstance(cell, str) else cell
        )
        say(table.to_csv(index=False), nl=False)
    else:
        _print_merged(lines, legend, options.relative_to)


def _print_merged(lines: Sequence[Any], legend: dict[str, dict[str, Any]], relative_to: str | None) -> None:
    for label, machine in legend.items():
        changes = " with changes" if machine["dirty"] else ""
        commit = f"commit {machine['commit'][:10]}{changes}" if machine["commit"] else "release"
        say(f"{label}: {machine['cpu']}, {machine['os']}, {commit}, run {machine['run_id']}")
    for _, group in itertools.groupby(lines, lambda line: (line.task, cell_key(line.place))):
        members = list(group)
        # Heading -> label, figure, format
        columns: dict[str, tuple[str, str, str]] = {}
        for label in legend:
            columns |= {f"{label} T": (label, "seconds", ""), f"{label} {members[0].score}": (label, "score", ".4f")}
            columns |= {f"{label}/A": (label, "time_ratio", ".2f")} if label != "A" else {}
            columns |= {f"x {label}": (label, "speedup", ".2f")} if relative_to else {}
        table = [["method", *columns]]
        table += [[line.method, *(_figure(line, *column) for column in columns.values())] for line in members]
        say(f"\n{members[0].task}: " + ", ".join(f"{name} {value}" for name, value in members[0].place.items()))
        title, *rows = aligned(table, right=range(1, len(table[0])))
        say(title, bold=True)
        say("\n".join(rows))
    say("\nT: median seconds of a call. B/A: time over A's.")
    if relative_to:
        say(f"x A: times faster than {relative_to} on the same machine.")


def _figure(line: Any, label: str, figure: str, spec: str) -> str:
    figures = line.runs.get(label, {})
    value = figures.get(figure, math.nan)
    if not math.isfinite(value):
        return figures.get("status", "-") if figure == "seconds" else "-"
    return format(value, spec) if spec else format_seconds(value)


@click.command(
    epilog="Exit codes: 0 nothing got worse, 1 something did, 2 wrong use, 3 a method failed on the head or the head does not "
    "import, 4 nothing could be compared (such as a base that does not import), or the machine failed."
)
@click.argument("base")
@click.argument("head", default="HEAD")
@options_from(leave_out=("results",))
def gate(base: str, head: str, options: GateOptions, output: OutputOptions) -> int:
    """Compare the commits BASE and HEAD of the repository here; say in words what got worse.

    Both are exported and measured in turns on one core, on the same problems, with optima that neither of them computed. The
    limits can be kept in pyproject.toml under [tool.semrsm-bench.gate]: quality, exact, time, and solvers.NAME.quality or .time.
    """
    from semrsm_bench.bench.gate.run import as_json, as_markdown, as_text, run_gate
    from semrsm_bench.bench.gate.sides import SideError

    try:
        found = run_gate(base, head, options, quiet=output.quiet, report=lambda text: say(text, err=True))
    except SideError as error:
        text = f"the head cannot be measured: {error}"
        say(text, err=True)
        text = text.replace("```", "")  # it could end the block
        _append(options.summary, f"### Gate: FAIL\n\n```text\n{text}\n```\n")
        return 3
    _append(options.summary, as_markdown(found))
    if output.json:
        print_json(as_json(found))
    else:
        say(as_text(found))
    return found.exit_code


def _append(summary: Path | None, text: str) -> None:
    if summary is not None:
        with summary.open("a", encoding="utf-8") as file:
            file.write(text)
