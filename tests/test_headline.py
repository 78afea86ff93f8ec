"""What README and docs/results.md say of solvers follows from the rows that are kept."""

import dataclasses
import itertools
import json
import math
import runpy
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from semrsm_bench.bench import drift
from semrsm_bench.bench.results import ENVIRONMENT_FILE, ROWS_FILE, RUN_FILE, load_rows, read_json
from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.stats import Interval
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.results import read_results
from semrsm_bench.tasks.registry import TASKS
from tests.bench_data import make_row

CHECKOUT = Path(__file__).resolve().parent.parent
HEADLINE = runpy.run_path(str(CHECKOUT / "docs/headline.py"))
KEPT = sorted(HEADLINE["RUNS"].iterdir())


def rows_of(method, seconds, **changes):
    """Rows of some pairs; None is a pair that the method was not given."""
    for i, time in enumerate(seconds):
        if time is not None:
            yield make_row(method=method, pair=f"{2 * i}-{2 * i + 1}", seconds=time, **changes)


def skipped(method, message, **changes):
    return make_row(method=method, pair="", status="skipped", seconds=None, scores={}, message=message, **changes)


def write_run(folder, rows, finished="2026-11-29T22:20:36.984+00:00", deadline=30.0):
    folder.mkdir(exist_ok=True)
    (folder / ROWS_FILE).write_text("".join(row.to_json() + "\n" for row in rows))
    (folder / ENVIRONMENT_FILE).write_text(json.dumps({"run_id": "run-1", "started": "2026-11-29T21:47:33+00:00"}))
    plan = {"profile": "quick", "tasks": {"matching": {"budget": 3.0, "deadline": deadline}}}
    (folder / RUN_FILE).write_text(json.dumps({"plan": plan, "finished": finished}))
    return read_results(folder, tasks=["matching"])


def only_lead(folder, times):
    """Of the one place in which methods have these times."""
    (lead,) = HEADLINE["strongest"](write_run(folder, [row for m, line in times.items() for row in rows_of(m, line)]))
    return lead


def test_a_lead_is_the_ratio_of_medians_to_the_fastest_other_exact_solver(tmp_path):
    rows = [
        *rows_of("exact-auction", (1e-3, 2e-3, 6e-3)),
        *rows_of("scipy", (10e-3, 30e-3, 20e-3)),
        *rows_of("lapjv", (50e-3, 60e-3, 70e-3)),
        *rows_of("greedy", (1e-6, 1e-6, 1e-6), category="approximate"),
        *rows_of("lap", (1e-6,)),
        *(make_row(method="lap", pair=pair, status="timeout", seconds=None, scores={}) for pair in ("2-3", "4-5")),
    ]
    (lead,) = HEADLINE["strongest"](write_run(tmp_path, rows))
    assert (lead.family, lead.size, lead.both, lead.cases, lead.rival) == ("tiny", 16, 3, 3, "scipy")
    assert lead.rivals == 2, "the one that failed in most cases did not end"
    assert (lead.ours.value, lead.theirs.value, lead.ratio.value) == pytest.approx((2e-3, 20e-3, 10.0))
    # The draws of both are the same: all of one pair give 10, 15 or 3.3.
    assert lead.ratio.low == pytest.approx(20 / 6)
    assert lead.ratio.high == pytest.approx(15.0)


def test_both_times_and_their_ratio_are_of_the_same_cases_and_a_cut_one_decides_nothing(tmp_path):
    lead = only_lead(tmp_path, {"exact-auction": [1e-3, 5.0, 7.0], "scipy": [10e-3, None, None]})
    assert (lead.both, lead.cases) == (1, 3)
    assert (lead.ours.value, lead.theirs.value, lead.ratio.value) == pytest.approx((1e-3, 10e-3, 10.0))
    assert (lead.behind, lead.undecided) == (False, True)
    for text in (
        HEADLINE["short_table"]([lead._replace(family=HEADLINE["MAPS"], size=256)]),
        HEADLINE["long_table"]([lead]),
    ):
        assert "1 of 3" in text
        assert "10**, not decided" in text or "10, not decided" in text
    assert "Others are ahead in 0. Not decided, for lack of cases: 1." in HEADLINE["counts"]([lead])
    # Ours was cut: its column is a number all the same.
    lead = only_lead(tmp_path, {"exact-auction": [2e-3, None, None], "scipy": [10e-3, 1e-3, 1e-3]})
    assert (lead.ours.value, lead.undecided) == (2e-3, True)
    # Faster on the few that both have is ahead, whatever the others would give.
    lead = only_lead(tmp_path, {"exact-auction": [2e-3, 1.0, 1.0], "scipy": [1e-3, None, None]})
    assert (lead.behind, lead.undecided) == (True, False)
    assert "tiny at S = 16 (`scipy` 1.00 ms, ours 2.00 ms on 1 of 3 cases)" in HEADLINE["counts"]([lead])


@pytest.mark.parametrize("seed", range(4))
def test_cases_that_are_missing_cannot_turn_what_counts_as_decided(tmp_path, seed):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.lognormal(-7, 0.5, 5).tolist(), rng.lognormal(-4 - seed, 0.5, 5).tolist()
    ours[0], theirs[3], theirs[4] = None, None, None
    lead = only_lead(tmp_path, {"exact-auction": ours, "scipy": theirs})
    possible = [
        np.median([b if t is None else t for t, b in zip(theirs, fill)]) / np.median([fill[5], *ours[1:]])
        for fill in itertools.product(*[[0.0]] * 3, *[(0.0, 1e-3, 10.0)] * 2, (1e-6, 1e-3, 1e3, math.inf))
    ]
    assert min(possible) == pytest.approx(lead.least)
    assert lead.undecided == (lead.ratio.value >= 1 and min(possible) <= 1 and not lead.tied)


def test_a_solver_counts_with_the_run_that_gave_it_most_cases(tmp_path):
    all_few = {"exact-auction": [1e-3, None], "scipy": [9e-3, None], "lapjv": [20e-3, None]}
    one_more = {"exact-auction": [1e-3, 1e-3], "scipy": [11e-3, 13e-3]}
    runs = [
        results
        for name, times in (("a", all_few), ("b", one_more))
        for results in write_run(tmp_path / name, [row for m, line in times.items() for row in rows_of(m, line)])
    ]
    (lead,) = HEADLINE["strongest"](runs)
    assert (lead.rival, lead.both, lead.rivals, lead.ratio.value) == ("scipy", 2, 2, pytest.approx(12.0))


def test_an_interval_or_two_runs_on_both_sides_of_1_tell_nothing_apart(tmp_path):
    lead = only_lead(tmp_path / "one", {"exact-auction": [1e-3, 1e-3, 1e-3], "scipy": [0.5e-3, 0.9e-3, 2e-3]})
    assert (lead.ratio.value, lead.tied, lead.behind, lead.undecided) == (pytest.approx(0.9), True, False, False)
    for text in (HEADLINE["counts"]([lead]), HEADLINE["long_table"]([lead])):
        assert "Others are ahead in 0" in text
    assert "in 1 the two are not told apart" in HEADLINE["counts"]([lead])
    assert "Not told apart are 1 of 1: tiny at S = 16" in HEADLINE["long_table"]([lead])
    times = {"faster": [1.1e-3, 1.2e-3, 1.3e-3], "slower": [0.7e-3, 0.8e-3, None]}
    runs = [
        results
        for name, theirs in times.items()
        for results in write_run(tmp_path / name, [*rows_of("exact-auction", [1e-3] * 3), *rows_of("scipy", theirs)])
    ]
    (lead,) = HEADLINE["strongest"](runs)
    assert lead.ratio.low > 1
    assert (lead.both, lead.runs.low, lead.runs.high) == (3, pytest.approx(0.75), pytest.approx(1.2))
    assert (lead.tied, lead.behind, lead.undecided) == (True, False, False)


def test_two_methods_are_set_beside_each_other_in_the_run_that_has_most_cases_of_both(tmp_path):
    runs = []
    for name, new, old in (("few", [1e-3, None], [9e-3, 9e-3]), ("many", [2e-3, 4e-3], [3e-3, 6e-3])):
        rows = [*rows_of("exact-auction", (1e-3, 1e-3)), *rows_of("scipy", new), *rows_of("scipy-2023", old)]
        runs += write_run(tmp_path / name, [dataclasses.replace(row, cell=row.cell | {"size": 256}) for row in rows])
    table = HEADLINE["pairwise"](runs, [("scipy", "scipy-2023"), ("lap", "scipy")])
    assert table.splitlines()[2:] == ["| 256 | `scipy` | `scipy-2023` | 1.5 (1.5 to 1.5) | 2 |"]


def test_steady_moments_leave_out_what_was_timed_while_the_machine_was_off(tmp_path, monkeypatch):
    monkeypatch.setattr(drift, "FEWEST", 3)
    speeds = [1e-4, 1.01e-4, 0.99e-4, 1.02e-4, 2e-4]
    rows = []
    for method, times in (("exact-auction", [1e-3] * 5), ("scipy", [9e-3, 9e-3, 9e-3, 9e-3, 1e-3])):
        for row, speed in zip(rows_of(method, times), speeds):
            cell = row.cell | {"model": HEADLINE["MAPS"], "size": 256}
            rows.append(dataclasses.replace(row, cell=cell, reference_seconds=speed))
    runs = write_run(tmp_path, rows)
    found = HEADLINE["strongest"](runs)
    assert found[0].ratio.low < 9
    assert HEADLINE["steady_text"](runs, found).endswith(" usual speed: 9.0 at S = 256.")


def test_a_run_whose_calls_had_more_time_replaces_one_that_cut_them(tmp_path):
    cut = [*rows_of("exact-auction", (math.inf,)), *rows_of("scipy", (9.0,)), *rows_of("lapjv", (1e-3,))]
    whole = [*rows_of("exact-auction", (2.0,)), *rows_of("scipy", (10.0,))]
    runs = [*write_run(tmp_path / "a", cut), *write_run(tmp_path / "b", whole, deadline=60.0)]
    (lead,) = HEADLINE["strongest"](runs)
    assert (lead.rival, lead.rivals, lead.ratio.value) == ("scipy", 1, pytest.approx(5.0))


def test_who_was_skipped_and_why_and_what_runs_were_like(tmp_path):
    rows = [
        *rows_of("exact-auction", (1e-3, 1e-3)),
        *rows_of("scipy", (10e-3,)),
        skipped("scipy", "budget of 3 s: 1 of 2 pairs"),
        skipped("lap", "too slow for quick: 26 s a case expected from smaller S"),
        skipped("greedy", "it takes x and y", category="approximate"),
        skipped("lapjv", "not tried: it timed out at S=4 already"),
    ]
    results = write_run(tmp_path, rows, finished=None)
    assert HEADLINE["skipped_table"](results).splitlines()[2:] == ["| 16 | too slow for quick | `lap` (1) |"]
    text = HEADLINE["run_list"](results)
    assert (
        "`run-1`: profile `quick`; 1 other exact solvers; budget of a solver in one place 3 s, of a call 30 s" in text
    )
    assert "2026-11-29; **not finished**; steadiness: too few readings." in text
    assert "finished 2026-11-29 22:20;" in HEADLINE["run_list"](write_run(tmp_path, rows))


def test_approximate_solvers_that_are_faster_are_named_with_their_quality(tmp_path):
    rows = [
        *rows_of("exact-auction", (3e-3, 5e-3, None), size=4096),
        *rows_of("greedy", (1e-3, 2e-3, 9.0), size=4096, category="approximate", c=0.5),
        *rows_of("near", (2e-3, 3e-3, 9.0), size=4096, category="approximate", c=0.75),
        *rows_of("slow", (1.0, 1.0, 1.0), size=4096, category="approximate"),
    ]
    (results,) = write_run(tmp_path, rows)
    found = HEADLINE["quicker"](results)
    assert [(q.method, q.theirs.value, q.ours.value, q.c) for q in found] == [
        ("greedy", pytest.approx(1.5e-3), pytest.approx(4e-3), 0.5),
        ("near", pytest.approx(2.5e-3), pytest.approx(4e-3), 0.75),
    ]
    text = HEADLINE["quick_text"](found)
    assert "at S = 4096 with 2 approximate solvers: the fastest is `greedy` with 1.50 ms" in text
    assert "the best `near`" in text
    assert HEADLINE["quick_text"]([]) == "Without a proof it goes faster at S = 4096 with 0 approximate solvers."


def test_every_place_has_draws_of_its_own_and_the_run_with_most_cases_counts(tmp_path):
    many = [*rows_of("exact-auction", (1e-3, 2e-3, 6e-3)), *rows_of("scipy", (10e-3, 20e-3, 30e-3))]
    few = [*rows_of("exact-auction", (1e-3,)), *rows_of("scipy", (1e-3,))]
    matrices = [
        dataclasses.replace(
            row, cell={**row.cell, "model": "matrices", "channels": 0}, case=f"m/{row.case}", units={"pair": [row.case]}
        )
        for row in (*rows_of("exact-auction", (1e-3, 2e-3, 4e-3)), *rows_of("lap", (1e-3, 1e-3, 1e-3)))
    ]
    tasks = []
    for name, rows in (("many", many), ("few", [*few, *matrices])):
        tasks += write_run(tmp_path / name, rows)
    first, second = HEADLINE["strongest"](tasks)
    assert (first.family, first.rival, first.ratio.value) == ("matrices", "lap", pytest.approx(0.5))
    assert (first.ratio.low, first.ratio.high) == pytest.approx((0.25, 1.0))  # not one number: pairs are resampled
    assert (second.family, second.cases, second.ratio.value) == ("tiny", 3, pytest.approx(10.0))
    text = HEADLINE["short_table"]([first, second])
    assert "In each of 2 places, of 2 families, 1 other exact solvers ended." in text
    assert "Others are ahead in 1, most in matrices at S = 16 (`lap` 1.00 ms, ours 2.00 ms)." in text
    assert "Cases that the fastest lack turn none of them." in text


def test_a_place_where_no_other_solver_ends_has_its_line(tmp_path):
    late = [dataclasses.replace(row, status="timeout", seconds=None, scores={}) for row in rows_of("lap", (1.0, 1.0))]
    tasks = write_run(tmp_path / "late", [*rows_of("exact-auction", (1e-3, 2e-3)), *late])
    (lead,) = HEADLINE["strongest"](tasks)
    assert (lead.family, lead.rival, lead.behind, lead.undecided) == ("tiny", "lap", False, False)
    assert HEADLINE["long_table"]([lead]).count("| none ended | none ended |") == 1
    alone = write_run(tmp_path / "alone", rows_of("exact-auction", (1e-3, 2e-3)))
    assert HEADLINE["strongest"](alone) == []
    assert "In each of 0 places" in HEADLINE["short_table"]([])


def test_no_kept_row_is_of_a_wrong_answer_and_all_are_small():
    assert sum(file.stat().st_size for file in HEADLINE["RUNS"].rglob("*")) < 7 << 20
    for run in KEPT:
        found = {(row["method"], row["status"]) for row in load_rows(run)}
        assert not [entry for entry in found if entry[1] in ("wrong", "invalid", "error", "crashed")]


def results_of(task, timed, places, scores):
    """Results of a task: in each of these cells values by method and category; each with an interval of .1, in 2 s."""
    cells = {}
    for cell, values in zip(places, scores):
        for (name, category), value in values.items():
            summary = Summary(
                *(task, name, "metric", category, {}, {}), ok=1, seconds=Interval(2.0, 2.0, 2.0),
                scores={TASKS.get(task).scores[0].name: Interval(value, value - 0.05, value + 0.1)},
            )  # fmt: skip
            cells[cell, MethodKey.of(name, "metric", category, {})] = summary
    return SimpleNamespace(task=TASKS.get(task), cells=cells, places=places, leading=next(iter(places)), timed=timed)


def test_each_front_has_one_sentence_made_from_the_rows(tmp_path):
    rows = [*rows_of("exact-auction", (1e-3,) * 3, size=1024), *rows_of("scipy", (9e-3,) * 3, size=1024)]
    rows = [dataclasses.replace(row, cell=row.cell | {"model": HEADLINE["MAPS"]}) for row in rows]
    leads = HEADLINE["strongest"](write_run(tmp_path, rows))
    exact, identity = ("exact-auction", "matching"), ("identity", "matching")
    free, none, lost = ("pooled", "matching-free"), ("random", "baseline"), ("chamfer", "matching-free")
    outputs = results_of(
        *("outputs", "pair", {"a": {"layer": "layer3", "size": 256, "kernel": "rbf"}, "b": {}}),
        [
            {exact: -0.3, identity: -0.2, free: -0.4, none: 0.1, lost: math.nan},
            {exact: -0.5, identity: -0.2, free: -0.4, none: 0.1},
        ],
    )
    layers = {("linear_cka", ""): 0.6, ("mutual_knn", ""): 0.7, ("cca", ""): math.nan, ("norms", "baseline"): 0.1}
    layers |= {("spectrum", "baseline"): 0.2, ("length", "statistic"): 0.65}
    place = {"a": {"networks": "w16 x w8"}}
    solvers, rsms, metrics = HEADLINE["fronts"](
        leads, [outputs, results_of("layers", "case", place, [layers])]
    ).splitlines()
    assert "at S = 1024 takes `exact-auction` 1.00 ms, and" in solvers
    assert "`scipy`, 9.00 ms, 9.0 times as long." in solvers
    assert (
        "in 1 of 2 cells (layer x kernel) the best one needs no matching, as at layer3, S = 256, rbf kernel, " in rsms
    )
    assert (
        "where `pooled` −0.400 ±0.100 (2.00 s) stands before `exact-auction` −0.300 ±0.100 (2.00 s), `identity`" in rsms
    )
    assert rsms.endswith(" and the best baseline, `random` +0.100 ±0.100 (2.00 s).")
    assert (
        "(w16 x w8) the best is `mutual_knn` 70.0 ±10.0 (2.00 s), `linear_cka` 60.0 ±10.0 (2.00 s), the best" in metrics
    )
    assert metrics.endswith(
        " number of one side `length` 65.0 ±10.0 (2.00 s), and the best baseline `spectrum` 20.0 ±10.0 (2.00 s)."
    )
    assert HEADLINE["fronts"](leads, [outputs]) == HEADLINE["fronts"]([], [outputs]) == "Not measured.\n"


@pytest.mark.parametrize("run", KEPT, ids=lambda run: run.name)
def test_kept_runs_are_finished_and_of_the_commands_on_the_page(run):
    description = read_json(run / RUN_FILE)
    pages = HEADLINE["RESULTS"], HEADLINE["MATCHING"].with_name("index.md")
    lines = [line for page in pages for line in page.read_text().replace("\\\n", " ").splitlines()]
    shown = [shlex.split(line) for line in lines if line.startswith("semrsm-bench run")]
    (words,) = (words for words in shown if ("--run-id", run.name) in itertools.pairwise(words))
    assert any(set(words) - {"--run-id", run.name} <= set(shlex.split(command)) for command in description["commands"])
    assert description["finished"], f"{run.name} is not finished: the page shows a part of it"


def test_the_pages_hold_what_the_kept_rows_give(monkeypatch):
    monkeypatch.setattr(drift, "FEWEST", 10)  # which tests/conftest.py raises for runs of tests
    for (page, name), table in HEADLINE["tables"](KEPT).items():
        assert table.count("\n") > 3 or name in ("runs", "skipped") or (name, table.count("\n")) == ("fronts", 3)
        text = page.read_text()
        assert HEADLINE["written"](text, name, table) == text, "renew it with: python docs/headline.py --write"
