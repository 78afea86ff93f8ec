"""``semrsm-bench list``: what is registered here, and whether it can run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from semrsm_bench.activations.folders import CacheError
from semrsm_bench.cli.options import OutputOptions, PluginOptions, options_from
from semrsm_bench.cli.text import print_json, say
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.registry import registry_of

# What can be listed -> (the kind of entry, the heading).
ROOMS = {
    "solvers": ("solver", "Solvers"),
    "rsms": ("rsm", "RSM methods"),
    "metrics": ("metric", "Metrics"),
    "instances": ("instance", "Scores of single stimuli"),
    "tasks": ("task", "Tasks"),
    "families": ("family", "Families of instances (matching)"),
}
_FIRST = ("exact", "approximate", "baseline")


@dataclass(frozen=True)
class ListOptions(PluginOptions):
    """Which entries."""

    kind: str | None = option(None, help="Only these, such as exact, approximate or baseline solvers.")


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
    categories = sorted({row["kind"] for rows in entries.values() for row in rows} - {""})
    if options.kind is not None and options.kind not in categories:
        raise click.BadParameter(f"{options.kind!r} is not one of {', '.join(categories)}", param_hint="--kind")
    shown = {room: [r for r in rows if options.kind in (None, r["kind"])] for room, rows in entries.items()}
    if output.json:
        print_json([row for rows in shown.values() for row in rows])
        return
    for room, rows in shown.items():
        for kind in sorted({row["kind"] for row in rows}, key=lambda k: (_FIRST.index(k) if k in _FIRST else 9, k)):
            title = f"{ROOMS[room][1]} ({kind})" if kind else ROOMS[room][1]
            if room == "solvers":
                title = "Baselines" if kind == "baseline" else kind.capitalize()
            say(title, bold=True)
            for row in (row for row in rows if row["kind"] == kind):
                _print(row)


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
        known = ("matrix_free", "precision", "stateful", "takes")
        yield {
            "registry": kind,
            "name": method.name,
            "kind": method.category if kind == "solver" else "",
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
