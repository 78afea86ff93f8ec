"""``semrsm-bench gate``: fail when the head is worse than the base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import click

_EPILOG = """\
Exit codes: 0 nothing got worse, 1 something did, 2 wrong use, 3 a solver failed on the head or the head does not import,
4 nothing could be compared (such as a base that does not import)."""


@click.command(epilog=_EPILOG)
@click.argument("base")
@click.argument("head", default="HEAD")
@click.option("--solvers", help="Only these, separated by commas.")
@click.option("--sizes", help="Only these S, separated by commas.")
@click.option(
    "--centring", "--centrings", "centrings", default="none,channel", show_default=True, help="Separated by commas."
)
@click.option("--pairs", type=click.IntRange(1), help="Pairs of images at each size.")
@click.option(
    "--quality",
    multiple=True,
    metavar="[SOLVER=]FALL",
    help="How much chance-corrected quality may fall: 0.005, or for one solver greedy=0.01; repeatable.",
)
@click.option(
    "--time",
    multiple=True,
    metavar="[SOLVER=]FACTOR",
    help="How many times as long a solve may take: 2, or for one solver greedy=3; repeatable.",
)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File that registers solvers, taken from each commit; repeatable.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Activations, for both sides.")
@click.option(
    "--environment",
    type=click.Choice(["auto", "shared", "isolated"]),
    default="auto",
    show_default=True,
    help="This one for both commits, or one for each; auto isolates where they want different packages.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds for one solve.",
)
@click.option(
    "--allow-broken-base", is_flag=True, help="Pass where the base cannot be measured, instead of ending with 4."
)
@click.option("--summary", type=click.Path(path_type=Path), help="Append the result as Markdown to this file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="No progress bars.")
def gate(
    base: str,
    head: str,
    solvers: str | None,
    sizes: str | None,
    centrings: str,
    pairs: int | None,
    quality: tuple[str, ...],
    time: tuple[str, ...],
    plugins: tuple[Path, ...],
    data: Path | None,
    environment: Literal["auto", "shared", "isolated"],
    deadline: float,
    allow_broken_base: bool,
    summary: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compare the commits BASE and HEAD of the repository here; say in words what got worse.

    Both are exported and measured in turns on one core, on the same problems, with optima that neither of them made up. The
    limits can be kept in pyproject.toml under [tool.semrsm-bench.gate]: quality, exact, time, and solvers.NAME.quality or .time.
    """
    from semrsm_bench.bench.gate import words
    from semrsm_bench.bench.gate.run import run_gate
    from semrsm_bench.bench.gate.side import SideError

    try:
        report = run_gate(
            base,
            head,
            solvers=_names(solvers),
            sizes=[_number(s, int, "--sizes") for s in _names(sizes) or ()] or None,
            centrings=_names(centrings) or (),
            pairs=pairs,
            plugins=plugins,
            data=data,
            environment=environment,
            deadline=deadline,
            allow_broken_base=allow_broken_base,
            quality=_limits(quality, "--quality"),
            time=_limits(time, "--time"),
            quiet=quiet,
            tell=lambda text: click.echo(text, err=True),
        )
    except SideError as error:
        click.echo(f"the head cannot be measured: {error}", err=True)
        return 3
    if summary is not None:
        with summary.open("a", encoding="utf-8") as file:
            file.write(words.as_markdown(report))
    click.echo(json.dumps(words.as_json(report), indent=1) if as_json else words.as_text(report))
    return report.exit_code


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise click.UsageError("an empty list selects nothing; leave the option out to take all")
    return names


def _number(text: str, kind: Any, option: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise click.UsageError(f"{option} takes numbers, got {text!r}") from None


def _limits(entries: tuple[str, ...], option: str) -> dict[str, float]:
    found = {}
    for entry in entries:
        name, _, value = entry.rpartition("=")
        found[name] = float(_number(value, float, option))
    return found
