"""The command line: one module per verb, imported only when the verb is used."""

from __future__ import annotations

import sys
from typing import Any

import click

from semrsm_bench.cli.lazy import LazyGroup

# verb -> (module, attribute, one line of help shown without importing the module)
VERBS: dict[str, tuple[str, str, str]] = {
    "run": ("semrsm_bench.cli.run", "run", "Measure solvers, RSM methods or metrics on tasks; ends with the tables."),
    "table": ("semrsm_bench.cli.table", "table", "Print a run's tables: text, Markdown, LaTeX, CSV, JSON."),
    "plot": ("semrsm_bench.cli.plot", "plot", "Draw a run's figures: time-score front, and what each task adds."),
    "report": ("semrsm_bench.cli.report", "report", "Write one HTML page of a run."),
    "doctor": ("semrsm_bench.cli.doctor", "doctor", "Say what would make figures untrustworthy on this machine."),
    "merge": ("semrsm_bench.cli.merge", "merge", "Lay runs of several machines side by side."),
    "compare": (
        "semrsm_bench.cli.compare",
        "compare",
        "Lay two runs, asv results or pytest-benchmark files side by side.",
    ),
    "gate": ("semrsm_bench.cli.gate", "gate", "Compare two commits: fail when quality or time of a solver got worse."),
    "list": (
        "semrsm_bench.cli.list",
        "list_command",
        "List the registered solvers, RSM methods, metrics and tasks, your own included.",
    ),
    "solvers": ("semrsm_bench.cli.list", "solvers", "The same as `list solvers`."),
    "check": (
        "semrsm_bench.cli.check",
        "check",
        "Try a solver, RSM method or metric on everything that activations can be.",
    ),
    "data": ("semrsm_bench.cli.data", "data", "Train a network, extract activations, list and verify the caches."),
    "rsm": (
        "semrsm_bench.cli.rsm",
        "rsm",
        "Compute a semantic RSM: kernels, matchings, all cores, a cluster; or what it would cost.",
    ),
}


GONE = {
    "study": "The studies are tasks now: semrsm-bench run translation | retrieval | outputs | layers (was cka) | instances (was "
    "barycenter) | matching (was runtime and matching-quality).",
}

# Every verb inherits it.
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=LazyGroup, table=VERBS, gone=GONE, context_settings=_CONTEXT)
@click.version_option(package_name="semrsm-bench", prog_name="semrsm-bench")
def cli() -> None:
    """Benchmark matching algorithms and RSM metrics on real activations.

    Exit codes: 0 fine, 1 a regression or a failed check, 2 wrong use, 3 a method failed, 4 nothing was measured.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line; bad input ends in one line on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign must not end a run
    try:
        code: Any = cli.main(args=args, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted; what was measured so far is kept, the same command resumes there", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ValueError, FileNotFoundError, FileExistsError, IsADirectoryError, PermissionError, ImportError) as error:
        click.echo(f"semrsm-bench: {error}", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
