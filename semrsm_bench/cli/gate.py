"""``semrsm-bench gate``: fail when the head is worse than the base."""

from __future__ import annotations

import json

import click

from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.cli.options import OutputOptions, options_from

_EPILOG = """\
Exit codes: 0 nothing got worse, 1 something did, 2 wrong use, 3 a method failed on the head or the head does not import,
4 nothing could be compared (such as a base that does not import)."""


@click.command(epilog=_EPILOG)
@click.argument("base")
@click.argument("head", default="HEAD")
@options_from(leave_out=("results",))
def gate(base: str, head: str, options: GateOptions, output: OutputOptions) -> int:
    """Compare the commits BASE and HEAD of the repository here; say in words what got worse.

    Both are exported and measured in turns on one core, on the same problems, with optima that neither of them made up. The
    limits can be kept in pyproject.toml under [tool.semrsm-bench.gate]: quality, exact, time, and solvers.NAME.quality or .time.
    """
    from semrsm_bench.bench.gate import words
    from semrsm_bench.bench.gate.run import run_gate
    from semrsm_bench.bench.gate.sides import SideError

    try:
        found = run_gate(base, head, options, quiet=output.quiet, report=lambda text: click.echo(text, err=True))
    except SideError as error:
        click.echo(f"the head cannot be measured: {error}", err=True)
        return 3
    if options.summary is not None:
        with options.summary.open("a", encoding="utf-8") as file:
            file.write(words.as_markdown(found))
    click.echo(json.dumps(words.as_json(found), indent=1) if output.json else words.as_text(found))
    return found.exit_code
