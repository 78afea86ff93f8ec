"""``semrsm-bench env``: make, list and remove the environments of solvers that cannot be installed beside the others."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semrsm_bench.cli.options import OutputOptions, PluginOptions, options_from
from semrsm_bench.cli.text import aligned, print_json, say
from semrsm_bench.core.options import option

if TYPE_CHECKING:
    from semrsm_bench.core.environments import Environment


@dataclass(frozen=True)
class EnvOptions(PluginOptions):
    """Which environments."""

    all: bool = option(False, help="Those of all solvers.")


@click.group()
def env() -> None:
    """Environments of their own: for solvers whose libraries clash with others, and for old versions."""


@env.command()
@click.argument("solvers", nargs=-1)
@options_from(leave_out=("results", "quiet", "json"))
def create(solvers: tuple[str, ...], options: EnvOptions) -> int:
    """Make the environments of SOLVERS with venv and pip. Exit code 1: one could not be made; the others are."""
    from semrsm_bench.core.environments import EnvironmentNotMadeError

    failed = 0
    wanted = _chosen(solvers, options)
    for number, (environment, names) in enumerate(wanted.items(), 1):
        what = f"{number} of {len(wanted)}: {' '.join(environment.requirements)} for {', '.join(names)}"
        say(f"{what} ...", err=True)
        try:
            say(f"{environment.folder}  {'made' if environment.create() else 'was there'}")
        except EnvironmentNotMadeError as error:
            failed += 1
            say(error, err=True)
    return int(failed > 0)


@env.command("list")
@options_from(leave_out=("results", "quiet", "all"))
def list_environments(options: EnvOptions, output: OutputOptions) -> None:
    """List the environments that solvers need, and folders that none needs any more."""
    from semrsm_bench.core.environments import left_over

    known = _environments(options.plugins)
    rows = [
        {
            "requirements": list(environment.requirements),
            "solvers": names,
            "made": bool(environment.versions),
            "folder": str(environment.folder),
            "versions": environment.versions,
        }
        for environment, names in known.items()
    ]
    others = left_over({environment.name for environment in known})
    if output.json:
        print_json({"environments": rows, "left_over": [str(path) for path in others]})
        return
    lines = [
        (" ".join(e.requirements), "made" if e.versions else "not made", ", ".join(names)) for e, names in known.items()
    ]
    say("\n".join(aligned(lines)))
    for path in others:
        say(f"{path}  left over; semrsm-bench env remove --all removes it")


@env.command()
@click.argument("solvers", nargs=-1)
@options_from(leave_out=("results", "quiet", "json"))
def remove(solvers: tuple[str, ...], options: EnvOptions) -> None:
    """Remove the environments of SOLVERS, or all of them with what is left over."""
    from semrsm_bench.core.environments import left_over

    for environment in _chosen(solvers, options):
        if environment.folder.exists():
            environment.remove()
            say(f"{environment.folder}  removed")
    for path in left_over(set()) if options.all else ():
        shutil.rmtree(path)
        say(f"{path}  removed")


def _environments(plugins: Sequence[Path]) -> dict[Environment, list[str]]:
    """The environments that solvers need, each with the names of its solvers."""
    from semrsm_bench.bench.methods import declarations, plugin_keys
    from semrsm_bench.core.environments import Environment

    found: dict[Environment, list[str]] = {}
    for solver in declarations(plugin_keys(plugins), ["solver"]):
        if solver.environment:
            found.setdefault(Environment(solver.environment), []).append(solver.name)
    return found


def _chosen(solvers: Sequence[str], options: EnvOptions) -> Mapping[Environment, list[str]]:
    """The environments of the solvers that are named, or all."""
    from semrsm_bench.core.registry import nearest

    if bool(solvers) == options.all:
        raise click.UsageError("name solvers, or give --all")
    known = _environments(options.plugins)
    having = {name: environment for environment, names in known.items() for name in names}
    for name in solvers:
        if name not in having:
            raise click.UsageError(f"no solver {name!r} has an environment of its own; {nearest(name, list(having))}")
    return known if options.all else {e: names for e, names in known.items() if {*names} & {*solvers}}
