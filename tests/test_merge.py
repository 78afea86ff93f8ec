"""``semrsm-bench merge``: runs of several machines side by side."""

import dataclasses
import json
import math

import pytest
from click.testing import CliRunner

from semrsm_bench.bench.results import ENVIRONMENT_FILE, RunWriter, write_json
from semrsm_bench.bench.summary import merge_runs
from semrsm_bench.cli.compare import merge
from tests.bench_data import make_row


@pytest.fixture
def runs(tmp_path):
    """Two machines, the second twice as fast, with a solver of its own."""

    def make(name, cpu, factor, solvers, sha256="ab" * 32):
        folder = tmp_path / "results" / name
        with RunWriter(folder) as writer:
            for size, layer in ((36, "layer1"), (16, "layer2")):
                for solver, seconds in solvers.items():
                    writer.append(make_row(method=solver, seconds=seconds * factor, size=size, layer=layer, pair="0-1"))
        data = [{"name": "tiny", "sha256": sha256}]
        write_json(
            folder / ENVIRONMENT_FILE,
            {"run_id": name, "cpu": {"model": cpu}, "os": "Linux", "commit": "c" * 40, "dirty": False, "data": data},
        )
        return folder

    make.first = make("one", "Slow CPU", 1.0, {"scipy": 8e-3, "greedy": 1e-3})
    make.second = make("two", "Fast CPU", 0.5, {"scipy": 8e-3, "greedy": 1e-3, "extra": 4e-3})
    return make


def lines_of(runs, layer, **how):
    lines, legend = merge_runs(runs, **how)
    return {line.method: line.runs for line in lines if line.place["layer"] == layer}, lines, legend


def test_machines_stand_side_by_side_and_are_never_averaged(runs):
    table, lines, legend = lines_of([runs.first, runs.second], "layer1")
    assert [machine["cpu"] for machine in legend.values()] == ["Slow CPU", "Fast CPU"]
    assert [line.place["size"] for line in lines] == [16, 16, 16, 36, 36, 36]
    assert table["scipy"]["A"]["seconds"] == 8e-3
    assert table["scipy"]["B"]["seconds"] == 4e-3
    assert table["greedy"]["B"]["time_ratio"] == 0.5
    assert "A" not in table["extra"]
    assert table["extra"]["B"]["seconds"] == 2e-3
    every = {figures["seconds"] for line in lines for figures in line.runs.values()}
    assert every == {8e-3, 1e-3, 4e-3, 5e-4, 2e-3}


def test_speed_relative_to_a_method_does_not_depend_on_the_machine(runs):
    table, *_ = lines_of([runs.first, runs.second], "layer1", relative_to="scipy")
    assert table["greedy"]["A"]["speedup"] == table["greedy"]["B"]["speedup"] == 8.0
    assert table["scipy"]["A"]["speedup"] == 1.0


def test_every_task_of_the_runs_is_merged_with_its_own_score(runs):
    cell = {"model": "net", "layer": "layer1", "size": 16, "channels": 6, "centring": "none", "kernel": "rbf"}
    for folder, value in ((runs.first, 0.75), (runs.second, 0.25)):
        with RunWriter(folder) as writer:
            for batch in "012":
                row = {"task": "translation", "kind": "rsm", "method": "identity", "cell": cell, "case": f"net/{batch}"}
                row |= {
                    "units": {"batch": [batch]},
                    "scores": {"auroc": value, "partner_first": 1.0},
                    "raw": {"pairs": 4},
                }
                writer.append(dataclasses.replace(make_row(), **row))
    lines, _ = merge_runs([runs.first, runs.second])
    assert [line.task for line in lines] == ["matching"] * 6 + ["translation"]
    last = lines[-1]
    assert (last.method, last.score, last.place) == ("identity", "auroc", cell)
    assert [last.runs[label]["score"] for label in "AB"] == [0.75, 0.25]
    assert last.runs["B"]["cases"] == 3
    assert "translation: model net, layer layer1, size 16" in invoke(runs)


def test_runs_that_do_not_belong_together_are_refused(runs):
    other = runs("three", "CPU", 1.0, {"scipy": 1e-3}, sha256="cd" * 32)
    several = runs("four", "CPU", 1.0, {"greedy": 1e-3})
    with RunWriter(several) as writer:
        writer.append(make_row(method="greedy", size=16, layer="layer2", pair="0-1", options={"b": 2}))
    for folders, how, message in (
        ([runs.first], {}, "2 to 26 runs"),
        ([runs.first, runs.second, runs.first], {}, "named twice"),
        ([runs.first, other], {}, "one and three measured different data, both called 'tiny'"),
        # One would overwrite the other.
        ([runs.first, several], {}, "four has 'greedy' with several sets of options"),
        ([runs.first, runs.second], {"relative_to": "ortools"}, "no run has the method 'ortools'"),
    ):
        with pytest.raises(ValueError, match=message):
            merge_runs(folders, **how)


def invoke(runs, *more):
    arguments = ["one", str(runs.second), "--results", str(runs.first.parent), *more]
    return CliRunner().invoke(merge, arguments, catch_exceptions=False).output


def test_the_verb_prints_text_csv_and_json(runs):
    text = invoke(runs, "--relative-to", "scipy")
    assert "A: Slow CPU" in text
    assert "B: Fast CPU" in text
    line = next(line for line in text.splitlines() if line.startswith("greedy"))
    assert line.split() == ["greedy", "1.00", "ms", "0.8333", "8.00", "500", "µs", "0.8333", "0.50", "8.00"]
    assert next(line for line in text.splitlines() if line.startswith("extra")).split()[1:3] == ["-", "-"]
    header, first = invoke(runs, "--format", "csv").splitlines()[:2]
    record = dict(zip(header.split(","), first.split(",")))
    assert (record["task"], record["method"], record["layer"]) == ("matching", "scipy", "layer2")
    assert float(record["B_time_ratio"]) == 0.5
    parsed = json.loads(invoke(runs, "--json"))
    cells = {(c["method"], c["place"]["size"]): c["runs"] for c in parsed["cells"]}
    assert "A" not in cells["extra", 16]
    assert cells["greedy", 36]["B"]["seconds"] == 5e-4
    assert parsed["runs"]["A"]["cpu"] == "Slow CPU"


def test_a_time_of_nothing_that_an_older_version_wrote_has_no_ratio(runs):
    zero = runs("zero", "Odd CPU", 0.0, {"scipy": 8e-3, "greedy": 1e-3})
    table, *_ = lines_of([zero, runs.first], "layer1", relative_to="scipy")
    assert math.isnan(table["greedy"]["A"]["speedup"])
    assert math.isnan(table["greedy"]["B"]["time_ratio"])


def test_names_from_outside_are_text_in_a_spreadsheet_and_on_a_terminal(runs, tmp_path):
    for run in (runs.first, runs.second):
        with RunWriter(run) as writer:
            writer.append(make_row(layer="=1+1|cmd\x1b[31m\u202e", pair="0-1"))
    paths = [str(run) for run in (runs.first, runs.second)]
    for form in ("csv", "text"):
        shown = CliRunner().invoke(merge, [*paths, "--format", form]).output
        assert r"\x1b[31m\u202e" in shown
        assert all(c.isprintable() or c == "\n" for c in shown)
        assert (form == "csv") == ("'=1+1|cmd" in shown)
