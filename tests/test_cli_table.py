"""``semrsm-bench table | plot``: which rows and formats they show, and what they refuse."""

import csv
import io
import json
import subprocess
import sys

import pytest

from semrsm_bench.bench.results import ENVIRONMENT_FILE, ROWS_FILE, write_json
from semrsm_bench.cli import main
from semrsm_bench.report.write import write_report

from .synthetic_rows import ENVIRONMENT, make_row, make_run


def write_run(results, run_id, rows, started="2026-01-02T03:04:05.000+00:00"):
    folder = results / run_id
    folder.mkdir(parents=True)
    (folder / ROWS_FILE).write_text("".join(json.dumps(row | {"run_id": run_id}) + "\n" for row in rows))
    write_json(folder / ENVIRONMENT_FILE, ENVIRONMENT | {"started": started})
    return folder


@pytest.fixture
def results(tmp_path):
    rows = make_run((256,), solvers=("ortools", "identity", "greedy"), pairs=3)
    write_run(tmp_path, "older", [make_row("scipy")], started="2025-01-01T00:00:00.000+00:00")
    write_run(tmp_path, "newer", rows)
    return tmp_path


def call(capsys, *args):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in args])
    captured = capsys.readouterr()
    return exit_.value.code, captured.out, captured.err


def test_a_run_is_found_by_id_by_path_and_as_the_latest(results, capsys):
    code, latest, _ = call(capsys, "table", "--results", results)
    assert code == 0
    assert "run newer" in latest
    assert call(capsys, "table", "newer", "--results", results)[1] == latest
    assert call(capsys, "table", results / "newer")[1] == latest
    assert "scipy" in call(capsys, "table", "older", "--results", results)[1]


def test_tasks_are_named_after_the_run_or_alone(results, capsys):
    _, latest, _ = call(capsys, "table", "--results", results)
    assert call(capsys, "table", "matching", "--results", results)[1] == latest
    assert call(capsys, "table", "newer", "matching", "--results", results)[1] == latest
    code, _, err = call(capsys, "table", "outputs", "--results", results)
    assert (code, "this run has no task 'outputs'; it has matching" in err) == (2, True)
    # A run whose name is that of a task is a run.
    write_run(results, "matching", [make_row("lapjv")])
    assert "lapjv" in call(capsys, "table", "matching", "--results", results)[1]


def test_json_and_csv_hold_the_same_figures(results, capsys):
    _, out, _ = call(capsys, "table", "--results", results, "--json")
    records = json.loads(out)
    _, out, _ = call(capsys, "table", "--results", results, "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert len(records) == len(lines) == 6
    for record, line in zip(records, lines):
        assert record["method"] == line["method"]
        assert record["seconds"] == float(line["seconds"])
        assert record["c"] == float(line["c"])


def test_width_and_centring_and_end_to_end(results, capsys):
    _, out, _ = call(capsys, "table", "--results", results, "--width", 60, "--centring", "channel", "--end-to-end")
    assert max(map(len, out.splitlines())) <= 60
    assert "centring channel" in out
    assert "centring none" not in out
    assert "T + affinity" in out
    same = call(capsys, "table", "--results", results, "--width", 60, "--where", "centring=channel", "--end-to-end")
    assert same[1] == out
    _, out, _ = call(capsys, "table", "--results", results, "--where", "centring=none,centring=channel")
    assert out == call(capsys, "table", "--results", results, "--centring", "both")[1]
    assert "centring none" in out
    assert "centring channel" in out


def test_scores_and_the_method_to_compare_with_are_chosen(results, capsys):
    chosen = ("--centring", "none", "--scores", "quality", "--against", "greedy")
    _, out, _ = call(capsys, "table", "--results", results, "--json", *chosen)
    greedy, *others = sorted(json.loads(out), key=lambda record: record["method"] != "greedy")
    assert "c" not in greedy
    assert greedy["difference"] is None
    assert others
    for record in others:
        assert record["reference"] == "greedy"
        assert record["difference"] == pytest.approx(record["quality"] - greedy["quality"])
    for option, name, known in (("--scores", "f1", "c, quality"), ("--against", "nobody", "greedy, identity, ortools")):
        code, out, err = call(capsys, "table", "--results", results, option, name)
        assert (code, out) == (2, "")
        assert f"{name!r} here; there are {known}" in err


def test_times_are_left_out(results, capsys):
    _, timed, _ = call(capsys, "table", "--results", results, "--format", "md")
    _, untimed, _ = call(capsys, "table", "--results", results, "--format", "md", "--untimed")
    assert "median time" in timed
    assert "<br>T " in timed
    assert "time" not in untimed
    assert "<br>T " not in untimed


def test_wrong_use_is_one_line_and_exit_code_2(results, capsys):
    code, out, err = call(capsys, "table", "oldest", "--results", results)
    assert (code, out) == (2, "")
    assert "older, newer" in err
    assert len(err.strip().splitlines()) == 1
    code, _, err = call(capsys, "table", "--results", results / "nowhere")
    assert code == 2
    assert "no run in" in err
    assert call(capsys, "table", "--results", results, "--format", "html")[0] == 2
    code, _, err = call(capsys, "table", "--results", results, "--where", "centring")
    assert (code, "'centring' is not KEY=VALUE" in err) == (2, True)


def test_an_empty_run_is_exit_code_4(results, capsys):
    write_run(results, "empty", [])
    for verb in ("table", "plot"):
        code, out, err = call(capsys, verb, "empty", "--results", results)
        assert (code, out) == (4, "")
        assert "nothing was measured" in err
    code, _, err = call(capsys, "table", "--results", results, "--centring", "position")
    assert code == 4
    assert "this run has centring none, channel" in err


def test_plot_writes_beside_the_run_or_where_it_is_told(results, capsys, tmp_path):
    code, out, _ = call(capsys, "plot", "--results", results, "--format", "svg")
    assert code == 0
    assert len(out.splitlines()) == 7
    assert {p.name for p in (results / "newer" / "figures").iterdir()} == {
        "gain.svg",
        *(f"{figure}-{centring}.svg" for figure in ("front", "runtime", "quality") for centring in ("none", "channel")),
    }
    code, out, _ = call(
        capsys, "plot", "--results", results, "--format", "png", "--centring", "none", "--out", tmp_path / "f"
    )
    assert sorted(p.name for p in (tmp_path / "f").iterdir()) == [
        "front-none.png",
        "gain.png",
        "quality-none.png",
        "runtime-none.png",
    ]


def test_plot_of_failures_only_is_exit_code_4(results, capsys):
    write_run(
        results, "failed", [make_row("scipy", status="timeout", seconds=None, k=None, message="no answer after 1 s")]
    )
    code, _, err = call(capsys, "plot", "failed", "--results", results)
    assert code == 4
    assert "no row of this run is ok" in err
    code, out, _ = call(capsys, "table", "failed", "--results", results)
    assert code == 0
    assert "timeout" in out


def test_the_report_of_a_run_is_written_as_utf8_in_any_locale(results):
    code = "from pathlib import Path; from semrsm_bench.report.write import write_report; write_report(Path('newer'))"
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=results, env=environment, timeout=300)
    text = (results / "newer" / "table.md").read_bytes().decode("utf-8")
    assert "O(S³)" in text
    assert {p.name for p in (results / "newer").iterdir()} == {
        *("table.md", "table.tex", "table.csv", "figures", ROWS_FILE, ENVIRONMENT_FILE)
    }


def test_a_table_that_fails_leaves_the_old_one(results, monkeypatch):
    folder = results / "newer"
    (folder / "table.md").write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(folder)
    assert (folder / "table.md").read_text() == "old"


def test_a_run_without_rows_has_no_report(results):
    assert write_report(write_run(results, "none", [])) == ([], [])


def test_a_terminal_that_lacks_signs_gets_the_table_all_the_same(results):
    code = "from semrsm_bench.cli import main; main(['table', 'newer', '--results', '.'])"
    environment = {"PYTHONIOENCODING": "latin-1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=results, env=environment, timeout=300
    )
    assert b"ortools" in done.stdout
