"""``semrsm-bench compare``: two sets of figures side by side."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.text import aligned
from semrsm_bench.core.options import option

_ORDER = ("worse", "better", "same")


@dataclass(frozen=True)
class CompareOptions(OutputOptions):
    """What counts, and what is shown."""

    results: Path = option(Path("results"), help="Folder of all runs.", aliases=("out",))
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
@options_from(leave_out=("quiet",))
def compare(before: str, after: str, options: CompareOptions) -> int:
    """Compare BEFORE with AFTER: what changed beyond noise, both ways, with 95 % intervals.

    Each is a run (folder, id or "latest"), an asv result (a file, or .asv/results@COMMIT), or a file that pytest-benchmark wrote
    with --benchmark-json. A cell that has figures before and is failed, null, NaN or absent after is a regression.
    """
    from semrsm_bench.bench.compare import compare as compare_sides
    from semrsm_bench.bench.compare import parse_rule
    from semrsm_bench.bench.readers import read_measurements

    rules = [parse_rule(rule) for rule in options.rules]
    found = compare_sides(*(read_measurements(side, options.results) for side in (before, after)))
    broken, missing = found.broken(rules), found.missing(options.missing)
    shared = any(key in found.after.cells for key in found.before.cells)
    code = 4 if not shared else 1 if broken or missing else 0
    if options.json:
        click.echo(json.dumps(_json(found, broken, code), indent=1))
        return code
    for label, side in (("before", found.before), ("after", found.after)):
        click.echo(f"{label:<8}{side.name}: {len(side.cells)} cells" + (f", {side.machine}" if side.machine else ""))
    for notice in found.notices:
        click.echo(f"notice: {notice}")
    if not shared:
        click.echo("nothing to compare: the two have no cell (method, S, place) in common")
        return code
    _print(found, broken, missing, options.show_all)
    if rules or code:
        lost = f", {len(missing)} cells lack figures (--allow-missing METHOD allows it)" if missing else ""
        click.echo(f"{'FAIL' if code else 'PASS'}: {len(broken)} beyond the limits{lost}")
    return code


def _print(found: Any, broken: list[Any], missing: dict[Any, str], show_all: bool) -> None:
    shown = [c for c in found.changes if show_all or c.verdict != "same"]
    lines: list[tuple[str, ...]] = [("", "method", "S", "place", "", "before", "after", "change", "95 % interval")]
    for change in sorted(shown, key=lambda c: (_ORDER.index(c.verdict), c.metric, c.cell)):
        lines.append(_line(change, "FAIL" if change in broken else change.verdict))
    if shown:
        click.echo("\n".join(aligned(lines, right=(2, 5, 6, 7))))
    for cell, why in found.lost.items():
        mark = "MISSING" if cell in missing else "missing, as allowed:"
        click.echo(f"{mark}  {cell.method} at S={cell.size} ({_place(cell)}): {why}")
    for label, cells in (("only before", found.only_before), ("only after", found.only_after)):
        if cells:
            click.echo(f"{label}: {len(cells)} cells of {', '.join(sorted({cell.method for cell in cells}))}")
    counts = Counter((change.metric, change.verdict) for change in found.changes)
    said = {"time": ("slower", "faster", "unchanged"), "gap": ("worse", "better", "unchanged")}
    click.echo(
        "; ".join(
            f"{metric}: " + ", ".join(f"{counts[metric, verdict]} {word}" for verdict, word in zip(_ORDER, words))
            for metric, words in said.items()
        )
    )


def _place(cell: Any) -> str:
    return cell.place if cell.task == "matching" else f"{cell.task}: {cell.place}"


def _line(change: Any, mark: str) -> tuple[str, ...]:
    where = (mark, change.cell.method, str(change.cell.size or ""), _place(change.cell), change.metric)
    value, low, high = change.change
    if change.metric == "time":
        times = (f"{1e3 * seconds:.3g} ms" for seconds in (change.before, change.after))
        return (*where, *times, f"{value:.2f}x", f"{low:.2f} to {high:.2f}")
    # Adding 0.0 after rounding turns a minus zero into zero.
    old, new, rise = (round(100 * gap, 3) + 0.0 for gap in (change.before, change.after, value))
    return (*where, f"{old:.3f} %", f"{new:.3f} %", f"{rise:+.3f}", f"{100 * low:+.3f} to {100 * high:+.3f}")


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
