"""``semrsm-bench table | plot``: which rows and formats they show, and what they refuse."""

import csv
import io
import itertools
import json
import re
import subprocess
import sys
from functools import partial

import pytest

from semrsm_bench.bench.results import ENVIRONMENT_FILE, ROWS_FILE, write_json
from semrsm_bench.report.write import write_report
from semrsm_bench.tasks.registry import get_task, task_names
from tests.command_line import call
from tests.synthetic_rows import ENVIRONMENT, make_row, make_run


def write_run(results, run_id, rows, started="2026-01-02T03:04:05.000+00:00"):
    folder = results / run_id
    folder.mkdir(parents=True)
    (folder / ROWS_FILE).write_text("".join(json.dumps(row | {"run_id": run_id}) + "\n" for row in rows))
    write_json(folder / ENVIRONMENT_FILE, ENVIRONMENT | {"started": started})
    return folder


@pytest.fixture
def results(tmp_path, monkeypatch):
    """The current folder's results: a run of one row, and a newer one of three solvers under two centrings."""
    monkeypatch.chdir(tmp_path)
    rows = make_run((256,), solvers=("ortools", "identity", "greedy"), pairs=3)
    folder = tmp_path / "results"
    write_run(folder, "older", [make_row("scipy")], started="2025-01-01T00:00:00.000+00:00")
    write_run(folder, "newer", rows)
    return folder


def table(words="", code=0):
    """What ``semrsm-bench table WORDS`` prints."""
    return call("table", *words.split(), code=code)[0]


def test_a_run_is_found_by_id_by_path_and_as_the_latest_and_tasks_are_named_after_it_or_alone(results):
    latest = table()
    assert "run newer" in latest
    for words in ("newer", "results/newer", "matching", "newer matching"):
        assert table(words) == latest
    assert "scipy" in table("older")
    # A run whose name is that of a task is a run.
    write_run(results, "matching", [make_row("lapjv")])
    assert "lapjv" in table("matching")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("oldest", 2, "older, newer"),
        ("--results nowhere", 2, "no run in"),
        ("outputs", 2, "this run has no task 'outputs'; it has matching"),
        ("--format html", 2, "'html' is not one of text, md, latex, csv"),
        ("--where centring", 2, "'centring' is not KEY=VALUE"),
        ("--scores f1", 2, "'f1' here; there are c, quality"),
        ("--against nobody", 2, "'nobody' here; there are greedy, identity, ortools"),
        ("--where centring=position", 4, "this run has centring none, channel"),
    ],
)
@pytest.mark.usefixtures("results")
def test_what_a_run_does_not_have_is_one_line(words, code, message):
    out, err = call("table", *words.split(), code=code)
    assert not out
    assert message in err


def test_json_and_csv_hold_the_same_figures(results):
    records = json.loads(table("--json"))["rows"]
    lines = list(csv.DictReader(io.StringIO(table("--format csv"))))
    assert len(records) == len(lines) == 6
    for record, line in zip(records, lines):
        assert record["method"] == line["method"]
        for figure in ("seconds", "c"):
            assert record[figure] == float(line[figure])


def test_json_is_one_object_a_task_and_its_rows_name_score_cell_and_baselines_alike(results):
    found = json.loads(table("--json --told-apart"))
    assert (found["task"], found["unit"], found["score"]["name"]) == ("matching", "image", "c")
    assert {row["cell"] for row in found["rows"]} == {
        f"resnet18-tiny-imagenet, 256, layer3, 256, {centring}" for centring in ("none", "channel")
    }
    for row in found["rows"]:
        assert (row["score"], row["low"], row["high"]) == (row["c"], row["c_low"], row["c_high"])
        assert row["baseline"] == (row["method"] == "identity")
        assert (row["units"], row["unit"]) == (4, "image")
    greedy = next(row for row in found["rows"] if row["method"] == "greedy")
    base = next(row for row in found["rows"] if row["baseline"] and row["cell"] == greedy["cell"])
    assert greedy["beyond_baseline"] == pytest.approx((greedy["c"] - base["c"]) / (1 - base["c"]))
    assert base["beyond_baseline"] is None
    assert greedy["low_jackknife"] is None, "one image is in all pairs: nothing is left without it"
    assert found["told_apart"] == [], "one method that is no baseline and not exact"
    write_run(results, "more", [*make_run((256,), pairs=4), make_row("scipy", pair="0-9")])
    (cell, _) = json.loads(table("more --json --told-apart"))["told_apart"]
    assert cell["pairs"] == len(cell["differences"]) == len(list(itertools.combinations(cell["methods"], 2)))
    assert cell["share"] == sum(d["p"] < 0.05 for d in cell["differences"]) / cell["pairs"]
    assert "differences" not in json.loads(table("more --json"))["told_apart"][0]


def test_no_score_of_a_task_has_a_name_that_every_row_has(results):
    rows = json.loads(table("--json --where centring=none"))["rows"]
    of_matching = {name for name in rows[0] if re.match(r"(c|quality)(_|$)", name)}
    for name in task_names():
        scores = {f"{s.name}{end}" for s in get_task(name).scores for end in ("", "_low", "_high", "_bound", "_worst")}
        assert not scores & (set(rows[0]) - of_matching), name


def test_two_tasks_are_a_list_of_objects(results):
    rows = [{**row, "task": task} for task in ("matching", "retrieval") for row in [make_row("greedy")]]
    write_run(results, "both", rows)
    assert [one["task"] for one in json.loads(table("both --json"))] == ["matching", "retrieval"]


def test_width_and_centring_and_end_to_end(results):
    narrow = table("--width 60 --where centring=channel --end-to-end")
    assert max(map(len, narrow.splitlines())) <= 60
    assert [word in narrow for word in ("centring channel", "centring none", "T + affinity")] == [True, False, True]
    both = table("--where centring=none,centring=channel")
    assert [word in both for word in ("centring channel", "centring none", "T + affinity")] == [True, True, False]


def test_scores_and_the_method_to_compare_with_are_chosen(results):
    records = json.loads(table("--json --where centring=none --scores quality --against greedy"))["rows"]
    greedy, *others = sorted(records, key=lambda record: record["method"] != "greedy")
    assert "c" not in greedy
    assert greedy["difference"] is None
    assert others
    for record in others:
        assert record["reference"] == "greedy"
        assert record["difference"] == pytest.approx(record["quality"] - greedy["quality"])


@pytest.mark.parametrize("untimed", ["", "--untimed"])
def test_times_are_left_out(results, untimed):
    text = table(f"--format md {untimed}")
    assert ("time" in text) == ("<br>T " in text) == (not untimed)


@pytest.mark.parametrize("verb", ["table", "plot"])
def test_what_nothing_was_measured_of_is_exit_code_4(results, verb):
    assert write_report(write_run(results, "empty", [])) == ([], [])
    assert "nothing was measured" in call(verb, "empty", code=4)[1]
    write_run(results, "failed", [make_row("scipy", status="timeout", seconds=None, k=None, message="no answer")])
    if verb == "plot":
        assert "no row of this run is ok" in call("plot", "failed", code=4)[1]
    else:
        assert "timeout" in table("failed")


def test_plot_writes_beside_the_run_or_into_a_folder(results):
    out, _ = call("plot", "--format", "svg")
    kinds = ("front", "runtime", "quality", "profile")
    names = {"gain.svg", *(f"{kind}-{centring}.svg" for kind in kinds for centring in ("none", "channel"))}
    assert {p.name for p in (results / "newer" / "figures").iterdir()} == names
    assert len(out.splitlines()) == len(names)
    call("plot", "--format", "png", "--where", "centring=none", "--out", results / "f")
    assert {p.name for p in (results / "f").iterdir()} == {"gain.png", *(f"{kind}-none.png" for kind in kinds)}


def test_a_table_that_fails_leaves_the_old_one(results, monkeypatch):
    folder = results / "newer"
    (folder / "table.md").write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(folder)
    assert (folder / "table.md").read_text() == "old"


python = partial(subprocess.run, capture_output=True, check=True, timeout=300)


def test_the_report_of_a_run_is_written_as_utf8_in_any_locale(results):
    code = "from pathlib import Path; from semrsm_bench.report.write import write_report; write_report(Path('newer'))"
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": ""}
    python([sys.executable, "-c", code], cwd=results, env=environment)
    assert "O(S³)" in (results / "newer" / "table.md").read_bytes().decode("utf-8")
    reports = {"table.md", "table.tex", "table.csv", "figures"}
    assert {p.name for p in (results / "newer").iterdir()} == {*reports, ROWS_FILE, ENVIRONMENT_FILE}


def test_a_terminal_that_lacks_signs_gets_the_table_all_the_same(results):
    command = [sys.executable, "-m", "semrsm_bench", "table", "newer", "--results", "."]
    done = python(command, cwd=results, env={"PYTHONIOENCODING": "latin-1", "PATH": ""})
    assert b"ortools" in done.stdout
