"""The table of all metrics in docs/metrics.md, from what they declare.

``python docs/metric_table.py`` prints it; ``--write`` puts it into the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from semrsm_bench.metrics import get_metric, metric_names
from semrsm_bench.metrics.registry import UNITS, Metric, unchanged_by

PAGE = Path(__file__).with_name("metrics.md")
BEGIN, END = "<!-- metrics: begin (python docs/metric_table.py --write) -->\n", "<!-- metrics: end -->\n"
_NUMBERS = {float("inf"): r"\infty", 0.5 * 3.141592653589793: r"\pi/2", 2**0.5: r"\sqrt 2"}


def table() -> str:
    """A row for each metric, those of features first, baselines last."""
    metrics = [metric for metric in map(get_metric, metric_names()) if metric.module.startswith("semrsm_bench.")]
    metrics.sort(key=lambda m: (m.category == "baseline", m.takes != "features"))
    columns = ("metric", "what", "takes", "best", "range", "unchanged by", "cost: a side; a pair", "source")
    rows = [columns, ("---",) * len(columns), *(tuple(_cells(metric)) for metric in metrics)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cells(metric: Metric) -> Iterator[str]:
    options = ", ".join(f"{name}={value}" for name, value in metric.options.items())
    yield f"`{metric.name}`" + (f" ({options})" if options else "")
    summary = re.sub(r"[;,] in [\[(].*$", "", metric.summary).replace("(n, p) and (n, q)", "X and Y")
    yield re.sub(r" \(n, [npq]\)", "", summary).rstrip(".").replace("|", r"\|")
    yield ", ".join(filter(None, (metric.takes, metric.category)))
    yield metric.best + ("" if metric.symmetric else ", not symmetric")
    low, high = (("-" if end < 0 else "") + _NUMBERS.get(abs(end), f"{abs(end):g}") for end in metric.range)
    open_low, open_high = ("(" if "infty" in low else "["), (")" if "infty" in high else "]")
    yield f"${open_low}{low}, {high}{open_high}$" + (f", {UNITS[metric.measured_in]}" if metric.measured_in else "")
    yield unchanged_by(metric.invariances)
    # A power is typeset; the rest stays as it is declared.
    yield re.sub(r"O\(((?:[^()]|\([^()]*\))*)\)", lambda found: f"$O({_typeset(found[1])})$", metric.complexity)
    yield metric.reference or "this package"


def _typeset(cost: str) -> str:
    return cost.replace("min", r"\min").replace("log", r"\log")


def written(page: str) -> str:
    """The page with the table of today."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(written(PAGE.read_text()))
    else:
        print(table(), end="")
