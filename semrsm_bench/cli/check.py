"""``semrsm-bench check``: does a solver, built in or your own, do what every solver must?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.argument("targets", metavar="NAME|FILE.py...", nargs=-1)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File that registers solvers; repeatable.",
)
@click.option("--case", "cases", multiple=True, help="Only this case; repeatable. --list-cases names them.")
@click.option("--list-cases", is_flag=True, help="Print the cases with what they try, and run none.")
@click.option(
    "--timeout", default=60.0, show_default=True, help="Seconds that one case may take before the solver is killed."
)
@click.option("--verbose", is_flag=True, help="Let through what the solver prints, and full tracebacks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on standard output.")
def check(
    targets: tuple[str, ...],
    plugins: tuple[Path, ...],
    cases: tuple[str, ...],
    list_cases: bool,
    timeout: float,
    verbose: bool,
    as_json: bool,
) -> int:
    """Try solvers on everything that activations can be: empty, tied, constant, tiny, huge, and more.

    A target is the name of a solver, or a Python file whose solvers are all checked. Every case runs in a child process under
    a deadline. Exit code 0: all passed; 1: something failed; 2: there was nothing to check.
    """
    from semrsm_bench.solvers.check import CaseResult, check_solver
    from semrsm_bench.solvers.check_cases import CASES
    from semrsm_bench.solvers.registry import load_plugin
    from semrsm_bench.solvers.solver import SolverUnavailableError

    if list_cases:
        for case, function in CASES.items():
            click.echo(f"{case:<26}{(function.__doc__ or '').splitlines()[0]}")
        return 0
    if not targets:
        raise click.UsageError("name a solver, or a Python file that registers some")
    files = list(plugins)
    names: list[str] = []
    for plugin in plugins:
        load_plugin(plugin)
    for target in targets:
        if target.endswith(".py"):
            files.append(Path(target))
            names.extend(load_plugin(target))
        else:
            names.append(target)

    def show(result: CaseResult) -> None:
        if not as_json:
            mark = {"passed": "ok", "failed": "FAILED", "not run": "not run"}[result.status]
            click.echo(f"  {mark:<8}{result.case}" + (f": {result.reason}" if result.reason else ""))

    everything = []
    failed = 0
    for name in dict.fromkeys(names):
        if not as_json:
            click.echo(name)
        try:
            results = check_solver(name, files, timeout=timeout, cases=cases or None, report=show, show_output=verbose)
        except SolverUnavailableError as error:
            raise click.UsageError(str(error)) from None
        passed = sum(r.status == "passed" for r in results)
        failed += len(results) - passed
        everything.append({"solver": name, "passed": passed == len(results), "cases": [asdict(r) for r in results]})
        if not as_json:
            click.echo(f"  {passed} of {len(results)} cases passed")
    if as_json:
        click.echo(json.dumps(everything, indent=2))
    return 1 if failed else 0
