"""The gate's report as text, as Markdown for a pull request, and as JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from semrsm_bench.bench.gate.run import GateReport
from semrsm_bench.bench.gate.verdict import Evidence, Finding, GateCell

_HEADINGS = {"regression": "WORSE", "failure": "FAILED", "improvement": "BETTER", "note": "NOTE"}
_VERDICTS = {
    0: "PASS: nothing got worse",
    1: "FAIL: something got worse",
    3: "FAIL: a solver failed",
    4: "NOTHING COMPARED",
}


def as_text(report: GateReport) -> str:
    """Findings first, the worst of them on top, then one line for the verdict."""
    lines = [f"notice: {notice}" for notice in report.notices]
    for severity, heading in _HEADINGS.items():
        lines += [f"{heading}  {text}" for text in _texts(report.findings, severity)]
    compared = [cell.solver for cell in report.cells if cell.comparable]
    again = sum(cell.attempts > 1 for cell in report.cells)
    lines.append(
        f"{_VERDICTS[report.exit_code]} ({len(compared)} cells of {len(set(compared))} solvers compared, {again} of them "
        f"measured again; base {report.base['commit'][:10]}, head {report.head['commit'][:10]})"
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
    lines = [f"### Gate: {_VERDICTS[report.exit_code]}", ""]
    lines += [f"Base `{report.base['commit'][:10]}`, head `{report.head['commit'][:10]}`.", ""]
    lines += [f"> {notice}" for notice in report.notices]
    for severity, heading in _HEADINGS.items():
        lines += [f"- **{heading.lower()}** {text}" for text in _texts(report.findings, severity)]
    lines += ["", "<details><summary>All cells</summary>", ""]
    lines += ["| solver | S | centring | c base | c head | ms base | ms head | times as long (interval) |"]
    lines += ["|---|---:|---|---:|---:|---:|---:|---:|"]
    lines += [_line(cell) for cell in report.cells if cell.base.ok or cell.head.ok]
    return "\n".join([*lines, "", "</details>", ""])


def _line(cell: GateCell) -> str:
    ratio = cell.time_ratio()
    change = f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if math.isfinite(ratio.value) else ""
    values = [*map(_quality, (cell.base, cell.head)), *map(_milliseconds, (cell.base, cell.head))]
    return f"| {cell.solver} | {cell.size} | {cell.centring} | {' | '.join(values)} | {change} |"


def _quality(side: Evidence) -> str:
    return f"{side.mean_quality():.4f}" if side.ok and side.quality else side.status if not side.ok else ""


def _milliseconds(side: Evidence) -> str:
    return f"{1e3 * statistics.median(side.seconds):.3g}" if side.ok and side.seconds else ""


def as_json(report: GateReport) -> dict[str, Any]:
    """Everything, for machines."""
    found = {**asdict(report), "verdict": _VERDICTS[report.exit_code]}
    for entry, cell in zip(found["cells"], report.cells):
        entry |= {"kind": cell.kind, "time_ratio": [v if math.isfinite(v) else None for v in cell.time_ratio()]}
        for label in ("base", "head"):
            mean = cell.side(label).mean_quality()
            entry[label]["chance_corrected"] = mean if math.isfinite(mean) else None
    return found
