"""``semrsm-bench doctor``: what would make figures untrustworthy here."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", type=click.Path(path_type=Path), help="Cache of activations, or a folder of them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on standard output.")
def doctor(data: Path | None, as_json: bool) -> int:
    """Look at cores, threads, BLAS, clock, load, memory, solvers, data and code. Exit code 1 when nothing can be measured."""
    from semrsm_bench.bench.doctor import diagnose

    findings = []
    for finding in diagnose(data):
        findings.append(finding)
        if not as_json:
            click.echo(
                f"{click.style(f'{finding.status:<5}', fg=_COLOURS[finding.status])}{finding.name:<14}{finding.found}"
            )
            if finding.advice:
                click.echo(f"{'':19}-> {finding.advice}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        warnings = sum(finding.status != "ok" for finding in findings)
        click.echo(
            f"{warnings} of {len(findings)} need attention" if warnings else "nothing stands against measuring here"
        )
    return int(any(finding.status == "fail" for finding in findings))
