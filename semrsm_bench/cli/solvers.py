"""``semrsm-bench solvers``: what is registered here, and whether it can run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command()
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File that registers solvers; repeatable.",
)
@click.option("--kind", type=click.Choice(["exact", "approximate", "baseline"]), help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on standard output.")
def solvers(plugins: tuple[Path, ...], kind: Any, as_json: bool) -> None:
    """List every registered solver with its options, complexity, availability and source."""
    from semrsm_bench.solvers.registry import get_solver, load_plugin, solver_names

    for plugin in plugins:
        load_plugin(plugin)
    rows = [_describe(get_solver(name)) for name in solver_names(kind)]
    if as_json:
        click.echo(json.dumps(rows, indent=2, default=str))
        return
    for title, of_kind in (("Exact", "exact"), ("Approximate", "approximate"), ("Baselines", "baseline")):
        members = [row for row in rows if row["kind"] == of_kind]
        if members:
            click.echo(click.style(title, bold=True))
            for row in members:
                _print(row)


def _describe(solver: Any) -> dict[str, Any]:
    return {
        "name": solver.name,
        "kind": solver.kind,
        "summary": solver.summary,
        "options": solver.defaults,
        "complexity": solver.complexity,
        "matrix_free": solver.matrix_free,
        "max_size": solver.max_size,
        "reference": solver.reference,
        "version": solver.version,
        "available": solver.available,
        "reason": solver.reason,
    }


def _print(row: dict[str, Any]) -> None:
    click.echo(f"  {row['name']:<22}{row['summary']}")
    options = ", ".join(f"{name}={value}" for name, value in row["options"].items())
    facts = [row["complexity"], "matrix-free" if row["matrix_free"] else "", options, row["reference"]]
    click.echo(click.style(f"{'':24}{'; '.join(fact for fact in facts if fact)}", dim=True))
    if not row["available"]:
        click.echo(click.style(f"{'':24}not available: {row['reason']}", fg="yellow"))
