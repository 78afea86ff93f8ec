"""What README and `docs/results.md` say of solvers, from the rows that are kept in ``docs/runs``.

    python docs/headline.py [RUN ...]    # print it; of the kept runs, or of yours
    python docs/headline.py --write      # renew both pages

In each place (family, layer, S) our exact solver stands beside the other one that takes least time in proportion to it. A ratio is
that of two medians over the cases that both were given; its interval resamples images, or cases where none share one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semrsm_bench.bench.profiles import time_table
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import Interval, interval_of, weighted_median
from semrsm_bench.report.formatting import format_seconds
from semrsm_bench.report.results import Row, TaskResults, read_results
from semrsm_bench.report.statistics import deadline_of
from semrsm_bench.report.tables import render_table

HERE = Path(__file__).resolve().parent
RUNS = HERE / "runs"
README, RESULTS = HERE.parent / "README.md", HERE / "results.md"
OURS, MAPS, SIZES = "exact-auction", "resnet18-tiny-imagenet", (256, 1024, 4096)


class Lead(NamedTuple):
    """Our median time in one place, that of the fastest other exact solver, s, and theirs over ours."""

    family: str
    size: int
    channels: int
    cases: int
    ours: Interval
    rival: str
    theirs: Interval
    ratio: Interval
    rivals: int


def leads(results: TaskResults) -> Iterator[Lead]:
    """All places, raw features alone, where our exact solver and another one solved a case."""
    cells: dict[str, list[Row]] = {}
    for row in results.rows:
        if row["case"] and row["cell"]["centring"] == "none":
            cells.setdefault(cell_key(row["cell"]), []).append(row)
    for rows in cells.values():
        table = time_table(rows, results.task, deadline_of(results), lambda row: str(row["method"]))
        ours = table.methods.index(OURS)
        found = []
        for m in (m for m, exact in enumerate(table.exact) if exact and m != ours):
            # A case that a solver failed counts, with an infinite time; one that it was not given does not.
            both = ~np.isnan(table.alone[[ours, m]]).any(axis=0)
            mine, other = (weighted_median(table.alone[k, both], table.weights[:, both]) for k in (ours, m))
            if both.any() and math.isfinite(other[0]):
                found.append((interval_of(other / mine), m, int(both.sum()), interval_of(other)))
        if found:
            ratio, m, cases, theirs = min(found)
            own = interval_of(weighted_median(table.alone[ours], table.weights))
            cell = rows[0]["cell"]
            yield Lead(
                cell["model"], cell["size"], cell["channels"], cases, own, table.methods[m], theirs, ratio, len(found)
            )


def strongest(runs: Sequence[TaskResults]) -> list[Lead]:
    """The lead of each place, of the run that has most cases there."""
    found: dict[tuple[str, int, int], Lead] = {}
    for lead in sorted((lead for results in runs for lead in leads(results)), key=lambda lead: lead.cases):
        found[lead.family, lead.size, lead.channels] = lead
    return sorted(found.values())


def short_table(found: Sequence[Lead]) -> str:
    """One line for each S, on the maps of the shipped network, with the family where we lead least; and where we do not lead."""
    lines = [
        f"| S | `{OURS}` | fastest of the others | its time | times as long | least at this S |\n",
        "|---|---|---|---|---|---|\n",
    ]
    for lead in (lead for lead in found if lead.family == MAPS and lead.size in SIZES):
        least = min((other for other in found if other.size == lead.size), key=lambda other: other.ratio.value)
        lines.append(
            f"| {lead.size} | {_seconds(lead.ours)} | `{lead.rival}`, {lead.cases} pairs | {_seconds(lead.theirs)} "
            f"| **{_times(lead.ratio)}** | {_times(least.ratio)}: {least.family}, `{least.rival}` |\n"
        )
    behind = sorted((lead for lead in found if lead.ratio.value < 1), key=lambda lead: lead.ratio.value)
    worst = [
        f"{lead.family} at S = {lead.size} (`{lead.rival}`, {_factor(1 / lead.ratio.value)} times as fast)"
        for lead in behind
    ]
    lines.append(
        f"\nUp to {max(lead.rivals for lead in found)} other exact solvers were measured in each of {len(found)} places, of "
        f"{len({lead.family for lead in found})} families. Others are ahead in {len(behind)} of them: "
        f"{'; '.join(worst) or 'none'}.\n"
    )
    return "".join(lines)


def long_table(found: Sequence[Lead]) -> str:
    """One line for each place."""
    lines = [
        f"| family | S | C | cases | `{OURS}` | fastest other exact solver | its time | times as long |\n",
        "|---|---|---|---|---|---|---|---|\n",
    ]
    for lead in found:
        lines.append(
            f"| {lead.family} | {lead.size} | {lead.channels or '-'} | {lead.cases} | {_seconds(lead.ours)} "
            f"| `{lead.rival}` | {_seconds(lead.theirs)} | {_times(lead.ratio)} |\n"
        )
    return "".join(lines)


def written(page: str, name: str, table: str) -> str:
    """The page with the table of today."""
    begin, end = f"<!-- {name}: begin (python docs/headline.py --write) -->\n", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def _seconds(time: Interval) -> str:
    return _with_ends(time, format_seconds)


def _times(ratio: Interval) -> str:
    return _with_ends(ratio, _factor)


def _factor(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"


def _with_ends(interval: Interval, text: Callable[[float], str]) -> str:
    """A number with its interval, which a single case does not have."""
    ends = "" if interval.low == interval.high else f" ({text(interval.low)} to {text(interval.high)})"
    return text(interval.value) + ends


def tables(runs: Sequence[Path]) -> dict[tuple[Path, str], str]:
    """All tables, by the page and the name under which they stand there."""
    tasks = [results for run in runs for results in read_results(run, tasks=["matching"])]
    found = strongest(tasks)
    maps = [results for results in tasks if {place["model"] for place in results.places.values()} == {MAPS}]
    return {
        (README, "headline"): short_table(found),
        (RESULTS, "families"): long_table(found),
        (RESULTS, "solvers"): "".join(render_table(one, "md", paper=True, statistics=True) for one in maps),
    }


def main(arguments: Sequence[str]) -> None:
    """Print the tables, or write them."""
    runs = [Path(name) for name in arguments if name != "--write"] or sorted(RUNS.iterdir())
    for (page, name), table in tables(runs).items():
        if "--write" in arguments:
            page.write_text(written(page.read_text(), name, table))
        else:
            print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
