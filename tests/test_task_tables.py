"""The tables in the pages of tasks for metrics follow from the rows that are kept."""

import json
import runpy
from pathlib import Path

import pytest

from semrsm_bench.bench import drift
from semrsm_bench.bench.results import load_rows
from tests.command_line import call

CHECKOUT = Path(__file__).resolve().parent.parent
TABLES = runpy.run_path(str(CHECKOUT / "docs/task_tables.py"))


@pytest.mark.parametrize("page", [*TABLES["pages"]()], ids=lambda page: page.stem)
def test_the_pages_hold_what_the_kept_rows_give(page, monkeypatch):
    monkeypatch.setattr(drift, "FEWEST", 10)  # which tests/conftest.py raises for runs of tests
    text = page.read_text()
    assert TABLES["written"](text) == text, "renew it with: python docs/task_tables.py --write"


def test_kept_rows_give_the_tables_of_the_run_with_less(tmp_path, monkeypatch, kept_workers, user_cache):
    few = ("--networks", 3, "--count", 30, "--methods", "linear_cka,linear_regression,spectrum")
    call("run", "layers", "accuracy", *few, "--run-id", "some", "--out", tmp_path, "--quiet")
    monkeypatch.setitem(TABLES["keep"].__globals__, "HERE", tmp_path / "docs")
    (tmp_path / "docs/runs").mkdir(parents=True)
    TABLES["keep"](tmp_path / "some")
    kept = tmp_path / "docs/runs/some"
    assert call("table", kept, "--json") == call("table", tmp_path / "some", "--json")
    rows = load_rows(kept)
    assert {row["task"] for row in rows if "values" in row["raw"]} == {"accuracy"}
    assert len(rows) == len(load_rows(tmp_path / "some"))
    assert len(json.dumps(rows)) < len(json.dumps(load_rows(tmp_path / "some"))) - 5000
