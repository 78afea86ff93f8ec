"""What README and `docs/results.md` say of methods, from the rows that are kept in ``docs/runs``.

    python docs/headline.py [RUN ...]    # print it; of the kept runs, or of yours
    python docs/headline.py --write      # renew both pages

In each place (family, layer, S) our exact solver stands beside the other one that takes least time in proportion to it. A ratio is
that of two medians over the cases that both were given; its interval resamples images, or cases where none share one. What a budget
cut is not held in our favour: where the cases that only one was given could turn the ratio, a place is not decided.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semrsm_bench.bench import drift
from semrsm_bench.bench.drift import steadiness
from semrsm_bench.bench.ledger import NOT_TRIED
from semrsm_bench.bench.profiles import TimeTable, time_table
from semrsm_bench.bench.results import RUN_FILE, read_json
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import UNKNOWN, Interval, interval_of, weighted_mean, weighted_median
from semrsm_bench.report.formatting import format_score, format_seconds, plural
from semrsm_bench.report.places import Place
from semrsm_bench.report.provenance import day, machine
from semrsm_bench.report.results import Row, TaskResults, read_results
from semrsm_bench.report.statistics import deadline_of
from semrsm_bench.report.tables import render_table

HERE = Path(__file__).resolve().parent
RUNS = HERE / "runs"
README, RESULTS = HERE.parent / "README.md", HERE / "results.md"
OPPONENTS, MATCHING = HERE / "opponents.md", HERE / "tasks" / "matching.md"
OURS, MAPS, SIZES = "exact-auction", "resnet18-tiny-imagenet", (256, 1024, 4096)
# Old versions beside those of today; and what the paper compares
VERSIONS = (("scipy", "scipy-2023"), ("ortools", "ortools-2023"))
PAPER = (("batch-optimal-128", "ortools"), ("scipy", "ortools"))
# Of RSM methods and of metrics: what README opens with, beside our solver
FRONTS = ("outputs", "layers")


class Lead(NamedTuple):
    """Our median time in one place, that of another exact solver, s, and theirs over ours, on the cases that ``both`` were given.

    ``cases``: those that either was given. ``least``: the ratio over these, were the other solver's time on those that it lacks
    nothing, and ours endless. ``rivals``: other exact solvers that ended here. ``runs``: the least and largest ratio of any run.
    """

    family: str
    size: int
    channels: int
    both: int
    cases: int
    ours: Interval
    rival: str
    theirs: Interval
    ratio: Interval
    least: float
    rivals: int = 0
    runs: Interval = UNKNOWN

    @property
    def tied(self) -> bool:
        """Whether the interval, or what different runs gave, is on both sides of 1."""
        return self.ratio.low < 1 < self.ratio.high or self.runs.low < 1 < self.runs.high

    @property
    def behind(self) -> bool:
        """Whether the other solver is faster on the cases that both were given."""
        return self.ratio.value < 1 and not self.tied

    @property
    def undecided(self) -> bool:
        """Whether we are ahead on these, and cases that one of both lacks could turn it."""
        return not self.behind and not self.tied and not self.least > 1


def places(results: TaskResults) -> Iterator[tuple[Place, TimeTable[str]]]:
    """The times in each place, of raw features alone, where ours was measured."""
    cells: dict[str, list[Row]] = defaultdict(list)
    for row in results.rows:
        if row["cell"]["centring"] == "none":
            cells[cell_key(row["cell"])].append(row)
    for rows in cells.values():
        if any(row["case"] and row["method"] == OURS for row in rows):
            yield rows[0]["cell"], time_table(rows, results.task, deadline_of(results), lambda row: str(row["method"]))


def leads(results: TaskResults) -> Iterator[Lead]:
    """Our exact solver beside each other one, in all places where both were given a case."""
    for place, table in places(results):
        for method, exact in zip(table.methods, table.exact):
            if exact and method != OURS and (lead := beside(place, table, OURS, method)):
                yield lead


def beside(place: Place, table: TimeTable[str], method: str, other: str) -> Lead | None:
    """A method beside another one in a place; None where no case was given to both."""
    if not {method, other} <= set(table.methods):
        return None
    mine, theirs = (table.alone[table.methods.index(name)] for name in (method, other))
    # A case that a solver failed counts, with an infinite time; one that it was not given does not.
    lacking, weights = np.isnan([mine, theirs]), table.weights
    both, either = ~lacking.any(axis=0), ~lacking.all(axis=0)
    if not both.any():
        return None
    times = [weighted_median(of[both], weights[:, both]) for of in (mine, theirs)]
    worst = [
        weighted_median(np.where(np.isnan(of), missing, of)[either], weights[:1, either])[0]
        for of, missing in ((mine, np.inf), (theirs, 0.0))
    ]
    with np.errstate(invalid="ignore"):
        ratio, least = interval_of(times[1] / times[0]), float(worst[1] / worst[0])
        own, theirs_ = map(interval_of, times)
    return Lead(
        *(place["model"], place["size"], place["channels"], int(both.sum()), int(either.sum())),
        *(own, other, theirs_, ratio, least),
    )


def pairwise(runs: Sequence[TaskResults], pairs: Sequence[tuple[str, str]]) -> str:
    """How many times as long the second of each pair takes as the first, by S, in the run where both had most cases."""
    found: dict[tuple[str, str, int], Lead] = {}
    for results in runs:
        for place, table in places(results):
            for method, other in pairs if place["size"] in SIZES else ():
                lead, key = beside(place, table, method, other), (method, other, place["size"])
                if lead and (key not in found or lead.both > found[key].both):
                    found[key] = lead
    lines = ["| S | solver | beside it | times as long | pairs |\n", "|---|---|---|---|---|\n"]
    for (method, other, size), lead in sorted(found.items(), key=lambda item: pairs.index(item[0][:2])):
        lines.append(f"| {size} | `{method}` | `{other}` | {_times(lead.ratio)} | {lead.both} |\n")
    return "".join(lines)


def strongest(runs: Sequence[TaskResults]) -> list[Lead]:
    """The least lead of each place, infinite where no other solver ended. Of several runs that measured it those count whose calls
    had most time, and of these, for each solver, the one with most cases.
    """
    found: dict[tuple[str, int, int], dict[str, Lead]] = defaultdict(dict)
    timed = [(deadline_of(results), lead) for results in runs for lead in leads(results)]
    longest: dict[tuple[str, int, int], float] = defaultdict(float)
    for deadline, lead in timed:
        place = lead.family, lead.size, lead.channels
        longest[place] = max(longest[place], deadline)
    for deadline, lead in sorted(timed, key=lambda one: one[1].both):
        place = lead.family, lead.size, lead.channels
        if deadline == longest[place]:
            found[place][lead.rival] = lead
    ended = [
        [
            lead._replace(rivals=sum(math.isfinite(other.ratio.value) for other in here.values()))
            for lead in here.values()
            if not math.isnan(lead.ratio.value)
        ]
        for here in found.values()
    ]
    ratios: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for _, lead in timed:
        ratios[lead.family, lead.size, lead.channels, lead.rival].append(lead.ratio.value)

    def with_runs(lead: Lead) -> Lead:
        known = ratios[lead.family, lead.size, lead.channels, lead.rival]
        return lead._replace(runs=Interval(lead.ratio.value, min(known), max(known)))

    return sorted(with_runs(min(here, key=lambda lead: lead.ratio.value)) for here in ended if here)


def steady_text(runs: Sequence[TaskResults], found: Sequence[Lead]) -> str:
    """The ratios of `short_table` over the rows alone that were timed while the machine was within 20 % of its usual speed."""
    texts = []
    for lead in (lead for lead in found if lead.family == MAPS and lead.size in SIZES):
        parts = []
        for one in runs:
            level = drift.level_of(row["reference_seconds"] for row in one.rows if row["reference_seconds"])
            rows = [row for row in one.rows if row["method"] in (OURS, lead.rival) and row["cell"]["model"] == MAPS]
            rows = [row for row in rows if not drift.is_off(row["reference_seconds"] or level, level)]
            parts += [replace(one, rows=rows)] if rows else []
        (same,) = (other for other in strongest(parts) if other.size == lead.size)
        texts.append(f"{_times(same.ratio)} at S = {lead.size}")
    return f"Over the moments alone in which the machine was within 20 % of its usual speed: {', '.join(texts)}."


def short_table(found: Sequence[Lead]) -> str:
    """One line for each S, on the maps of the shipped network, with the family where we lead least; and how often we do not."""
    lines = [
        f"| S | `{OURS}` | fastest of the others | its time | times as long | least measured at this S |\n",
        "|---|---|---|---|---|---|\n",
    ]
    for lead in (lead for lead in found if lead.family == MAPS and lead.size in SIZES):
        least = min((other for other in found if other.size == lead.size), key=lambda other: other.ratio.value)
        lines.append(
            f"| {lead.size} | {_seconds(lead.ours)} | `{lead.rival}`, {_cases(lead)} pairs | {_seconds(lead.theirs)} "
            f"| **{_times(lead.ratio)}**{_doubt(lead)} | {_times(least.ratio)}{_doubt(least)}: {least.family}, `{least.rival}` |\n"
        )
    return "".join(lines) + f"\n{counts(found)}\n"


def counts(found: Sequence[Lead]) -> str:
    """How often others are ahead, with the worst, and how often nobody knows."""
    rivals = sorted({lead.rivals for lead in found}) or [0]
    behind = [lead for lead in found if lead.behind]
    worst = f", most in {_where(min(behind, key=lambda lead: lead.ratio.value))}" if behind else ""
    undecided = sum(lead.undecided for lead in found)
    tied = sum(lead.tied for lead in found)
    ties = f"; in {tied} the two are not told apart: the interval, or two runs, are on both sides of 1" if tied else ""
    lacking = (
        f"Not decided, for lack of cases: {undecided}" if undecided else "Cases that the fastest lack turn none of them"
    )
    return (
        f"In each of {len(found)} places, of {len({lead.family for lead in found})} families, "
        f"{' to '.join(map(str, dict.fromkeys((rivals[0], rivals[-1]))))} other exact solvers ended. Others are ahead in "
        f"{len(behind)}{worst}{ties}. {lacking}."
    )


def long_table(found: Sequence[Lead]) -> str:
    """One line for each place."""
    lines = [
        f"| family | S | C | cases | `{OURS}` | fastest other exact solver | others that ended | its time | times as long |\n",
        "|---|---|---|---|---|---|---|---|---|\n",
    ]
    for lead in found:
        lines.append(
            f"| {lead.family} | {lead.size} | {lead.channels or '-'} | {_cases(lead)} | {_seconds(lead.ours)} "
            f"| `{lead.rival}` | {lead.rivals} | {_seconds(lead.theirs)} | {_times(lead.ratio)}{_doubt(lead)} |\n"
        )
    behind = sorted((lead for lead in found if lead.behind), key=lambda lead: lead.ratio.value)
    lists = [
        ("Others are ahead in", behind),
        ("Not told apart are", [lead for lead in found if lead.tied]),
        ("Not decided are", [lead for lead in found if lead.undecided]),
    ]
    lines += [
        f"\n{text} {len(some)} of {len(found)}: {'; '.join(map(_where, some)) or 'none'}.\n" for text, some in lists
    ]
    return "".join(lines)


def skipped_table(runs: Sequence[TaskResults]) -> str:
    """Which exact solvers have no time at an S, in how many places, and why."""
    rows = [row for one in runs for row in one.rows if row["category"] == "exact" and row["cell"]["centring"] == "none"]
    measured = {(row["method"], cell_key(row["cell"])) for row in rows if row["case"]}
    found: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        reason = str(row["message"]).partition(":")[0]
        if (
            not row["case"]
            and not reason.startswith(NOT_TRIED)
            and (row["method"], cell_key(row["cell"])) not in measured
        ):
            found[row["cell"]["size"], reason][row["method"]] += 1
    lines = ["| S | skipped: why | exact solver (places) |\n", "|---|---|---|\n"]
    for (size, reason), methods in sorted(found.items()):
        lines.append(f"| {size} | {reason} | {', '.join(f'`{m}` ({n})' for m, n in sorted(methods.items()))} |\n")
    return "".join(lines) if found else "No exact solver was skipped.\n"


def run_list(runs: Sequence[TaskResults]) -> str:
    """Of each run what it measured, where, whether it was finished, and how steady the machine was."""
    lines = []
    for one in runs:
        description = read_json(one.folder / RUN_FILE) if one.folder else {}
        said = description["plan"]["tasks"][one.task.name]
        others = {row["method"] for row in one.rows if row["case"] and row["category"] == "exact"} - {OURS}
        finished = str(description["finished"] or "")[:16].replace("T", " ")
        facts = [
            f"profile `{description['plan']['profile']}`",
            f"{len(others)} other exact solvers",
            f"budget of a solver in one place {said['budget']:g} s, of a call {deadline_of(one):g} s",
            machine(one.environment),
            day(one.environment),
            f"finished {finished}" if finished else "**not finished**",
            f"steadiness: {steadiness(one.rows) or 'too few readings'}",
        ]
        lines.append(f"- `{one.run}`: {'; '.join(facts)}.\n")
    return "".join(lines)


class Quick(NamedTuple):
    """An approximate solver that takes less time than our exact one on the maps at one S: both medians, s, and its mean c."""

    size: int
    method: str
    theirs: Interval
    ours: Interval
    c: float
    quality: str


def quicker(results: TaskResults) -> list[Quick]:
    """All there are, on the cases that both were given, by S and time."""
    approximate = {row["method"] for row in results.rows if row["category"] == "approximate"}
    found = []
    for place, table in places(results):
        ours = table.methods.index(OURS)
        for m in (m for m, method in enumerate(table.methods) if method in approximate):
            both = ~np.isnan(table.alone[[ours, m]]).any(axis=0)
            weights = table.weights[:, both]
            theirs, own = (interval_of(weighted_median(table.alone[k, both], weights)) for k in (m, ours))
            if theirs.value < own.value:
                c = interval_of(weighted_mean(table.scores[m, both], weights))
                quality = format_score(results.task.scores[0], *c)
                found.append(Quick(place["size"], table.methods[m], theirs, own, c.value, quality))
    return sorted(found, key=lambda quick: (quick.size, quick.theirs.value))


def quick_text(found: Sequence[Quick]) -> str:
    """How many there are at the largest S, the fastest and the best of them."""
    here = [quick for quick in found if quick.size == max(SIZES)]
    named = dict.fromkeys((min(here, key=lambda q: q.theirs.value), max(here, key=lambda q: q.c))) if here else ()
    texts = [f"`{q.method}` with {_seconds(q.theirs)} and c = {q.quality}" for q in named]
    few = f": the fastest is {texts[0]}, the best {texts[-1]}" if here else ""
    return f"Without a proof it goes faster at S = {max(SIZES)} with {plural(len(here), 'approximate solver')}{few}."


def quick_table(found: Sequence[Quick]) -> str:
    """One line for each."""
    lines = [f"| S | approximate solver | c | its time | `{OURS}` |\n", "|---|---|---|---|---|\n"]
    for q in found:
        lines.append(f"| {q.size} | `{q.method}` | {q.quality} | {_seconds(q.theirs)} | {_seconds(q.ours)} |\n")
    return "".join(lines) if found else "None.\n"


class Standing(NamedTuple):
    """A method in a cell: its first score, more is better, and name, score and time in words."""

    name: str
    category: str
    value: float
    text: str


def standings(results: TaskResults, cell: str) -> list[Standing]:
    """All methods of a cell that have a score, the best first."""
    score, found = results.task.scores[0], []
    for (place, method), summary in results.cells.items():
        known = summary.scores.get(score.name, UNKNOWN)
        if place == cell and not math.isnan(known.value):
            text = f"`{method.name}` {format_score(score, *known)} ({format_seconds(summary.seconds.value)})"
            value = known.value if score.best == "max" else -known.value
            found.append(Standing(method.name, method.category, value, text))
    return sorted(found, key=lambda one: -one.value)


def fronts(leads: Sequence[Lead], runs: Sequence[TaskResults], size: int = 1024) -> str:
    """One sentence of each front: solvers, RSM methods, metrics."""
    known = {one.task.name: one for one in runs}
    ours = [lead for lead in leads if (lead.family, lead.size) == (MAPS, size)]
    if not ours or not known.keys() >= {*FRONTS}:
        return "Not measured.\n"
    rsms, metrics = (known[name] for name in FRONTS)
    free = [cell for cell in rsms.places if standings(rsms, cell)[0].category == "matching-free"]
    cell = rsms.leading if rsms.leading in free or not free else free[0]
    place, networks = rsms.places[cell], metrics.places[metrics.leading]["networks"]
    here, there = standings(rsms, cell), standings(metrics, metrics.leading)
    exact, identity, cka = (
        next(one for one in of if one.name == name)
        for of, name in ((here, OURS), (here, "identity"), (there, "linear_cka"))
    )
    worse, none, sided = (
        next(one for one in of if one.category == category)
        for of, category in ((here, "baseline"), (there, "baseline"), (there, "statistic"))
    )
    return (
        f"- **Solvers** ([matching](docs/tasks/matching.md)): the certified optimum of a pair at S = {size} takes `{OURS}` "
        f"{_seconds(ours[0].ours)}, and the fastest other exact solver, `{ours[0].rival}`, {_seconds(ours[0].theirs)}, "
        f"{_times(ours[0].ratio)} times as long.\n"
        f"- **RSM methods** ([outputs](docs/tasks/outputs.md); {rsms.task.scores[0].title}, less is better, time per "
        f"{rsms.timed}): in {len(free)} of {len(rsms.places)} cells (layer x kernel) the best one needs no matching"
        f"{', as' if free else ';'} at {place['layer']}, S = {place['size']}, {place['kernel']} kernel, "
        f"where {here[0].text} stands before {exact.text}, {identity.text} and the best baseline, {worse.text}.\n"
        f"- **Metrics** ([layers](docs/tasks/layers.md); {metrics.task.scores[0].title}, time per {metrics.timed}): "
        f"between two widths ({networks}) the best is {there[0].text}, {cka.text}, "
        f"the best number of one side {sided.text}, and the best baseline {none.text}.\n"
    )


def written(page: str, name: str, table: str) -> str:
    """The page with the table of today."""
    begin, end = f"<!-- {name}: begin (python docs/headline.py --write) -->\n", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def _cases(lead: Lead) -> str:
    return f"{lead.both}" if lead.both == lead.cases else f"{lead.both} of {lead.cases}"


def _doubt(lead: Lead) -> str:
    return ", not decided" if lead.undecided else ""


def _where(lead: Lead) -> str:
    few = "" if lead.both == lead.cases else f" on {_cases(lead)} cases"
    ours, theirs = (format_seconds(time.value) for time in (lead.ours, lead.theirs))
    return f"{lead.family} at S = {lead.size} (`{lead.rival}` {theirs}, ours {ours}{few})"


def _machines(runs: Iterable[TaskResults]) -> str:
    return "; ".join(dict.fromkeys(f"{machine(one.environment)}, {day(one.environment)}" for one in runs))


def _unsteady(runs: Iterable[TaskResults]) -> str:
    """How far the machine's speed went astray in the least steady of the runs."""
    known = [one for run in runs if (one := steadiness(run.rows))]
    if not known:
        return ""
    worst = max(known, key=lambda one: one.high / one.low)
    return f"; meanwhile a fixed kernel took {worst.low:.2f} to {worst.high:.2f} times its median (5 to 95 %, least steady run)"


def _seconds(time: Interval) -> str:
    return _with_ends(time, format_seconds)


def _times(ratio: Interval) -> str:
    return _with_ends(ratio, _factor)


def _factor(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"


def _with_ends(interval: Interval, text: Callable[[float], str]) -> str:
    """A number with its interval, which a single case does not have; where no other solver ended there is no number."""
    if math.isinf(interval.value):
        return "none ended"
    ends = "" if interval.low == interval.high else f" ({text(interval.low)} to {text(interval.high)})"
    return text(interval.value) + ends


def tables(runs: Sequence[Path]) -> dict[tuple[Path, str], str]:
    """All tables, by the page and the name under which they stand there."""
    asked = {run: read_json(run / RUN_FILE)["plan"]["tasks"].keys() for run in runs}
    tasks = [
        one for run, names in asked.items() if "matching" in names for one in read_results(run, tasks=["matching"])
    ]
    found = strongest(tasks)
    maps = [results for results in tasks if {place["model"] for place in results.places.values()} == {MAPS}]
    quick = [one for results in maps for one in quicker(results)]
    wide = [one for run, names in asked.items() if names >= {*FRONTS} for one in read_results(run, tasks=FRONTS)]
    text = f"{quick_text(quick)} Measured on {_machines(tasks)}{_unsteady(tasks)}.\n"
    return {
        (README, "headline"): f"{short_table(found)}\n{steady_text(tasks, found)}\n\n{text}",
        (README, "fronts"): fronts(found, wide),
        (RESULTS, "families"): long_table(found),
        (RESULTS, "skipped"): skipped_table(tasks),
        (RESULTS, "runs"): run_list(tasks),
        (RESULTS, "approximations"): quick_table(quick),
        (OPPONENTS, "versions"): pairwise(maps, VERSIONS),
        (MATCHING, "paper"): pairwise(maps, PAPER),
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
