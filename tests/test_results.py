"""Folders of runs: found, locked, resumed and read back."""

import json
import lzma
import math
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.bench import results as runs
from semrsm_bench.bench.compare import read_measurements
from semrsm_bench.core.files import lock
from tests.bench_data import make_row, old_line


def pair_of(row):
    return row["units"]["pair"][0]


def write(folder, *rows):
    with runs.RunWriter(folder) as writer:
        for row in rows:
            writer.append(row)


@pytest.mark.parametrize("kept", [1, 40, -41, -6, -2])
@pytest.mark.parametrize("length", [0, 200_000])
def test_a_torn_last_line_is_as_if_it_had_not_been_measured(tmp_path, kept, length):
    write(tmp_path, make_row())
    path = tmp_path / runs.ROWS_FILE
    before = path.read_bytes()
    torn = json.dumps({**make_row(pair="0-2").as_dict(), "message": "x" * length}).encode() + b"\n"
    path.write_bytes(before + torn[:kept])
    assert [pair_of(r) for r in runs.read_rows(tmp_path)] == ["0-1"]
    write(tmp_path)
    assert path.read_bytes() == before
    path.write_bytes(before + torn[:-1])  # only the line break is missing: a whole row
    write(tmp_path)
    assert path.read_bytes() == before + torn


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{broken", " is no row: Expecting property name enclosed in double quotes. Delete the line; its case"),
        (b"\xff\xfe{", " is no row: not UTF-8, or nested too deeply. Delete the line"),
        (b"[" * 100_000, " is no row: not UTF-8, or nested too deeply. Delete the line"),
        (b"[1, 2]", " is no row: no JSON object. Delete the line"),
        (b'{"schema": 99}', ": schema 99, this version reads up to 2; update semrsm-bench"),
    ],
)
def test_a_broken_line_or_one_of_a_newer_version_is_named(tmp_path, line, words):
    write(tmp_path, make_row())
    path = tmp_path / runs.ROWS_FILE
    path.write_bytes(path.read_bytes() + line + b"\n" + path.read_bytes())
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}, line 2{words}')}"):
        runs.load_rows(tmp_path)


def test_rows_survive_the_file_as_they_were(tmp_path):
    rows = [make_row(), make_row(pair="0-2", options={"b": 2, "a": [1, 2]}, peak_bytes=7, k=math.nan)]
    write(tmp_path, *rows)
    assert runs.load_rows(tmp_path) == [json.loads(row.to_json()) for row in rows]
    assert "NaN" not in (tmp_path / runs.ROWS_FILE).read_text()


def test_rows_of_both_schemas_are_read_side_by_side(tmp_path):
    write(tmp_path, make_row(pair="0-2", method="identity"))
    path = tmp_path / runs.ROWS_FILE
    path.write_text(old_line() + "\n" + old_line(pair="", status="skipped") + "\n" + path.read_text())
    rows = runs.load_rows(tmp_path)
    assert [(r["schema"], r["method"], r["case"]) for r in rows] == [
        (1, "scipy", "tiny/layer1/none/0-1"),
        (1, "scipy", ""),
        (2, "identity", "tiny/layer1/none/0-2"),
    ]
    assert {r["task"] for r in rows} == {"matching"}
    # The same cell measured anew: what the old clock said does not mix with it.
    write(tmp_path, make_row())
    assert [(r["schema"], r["method"]) for r in runs.load_rows(tmp_path)] == [(2, "identity"), (2, "scipy")]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("mn"), st.integers(0, 3)), max_size=30))
def test_of_all_observations_the_last_counts_and_a_cell_never_holds_two_codes(tmp_path_factory, measured):
    folder = tmp_path_factory.mktemp("run")
    made = [
        make_row(code=code, method=method, pair=f"0-{pair}", seconds=float(i))
        for i, (code, method, pair) in enumerate(measured)
    ]
    write(folder, *made)
    rows = runs.load_rows(folder)
    last = {method: code for code, method, _ in measured}
    assert {(r["method"], r["code"]) for r in rows} == set(last.items())
    expected = {(m, p): float(i) for i, (c, m, p) in enumerate(measured) if c == last[m]}
    assert len(rows) == len(expected)
    assert {(r["method"], int(r["case"][-1])): r["seconds"] for r in rows} == expected


def test_rows_of_code_that_is_no_longer_measured_do_not_count(tmp_path):
    write(tmp_path, make_row(code="a"), make_row(code="b"), make_row(code="a", method="greedy"))
    for noted, expected in ((None, "b"), ("a", "a"), ("c", "")):
        runs.write_json(tmp_path / runs.RUN_FILE, {"codes": {"matching": {"scipy": noted}} if noted else None})
        rows = runs.load_rows(tmp_path)
        assert [r["code"] for r in rows if r["method"] == "scipy"] == list(expected)
        assert [r["code"] for r in rows if r["method"] == "greedy"] == ["a"]


# Which run is written to.

PLAN = {"profile": "quick", "tasks": {"matching": 2}}
PLACE = {"cpu": {"model": "fast"}, "os": "Linux", "python": "3", "blas": ["openblas"], "packages": {"numpy": "1"}}
CHANGES = {
    **{state: {} for state in ("unfinished", "finished", "locked")},
    "other plan": {"plan": {**PLAN, "tasks": {"matching": 3}}},
    **{f"other {key}": {"environment": {**PLACE, key: "other"}} for key in PLACE},
}
REFUSED = {
    "locked": "run 'mine' is being written by another process",
    "other plan": "'mine' cannot be resumed: it was started with other tasks or options of tasks",
    # Code, libraries and data are in the keys of rows.
    **{f"other {key}": f"these differ from when it was started: {key};" for key in ("cpu", "os", "python", "blas")},
}


@pytest.mark.parametrize("state", CHANGES)
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_a_run_is_resumed_where_it_fits_and_a_named_one_is_refused_where_not(tmp_path, state, fresh, named):
    with runs.open_run(runs.SessionOptions(tmp_path, "mine"), PLAN, PLACE) as first:
        if state == "finished":
            first.finish()
    if state == "locked":
        first = runs.RunWriter(first.folder)
    session, given = runs.SessionOptions(tmp_path, "mine" if named else None, fresh), CHANGES[state]
    given = {"plan": PLAN, "environment": PLACE, **given}
    if named and (words := "exists already" if fresh else REFUSED.get(state)):
        with pytest.raises(ValueError, match=words):
            runs.open_run(session, **given)
    else:
        with runs.open_run(session, **given) as writer:
            resumes = named or (not fresh and state in ("unfinished", "other packages"))
            assert (writer.folder == first.folder) == writer.resumed == resumes
    if state == "locked":
        first.__exit__()


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", ".hidden", "-x", "a\nb", "x\0", "a" * 200, "\u4e00" * 90, " x", "x ", "latest"]
)
def test_the_id_of_a_run_is_the_name_of_a_folder(tmp_path, name):
    with pytest.raises(ValueError, match="name of a folder"):
        runs.open_run(runs.SessionOptions(tmp_path, name), PLAN, PLACE)


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_that_another_process_finishes_before_the_lock_is_free_is_not_resumed(tmp_path, monkeypatch, finished):
    with runs.open_run(runs.SessionOptions(tmp_path), PLAN, PLACE) as writer:
        first = writer.folder

    def lock_late(descriptor, path):
        if finished and path.parent == first:
            runs.write_json(first / runs.RUN_FILE, {**runs.read_json(first / runs.RUN_FILE), "finished": "now"})
        return lock(descriptor, path)

    monkeypatch.setattr(runs, "lock", lock_late)
    with runs.open_run(runs.SessionOptions(tmp_path), PLAN, PLACE) as writer:
        assert (writer.folder == first) == writer.resumed == (not finished)


def make_run(folder, started):
    folder.mkdir(parents=True)
    runs.write_json(folder / runs.ENVIRONMENT_FILE, {"started": started})
    write(folder, make_row())


def test_a_kept_run_is_read_compared_and_not_resumed(tmp_path):
    run = tmp_path / "results" / "kept"
    make_run(run, "2026-01-01T00:00:00")
    write(run, make_row(pair="0-2"))
    rows = runs.read_rows(run)
    figures = read_measurements(run).cells
    assert len(rows) == 2
    (run / runs.KEPT_FILE).write_bytes(lzma.compress((run / runs.ROWS_FILE).read_bytes()))  # as xz does
    (run / runs.ROWS_FILE).unlink()
    assert runs.read_rows(run) == rows
    for source in (run, run / runs.KEPT_FILE, "kept"):
        assert read_measurements(source, tmp_path / "results").cells == figures
    assert runs.find_run(tmp_path, run / runs.KEPT_FILE) == run
    with pytest.raises(ValueError, match="compressed; to go on with it: unxz"):
        runs.RunWriter(run)
    (run / runs.ROWS_FILE).write_bytes(lzma.decompress((run / runs.KEPT_FILE).read_bytes()))  # unxz -k leaves both
    with runs.RunWriter(run):
        assert runs.read_rows(run) == rows
    (run / runs.ROWS_FILE).unlink()
    (run / runs.KEPT_FILE).write_bytes(b"no xz")
    with pytest.raises(ValueError, match=r"rows.jsonl.xz is damaged"):
        runs.read_rows(run)


def test_runs_are_found_by_id_by_path_and_as_the_latest(tmp_path):
    make_run(tmp_path / "results" / "b-first", "2026-01-01T00:00:00")
    make_run(tmp_path / "results" / "a-second", "2026-01-02T00:00:00")
    (tmp_path / "results" / "no-run").mkdir()
    results = tmp_path / "results"
    assert [p.name for p in runs.list_runs(results)] == ["b-first", "a-second"]
    assert runs.find_run(results) == results / "a-second"
    assert runs.find_run(results, "b-first") == results / "b-first"
    assert runs.find_run(tmp_path / "elsewhere", results / "b-first") == results / "b-first"
    assert runs.find_run(results, results / "b-first" / runs.ROWS_FILE) == results / "b-first"
    with pytest.raises(FileNotFoundError, match="b-first, a-second"):
        runs.find_run(results, "third")
    with pytest.raises(FileNotFoundError, match="semrsm-bench run"):
        runs.find_run(tmp_path / "elsewhere")
    write(tmp_path / "empty")
    assert runs.load_rows(tmp_path / "empty") == []
    with pytest.raises(FileNotFoundError, match=r"is .* the folder of a run"):
        runs.read_rows(tmp_path / "elsewhere")


def test_json_files_are_read_with_errors_that_name_them(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(FileNotFoundError, match=r"x\.json"):
        runs.read_json(path)
    for text, words in (("{", "is not JSON"), ("[]", "holds no JSON object")):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"x\.json {words}"):
            runs.read_json(path)
    runs.write_json(path, {"a": math.inf})
    assert runs.read_json(path) == {"a": None}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


WRITING = """
import sys
from pathlib import Path
from tests.bench_data import make_row
from semrsm_bench.bench.results import RunWriter
with RunWriter(Path(sys.argv[1])) as writer:
    for i in range(10**9):
        writer.append(make_row(pair=f"0-{i}", info={"x": "y" * (i % 5000)}))
        print(i, flush=True)
"""


def test_sigkill_while_writing_loses_no_row_that_was_reported(tmp_path):
    script = tmp_path / "writing.py"
    script.write_text(WRITING)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout.readline() == b"0\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    reported = [0, *map(int, process.stdout.read().split(b"\n")[:-1])]
    process.wait()
    pairs = [pair_of(r) for r in runs.read_rows(tmp_path / "run")]
    assert pairs[: len(reported)] == [f"0-{i}" for i in reported]
    write(tmp_path / "run", make_row(pair="0-x"))
    assert pair_of(runs.read_rows(tmp_path / "run")[-1]) == "0-x"


@pytest.mark.parametrize(
    ("name", "value"), [("cpu", 3), ("packages", ["numpy"]), ("data", {"name": "x"}), ("blas", ["openblas"])]
)
def test_an_environment_of_another_layout_is_named(tmp_path, name, value):
    runs.write_json(tmp_path / runs.ENVIRONMENT_FILE, {name: value})
    with pytest.raises(ValueError, match=f"environment.json: {name} is "):
        runs.load_environment(tmp_path)
