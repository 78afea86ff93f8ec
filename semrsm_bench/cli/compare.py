"""``semrsm-bench compare``: two sets of figures side by side."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.text import aligned
from semrsm_bench.core.options import option

if TYPE_CHECKING:
    from semrsm_bench.bench.readers import CellKey

_ORDER = {"worse": 0, "better": 1, "same": 2}


@dataclass(frozen=True)
class CompareOptions:
    """What counts, and what is shown."""

    rules: tuple[str, ...] = option(
        (),
        help="Exit 1 where a cell got worse by more: gap:0.5% (points of 1 - c) or time:2x; repeatable.",
        name="fail",
        metavar="RULE",
    )
    missing: tuple[str, ...] = option(
        (), help="Methods that may lack figures now which they had before; all: any.", name="allow-missing"
    )
    show_all: bool = option(False, help="Also the cells that did not change.", name="all")


@click.command()
@click.argument("before")
@click.argument("after")
@options_from(leave_out=("quiet",), rename={"results": ("results", "out")})
def compare(before: str, after: str, options: CompareOptions, output: OutputOptions) -> int:
    """Compare BEFORE with AFTER: what changed beyond noise, both ways, with 95 % intervals.

    Each is a run (folder, id or "latest"), an asv result (a file, or .asv/results@COMMIT), or a file that pytest-benchmark wrote
    with --benchmark-json. A cell that has figures before and is failed, null, NaN or absent after is a regression.
    """
    from semrsm_bench.bench.compare import compare as compare_sides
    from semrsm_bench.bench.compare import parse_rule
    from semrsm_bench.bench.readers import read_measurements

    parsed = [parse_rule(rule) for rule in options.rules]
    found = compare_sides(read_measurements(before, output.results), read_measurements(after, output.results))
    broken, missing = found.broken(parsed), found.missing(options.missing)
    shared = any(key in found.after.cells for key in found.before.cells)
    code = 4 if not shared else 1 if broken or missing else 0
    if output.json:
        click.echo(json.dumps(_json(found, broken, code), indent=1))
    else:
        _print(found, broken, missing, options)
        if shared and (parsed or code):
            lost = f", {len(missing)} cells lack figures (--allow-missing METHOD allows it)" if missing else ""
            click.echo(f"{'FAIL' if code else 'PASS'}: {len(broken)} beyond the limits{lost}")
    return code


def _print(found: Any, broken: list[Any], missing: dict[Any, str], options: CompareOptions) -> None:
    from semrsm_bench.bench.readers import describe

    click.echo(f"before  {describe(found.before)}\nafter   {describe(found.after)}")
    for notice in found.notices:
        click.echo(f"notice: {notice}")
    if not any(key in found.after.cells for key in found.before.cells):
        click.echo("nothing to compare: the two have no cell (method, S, place) in common")
        return
    shown = [c for c in found.changes if options.show_all or c.verdict != "same"]
    lines = [
        _line(change, change in broken) for change in sorted(shown, key=lambda c: (_ORDER[c.verdict], c.metric, c.cell))
    ]
    if lines:
        head = ("", "method", "S", "place", "", "before", "after", "change", "95 % interval")
        click.echo("\n".join(aligned([head, *lines], right=(2, 5, 6, 7))))
    for cell, why in found.lost.items():
        mark = "MISSING" if cell in missing else "missing, as allowed:"
        click.echo(f"{mark}  {cell.method} at S={cell.size} ({_place(cell)}): {why}")
    for label, cells in (("only before", found.only_before), ("only after", found.only_after)):
        if cells:
            methods = sorted({cell.method for cell in cells})
            click.echo(f"{label}: {len(cells)} cells of {', '.join(methods)}")
    counts = {
        (m, v): sum(c.metric == m and c.verdict == v for c in found.changes) for m in ("time", "gap") for v in _ORDER
    }
    click.echo(
        f"time: {counts['time', 'worse']} slower, {counts['time', 'better']} faster, {counts['time', 'same']} unchanged; "
        f"gap: {counts['gap', 'worse']} worse, {counts['gap', 'better']} better, {counts['gap', 'same']} unchanged"
    )


def _place(cell: CellKey) -> str:
    return cell.place if cell.task == "matching" else f"{cell.task}: {cell.place}"


def _line(change: Any, broken: bool) -> tuple[str, ...]:
    place = (change.cell.method, str(change.cell.size or ""), _place(change.cell))
    mark = "FAIL" if broken else change.verdict
    low, high = change.change.low, change.change.high
    if change.metric == "time":
        values = (f"{1e3 * change.before:.3g} ms", f"{1e3 * change.after:.3g} ms", f"{change.change.value:.2f}x")
        return (mark, *place, "time", *values, f"{low:.2f} to {high:.2f}")
    # Adding 0.0 after rounding turns a minus zero into zero.
    old, new = (round(100 * value, 3) + 0.0 for value in (change.before, change.after))
    values = (f"{old:.3f} %", f"{new:.3f} %", f"{round(100 * change.change.value, 3) + 0.0:+.3f}")
    return (mark, *place, "gap", *values, f"{100 * low:+.3f} to {100 * high:+.3f}")


def _json(found: Any, broken: list[Any], code: int) -> dict[str, Any]:
    changes = [
        {**c.cell._asdict(), "metric": c.metric, "before": c.before, "after": c.after, "change": c.change._asdict()}
        | {"paired": c.paired, "verdict": c.verdict, "broken": c in broken}
        for c in found.changes
    ]
    return {
        "exit_code": code,
        "before": {k: v for k, v in asdict(found.before).items() if k != "cells"},
        "after": {k: v for k, v in asdict(found.after).items() if k != "cells"},
        "notices": found.notices,
        "changes": changes,
        "lost": [{**cell._asdict(), "failure": why} for cell, why in found.lost.items()],
        "only_before": [cell._asdict() for cell in found.only_before],
        "only_after": [cell._asdict() for cell in found.only_after],
    }
