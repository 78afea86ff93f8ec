"""The gate's report as text, as Markdown for a pull request, and as JSON."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict
from typing import Any

from semrsm_bench.bench.gate.run import GateReport
from semrsm_bench.bench.gate.verdict import GateCell

_HEADINGS = {"regression": "WORSE", "failure": "FAILED", "improvement": "BETTER", "note": "NOTE"}
_VERDICTS = {
    0: "PASS: nothing got worse",
    1: "FAIL: something got worse",
    3: "FAIL: a solver failed",
    4: "NOTHING COMPARED",
}


def as_text(report: GateReport) -> str:
    """Findings first, the worst of them on top, then one line for the verdict."""
    compared = [cell.solver for cell in report.cells if cell.comparable]
    again = sum(cell.attempts > 1 for cell in report.cells)
    verdict = (
        f"{_VERDICTS[report.exit_code]} ({len(compared)} cells of {len(set(compared))} solvers compared, {again} of them "
        f"measured again; base {report.base['commit'][:10]}, head {report.head['commit'][:10]})"
    )
    notices = [f"notice: {notice}" for notice in report.notices]
    return "\n".join([*notices, *(f"{heading}  {text}" for heading, text in _said(report)), verdict])


def _said(report: GateReport) -> list[tuple[str, str]]:
    """Heading and text of each finding, the worst first; a note that is the same at every size comes once."""
    said = []
    for severity, heading in _HEADINGS.items():
        texts: dict[str, list[str]] = {}
        for finding in (finding for finding in report.findings if finding.severity == severity):
            place = f" at S={finding.size} ({finding.centring})" if severity == "note" else ""
            texts.setdefault(finding.text.replace(place, "", 1), []).append(finding.text)
        said += [(heading, key if len(same) > 1 else same[0]) for key, same in texts.items()]
    return said


def as_markdown(report: GateReport) -> str:
    """For a summary or a comment under a pull request: verdict, findings, table of all cells."""
    lines = [f"### Gate: {_VERDICTS[report.exit_code]}", ""]
    lines += [f"Base `{report.base['commit'][:10]}`, head `{report.head['commit'][:10]}`.", ""]
    lines += [f"> {notice}" for notice in report.notices]
    lines += [f"- **{heading.lower()}** {text}" for heading, text in _said(report)]
    lines += ["", "<details><summary>All cells</summary>", ""]
    lines += ["| solver | S | centring | c base | c head | ms base | ms head | times as long (interval) |"]
    lines += ["|---|---:|---|---:|---:|---:|---:|---:|"]
    lines += [_line(cell) for cell in report.cells if cell.base.ok or cell.head.ok]
    return "\n".join([*lines, "", "</details>", ""])


def _line(cell: GateCell) -> str:
    qualities, times = [], []
    for side in (cell.base, cell.head):
        qualities.append(f"{side.mean_quality():.4f}" if side.ok and side.quality else "" if side.ok else side.status)
        times.append(f"{1e3 * statistics.median(side.seconds):.3g}" if side.ok and side.seconds else "")
    ratio = cell.time_ratio()
    change = f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if math.isfinite(ratio.value) else ""
    return f"| {' | '.join((cell.solver, str(cell.size), cell.centring, *qualities, *times, change))} |"


def as_json(report: GateReport) -> dict[str, Any]:
    """Everything, for machines."""
    found = {**asdict(report), "verdict": _VERDICTS[report.exit_code]}
    for entry, cell in zip(found["cells"], report.cells):
        entry |= {"kind": cell.kind, "time_ratio": [v if math.isfinite(v) else None for v in cell.time_ratio()]}
        for label, side in cell.sides.items():
            mean = side.mean_quality()
            entry[label]["chance_corrected"] = mean if math.isfinite(mean) else None
    return found
