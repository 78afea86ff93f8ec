"""The gate's report as text, as Markdown for a pull request, and as JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from semrsm_bench.bench.gate.run import GateReport
from semrsm_bench.bench.gate.verdict import Evidence, Finding, GateCell

_HEADINGS = (
    ("regression", "WORSE"),
    ("failure", "FAILED"),
    ("improvement", "BETTER"),
    ("note", "NOTE"),
)
_VERDICTS = {
    0: "PASS: nothing got worse",
    1: "FAIL: something got worse",
    3: "FAIL: a solver failed",
    4: "NOTHING COMPARED",
}


def as_text(report: GateReport) -> str:
    """Findings first, the worst of them on top, then one line for the verdict."""
    lines = [f"notice: {notice}" for notice in report.notices]
    for severity, heading in _HEADINGS:
        lines += [f"{heading}  {text}" for text in _texts(report.findings, severity)]
    compared = sum(cell.comparable for cell in report.cells)
    solvers = len({cell.solver for cell in report.cells if cell.comparable})
    again = sum(cell.attempts > 1 for cell in report.cells)
    lines.append(
        f"{_VERDICTS[report.exit_code]} ({compared} cells of {solvers} solvers compared, {again} of them measured again; "
        f"base {report.base['commit'][:10]}, head {report.head['commit'][:10]})"
    )
    return "\n".join(lines)


def _texts(findings: Iterable[Finding], severity: str) -> list[str]:
    """Texts of one severity; a note that is the same at every size comes once."""
    texts: dict[str, list[str]] = {}
    for finding in findings:
        if finding.severity == severity:
            place = f" at S={finding.size} ({finding.centring})"
            key = finding.text.replace(place, "", 1) if severity == "note" else finding.text
            texts.setdefault(key, []).append(finding.text)
    return [key if len(same) > 1 else same[0] for key, same in texts.items()]


def as_markdown(report: GateReport) -> str:
    """For a summary or a comment under a pull request: verdict, findings, table of all cells."""
    verdict = _VERDICTS[report.exit_code]
    lines = [f"### Gate: {verdict}", ""]
    lines += [f"Base `{report.base['commit'][:10]}`, head `{report.head['commit'][:10]}`.", ""]
    lines += [f"> {notice}" for notice in report.notices]
    for severity, heading in _HEADINGS:
        lines += [f"- **{heading.lower()}** {text}" for text in _texts(report.findings, severity)]
    lines += ["", "<details><summary>All cells</summary>", ""]
    lines += ["| solver | S | centring | c base | c head | ms base | ms head | times as long (interval) |"]
    lines += ["|---|---:|---|---:|---:|---:|---:|---:|"]
    lines += [_line(cell) for cell in report.cells if cell.base.ok or cell.head.ok]
    return "\n".join([*lines, "", "</details>", ""])


def _line(cell: GateCell) -> str:
    ratio = cell.time_ratio()
    change = f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if math.isfinite(ratio.value) else ""
    sides = (cell.base, cell.head)
    values = [*map(_quality, sides), *map(_milliseconds, sides)]
    return f"| {cell.solver} | {cell.size} | {cell.centring} | {' | '.join(values)} | {change} |"


def _quality(side: Evidence) -> str:
    return f"{side.mean_quality():.4f}" if side.ok and side.quality else side.status if not side.ok else ""


def _milliseconds(side: Evidence) -> str:
    return f"{1e3 * statistics.median(side.seconds):.3g}" if side.ok and side.seconds else ""


def as_json(report: GateReport) -> dict[str, Any]:
    """Everything, for machines."""
    cells = []
    for cell in report.cells:
        ratio = cell.time_ratio()
        entry: dict[str, Any] = {"solver": cell.solver, "size": cell.size, "centring": cell.centring, "kind": cell.kind}
        entry |= {"attempts": cell.attempts, "time_ratio": [v if math.isfinite(v) else None for v in ratio]}
        for label, side in (("base", cell.base), ("head", cell.head)):
            mean = side.mean_quality()
            entry[label] = {**asdict(side), "chance_corrected": mean if math.isfinite(mean) else None}
        cells.append(entry)
    return {
        "exit_code": report.exit_code,
        "verdict": _VERDICTS[report.exit_code],
        "base": report.base,
        "head": report.head,
        "notices": report.notices,
        "limits": {k: dict(v) if isinstance(v, dict) else v for k, v in asdict(report.limits).items()},
        "findings": [asdict(finding) for finding in report.findings],
        "cells": cells,
    }
