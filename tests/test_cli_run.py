"""``semrsm-bench run``: what it measures, prints, refuses and ends with."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from semrsm_bench.bench.results import load_rows
from semrsm_bench.cli import cli, main
from semrsm_bench.cli.run import _read
from semrsm_bench.core.options import describe
from semrsm_bench.report import write
from semrsm_bench.tasks.registry import get_task
from tests.bench_data import HOSTILE, small_cache

MINE = '''
import numpy as np

import semrsm_bench as sb


@sb.register_solver("norm-sort", kind="approximate", grid={"order": [1, 2]}, matrix_free=True)
def norm_sort(problem, *, order=2):
    """Pair positions by the rank of their norm: O(S log S), no affinity."""
    rows = np.argsort(np.linalg.norm(problem.x, ord=order, axis=1))
    cols = np.argsort(np.linalg.norm(problem.y, ord=order, axis=1))
    perm = np.empty(len(rows), dtype=np.intp)
    perm[rows] = cols
    return perm
'''


@pytest.fixture
def run(tmp_path, monkeypatch):
    """``semrsm-bench run`` on a small cache; without figures, most of its time, where they are not asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    cache = small_cache(tmp_path / "data")
    results = tmp_path / "results"

    def call(*more, code=0, figures=False):
        arguments = ["run", "--data", str(cache), "--out", str(results), "--pairs", "2", *more]
        with monkeypatch.context() as patch:
            if not figures:
                patch.setattr("semrsm_bench.report.figures.draw_all", lambda *_: [])
            done = CliRunner().invoke(cli, arguments, standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        assert done.return_value == code, done.output
        return done

    call.results = results
    return call


def test_the_run_ends_with_the_table_and_where_everything_lies(run):
    done = run("--solvers", "scipy,identity", figures=True)
    (folder,) = run.results.iterdir()
    for word in (
        "scipy",
        "identity",
        "k/k_opt",
        str(folder / "rows.jsonl"),
        str(folder / "table.md"),
        str(folder / "figures"),
    ):
        assert word in done.stdout
    assert str(folder) in done.stderr
    assert {"table.md", "table.tex", "table.csv", "rows.jsonl", "environment.json", "run.json"} <= {
        p.name for p in folder.iterdir()
    }
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png", ".svg", ".pdf"}
    assert "scipy" in (folder / "table.md").read_text()


def test_a_users_file_appears_in_the_table(run, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(MINE)
    done = run("--plugin", str(plugin), "--solvers", "norm-sort-1,norm-sort-2,scipy", "--layers", "layer1")
    assert "norm-sort-1" in done.stdout
    rows = load_rows(next(run.results.iterdir()))
    ours = [row for row in rows if row["method"].startswith("norm-sort")]
    assert {row["status"] for row in ours} == {"ok"}
    assert [row["options"]["order"] for row in ours if row["method"] == "norm-sort-1"] == [1] * 4
    assert all(row["version"].startswith("sha256:") for row in ours)


def test_a_file_of_tasks_brings_its_tasks_and_their_options(run, tmp_path):
    example = Path(__file__).parent.parent / "examples" / "planted.py"
    arguments = ["run", "--plugin", str(example), "--problems", "2", "--positions", "9", "--quiet"]
    done = CliRunner().invoke(cli, [*arguments, "--out", str(run.results)], standalone_mode=False)
    assert done.return_value == 0, done.output
    rows = load_rows(next(run.results.iterdir()))
    assert {row["task"] for row in rows} == {"planted"}
    assert {row["cell"]["size"] for row in rows} == {9}


def test_help_shows_the_options_of_the_tasks_that_are_named():
    def shown(*words):
        return CliRunner().invoke(cli, ["run", *words, "--help"]).output

    assert "--pairs" in shown()
    assert "--kernels" not in shown()
    assert "--kernels" in shown("outputs")
    assert "--pairs" not in shown("outputs")
    both = shown("matching", "outputs")
    assert "--pairs" in both
    assert "--kernels" in both


def test_a_solver_that_fails_makes_exit_code_three_and_is_named(run):
    chosen = [
        "--plugin",
        str(HOSTILE),
        "--solvers",
        "hostile-raise,identity",
        "--layers",
        "layer2",
        "--centring",
        "none",
    ]
    done = run(*chosen, code=3)
    assert "hostile-raise: error in 2 of its rows: RuntimeError: no matching today" in done.stdout
    assert "identity" in done.stdout


def test_failures_that_differ_in_numbers_alone_are_one_line(tmp_path, capsys, monkeypatch):
    message = "k = {:.3g} is {:d} below the optimum of c{}"
    rows = [
        {"method": "m", "status": "wrong", "message": message.format(10.0**i, i, i % 2 * "x")} for i in range(-9, 9)
    ]
    monkeypatch.setattr(write, "render_table", lambda *given, **how: "")
    write.show(tmp_path, [SimpleNamespace(rows=[*rows, {**rows[0], "status": "ok"}])], {}, [])
    _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "m: wrong in 9 of its rows, such as: k = 1e-09 is -9 below the optimum of cx"
    assert second.startswith("m: wrong in 9 of its rows, such as: k = 1e-08")


def test_nothing_measured_makes_exit_code_four(run):
    done = run("--solvers", "scipy", "--memory", "1000", code=4)
    assert "beyond the memory limit" in done.stdout
    assert "(4 skipped)" in done.stdout


def test_json_and_quiet_leave_nothing_else_on_the_output(run):
    facts = json.loads(run("--solvers", "identity", "--json", "--run-id", "mine").stdout)
    assert facts["run_id"] == "mine"
    assert facts["counts"] == {"ok": 8}
    assert facts["complete"]
    done = run("--solvers", "identity", "--quiet", "--run-id", "other")
    assert done.stdout.strip() == str(run.results / "other")
    assert done.stderr == ""


def test_an_estimate_is_shown_and_resumed_from(run):
    done = run("--solvers", "identity,scipy", "--estimate")
    assert "in all; the same command without --estimate resumes from here" in done.stdout
    assert len([line for line in done.stdout.splitlines() if "2 of 2" in line]) == 8
    facts = json.loads(run("--solvers", "identity,scipy", "--json").stdout)
    assert (facts["resumed"], facts["measured"]) == (8, 8)
    again = json.loads(run("--solvers", "identity", "--estimate", "--json").stdout)
    assert again["seconds"] == pytest.approx(sum(cell["seconds"] for cell in again["cells"]))
    assert not again["complete"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--solvers", "scypi"], "did you mean 'scipy'"),
        (["--profile", "fast"], "'fast' is not one of quick, paper, large"),
        (["--centring", "none,middle"], "'middle' is not one of none, channel, position"),
        (["--layers", "layer7"], "no layer 'layer7'"),
        (["--memory", "lots"], "'lots' is not a size"),
        (["--deadline", "-1"], "-1.0 is not larger than 0"),
        (["--plugin", "no-such-file.py"], "no such file"),
        (["--run-id", "../up"], "name of a folder"),
        (["--data", "no-such-folder"], "does not exist"),
        (["--pairs", "0"], "--pairs"),
        (["outputs", "--kernels", "lineal"], "did you mean 'linear'"),
        (["matchng"], "did you mean 'matching'"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_two(tmp_path, capsys, arguments, words):
    data = [] if {"--data", "outputs"} & {*arguments} else ["--data", str(small_cache(tmp_path))]
    with pytest.raises(SystemExit) as ended:
        main(["run", *data, "--out", str(tmp_path / "results"), *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert not (tmp_path / "results").exists()


def test_of_an_option_of_a_task_that_is_given_twice_the_last_one_counts():
    (count,) = (info for info in describe(get_task("outputs").options) if info.field == "count")
    assert _read(count, ("5", "7")) == 7
