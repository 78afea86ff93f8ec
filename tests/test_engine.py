"""The engine: methods x tasks -> rows; what it resumes, what it survives, and which code it imports in which process."""

import dataclasses
import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.activations.store import open_cache
from semrsm_bench.bench import engine, pool
from semrsm_bench.bench import process as process_room
from semrsm_bench.bench import results as runs
from semrsm_bench.bench.engine import Finished
from semrsm_bench.bench.methods import sort_plugins
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.bench.plan import Cell
from semrsm_bench.bench.process import CallLimits
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.row import FAULT_BY, METHOD_FAULTS, SCHEMA, STATUSES, resume_key
from semrsm_bench.report.results import read_results
from semrsm_bench.solvers import MatchingProblem, matching_value, random_value, solve
from tests.bench_data import HOSTILE, Bench, is_gone, solver_file, wait_until
from tests.toy_tasks import ToyOptions, toy

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def new_processes(tmp_path, user_cache):
    """Runs in a folder of the test, with optima of the test."""
    return Bench(tmp_path)


@pytest.fixture
def bench(new_processes, kept_workers):
    """The same, in workers that the tests share."""
    return new_processes


SESSION = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from pathlib import Path, PosixPath  # as they are named in what is evaluated
from semrsm_bench.bench import drift
from tests.bench_data import Bench
drift.FEWEST = 1 << 30  # as in conftest.py
bench = Bench.__new__(Bench)
bench.cache, bench.results = map(Path, sys.argv[1:3])
methods, how = eval(sys.argv[3])
done = bench(*methods, **how)
print(done.folder.name, done.measured, done.resumed, flush=True)
"""


def start(bench, *methods, **how):
    """A session in another process."""
    command = [sys.executable, "-c", SESSION, str(bench.cache), str(bench.results), repr((methods, how))]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def keys_of(folder):
    return [resume_key(row) for row in runs.read_rows(folder)]


# Rows.


def test_every_case_of_every_cell_is_measured_and_scored_in_float64(bench):
    pairs = {"16": 1, "": 3}
    done = bench("scipy", "identity", "greedy", repeats=2, centring=("none", "channel"), pairs=pairs)
    assert done.counts == {"ok": 3 * 2 * 2 * (1 + 3)}
    assert (done.exit_code, done.measured, done.resumed) == (0, len(done.rows), 0)
    assert len(set(keys_of(done.folder))) == len(done.rows)
    cache, baseline = open_cache(bench.cache), {}
    for row in done.rows:
        cell, raw, pair = row["cell"], row["raw"], row["units"]["pair"][0]
        i, j = map(int, pair.split("-"))
        problem = MatchingProblem(*(cache.positions(cell["layer"], n, cell["centring"]) for n in (i, j)))
        assert raw["k"] == pytest.approx(matching_value(problem, solve(problem, row["method"])), rel=1e-6)
        assert raw["k_rand"] == random_value(problem)
        assert raw["k_opt"] == pytest.approx(matching_value(problem, solve(problem, "scipy")), rel=1e-6)
        assert raw["k"] <= raw["k_upper"] * (1 + 1e-12)
        assert row["scores"]["c"] == pytest.approx((raw["k"] - raw["k_rand"]) / (raw["k_opt"] - raw["k_rand"]))
        assert (cell["size"], cell["channels"]) == (problem.size, problem.channels)
        assert (row["shared_seconds"] is None) == raw["matrix_free"] == (row["method"] == "identity")
        assert 0 < row["seconds_min"] <= row["seconds"] <= row["seconds_max"] < row["wall_seconds"]
        assert (row["schema"], row["run_id"], row["task"]) == (SCHEMA, done.folder.name, "matching")
        assert row["samples"] >= 1
        if row["method"] == "identity":
            first = baseline.setdefault((cell["layer"], pair), row["scores"]["c"])
            assert row["scores"]["c"] == pytest.approx(first, abs=1e-4), "c depends on the centring"
    np.testing.assert_allclose([row["scores"]["c"] for row in done.of("scipy")], 1.0, atol=1e-6)


def test_the_files_of_a_run_describe_the_machine_but_not_whose_it_is(bench):
    folder = bench("identity").folder
    environment = runs.load_environment(folder)
    assert (environment["run_id"], environment["profile"]) == (folder.name, "quick")
    assert list(environment["methods"]) == ["solver:identity"]
    assert environment["data"][0]["name"] == "tiny"
    text = "".join((folder / name).read_text() for name in (runs.ENVIRONMENT_FILE, runs.ROWS_FILE, runs.RUN_FILE))
    secrets = (os.uname().nodename, os.environ.get("USER", ""), str(Path.home()), str(bench.results), str(ROOT), "/lib")
    assert [secret for secret in secrets if len(secret) >= 4 and secret in text] == []


@pytest.mark.parametrize("counts", [{s: 1} for s in STATUSES] + [{"ok": 1, s: 1} for s in STATUSES] + [{}], ids=str)
def test_exit_codes_follow_the_worst_row(counts):
    expected = 3 if set(counts) & set(METHOD_FAULTS) else 0 if counts.get("ok") else 4
    assert Finished(Path("x"), 1, 0, counts).exit_code == expected


# Methods that misbehave.


def test_hostile_solvers_leave_rows_and_the_others_alone(bench):
    names = ("hostile-segfault", "hostile-raise", "hostile-garbage-twice", "hostile-garbage-float", "hostile-mutate")
    sly = ("sly-half", "sly-lazy", "sly-last", "sly-once")
    done = bench("identity", *names, *sly, "scipy", plugins=(HOSTILE,), layers=("layer1",))
    assert done.by_method == {
        **{name: {"ok": 3} for name in ("identity", "scipy", "sly-lazy", "sly-last", "sly-once")},
        **{f"hostile-{what}": {"invalid": 3} for what in ("garbage-twice", "garbage-float", "mutate")},
        "hostile-segfault": {"crashed": 2, "skipped": 1},
        "hostile-raise": {"error": 3},
        "sly-half": {"invalid": 1, "ok": 2},  # one bad answer among many spoils its row, and no other
    }
    assert done.exit_code == 3
    assert "is matched 36 times" in done.of("hostile-garbage-twice")[0]["message"]
    assert done.of("hostile-segfault")[-1]["message"] == "not tried further after 2 failures in a row (crashed)"
    assert all((r["status"] == "ok") == (r["seconds"] is not None) == bool(r["scores"]) for r in done.rows)
    assert min(r["seconds"] for r in done.of("sly-lazy")) >= 0.02
    assert max(r["scores"]["c"] for name in ("sly-last", "sly-once") for r in done.of(name)) < 0.9, "old answers"


def test_nothing_that_was_remembered_of_other_repeats_and_runs_serves(user_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("SLY_FILE", str(tmp_path / "known"))
    # Six channels have 720 orders, which two runs now and then share.
    bench = Bench(tmp_path, channels=64)
    how = {"plugins": (HOSTILE,), "layers": ("layer1",), "pairs": {"": 2}, "repeats": 2, "fresh": True}
    for _ in range(2):
        done = bench("sly-memo", "sly-disk", **how)
        assert done.counts == {"ok": 8}
        assert min(row["seconds_min"] for row in done.rows) >= 0.01


def test_a_hanging_method_costs_a_bounded_time_and_is_no_fault(bench, monkeypatch):
    """What takes longer than an estimate waits leaves no row of it: the run itself measures it, under its deadline."""
    how = {"plugins": (HOSTILE,), "deadline": 0.6, "run_id": "one"}
    bench("identity")  # its worker has started and warmed up
    monkeypatch.setattr(engine, "_ESTIMATE_CASE_SECONDS", 0.3)
    begun = bench("hostile-hang", "identity", **how, estimate=True)
    assert set(begun.by_method) == {"identity"}
    hanging = [line for line in begun.ledger.forecast() if line["method"] == "hostile-hang"]
    assert [(line["size"], line["seconds"]) for line in hanging] == [(16, pytest.approx(1.8)), (36, pytest.approx(1.8))]
    assert all("more than 0.3 s a case" in line["reason"] for line in hanging)
    monkeypatch.setattr(engine, "CallLimits", lambda deadline, memory: CallLimits(deadline, memory, 0.5))
    done = bench("hostile-hang", "identity", **how)
    found = Counter((row["cell"]["size"], row["status"]) for row in done.of("hostile-hang"))
    assert found == {(16, "timeout"): 2, (16, "skipped"): 1, (36, "skipped"): 1}
    assert "not tried: it timed out at S=16 already" in {row["message"] for row in done.of("hostile-hang")}
    assert done.by_method["identity"] == {"ok": 6}
    assert done.exit_code == 0


def test_an_exact_solver_that_is_not_is_wrong(bench, tmp_path):
    plugin = solver_file(tmp_path, "claims-exact", "return sb.solve(problem, 'greedy')", kind="exact")
    done = bench("claims-exact", "greedy", plugins=(plugin,))
    assert done.by_method["greedy"] == {"ok": 6}
    assert done.by_method["claims-exact"]["wrong"] >= 5
    assert done.exit_code == 3
    (results,) = read_results(done.folder)
    titles = {m.name: m.category_title for m in results.methods}
    assert titles == {"greedy": "Approximation", "claims-exact": "Not exact"}


def test_a_poisoned_cache_of_optima_makes_no_method_better_than_the_optimum(bench, user_cache):
    def facts(done):
        return [(r["method"], r["case"], r["scores"], r["raw"]["k_opt"]) for r in done.rows]

    before = facts(bench("greedy", "identity"))
    kept = list((user_cache / "semrsm_bench" / "optima").rglob("*.npz"))
    assert len(kept) == 2 * 3
    assert {path.parent.parent for path in kept} == {OptimumCache().folder}
    for path in kept:
        with np.load(path) as content:
            parts = dict(content)
        claims = json.loads(str(parts["facts"]))
        # A k that greedy would double: without its matching, with the bound pushed out of the way.
        claims |= {"k_opt": claims["k_opt"] / 2, "k_upper": 10 * claims["k_upper"]}
        np.savez(path, **{**parts, "facts": np.array(json.dumps(claims))})
    with pytest.warns(UserWarning, match="did not prove what it claimed; the optimum was proved anew"):
        done = bench("greedy", "identity", fresh=True)
    assert facts(done) == before
    assert all("proved anew" in row["raw"]["optimum_remark"] for row in done.rows)


# What a run costs, and which runs follow it.


def test_what_cannot_be_measured_is_a_row(bench):
    done = bench("scipy", memory=1000)
    assert [(row["status"], row["case"]) for row in done.rows] == [("skipped", "")] * 2
    assert done.exit_code == 4


def test_an_estimate_measures_one_case_of_every_cell_and_foresees_the_rest(bench):
    begun = bench("identity", "scipy", estimate=True)
    assert begun.by_method == {"identity": {"ok": 2}, "scipy": {"ok": 2}}
    forecast = begun.ledger.forecast()
    assert [(line["cases"], line["wanted"]) for line in forecast] == [(3, 3)] * 4
    assert all(0 < line["seconds"] == 2 * line["seconds_a_case"] for line in forecast)
    assert begun.ledger.remaining_seconds() >= sum(line["seconds"] for line in forecast)
    again = bench("identity", "scipy")
    assert (again.folder, again.resumed) == (begun.folder, 4)
    assert again.ledger.remaining_seconds() == 0


def test_an_estimate_ends_with_its_time_and_the_run_resumes_from_it(bench, monkeypatch):
    monkeypatch.setattr(engine, "_ESTIMATE_SECONDS", 0.0)
    begun = bench("identity", "scipy", estimate=True)
    assert begun.by_method == {"identity": {"ok": 1}}
    assert Counter(line["known"] for line in begun.ledger.forecast()) == {"measured": 1, "guessed": 3}
    again = bench("identity", "scipy")
    assert (again.folder, again.resumed, again.measured) == (begun.folder, 1, 11)


@pytest.mark.parametrize("cases", [3, 30])
def test_every_beginning_of_an_estimate_is_spread_over_tasks_methods_and_places(cases):
    """Three tasks of eight methods in four places, of two sizes."""
    sizes, declared = {"a": 4, "b": 4, "c": 9, "d": 9}, [Declaration("metric", f"m{i}") for i in range(8)]
    tasks = [SimpleNamespace(name=name) for name in ("first", "second", "third")]
    cells = [
        Cell(task, method, None, {"place": place}, (SimpleNamespace(size=size, channels=0),) * cases, "")
        for task in tasks
        for place, size in sizes.items()
        for method in declared
    ]
    turns = list(engine.spread(cells))
    assert {len(taken) for _, taken in turns} == {1 if cases == 3 else 2}
    order = [cell for cell, _ in turns]
    assert sorted(cell.key for cell in order) == sorted(cell.key for cell in cells)
    assert order == [cell for cell, _ in engine.spread(cells)]
    # In the first pass every task has every method, at the smaller size, in both of its places.
    for task in tasks:
        first = [cell for cell in order[:24] if cell.task is task]
        assert {cell.method.name for cell in first} == {method.name for method in declared}
        assert Counter(cell.place["place"] for cell in first) == {"a": 4, "b": 4}
        for method in declared:
            own = [cell.size for cell in order if cell.task is task and cell.method is method]
            assert own == [4, 4, 9, 9]
    # Half a pass holds half of each task's methods, and not the same ones of all.
    half = [(cell.task.name, cell.method.name) for cell in order[:12]]
    assert Counter(task for task, _ in half) == {"first": 4, "second": 4, "third": 4}
    assert len({method for _, method in half}) == 8


def test_a_finished_run_is_followed_by_a_new_one_and_a_named_one_stays(bench):
    first, second = bench("identity"), bench("identity")
    assert second.folder != first.folder
    assert second.resumed == 0
    before = (first.folder / runs.ROWS_FILE).read_bytes()
    again = bench("identity", run_id=first.folder.name)
    assert (again.measured, again.resumed, again.exit_code) == (0, 6, 0)
    assert (first.folder / runs.ROWS_FILE).read_bytes() == before


# Faults of the machine.


def test_what_the_machine_spoiled_is_measured_again_and_the_new_row_says_so(bench, monkeypatch):
    kills = itertools.count()
    how = {"plugins": (HOSTILE,), "layers": ("layer1",)}
    with monkeypatch.context() as patch:
        # As if the system killed for want of memory all the time.
        patch.setattr(process_room, "memory_kills", lambda: next(kills))
        first = bench("hostile-kill", "identity", **how)
    assert first.by_method == {"hostile-kill": {"memory": 3}, "identity": {"ok": 3}}
    again = bench("hostile-kill", "identity", **how)
    assert again.folder == first.folder
    assert again.by_method == {"hostile-kill": {"crashed": 2, "skipped": 1, "memory": 1}, "identity": {"ok": 3}}
    for row in again.rows:
        assert row["replaces"] == "memory: killed by the system for want of memory" * (row["status"] == "crashed")


def test_what_the_machine_spoils_again_and_again_is_measured_once_a_session(bench, tmp_path):
    plugin = solver_file(tmp_path, "full", f"raise OSError({errno.ENOSPC}, os.strerror({errno.ENOSPC}))")
    how = {"plugins": (plugin,), "layers": ("layer1",), "pairs": {"": 2}}
    first = bench("full", "identity", **how)
    assert (first.spoiled, first.exit_code, first.measured) == (2, 1, 4)
    assert {row["raw"][FAULT_BY] for row in first.of("full")} == {"machine"}
    assert all("the disk is full" in told for told in first.ledger.spoiled.values())
    second = bench("full", "identity", **how)
    assert (second.folder, second.measured, second.exit_code) == (first.folder, 2, 1)
    assert runs.read_json(first.folder / runs.RUN_FILE)["finished"]
    again = bench("full", "identity", run_id=first.folder.name, **how)
    assert (again.folder, again.measured) == (first.folder, 2)


@pytest.mark.parametrize(
    "fails",
    [
        "semrsm_bench.bench.pool.Scratch.write",
        "socket.socketpair",
        "semrsm_bench.bench.process.start_worker",
        "tempfile.TemporaryFile",
    ],
)
def test_a_machine_that_fails_the_engine_itself_costs_rows_that_are_measured_again(bench, tmp_path, monkeypatch, fails):
    plugin = solver_file(tmp_path, "fine", before=f"# no worker has started for it when this fails: {fails}")
    how = {"plugins": (plugin,), "layers": ("layer1",), "pairs": {"": 2}, "run_id": "one"}

    def fail(*given, **more):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as patch:

        def open_and_fail(*given):
            """Only now: the methods have been declared."""
            writer = runs.open_run(*given)
            patch.setattr(fails, fail)
            return writer

        patch.setattr(engine, "open_run", open_and_fail)
        done = bench("fine", **how)
        assert (done.spoiled, done.exit_code) == (2, 1)
    again = bench("fine", **how)
    assert again.by_method == {"fine": {"ok": 2}}
    assert all("too many processes" in row["replaces"] for row in again.rows)


def test_a_method_that_removes_the_temporary_folder_costs_the_row_at_hand(new_processes, tmp_path, monkeypatch):
    body = "shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)\nreturn np.arange(problem.size)"
    plugin = solver_file(tmp_path, "cleaner", body, "import shutil, tempfile")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    done = new_processes("identity", "cleaner", "scipy", plugins=(plugin,), layers=("layer1",))
    assert done.by_method == {"cleaner": {"error": 3}, "identity": {"ok": 3}, "scipy": {"ok": 3}}
    assert done.spoiled == 3


# Code that changes between sessions and during one.

CHANGED = "its code changed after the run began; run the same command again to measure it"


@pytest.mark.parametrize("finished", [False, True])
def test_other_code_is_measured_anew_no_cell_holds_two_and_code_that_comes_back_counts_again(bench, tmp_path, finished):
    how = {"run_id": "mine", "layers": ("layer1",)}

    def session(shift, **more):
        plugin = solver_file(tmp_path, "edited", f"return np.roll(np.arange(problem.size), {shift})")
        done = bench("edited", "identity", plugins=(plugin,), **how, **more)
        (code,) = {row["code"] for row in done.of("edited")}
        return done, code

    first, old = session(1, estimate=not finished)
    partly, new = session(2, estimate=True)
    assert old != new
    assert (partly.measured, partly.by_method["edited"]) == (1, {"ok": 1})
    assert partly.of("identity") == first.of("identity")
    assert not runs.read_json(partly.folder / runs.RUN_FILE)["finished"]
    again, code = session(2)
    assert (again.by_method, code) == ({"edited": {"ok": 3}, "identity": {"ok": 3}}, new)
    assert again.measured == (2 if finished else 4)
    back, code = session(1)
    assert (back.measured, code) == (0 if finished else 2, old)
    assert back.of("edited")[: len(first.of("edited"))] == first.of("edited")


LIVING_RSM = """
import semrsm_bench as sb
@sb.register_rsm("living", files=["tool.sh"])
def f(x, y):
    return x.reshape(len(x), -1) @ y.reshape(len(y), -1).T
"""


@pytest.mark.parametrize(
    ("kind", "changed", "text"),
    [
        ("solver", "beside_late.py", "x = 2"),
        ("solver", "tool.sh", None),
        ("solver", "tool.sh", "echo 1"),
        ("solver", "kernel.py", "a = 2"),
        ("rsm", "tool.sh", "echo 2"),
    ],
)
def test_no_row_of_other_code_while_a_worker_lives(bench, tmp_path, monkeypatch, kind, changed, text):
    """A file changes after the first row, or goes; written anew as it was, it is no change."""
    for file, content in (("tool.sh", "echo 1"), ("beside_late.py", "x = 1"), ("kernel.py", "a = 1")):
        (tmp_path / file).write_text(content)
    monkeypatch.setattr(pool, "own_sources", lambda room: {tmp_path / "kernel.py"})  # as if it belonged to the package
    name, how = "living", {"layers": ("layer2",)}
    plugin = solver_file(tmp_path, name, "import beside_late\nreturn np.arange(problem.size)", files=["tool.sh"])
    if kind == "rsm":
        plugin.write_text(LIVING_RSM)
        sb.register_task(type(toy()))
        name, how = "cka[living]", {"tasks": {"toy": ToyOptions(cases=3)}}
    append = runs.RunWriter.append

    def append_and_edit(writer, row):
        append(writer, row)
        (tmp_path / changed).unlink()
        if text is not None:
            (tmp_path / changed).write_text(text)
        monkeypatch.setattr(runs.RunWriter, "append", append)

    monkeypatch.setattr(runs.RunWriter, "append", append_and_edit)
    done = bench(name, plugins=(plugin,), **how, run_id="mine")
    (code,) = {row["code"] for row in done.rows}
    if text == "echo 1":
        assert done.counts == {"ok": 3}
        return
    assert [(r["status"], r["message"]) for r in done.rows] == [("ok", ""), *[("error", CHANGED)] * 2]
    if text is not None and changed != "kernel.py":
        again = bench(name, plugins=(plugin,), **how, run_id="mine")
        assert again.by_method == {name: {"ok": 3}}
        assert code not in {row["code"] for row in again.rows}


def test_a_file_that_changes_during_a_call_does_not_mix_into_a_run(new_processes, tmp_path):
    plugin = solver_file(tmp_path, "restless", "open(__file__, 'a').write('# more\\n')\nos._exit(1)")
    done = new_processes("restless", plugins=(plugin,), layers=("layer2",))
    assert [(row["status"], row["message"]) for row in done.rows] == [("error", CHANGED)] * 3


# Files of methods and of tasks.

BOTH = """
1 / 0
import semrsm_bench as sb
{imports}

@{task}
class Some(sb.Task):
    name, question, kind = "some", "?", "metric"

@sb.register_metric("mine", takes="features", best="max", range=(0, 1))
def mine(x, y): ...
"""
METRIC = (
    "import semrsm_bench as sb\n@sb.register_metric('m', takes='features', best='max', range=(0, 1))\ndef m(x, y): ..."
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("x = 1", "it registers nothing"),
        ("def (", "SyntaxError"),
        ("raise SystemExit", "SystemExit"),
        ("import semrsm_bench as sb\nsb.register_task\n1 / 0", "ZeroDivisionError"),
        (METRIC, "brings no solver for matching; name a task that judges what it brings"),
        # Refused before it runs
        *(
            (BOTH.format(imports=imports, task=task), r"odd\.py brings methods and tasks; put them into two files")
            for imports, task in (
                ("", "sb.register_task"),
                ("from semrsm_bench import register_task", "register_task"),
                ("from semrsm_bench import register_task as rt", "rt"),
                ("from semrsm_bench.tasks import registry", "registry.register_task"),
            )
        ),
    ],
)
def test_a_file_of_no_use_is_refused_with_the_reason(bench, tmp_path, text, message):
    plugin = tmp_path / "odd.py"
    if text is not None:
        plugin.write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        bench("identity", plugins=(plugin,))
    assert not bench.results.exists()


def test_two_files_must_not_bring_the_same_name(bench, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    files = [solver_file(tmp_path / folder, "same") for folder in ("a", "b")]
    with pytest.raises(ValueError, match="two plugins bring a solver named 'same'"):
        bench(plugins=tuple(files))
    assert sort_plugins(files) == (files, [])


# Tasks in files.

TASK = """
import zlib
import numpy as np
import semrsm_bench as sb
from tests.toy_tasks import Toy

@sb.register_task
class Median(Toy):
    name = f"median-{zlib.crc32(__file__.encode())}"  # workers are shared by several tests
    methods = ("cka", "svcca")
    observe = OBSERVE

    def truth(self, case, arrays, solve):
        return float(np.median(arrays["x"]) - np.median(arrays["y"]))

    def score(self, case, arrays, answer, truth, declared):
        value = float(answer.arrays["gap"][0])
        if case.settings.get("say") == "raise":
            raise ArithmeticError("no score")
        return sb.Scored({"value": abs(value - truth)}, {"by": declared.name}, {"both": np.stack([arrays["x"]])})


def look(command, inputs, clock, memory):
    found = clock.run(lambda i: i, lambda i: np.median(inputs["x"]) - np.median(inputs["y"]), shape="median", most=3)
    gap = np.array(found)
    return {
        "object": {"arrays": {"gap": np.array([object()])}},
        "nothing": {"arrays": {}},
        "none": None,
        "big info": {"arrays": {"gap": gap}, "info": {"x": 10**6000}},
        "status": {"status": "fine", "arrays": {"gap": gap}},
        "list": {"arrays": {"gap": [1.5] * 3}, "info": {"a": {1: {2: 3}}}},
    }.get(command["settings"].get("say"), {"arrays": {"gap": gap}, "info": {"cases": str(inputs["x"].shape)}})
"""


@pytest.fixture
def median(tmp_path):
    def write(observe='"look"', name="median_task.py", old="", new=""):
        file = tmp_path / name
        file.write_text(TASK.replace("OBSERVE", observe).replace(old, new))
        return file

    write.task = lambda file: engine.get_task(sort_plugins([file])[1][0])
    return write


@pytest.mark.parametrize("observe", ['"look"', 'f"{__name__}:look"'])
def test_a_file_brings_a_whole_task_with_an_observer(bench, median, observe):
    done = bench(plugins=(median(observe),))
    assert done.counts == {"ok": 12}, done.rows[0]["message"]
    assert {(r["kind"], r["method"], r["raw"]["by"]) for r in done.rows} == {("metric", m, m) for m in ("cka", "svcca")}
    assert all(row["task"].startswith("median-") for row in done.rows)
    assert [row["scores"]["value"] for row in done.rows] == pytest.approx([0.0] * 12)
    assert all(r["info"] == {"cases": "(5, 3)"} and r["seconds"] is not None and r["samples"] == 3 for r in done.rows)
    kept = {row["arrays"] for row in done.rows}
    assert len(kept) == 12
    for name in kept:
        with np.load(done.folder / name) as content:
            assert content["both"].shape == (1, 5, 3)


@pytest.mark.parametrize(
    ("in_a_row", "then"),
    [
        (2, "cka 24, svcca 24, cka 35, svcca 35, cka 6, svcca 6"),
        (None, "cka 246, cka 35, svcca 246, svcca 35"),
    ],
)
def test_a_task_says_how_many_cases_come_before_the_next_methods_turn(bench, median, monkeypatch, in_a_row, then):
    task = type(median.task(file := median()))
    monkeypatch.setattr(task, "in_a_row", in_a_row)
    monkeypatch.setattr(task, "cells", 2)
    done = bench(plugins=(file,), tasks={task.name: ToyOptions(cases=7)})
    turns = [turn.split() for turn in f"cka 0, svcca 0, cka 1, svcca 1, {then}".split(", ")]
    wanted = [(method, case) for method, cases in turns for case in cases]
    assert [(row["method"], row["case"]) for row in done.rows] == wanted


@pytest.mark.parametrize(
    ("say", "status", "words"),
    [
        ("object", "invalid", "its answer cannot be read: Object arrays"),
        ("nothing", "invalid", "the answer cannot be scored: KeyError"),
        ("none", "error", "AttributeError"),
        ("big info", "ok", ""),
        ("status", "crashed", "something else"),
        ("list", "ok", ""),
        ("raise", "invalid", "be scored: ArithmeticError: no score; the answer holds gap (3,) float64"),
    ],
)
def test_an_observer_or_a_score_that_goes_wrong_costs_its_rows_alone(bench, median, monkeypatch, say, status, words):
    task = median.task(file := median())
    monkeypatch.setattr(type(task), "settings", {"say": say})
    done = bench("cka", plugins=(file,), tasks={task.name: ToyOptions(cases=2)})
    assert done.counts == {status: 2}, done.rows[0]["message"]
    assert all(words in row["message"] for row in done.rows)


def test_an_edited_task_is_measured_anew(bench, median):
    """In new processes: this one has imported the task already."""
    for added, counts in (("", ["mine", "6", "0"]), (" + 1", ["mine", "6", "6"])):
        file = median(old="abs(value - truth)", new=f"abs(value - truth){added}")
        out, err = start(bench, "cka", plugins=(file,), run_id="mine").communicate(timeout=120)
        assert out.split() == counts, err
    rows = runs.load_rows(bench.results / "mine")
    assert [(row["status"], row["scores"]["value"]) for row in rows] == [("ok", pytest.approx(1.0))] * 6


@pytest.mark.parametrize("most", [1, 12])
def test_cases_of_one_name_in_two_tasks_do_not_share_their_truths(bench, median, monkeypatch, most):
    monkeypatch.setattr(engine, "_KEPT_TRUTHS", most)
    files = median(), median(name="another_task.py", old="return float(np.median(", new="return 7 + float(np.median(")
    tasks = [median.task(file) for file in files]
    done = bench("cka", plugins=files, tasks={task.name: ToyOptions(cases=2) for task in tasks})
    gaps = [[row["scores"]["value"] for row in done.rows if row["task"] == task.name] for task in tasks]
    assert gaps == [pytest.approx([0.0, 0.0]), pytest.approx([7.0, 7.0])]


def test_arrays_of_cases_with_like_names_are_kept_apart(bench, median, monkeypatch):
    task = type(median.task(file := median()))
    cases, names = task.cases, ["a/b", "a_b", "a b", "x" * 300, "x" * 301]
    monkeypatch.setattr(
        task, "cases", lambda *given: (dataclasses.replace(c, name=n) for n, c in zip(names, cases(*given)))
    )
    done = bench("cka", plugins=(file,), repeats=2, tasks={task.name: ToyOptions(cases=5)})
    assert len({row["arrays"] for row in done.rows}) == 10
    assert len(list((done.folder / "arrays").iterdir())) == 10


# Kills, and several at once.

METHODS = ("identity", "greedy")
HOW = {"repeats": 3, "centring": ("none", "channel")}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_signal_in_the_middle_and_the_same_command_again(new_processes, number, tmp_path):
    bench, total = new_processes, 2 * 4 * 10 * 3
    slow = solver_file(tmp_path, "slow", "time.sleep(0.02)\nreturn np.arange(problem.size)")  # or it may end unseen
    run = {**HOW, "plugins": (slow,), "pairs": {"": 10}}
    process = start(bench, "identity", "slow", **run)
    wait_until(lambda: sum(p.read_bytes().count(b"\n") for p in bench.results.glob(f"*/{runs.ROWS_FILE}")) >= 25)
    workers = process_room.descendants(process.pid)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert ("KeyboardInterrupt" in err) == (number == signal.SIGINT)
    (folder,) = bench.results.iterdir()
    before = keys_of(folder)
    assert 25 <= len(before) < total
    assert wait_until(lambda: all(map(is_gone, workers)))
    if number == signal.SIGINT:
        return
    out, err = start(bench, "identity", "slow", **run).communicate(timeout=300)
    assert out.split() == [folder.name, str(total - len(before)), str(len(before))], err
    after = keys_of(folder)
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == total


def test_two_runs_side_by_side_keep_apart_and_two_of_one_name_do_not_meet(new_processes):
    bench = new_processes
    five = {**HOW, "pairs": {"": 5}, "run_id": "mine"}
    unnamed, named = start(bench, *METHODS, **HOW, pairs={"": 2}), start(bench, *METHODS, **five)
    assert wait_until((bench.results / "mine" / runs.RUN_FILE).exists)
    named.send_signal(signal.SIGSTOP)  # so that it cannot end before it is met
    try:
        with pytest.raises(runs.RunBusyError, match="run 'mine' is being written by another process; wait for it"):
            bench(*METHODS, **five)
    finally:
        named.send_signal(signal.SIGCONT)
    facts = [process.communicate(timeout=300)[0].split() for process in (unnamed, named)]
    assert facts[0][0] != facts[1][0] == "mine"
    for (name, measured, resumed), pairs in zip(facts, (2, 5)):
        keys = keys_of(bench.results / name)
        assert len(keys) == len(set(keys)) == int(measured) == 2 * 4 * pairs * 3
        assert resumed == "0"
        assert {r["run_id"] for r in runs.read_rows(bench.results / name)} == {name}
