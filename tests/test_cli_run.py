"""``semrsm-bench run``: what it measures, prints and ends with."""

import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from semrsm_bench.bench.results import load_rows
from semrsm_bench.cli import cli
from semrsm_bench.cli.run import _read, _show, _show_estimate
from semrsm_bench.core.options import describe
from semrsm_bench.report import tables
from semrsm_bench.tasks.registry import get_task, task_names
from tests.bench_data import HOSTILE, small_cache
from tests.command_line import call

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(tmp_path, user_cache, monkeypatch, kept_workers):
    """``semrsm-bench run`` on a small cache; without figures, most of its time, where they are not asked for."""
    data = partial(call, "run", "--data", small_cache(tmp_path / "data"), "--pairs", "2")

    def measure(words, *more, code=0, figures=False):
        with monkeypatch.context() as patch:
            if not figures:
                patch.setattr("semrsm_bench.report.figures.draw_all", lambda *_, **__: [])
            return data("--out", measure.results, *words.split(), *more, code=code)

    measure.results = tmp_path / "results"
    return measure


def rows_of(run):
    return load_rows(next(run.results.iterdir()))


def test_the_run_ends_with_the_table_and_where_everything_lies(run):
    out, err = run("--solvers scipy,identity", figures=True)
    (folder,) = run.results.iterdir()
    for word in ("scipy", "identity", "k/k_opt", *(str(folder / p) for p in ("rows.jsonl", "table.md", "figures"))):
        assert word in out
    assert str(folder) in err
    names = {"table.md", "table.tex", "table.csv", "rows.jsonl", "environment.json", "run.json"}
    assert names <= {p.name for p in folder.iterdir()}
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png"}
    assert "scipy" in (folder / "table.md").read_text()


def test_a_users_file_appears_in_the_table(run):
    options = "--solvers norm-sort-1,norm-sort-2,scipy --layers layer1 --plugin"
    assert "norm-sort-1" in run(options, EXAMPLES / "norm_sort.py")[0]
    ours = [row for row in rows_of(run) if row["method"].startswith("norm-sort")]
    assert {row["status"] for row in ours} == {"ok"}
    assert [row["options"]["order"] for row in ours if row["method"] == "norm-sort-1"] == [1] * 2
    assert all(row["version"].startswith("sha256:") for row in ours)


@pytest.mark.parametrize("tasks", [(), ("matching",), ("outputs",), ("matching", "outputs")])
def test_help_shows_the_options_of_the_tasks_that_are_named(tasks):
    shown, _ = call("run", *tasks, "--help")
    assert ("--pairs" in shown) == (tasks != ("outputs",))
    assert ("--kernels" in shown) == (tasks != ("matching",))
    assert ("--features" in shown) == (not tasks)


def test_a_solver_that_fails_makes_exit_code_three_and_is_named(run):
    options = "--solvers hostile-raise,identity --layers layer2 --centring none --plugin"
    out, _ = run(options, HOSTILE, code=3)
    assert "hostile-raise: error in 2 of its rows: RuntimeError: no matching today" in out
    assert "identity" in out


def test_failures_that_differ_in_numbers_alone_are_one_line(tmp_path, capsys, monkeypatch):
    message = "k = {:.3g} is {:d} below the optimum of c{}"
    rows = [
        {"method": "m", "status": "wrong", "message": message.format(10.0**i, i, i % 2 * "x")} for i in range(-9, 9)
    ]
    monkeypatch.setattr(tables, "render_table", lambda *given, **how: "")
    _show(tmp_path, [SimpleNamespace(rows=[*rows, {**rows[0], "status": "ok"}])], {}, [])
    _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "m: wrong in 9 of its rows, such as: k = 1e-09 is -9 below the optimum of cx"
    assert second.startswith("m: wrong in 9 of its rows, such as: k = 1e-08")


def test_nothing_measured_makes_exit_code_four(run):
    out, _ = run("--solvers scipy --memory 1000", code=4)
    assert "beyond the memory limit" in out
    assert "(2 skipped)" in out


def test_json_and_quiet_leave_nothing_else_on_the_output(run):
    facts = json.loads(run("--solvers identity --json --run-id mine")[0])
    assert (facts["run_id"], facts["counts"], facts["complete"]) == ("mine", {"ok": 4}, True)
    assert run("--solvers identity --quiet --run-id other") == (f"{run.results / 'other'}\n", "")


def test_an_estimate_is_shown_and_resumed_from(run):
    out, _ = run("--solvers identity,scipy --estimate")
    assert "in all: 4 cells measured, 0 guessed; the same command without --estimate resumes from here" in out
    assert len([line for line in out.splitlines() if "2 of 2" in line]) == 4
    facts = json.loads(run("--solvers identity,scipy --json")[0])
    assert (facts["resumed"], facts["measured"]) == (4, 4)
    again = json.loads(run("--solvers identity --estimate --json")[0])
    assert again["seconds"] == pytest.approx(sum(cell["seconds"] for cell in again["cells"]))
    assert (again["cells_measured"], again["cells_guessed"], again["cells_given_up"]) == (2, 0, 0)
    assert not again["complete"]


def test_an_estimate_says_what_it_guessed_and_gives_a_range_where_it_gave_up(capsys):
    line = {
        "task": "t",
        "method": "m",
        "cell": {"size": 4},
        "cases": 2,
        "wanted": 5,
        "seconds_a_case": 3.0,
        "reason": "",
    }
    forecast = [
        {**line, "known": "measured", "least_seconds": 600.0, "seconds": 600.0},
        {**line, "known": "guessed", "least_seconds": 300.0, "seconds": 300.0, "reason": "guessed from other methods"},
        {**line, "known": "given up", "least_seconds": 300.0, "seconds": 53100.0},
        {**line, "known": "", "least_seconds": 0.0, "seconds": 0.0},
    ]
    _show_estimate(forecast, {}, as_json=False)
    _, first, second, third, _, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["t", "m", "4", "2", "of", "5", "3", "10.0", "min"]
    assert second.endswith("5.0 min  guessed from other methods")
    assert third.endswith("5.0 min to 14.8 h")
    assert last.startswith("about 20.0 min to 15.0 h in all: 1 cell measured, 1 guessed, 1 given up, ")


def test_of_an_option_of_a_task_that_is_given_twice_the_last_one_counts():
    (count,) = (info for info in describe(get_task("outputs").options) if info.field == "count")
    assert _read(count, ("5", "7")) == 7


def measured_tasks(monkeypatch, words, code=0):
    """Names and options of the tasks that ``run WORDS`` asks the engine for, and whether they may be left out."""
    found = {}

    def measure(options, session, tasks, *, leave_out, **_):
        found.update(tasks=tasks, leave_out=leave_out)
        raise FileNotFoundError("nothing is measured here")

    monkeypatch.setattr("semrsm_bench.tasks.registry.default_tasks", lambda: ["matching", "outputs"])
    monkeypatch.setattr("semrsm_bench.bench.engine.run", measure)
    err = call("run", *words.split(), code=2)[1]
    return found or err


@pytest.mark.parametrize(
    ("words", "tasks"),
    [
        ("", ["matching", "outputs"]),
        ("--centring none", ["matching", "outputs"]),
        ("--pairs 3", ["matching"]),
        ("--kernels rbf", ["outputs"]),
        ("--solvers greedy", ["matching", "outputs"]),
        ("outputs", ["outputs"]),
        # A value of an option names no task.
        ("--run-id null --methods identity", ["matching", "outputs"]),
        ("outputs --run-id=null --out cost", ["outputs"]),
        ("--run-id metrics outputs --methods layers", ["outputs"]),
        ("--kernels rbf outputs", ["outputs"]),
        ("rsms", ["translation", "retrieval", "outputs", "shifts", "rsm-cost"]),
        ("layers solvers layers", ["layers", "matching"]),
    ],
)
def test_without_a_name_all_default_tasks_that_have_the_given_options_are_measured(monkeypatch, words, tasks):
    found = measured_tasks(monkeypatch, words)
    assert [*found["tasks"]] == tasks
    by_name = [word for word in words.split()[: 1 if words.startswith("outputs") else None] if word == "outputs"]
    assert found["leave_out"] == (not by_name)


def test_of_all_tasks_of_a_kind_those_that_lack_something_are_left_out_with_the_reason(
    tmp_path, user_cache, kept_workers
):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", **{f"a:{i}/{la}": rng.normal(size=(20, 4)) for i in range(3) for la in "xyz"})
    words = ("--features", tmp_path / "own.npz", "--methods", "linear_cka", "--out", tmp_path, "--stimuli", 10)
    _, err = call("run", "metrics", *words)
    assert "task 'accuracy' is left out" in err
    assert "task 'output-difference' is left out: a:0 has no logits" in err
    assert {row["task"] for row in load_rows(next(tmp_path.glob("2*")))} >= {"layers", "exchange", "monotonicity"}
    assert "has no logits" in call("run", "output-difference", *words, code=2)[1]


@pytest.mark.parametrize(
    ("words", "said"), [("--pairs 3 --kernels rbf", "no task has all of --kernels, --pairs"), ("--pairs x", "'x'")]
)
def test_options_that_no_default_task_takes_are_refused(monkeypatch, words, said):
    assert said in measured_tasks(monkeypatch, words)


def test_an_option_that_tasks_name_differently_is_read_by_each_of_them(monkeypatch):
    tasks = measured_tasks(monkeypatch, "layers cost matching --count 100 --stimuli 20 --pairs 3")["tasks"]
    assert (tasks["layers"].count, tasks["cost"].stimuli) == (20, (20,))
    assert (tasks["cost"].repeated, tasks["matching"].pairs) == (3, {"": 3})
    tasks = measured_tasks(monkeypatch, "cost layers --count 100 --stimuli 20,30 --stimuli 40", code=2)
    assert "'20,30'" in tasks  # it is one number for layers
    assert "--stimuli" in tasks
    tasks = measured_tasks(monkeypatch, "cost layers --count 100 --units 4")["tasks"]
    assert (tasks["layers"].count, tasks["cost"].stimuli) == (100, None)


@pytest.mark.filterwarnings("error")
def test_all_tasks_at_once_have_no_flag_twice():
    done = CliRunner().invoke(cli, ["run", *task_names(), "--help"])
    assert done.exit_code == 0, done.output
    shown = done.output.partition("Options:")[2]
    lists = re.findall(r"^  (-[a-z-]+(?:, -[a-z-]+)*)", shown, flags=re.MULTILINE)
    flags = [flag for flags in lists for flag in flags.split(", ")]
    assert {"--count", "--stimuli", "--pairs", "--units", "--layers", "--layer"} <= set(flags)
    assert len(flags) == len(set(flags)), sorted(flag for flag in set(flags) if flags.count(flag) > 1)


def test_tasks_of_features_take_activations_by_their_own_option(tmp_path):
    said = call("run", "layers", "null", "--data", tmp_path / "a.npz", code=2)[1]
    assert "layers, null: give activations by --features, one file a network" in said
    assert "No such option" in call("run", "layers", "--dat", "a.npz", code=2)[1]
    for task in ("instances", "rsm-cost", "translation"):
        said = call("run", task, "--data", "a.npz", code=2)[1]
        assert f"{task}: there is no --data here; it is an option of matching, outputs" in said
