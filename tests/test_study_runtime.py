"""The study `runtime`: planted times, the paper's figures, and the command."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.bench.results import ENVIRONMENT_FILE, ROWS_FILE, plain, write_json
from semrsm_bench.cli import main
from semrsm_bench.cli.studies.runtime import command
from semrsm_bench.report.paper import TABLE_5
from semrsm_bench.report.tables import NothingMeasuredError
from semrsm_bench.studies.runtime import runtime
from semrsm_bench.studies.runtime_lines import (
    common_range,
    exponent,
    paper_exponent,
    paper_speed,
)
from semrsm_bench.studies.runtime_report import paper_table
from semrsm_bench.studies.study import read_study
from tests.bench_data import small_cache
from tests.synthetic_rows import ENVIRONMENT, LAYERS, make_row, make_run

SIZES = (256, 1024, 4096)


def write_run(results, rows, name="run-1", **environment):
    folder = results / name
    folder.mkdir(parents=True)
    write_json(folder / ENVIRONMENT_FILE, {**ENVIRONMENT, **environment})
    lines = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    (folder / ROWS_FILE).write_text("".join(json.dumps(plain(line)) + "\n" for line in lines))
    return folder


def planted(solvers, sizes=SIZES, pairs=6, missing=()):
    """Rows whose times follow T = seconds of the pair / speed; ``solvers`` gives speed and c of each at every size."""
    rng = np.random.default_rng(0)
    rows = []
    for size in sizes:
        layer, channels = LAYERS[size]
        for pair in range(pairs):
            base = 1e-3 * (size / 256) ** 2.5 * rng.uniform(0.5, 2)
            for name, (speed, c) in solvers.items():
                if (name, size) not in missing:
                    place = {"size": size, "layer": layer, "channels": channels, "pair": f"0-{pair + 1}"}
                    rows.append(make_row(name, **place, seconds=base / speed, c=c))
    return rows


FAST = {"ortools": (1, 1.0), "batch-optimal-128": (7, 0.9), "auction": (20, 0.995), "greedy": (50, 0.6)}


@pytest.fixture
def results(tmp_path):
    write_run(tmp_path / "results", planted(FAST))
    return tmp_path / "results"


def table(result, start):
    return next(t for t in result.tables if t.title.startswith(start))


def test_planted_speeds_come_back_whatever_the_pairs_take(results):
    result = runtime(results=results)
    beside = table(result, "The solvers of the paper")
    for row in beside.rows:
        value, low, high = row[5:8]
        expected = FAST[row[1]][0]
        assert (value, low, high) == pytest.approx((expected, expected, expected))
        assert row[8] == pytest.approx(TABLE_5["ortools"][row[0]].seconds / TABLE_5[row[1]][row[0]].seconds)
    assert {row[0] for row in beside.rows} == set(SIZES)
    speeds = {row[0]: row[1::2] for row in table(result, "Times as fast").rows}
    assert speeds["auction"] == pytest.approx([20, 20, 20])


def test_the_solvers_of_the_paper_only_stand_beside_the_paper(results):
    result = runtime(results=results)
    assert {row[1] for row in table(result, "The solvers of the paper").rows} == {"ortools", "batch-optimal-128"}
    assert {row[1] for row in table(result, "Time per pair").rows} >= set(FAST)


def test_the_growth_of_planted_times_is_found(tmp_path):
    rows = [
        make_row("ortools", size=s, layer=LAYERS[s][0], channels=LAYERS[s][1], pair="0-1", seconds=1e-6 * s**1.75)
        for s in (64, *SIZES)
    ]
    write_run(tmp_path, rows)
    line = next(row for row in table(runtime(results=tmp_path), "Time per pair").rows if row[1] == "ortools")
    assert line[-2] == pytest.approx(1.75)
    assert line[-1] == pytest.approx(math.log(1.52 / 4.26e-3) / math.log(16))


@given(st.floats(0.2, 4), st.integers(2, 1000), st.integers(2, 50), st.floats(1e-9, 1.0))
def test_the_exponent_of_a_power_is_that_power(power, low, factor, scale):
    high = low * factor
    assert exponent(low, scale * low**power, high, scale * high**power) == pytest.approx(power, abs=1e-9)


def test_no_exponent_without_two_points():
    assert exponent(64, 1.0, 64, 1.0) is None
    assert exponent(64, 0.0, 128, 1.0) is None
    assert paper_exponent("greedy", 256, 4096) is None
    assert paper_exponent("scipy", 64, 4096) is None
    assert common_range([64]) == (64, 64)
    assert common_range([16, 64, 256]) == (16, 256)
    assert common_range([64, 256, 1024]) == (256, 1024)


def test_the_paper_s_speeds_are_ratios_of_what_it_prints():
    assert paper_speed("batch-optimal-128", 4096) == pytest.approx(1.52 / 43.4e-3)
    assert paper_speed("ortools", 256) == 1
    assert paper_speed("ortools", 64) is None
    assert paper_speed("greedy", 256) is None


def test_the_paper_s_table_is_marked_and_complete():
    printed = paper_table()
    assert "not measured here" in printed.title
    assert "Wald" in printed.title
    assert len(printed.rows) == len(TABLE_5) == 8
    assert printed.rows[0][:4] == ["OR-Tools", "–", "100", "4.26 ms"]
    assert printed.rows[4][1:3] == ["128", "97.6"]


def test_the_sentence_has_ours_and_the_paper_s_figures_apart(results):
    text = runtime(results=results).sentence
    assert "at S = 4096 (6 pairs)" in text
    assert "the paper's, on another machine: 1.52 s" in text
    assert "Batch-Optimal with b = 128 is 7 times as fast (the paper's figures: 35)" in text
    assert "the fastest with c of at least 0.99 is auction, 20 times as fast as OR-Tools" in text


@pytest.mark.parametrize(
    ("solvers", "expected"),
    [
        ({"ortools": (1, 1.0), "greedy": (9, 0.6)}, "no solver with c of at least 0.99 is faster than OR-Tools"),
        ({"ortools": (1, 1.0), "scipy": (0.5, 1.0)}, "no solver with c of at least 0.99 is faster than OR-Tools"),
        ({"scipy": (1, 1.0), "greedy": (9, 0.6)}, "the fastest solver with c of at least 0.99 is scipy"),
        ({"greedy": (9, 0.6)}, "no solver reaches c of 0.99; OR-Tools was not measured"),
    ],
)
def test_the_sentence_stays_true_where_others_win_or_are_missing(tmp_path, solvers, expected):
    write_run(tmp_path, planted(solvers))
    result = runtime(results=tmp_path)
    assert expected in result.sentence
    assert any(t.title.startswith("Times as fast") for t in result.tables) == ("ortools" in solvers)


def test_the_largest_size_of_the_reference_counts(tmp_path):
    write_run(tmp_path, planted(FAST, missing=[("ortools", 4096)]))
    result = runtime(results=tmp_path)
    assert "at S = 1024 (6 pairs)" in result.sentence
    speeds = table(result, "Times as fast").rows
    assert all(row[-2] is None for row in speeds)


def test_a_whole_run_with_gaps_gives_all_tables_rows_and_figures(tmp_path):
    write_run(tmp_path, make_run())
    result = runtime(results=tmp_path)
    assert [drawing.name for drawing in result.drawings] == ["speed", "seconds"]
    assert len({frozenset(row) for row in result.rows}) == 1
    assert len(result.rows) == 4 * 10
    assert {row["centring"] for row in result.rows} == {"none"}
    skipped = [row for row in result.rows if row["status"] == "skipped"]
    assert {(row["solver"], row["size"]) for row in skipped} == {("scipy", 4096), ("lapjv", 4096)}
    assert all(row["speed"] is None for row in skipped)
    assert result.paper[0].title.startswith("The paper's Table 5")
    assert result.inputs["run"]["id"] == "run-1"
    assert result.inputs["run"]["cpu"] == ENVIRONMENT["cpu"]
    channel = runtime(results=tmp_path, centring="channel")
    assert {row["centring"] for row in channel.rows} == {"channel"}


def test_of_several_models_the_first_is_shown_and_the_others_named(tmp_path):
    other = [dict(row, model="zebra", problem=row["problem"] + "z") for row in planted(FAST, sizes=(256,))]
    write_run(tmp_path, planted(FAST) + other)
    result = runtime(results=tmp_path)
    assert any("zebra layer3 (S = 256)" in note for note in result.notes)
    assert {row["model"] for row in result.rows} == {"resnet18-tiny-imagenet"}


def test_the_latest_run_is_read_unless_one_is_named(tmp_path):
    write_run(tmp_path, [dict(r, run_id="old") for r in planted(FAST)], "old", started="2026-01-01T00:00:00+00:00")
    write_run(tmp_path, [dict(r, run_id="new") for r in planted(FAST)], "new", started="2026-02-01T00:00:00+00:00")
    assert runtime(results=tmp_path).inputs["run"]["id"] == "new"
    assert runtime("old", results=tmp_path).inputs["run"]["id"] == "old"
    assert runtime("old", results=tmp_path, quick=True).inputs["run"]["id"] == "old"


def test_nothing_solved_is_an_error(tmp_path):
    failed = [dict(row, status="timeout", seconds=None) for row in planted({"ortools": (1, 1.0)})]
    write_run(tmp_path, failed)
    with pytest.raises(NothingMeasuredError, match="no row of this run is ok"):
        runtime(results=tmp_path)
    with pytest.raises(NothingMeasuredError, match="this run has none"):
        runtime(results=tmp_path, centring="channel")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "make one with: semrsm-bench run; or measure a small one now with: semrsm-bench study runtime --quick"),
        (["--run", "nowhere"], "semrsm-bench run"),
        (["--data", "."], "--data is for what --quick measures"),
        (["--centring", "median"], "median"),
    ],
)
def test_wrong_use_is_told(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["study", "runtime", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_reads_a_run(results, tmp_path):
    ran = CliRunner().invoke(command, ["--results", str(results), "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    content = read_study(tmp_path / "out")
    assert content["quick"] is False
    assert content["sentence"] in " ".join(ran.output.split())
    assert {figure["file"] for figure in content["figures"]} == {"speed.png", "seconds.png"}
    assert str(tmp_path) not in json.dumps(content)
    rows = pd.read_csv(tmp_path / "out" / "rows.csv")
    assert rows[rows.solver == "batch-optimal-128"].speed.tolist() == pytest.approx([7, 7, 7])


def test_quick_measures_by_itself_and_leaves_no_run_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.chdir(tmp_path)
    cache = small_cache(tmp_path / "data", sizes=(16, 36))
    ran = CliRunner().invoke(command, ["--quick", "--quiet", "--data", str(cache), "--out", "out"])
    assert ran.exit_code == 0, ran.output
    assert not (tmp_path / "results").exists()
    rows = pd.read_csv(tmp_path / "out" / "rows.csv")
    assert set(rows["size"]) == {16, 36}
    assert (rows[rows.solver == "ortools"].speed == 1).all()
    assert (rows.status == "ok").all()
    # The shipped activations have the paper's sizes, this cache has none of them.
    assert rows.paper_seconds.isna().all()


def test_quick_needs_a_small_layer(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    cache = small_cache(tmp_path / "data", images=2, sizes=(1025,))
    with pytest.raises(ValueError, match="at most 1,024 positions"):
        runtime(data=cache, quick=True)
