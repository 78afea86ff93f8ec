"""``semrsm-bench list``: what is registered here, and whether it can run."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from typing import Any

import click

from semrsm_bench.cli.options import OutputOptions, PluginOptions, options_from
from semrsm_bench.core.options import option
from semrsm_bench.core.registry import REGISTRIES

# What can be listed -> (the module that makes its registry, the registry's noun).
ROOMS = {
    "solvers": ("semrsm_bench.solvers.registry", "solver"),
    "rsms": ("semrsm_bench.rsm.registry", "rsm"),
    "metrics": ("semrsm_bench.metrics.registry", "metric"),
    "instances": ("semrsm_bench.metrics.instances", "instance"),
    "tasks": ("semrsm_bench.tasks.registry", "task"),
}
_TITLES = {"rsms": "RSM methods", "instances": "Scores of single stimuli"}
_FIRST = ("exact", "approximate", "baseline")
_FACTS = ("complexity", "matrix_free", "takes", "options", "reference", "source")
_MORE = ("max_size", "version", "available", "reason")


@dataclass(frozen=True)
class ListOptions(PluginOptions):
    """Which entries."""

    kind: str | None = option(None, help="Only these, such as exact, approximate or baseline solvers.")


@click.command("list")
@click.argument("what", type=click.Choice(list(ROOMS)), required=False)
@options_from(leave_out=("results", "quiet"))
def list_command(what: str | None, options: ListOptions, output: OutputOptions) -> None:
    """List what is registered with its options, availability and source: all, or WHAT."""
    _list([what] if what else list(ROOMS), options, output)


@click.command()
@options_from(leave_out=("results", "quiet"))
def solvers(options: ListOptions, output: OutputOptions) -> None:
    """List every registered solver: the same as `semrsm-bench list solvers`."""
    _list(["solvers"], options, output)


def _list(rooms: list[str], options: ListOptions, output: OutputOptions) -> None:
    for module, _ in (ROOMS[room] for room in rooms):
        importlib.import_module(module)
    options.load_plugins()
    registries = {room: REGISTRIES[ROOMS[room][1]] for room in rooms}
    entries = {room: [_described(room, r.get(name)) for name in r.names()] for room, r in registries.items()}
    kinds = sorted({row["kind"] for rows in entries.values() for row in rows} - {""})
    if options.kind is not None and options.kind not in kinds:
        raise click.BadParameter(f"{options.kind!r} is not one of {', '.join(kinds)}", param_hint="--kind")
    shown = {room: [r for r in rows if options.kind in (None, r["kind"])] for room, rows in entries.items()}
    if output.json:
        click.echo(json.dumps([row for rows in shown.values() for row in rows], indent=2, default=str))
        return
    for room, rows in shown.items():
        for kind in sorted({row["kind"] for row in rows}, key=lambda k: (_FIRST.index(k) if k in _FIRST else 9, k)):
            click.echo(click.style(_heading(room, kind), bold=True))
            for row in (row for row in rows if row["kind"] == kind):
                _print(row)


def _heading(room: str, kind: str) -> str:
    title = _TITLES.get(room, room.capitalize())
    if room == "solvers":
        return "Baselines" if kind == "baseline" else kind.capitalize()
    return f"{title} ({kind})" if kind else title


def _described(room: str, entry: Any) -> dict[str, Any]:
    row = {"registry": ROOMS[room][1], "name": entry.name, "kind": getattr(entry, "kind", "")}
    row["summary"] = entry.question if room == "tasks" else entry.summary
    row["options"] = entry.defaults if hasattr(entry, "defaults") else {}
    row |= {fact: getattr(entry, fact) for fact in (*_FACTS, *_MORE) if fact != "options" and hasattr(entry, fact)}
    return row


def _print(row: dict[str, Any]) -> None:
    click.echo(f"  {row['name'] + ' ':<22}{row['summary']}")
    texts = {
        **row,
        "matrix_free": "matrix-free" if row.get("matrix_free") else "",
        "options": ", ".join(f"{name}={value}" for name, value in row["options"].items()),
    }
    facts = "; ".join(str(texts[fact]) for fact in _FACTS if texts.get(fact))
    if facts:
        click.echo(click.style(f"{'':24}{facts}", dim=True))
    if row.get("reason"):
        click.echo(click.style(f"{'':24}not available: {row['reason']}", fg="yellow"))
