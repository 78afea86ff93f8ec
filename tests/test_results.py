import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest

from semrsm_bench.bench.results import (
    COLUMNS,
    ENVIRONMENT_FILE,
    ROWS_FILE,
    find_run,
    list_runs,
    load_environment,
    load_rows,
    read_json,
    read_rows,
    resume_key,
    write_json,
)
from semrsm_bench.bench.writer import RunBusyError, RunWriter
from tests.bench_data import make_row

DESIGNED = {
    *(
        "schema",
        "run_id",
        "solver",
        "options",
        "kind",
        "solver_version",
        "problem",
        "model",
        "layer",
        "size",
        "channels",
    ),
    *(
        "centring",
        "pair",
        "repeat",
        "status",
        "seconds",
        "affinity_seconds",
        "k",
        "k_opt",
        "k_rand",
        "k_upper",
        "quality",
    ),
    *("chance_corrected", "peak_bytes", "message"),
}


def write(folder, *rows):
    with RunWriter(folder) as writer:
        for row in rows:
            writer.append(row)


def test_the_columns_of_the_design_are_there():
    assert set(COLUMNS) >= DESIGNED


def test_rows_survive_the_file_as_they_were(tmp_path):
    rows = [
        make_row(),
        make_row(pair="0-2", problem="tiny/layer1/none/0-2", options={"b": 2, "a": [1, 2]}, peak_bytes=7),
    ]
    write(tmp_path, *rows)
    frame = load_rows(tmp_path)
    assert list(frame.columns) == list(COLUMNS)
    for row, (_, line) in zip(rows, frame.iterrows()):
        for name in ("solver", "problem", "seconds", "k", "chance_corrected", "options", "matrix_free"):
            assert line[name] == getattr(row, name)
    assert frame["peak_bytes"].isna().tolist() == [True, False]
    assert frame["peak_bytes"].iloc[1] == 7


def test_what_is_not_finite_becomes_unknown(tmp_path):
    write(tmp_path, make_row(quality=math.nan, k_upper=math.inf))
    text = (tmp_path / ROWS_FILE).read_text()
    assert json.loads(text)["quality"] is None
    assert json.loads(text)["k_upper"] is None
    assert "NaN" not in text
    assert load_rows(tmp_path)["quality"].isna().all()


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="status is one of"):
        make_row(status="fine")


def test_a_second_writer_is_turned_away_until_the_first_is_done(tmp_path):
    with RunWriter(tmp_path), pytest.raises(RunBusyError, match="another process"):
        RunWriter(tmp_path)
    write(tmp_path, make_row())
    assert len(read_rows(tmp_path)) == 1


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_as_if_it_had_not_been_measured(tmp_path, cut):
    write(tmp_path, make_row(), make_row(pair="0-2", problem="p2"))
    path = tmp_path / ROWS_FILE
    whole = path.read_bytes()
    # Cut into the second line: at least its line break and a brace are gone.
    path.write_bytes(whole[: -1 - cut])
    assert [r["pair"] for r in read_rows(tmp_path)] == ["0-1"]
    write(tmp_path, make_row(pair="0-3", problem="p3"))
    assert [r["pair"] for r in read_rows(tmp_path)] == ["0-1", "0-3"]
    assert path.read_bytes().startswith(whole.split(b"\n")[0] + b"\n")


def test_a_last_line_that_lacks_only_its_break_is_kept(tmp_path):
    write(tmp_path, make_row())
    path = tmp_path / ROWS_FILE
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    write(tmp_path, make_row(pair="0-2", problem="p2"))
    assert [r["pair"] for r in read_rows(tmp_path)] == ["0-1", "0-2"]


def test_a_torn_line_longer_than_any_buffer_is_cut_whole(tmp_path):
    write(tmp_path, make_row())
    path = tmp_path / ROWS_FILE
    before = path.read_bytes()
    path.write_bytes(before + b'{"message": "' + b"x" * 200_000)
    write(tmp_path)
    assert path.read_bytes() == before


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    write(tmp_path, make_row())
    path = tmp_path / ROWS_FILE
    path.write_bytes(b"{broken\n" + path.read_bytes())
    with pytest.raises(ValueError, match="line 1 is not a row"):
        read_rows(tmp_path)


def test_rows_of_a_newer_version_are_refused(tmp_path):
    (tmp_path / ROWS_FILE).write_text(json.dumps({"schema": 99}) + "\n")
    with pytest.raises(ValueError, match="schema 99"):
        read_rows(tmp_path)


def test_columns_that_an_older_file_lacks_get_their_defaults(tmp_path):
    old = json.loads(make_row().to_json())
    for name in ("samples", "matrix_free", "wall_seconds", "info", "data_sha256"):
        del old[name]
    (tmp_path / ROWS_FILE).write_text(json.dumps(old) + "\n")
    line = load_rows(tmp_path).iloc[0]
    assert (line["samples"], line["matrix_free"], line["info"], line["data_sha256"]) == (0, False, {}, "")


def test_of_a_repeated_measurement_the_last_counts(tmp_path):
    write(tmp_path, make_row(seconds=1.0), make_row(seconds=2.0), make_row(repeat=1, seconds=3.0))
    assert load_rows(tmp_path)["seconds"].tolist() == [2.0, 3.0]


def test_an_empty_run_has_a_frame_with_all_columns(tmp_path):
    write(tmp_path)
    frame = load_rows(tmp_path)
    assert frame.empty
    assert list(frame.columns) == list(COLUMNS)


def test_the_resume_key_knows_everything_it_must_and_no_order():
    key = resume_key("s", {"a": 1, "b": 2}, "p", "d", 0)
    assert key == resume_key("s", {"b": 2, "a": 1}, "p", "d", 0)
    others = [("t", {"a": 1, "b": 2}, "p", "d", 0), ("s", {"a": 1}, "p", "d", 0), ("s", {"a": 1, "b": 2}, "q", "d", 0)]
    others += [("s", {"a": 1, "b": 2}, "p", "e", 0), ("s", {"a": 1, "b": 2}, "p", "d", 1)]
    assert key not in {resume_key(*other) for other in others}


def make_run(folder, started):
    folder.mkdir(parents=True)
    write_json(folder / ENVIRONMENT_FILE, {"started": started})
    write(folder, make_row())


def test_runs_are_found_by_id_by_path_and_as_the_latest(tmp_path):
    make_run(tmp_path / "results" / "b-first", "2026-01-01T00:00:00")
    make_run(tmp_path / "results" / "a-second", "2026-01-02T00:00:00")
    (tmp_path / "results" / "no-run").mkdir()
    results = tmp_path / "results"
    assert [p.name for p in list_runs(results)] == ["b-first", "a-second"]
    assert find_run(results) == results / "a-second"
    assert find_run(results, "b-first") == results / "b-first"
    assert find_run(tmp_path / "elsewhere", results / "b-first") == results / "b-first"
    assert find_run(results, results / "b-first" / ROWS_FILE) == results / "b-first"
    assert load_environment(results / "b-first" / ROWS_FILE)["started"].startswith("2026-01-01")
    with pytest.raises(FileNotFoundError, match="b-first, a-second"):
        find_run(results, "third")
    with pytest.raises(FileNotFoundError, match="semrsm-bench run"):
        find_run(tmp_path / "elsewhere")


def test_json_files_are_read_with_errors_that_name_them(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(FileNotFoundError, match=r"x\.json"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"x\.json is not JSON"):
        read_json(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="holds no JSON object"):
        read_json(path)
    write_json(path, {"a": math.inf})
    assert read_json(path) == {"a": None}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


WRITING = """
import sys
from pathlib import Path
from tests.bench_data import make_row
from semrsm_bench.bench.writer import RunWriter
with RunWriter(Path(sys.argv[1])) as writer:
    for i in range(10**9):
        writer.append(make_row(pair=f"0-{i}", problem=f"p{i}", message="x" * (i % 5000)))
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
    pairs = [r["pair"] for r in read_rows(tmp_path / "run")]
    assert pairs[: len(reported)] == [f"0-{i}" for i in reported]
    write(tmp_path / "run", make_row(pair="last", problem="last"))
    assert read_rows(tmp_path / "run")[-1]["pair"] == "last"
