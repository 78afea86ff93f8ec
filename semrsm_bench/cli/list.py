"""``semrsm-bench list``: what is registered here, and whether it can run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from semrsm_bench.activations.folders import CacheError
from semrsm_bench.cli.options import OutputOptions, PluginOptions, options_from
from semrsm_bench.cli.text import print_json, say
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.registry import nearest, registry_of
from semrsm_bench.metrics.registry import UNITS, unchanged_by

# What can be listed -> (the kind of entry, the heading).
ROOMS = {
    "solvers": ("solver", "Solvers"),
    "rsms": ("rsm", "RSM methods"),
    "metrics": ("metric", "Metrics"),
    "instances": ("instance", "Scores of single stimuli"),
    "tasks": ("task", "Tasks"),
    "families": ("family", "Families of instances (matching)"),
}
# In this order; those of tasks, what they judge, follow.
_KINDS = ("", "exact", "approximate", "matching", "matching-free", "statistic", "baseline")
_ENDS = {math.pi / 2: "pi/2", math.sqrt(2): "sqrt 2"}


@dataclass(frozen=True)
class ListOptions(PluginOptions):
    """Which entries."""

    kind: str | None = option(
        None, help="Only these: exact, approximate or baseline solvers; baseline metrics; rsms with a matching; ..."
    )


@click.command("list")
@click.argument("what", type=click.Choice(list(ROOMS)), required=False)
@options_from(leave_out=("results", "quiet"))
def list_command(what: str | None, options: ListOptions, output: OutputOptions) -> None:
    """List what is registered with its options, availability and source: all, or WHAT."""
    from semrsm_bench.bench.methods import brought, plugin_keys, sort_plugins

    rooms = [what] if what else list(ROOMS)
    kinds = [ROOMS[room][0] for room in rooms if room not in ("tasks", "families")]
    files, _ = sort_plugins(options.plugins)
    declared = brought(plugin_keys(files), kinds) if kinds else []
    entries = {room: list(_entries(ROOMS[room][0], declared)) for room in rooms}
    if options.kind is not None:
        _require_kind(options.kind, {row["kind"] for rows in entries.values() for row in rows} - {""}, what)
    shown = {room: [r for r in rows if options.kind in (None, r["kind"])] for room, rows in entries.items()}
    if output.json:
        print_json([row for rows in shown.values() for row in rows])
        return
    for room, rows in shown.items():
        found = {row["kind"] for row in rows}
        for kind in sorted(found, key=lambda k: (_KINDS.index(k) if k in _KINDS else len(_KINDS), k)):
            title = f"{ROOMS[room][1]} ({kind})" if kind else ROOMS[room][1]
            if room == "solvers":
                title = "Baselines" if kind == "baseline" else kind.capitalize()
            say(title, bold=True)
            for row in (row for row in rows if row["kind"] == kind):
                _print(row)


def _require_kind(kind: str, known: set[str], what: str | None) -> None:
    if kind in known:
        return
    problem = f"{kind!r} is no kind of {what or 'anything that is listed'}; {nearest(kind, sorted(known))}"
    if not known:
        problem = f"{what} have no kinds: leave --kind out; {', '.join(room for room in ROOMS if room != what)} have"
    raise click.BadParameter(problem, param_hint="--kind")


def _entries(kind: str, declared: Sequence[Declaration]) -> Iterator[dict[str, Any]]:
    """One row for each entry of a kind: those of this process, and what others have declared."""
    if kind == "family":
        yield from _families()
        return
    registry = registry_of(kind)
    entries = [registry.get(name) for name in registry.names()]
    if kind == "task":
        for task in entries:
            about = {"registry": kind, "name": task.name, "kind": task.kind, "summary": task.question}
            yield {**about, "options": {}, "source": task.source}
        return
    for method in (*(method.declare() for method in entries), *(d for d in declared if d.kind == kind)):
        known = ("matrix_free", "precision", "stateful", "takes", "best", "range", "symmetric", "invariances", "unit")
        yield {
            "registry": kind,
            "name": method.name,
            "kind": method.category,
            "summary": method.summary,
            "options": method.defaults,
            "complexity": method.complexity,
            **{fact: method.facts[fact] for fact in known if fact in method.facts},
            "reference": method.reference,
            "max_size": method.max_size,
            "version": method.version,
            "available": not method.reason,
            "reason": method.reason,
            "environment": "; ".join(method.environment),
        }


def _families() -> Iterator[dict[str, Any]]:
    from semrsm_bench.tasks.families import FAMILIES

    for family in FAMILIES.values():
        try:
            here, damaged = family.places(), ""
        except CacheError as error:
            here, damaged = [], str(error)
        yield {
            "registry": "family",
            "name": family.name,
            "kind": "",
            "summary": family.reason,
            "options": {},
            "shapes": family.shapes,
            "source": family.source,
            "available": bool(here),
            "reason": damaged or family.lacks(here),
        }


def _print(row: dict[str, Any]) -> None:
    say(f"  {row['name'] + ' ':<22}{row['summary']}")
    if "best" in row:
        say(f"{'':24}{'; '.join(_promises(row))}", dim=True)
    facts = (
        row.get("complexity"),
        f"exact to {row['precision']:g}" if row.get("precision") is not None else "",
        "matrix-free" if row.get("matrix_free") else "",
        "keeps state between calls" if row.get("stateful") else "",
        row.get("takes"),
        ", ".join(f"{size} x {channels}" if channels else str(size) for size, channels in row.get("shapes", ())),
        ", ".join(f"{name}={value}" for name, value in row["options"].items()),
        row.get("reference"),
        row.get("source"),
    )
    if any(facts):
        say(f"{'':24}{'; '.join(str(fact) for fact in facts if fact)}", dim=True)
    if row.get("reason"):
        say(f"{'':24}not {'here' if row['registry'] == 'family' else 'available'}: {row['reason']}", fg="yellow")


def _promises(row: dict[str, Any]) -> Iterator[str]:
    """Direction, range with unit, symmetry and invariances of what gives numbers."""
    yield row["best"]
    low, high = row["range"]
    unit = f", {UNITS[row['unit']]}" if row.get("unit") else ""
    yield f"{'(-inf' if low is None else f'[{_end(low)}'}, {'inf)' if high is None else f'{_end(high)}]'}{unit}"
    if "symmetric" in row:
        yield "symmetric" if row["symmetric"] else "not symmetric"
    if row["takes"] != "pixels":
        yield f"unchanged by {unchanged_by(row['invariances'])}"


def _end(value: float) -> str:
    return _ENDS.get(value) or f"{value:g}"
