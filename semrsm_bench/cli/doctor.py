"""``semrsm-bench doctor``: what would make figures untrustworthy here."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from semrsm_bench.cli.data import DataOptions
from semrsm_bench.cli.options import OutputOptions, options_from

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@options_from(leave_out=("results", "quiet"))
def doctor(options: DataOptions, output: OutputOptions) -> int:
    """Look at cores, threads, BLAS, clock, load, memory, solvers, data and code. Exit code 1 when nothing can be measured."""
    from semrsm_bench.bench.doctor import diagnose

    findings = []
    for finding in diagnose(options.data):
        findings.append(finding)
        if not output.json:
            click.echo(
                f"{click.style(f'{finding.status:<5}', fg=_COLOURS[finding.status])}{finding.name:<14}{finding.found}"
            )
            if finding.advice:
                click.echo(f"{'':19}-> {finding.advice}")
    warnings = sum(finding.status != "ok" for finding in findings)
    if output.json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        click.echo(
            f"{warnings} of {len(findings)} need attention" if warnings else "nothing stands against measuring here"
        )
    return int(any(finding.status == "fail" for finding in findings))
