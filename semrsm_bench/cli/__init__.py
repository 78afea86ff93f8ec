"""The command line: one module per verb, imported only when the verb is used."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any

import click

# verb -> (module below semrsm_bench.cli, attribute, one line of help shown without importing the module)
VERBS: dict[str, tuple[str, str, str]] = {
    "run": ("run", "run", "Measure solvers on real activations; ends with the table."),
    "table": ("table", "table", "Print a run's table: text, Markdown, LaTeX, CSV; the paper's figures beside it."),
    "plot": ("plot", "plot", "Draw a run's figures: time-quality front, runtime over S, quality per layer."),
    "doctor": ("doctor", "doctor", "Say what would make figures untrustworthy on this machine."),
    "merge": ("merge", "merge", "Lay runs of several machines side by side."),
    "compare": ("compare", "compare", "Lay two runs, asv results or pytest-benchmark files side by side."),
    "gate": ("gate", "gate", "Compare two commits: fail when quality or time of a solver got worse."),
    "solvers": ("solvers", "solvers", "List the registered solvers, your own included."),
    "check": ("check", "check", "Try a solver on everything that activations can be."),
    "data": ("data", "data", "Train a network, extract activations, list and verify the caches."),
    "rsm": ("rsm", "rsm", "Compute a semantic RSM: kernels, matchings, all cores, a cluster; or what it would cost."),
}


class VerbGroup(click.Group):
    """Group that imports a verb's module on first use and answers a mistyped verb with the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, attribute, _ = VERBS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"semrsm_bench.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Verbs: {', '.join(VERBS)}."
            raise click.UsageError(f"there is no verb {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, text) for verb, (_, _, text) in VERBS.items()])


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="semrsm-bench", prog_name="semrsm-bench")
def cli() -> None:
    """Benchmark matching algorithms and RSM metrics on real activations.

    Exit codes: 0 fine, 1 a regression or a failed check, 2 wrong use, 3 a solver failed, 4 nothing was measured.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line; bad input ends in one line on standard error and exit code 2."""
    try:
        code: Any = cli.main(args=args, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted; what was measured so far is kept, the same command goes on from there", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ValueError, FileNotFoundError, FileExistsError, IsADirectoryError, PermissionError, ImportError) as error:
        click.echo(f"semrsm-bench: {error}", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
