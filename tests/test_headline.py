"""What README and docs/results.md say of solvers follows from the rows that are kept."""

import dataclasses
import json
import runpy
from pathlib import Path

import pytest

from semrsm_bench.bench import drift
from semrsm_bench.bench.results import ENVIRONMENT_FILE, ROWS_FILE, load_rows
from semrsm_bench.report.results import read_results
from tests.bench_data import make_row

CHECKOUT = Path(__file__).resolve().parent.parent
HEADLINE = runpy.run_path(str(CHECKOUT / "docs/headline.py"))


def rows_of(method, seconds, **changes):
    for pair, time in zip(("0-1", "2-3", "4-5"), seconds):
        yield make_row(method=method, pair=pair, seconds=time, **changes)


def write_run(folder, rows):
    folder.mkdir(exist_ok=True)
    (folder / ROWS_FILE).write_text("".join(row.to_json() + "\n" for row in rows))
    (folder / ENVIRONMENT_FILE).write_text(json.dumps({"run_id": "run-1"}))


def test_a_lead_is_the_ratio_of_medians_to_the_fastest_other_exact_solver(tmp_path):
    rows = [
        *rows_of("exact-auction", (1e-3, 2e-3, 6e-3)),
        *rows_of("scipy", (10e-3, 30e-3, 20e-3)),
        *rows_of("lapjv", (50e-3, 60e-3, 70e-3)),
        *rows_of("greedy", (1e-6, 1e-6, 1e-6), category="approximate"),
        *rows_of("lap", (1e-6,)),
        *(make_row(method="lap", pair=pair, status="timeout", seconds=None, scores={}) for pair in ("2-3", "4-5")),
    ]
    write_run(tmp_path, rows)
    (results,) = read_results(tmp_path, tasks=["matching"])
    (lead,) = HEADLINE["leads"](results)
    assert (lead.family, lead.size, lead.cases, lead.rival) == ("tiny", 16, 3, "scipy")
    assert (lead.ours.value, lead.theirs.value, lead.ratio.value) == pytest.approx((2e-3, 20e-3, 10.0))
    # The draws of both are the same: all of one pair give 10, 15 or 3.3.
    assert lead.ratio.low == pytest.approx(20 / 6)
    assert lead.ratio.high == pytest.approx(15.0)


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
        write_run(tmp_path / name, rows)
        tasks += read_results(tmp_path / name, tasks=["matching"])
    first, second = HEADLINE["strongest"](tasks)
    assert (first.family, first.rival, first.ratio.value) == ("matrices", "lap", pytest.approx(0.5))
    assert (first.ratio.low, first.ratio.high) == pytest.approx((0.25, 1.0))  # not one number: pairs are resampled
    assert (second.family, second.cases, second.ratio.value) == ("tiny", 3, pytest.approx(10.0))
    text = HEADLINE["short_table"]([first, second])
    assert "Others are ahead in 1 of them: matrices at S = 16 (`lap`, 2.0 times as fast)." in text


def test_no_kept_row_is_of_a_wrong_answer_and_all_are_small():
    assert sum(file.stat().st_size for file in HEADLINE["RUNS"].rglob("*")) < 5 << 20
    for run in HEADLINE["RUNS"].iterdir():
        found = {(row["method"], row["status"]) for row in load_rows(run)}
        assert not [entry for entry in found if entry[1] in ("wrong", "invalid", "error", "crashed")]


def test_the_pages_hold_what_the_kept_rows_give(monkeypatch):
    monkeypatch.setattr(drift, "FEWEST", 10)  # which tests/conftest.py raises for runs of tests
    for (page, name), table in HEADLINE["tables"](sorted(HEADLINE["RUNS"].iterdir())).items():
        assert table.count("\n") > 3
        text = page.read_text()
        assert HEADLINE["written"](text, name, table) == text, "renew it with: python docs/headline.py --write"
