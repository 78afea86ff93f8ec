import csv
import dataclasses
import io
import json

import pytest

from semrsm_bench.bench.results import ENVIRONMENT_FILE, Row, write_json
from semrsm_bench.bench.writer import RunWriter
from semrsm_bench.cli import main

from .synthetic_rows import ENVIRONMENT, make_row, make_run


def write_run(results, run_id, rows, started="2026-01-02T03:04:05.000+00:00"):
    fields = {f.name for f in dataclasses.fields(Row)}
    folder = results / run_id
    with RunWriter(folder) as writer:
        for row in rows:
            known = {k: None if v != v else v for k, v in row.items() if k in fields}
            writer.append(Row(**known | {"run_id": run_id}))
    write_json(folder / ENVIRONMENT_FILE, ENVIRONMENT | {"started": started})
    return folder


@pytest.fixture
def results(tmp_path):
    rows = make_run((256,), solvers=("ortools", "identity", "greedy"), pairs=3).astype(object).to_dict("records")
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


@pytest.mark.parametrize(
    ("fmt", "sign"), [("text", "─ Optimal"), ("md", "| Optimal |"), ("latex", r"\toprule"), ("csv", "model,")]
)
def test_formats(results, capsys, fmt, sign):
    code, out, err = call(capsys, "table", "--results", results, "--format", fmt, "--paper")
    assert (code, err) == (0, "")
    assert sign in out
    assert out.endswith("\n")
    assert not out.endswith("\n\n")


def test_json_and_csv_hold_the_same_figures(results, capsys):
    _, out, _ = call(capsys, "table", "--results", results, "--json")
    records = json.loads(out)
    _, out, _ = call(capsys, "table", "--results", results, "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert len(records) == len(lines) == 6
    for record, line in zip(records, lines):
        assert record["solver"] == line["solver"]
        assert record["seconds"] == float(line["seconds"])
        assert record["chance_corrected"] == float(line["chance_corrected"])


def test_width_and_centring_and_end_to_end(results, capsys):
    _, out, _ = call(capsys, "table", "--results", results, "--width", 60, "--centring", "channel", "--end-to-end")
    assert max(map(len, out.splitlines())) <= 60
    assert "centring channel" in out
    assert "centring none" not in out
    assert "T + affinity" in out
    _, out, _ = call(capsys, "table", "--results", results, "--centring", "both")
    assert "centring none" in out
    assert "centring channel" in out


def test_wrong_use_is_one_line_and_exit_code_2(results, capsys):
    code, out, err = call(capsys, "table", "oldest", "--results", results)
    assert (code, out) == (2, "")
    assert "older, newer" in err
    assert len(err.strip().splitlines()) == 1
    code, _, err = call(capsys, "table", "--results", results / "nowhere")
    assert code == 2
    assert "no run in" in err
    assert call(capsys, "table", "--results", results, "--format", "html")[0] == 2


def test_an_empty_run_is_exit_code_4(results, capsys):
    write_run(results, "empty", [])
    for verb in ("table", "plot"):
        code, out, err = call(capsys, verb, "empty", "--results", results)
        assert (code, out) == (4, "")
        assert "nothing was measured" in err
    code, _, err = call(capsys, "table", "--results", results, "--centring", "position")
    assert code == 4
    assert "this run has channel, none" in err


def test_plot_writes_beside_the_run_or_where_it_is_told(results, capsys, tmp_path):
    code, out, _ = call(capsys, "plot", "--results", results, "--format", "svg")
    assert code == 0
    assert len(out.splitlines()) == 6
    assert {p.name for p in (results / "newer" / "figures").iterdir()} == {
        f"{figure}-{centring}.svg" for figure in ("front", "runtime", "quality") for centring in ("none", "channel")
    }
    code, out, _ = call(
        capsys, "plot", "--results", results, "--format", "png", "--centring", "none", "--out", tmp_path / "f"
    )
    assert sorted(p.name for p in (tmp_path / "f").iterdir()) == [
        "front-none.png",
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
