"""The command line: verbs, whose modules are imported only when they are used."""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
import traceback
from typing import Any

import click

# Verb -> one line of help, shown without importing the verb's module.
VERBS = {
    "run": "Measure solvers, RSM methods or metrics on tasks; ends with the tables.",
    "table": "Print a run's tables: text, Markdown, LaTeX, CSV, JSON.",
    "plot": "Draw a run's figures: time-score front, and what each task adds.",
    "report": "Write one HTML page of a run.",
    "doctor": "Say what would make figures untrustworthy on this machine.",
    "merge": "Lay runs of several machines side by side.",
    "compare": "Lay two runs, asv results or pytest-benchmark files side by side.",
    "gate": "Compare two commits: fail when quality or time of a solver got worse.",
    "list": "List the registered solvers, RSM methods, metrics and tasks, with those of plugins.",
    "check": "Try a solver, RSM method or metric on everything that activations can be.",
    "env": "Make environments for solvers whose libraries clash with others.",
    "data": "Train a network, extract activations, list and verify the caches.",
    "cka": "Compare the layers of one or two networks by CKA: a table and a heat map.",
    "rsm": "Compute a semantic RSM: kernels, matchings, all cores, a cluster; or what it would cost.",
}
# Verbs that share the module of another one.
_MODULES = {"doctor": "check", "table": "show", "plot": "show", "report": "show"}
_MODULES |= {"merge": "compare", "gate": "compare"}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS]  # not list(): the verb's module takes that name here

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"{__name__}.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = getattr(module, "list_command" if cmd_name == "list" else cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Verbs: {', '.join(VERBS)}."
            raise click.UsageError(f"there is no verb {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([*VERBS.items()])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="semrsm-bench", prog_name="semrsm-bench")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Benchmark matching algorithms and RSM metrics on real activations.

    Exit codes: 0 fine, 1 a regression or a failed check, 2 wrong use, 3 a method failed, 4 nothing was measured.
    """
    from semrsm_bench.core.registry import entry_points_limited_to

    if ctx.invoked_subcommand != "rsm":  # which runs the method in this process, and compares it with none
        ctx.with_resource(entry_points_limited_to("tasks"))


def main(args: list[str] | None = None) -> None:
    """Run the command line; bad input ends in one line on standard error and exit code 2."""
    # What is closed is opened on nothing, lowest first, or else the next socket or file would take its number.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # as long as the process
            os.set_inheritable(getattr(sys, name).fileno(), True)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign must not end a run
    from semrsm_bench.cli.text import warnings_said

    words = sys.argv[1:] if args is None else args
    came = signal.SIGINT

    def end(number: int, frame: Any) -> None:
        """Leave as after Ctrl-C, so that temporary folders go; a second signal ends the process at once."""
        nonlocal came
        came = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)
        if any("importlib" in at.f_code.co_filename for at, _ in traceback.walk_stack(frame)):
            signal.raise_signal(number)  # an exception may be lost in an import; nothing has to go yet
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # not under nohup
            signal.signal(number, end)
    try:
        with warnings_said():
            code: Any = cli.main(
                args=words, standalone_mode=False, obj=_output_for_json() if "--json" in words else None
            )
    except click.exceptions.Abort:
        resumes = {"run", "rsm"} & {*words[:1]}
        kept = "; what was measured so far is kept, the same command resumes there" if resumes else ""
        click.echo(f"interrupted{kept}", err=True)
        sys.exit(128 + came)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ValueError, FileNotFoundError, FileExistsError, IsADirectoryError, PermissionError, ImportError) as error:
        _say_why(error)
        sys.exit(2)
    except MemoryError as error:
        _say_why(f"{error or 'out of memory'}: no memory is left: close something, or raise the limit (ulimit -v)")
        sys.exit(1)
    except OSError as error:
        from semrsm_bench.core.files import explain

        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if error.filename is None and frame.f_code is click.echo.__code__:
            error.filename = "standard output"
        _say_why(explain(error))
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _say_why(reason: object) -> None:
    from semrsm_bench.cli.text import say

    say(f"semrsm-bench: {reason}", err=True)


def _output_for_json() -> Any:
    """The standard output, for JSON alone: what else this process, its libraries and its children print goes to standard error."""
    if sys.stdout is not sys.__stdout__:
        return None  # another program's
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out
