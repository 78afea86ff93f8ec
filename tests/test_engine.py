"""The engine: methods x tasks -> rows; what it resumes, what it survives, and which code it lets into which process."""

import dataclasses
import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from semrsm_bench.activations.store import open_cache
from semrsm_bench.bench import engine, pool, process
from semrsm_bench.bench.engine import Finished
from semrsm_bench.bench.methods import choose_methods, declarations, sort_plugins
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.bench.process import CallLimits
from semrsm_bench.bench.results import (
    ENVIRONMENT_FILE,
    ROWS_FILE,
    RUN_FILE,
    RunBusyError,
    RunWriter,
    load_environment,
    load_rows,
    read_json,
    read_rows,
    write_json,
)
from semrsm_bench.core.row import FAULT, FAULTS, SCHEMA, STATUSES, resume_key
from semrsm_bench.report.results import read_results
from semrsm_bench.solvers import MatchingProblem, matching_value, random_value, solve
from tests.bench_data import HOSTILE, Bench, KeptWorkers
from tests.toy_tasks import toy

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def kept():
    with pytest.MonkeyPatch.context() as patch:
        workers = KeptWorkers(patch)
        yield workers
        workers.close()


@pytest.fixture
def new_processes(tmp_path, monkeypatch):
    """Runs in folders of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return Bench(tmp_path)


@pytest.fixture
def bench(new_processes, kept):
    """The same, in workers that the tests share."""
    return new_processes


def keys_of(folder):
    return [resume_key(row) for row in read_rows(folder)]


def by_method(rows):
    return {m: Counter(r["status"] for r in rows if r["method"] == m) for m in {r["method"] for r in rows}}


# Rows.


def test_every_cell_is_measured_and_scored_in_float64(bench):
    finished, _ = bench("scipy", "identity", "greedy", repeats=2, centring=("none", "channel"))
    rows = load_rows(finished.folder)
    assert finished.counts == {"ok": 3 * 2 * 2 * 3 * 2}
    assert (finished.exit_code, finished.complete, finished.measured, finished.resumed) == (0, True, len(rows), 0)
    assert len(set(keys_of(finished.folder))) == len(rows)
    cache = open_cache(bench.cache)
    for row in rows:
        cell, raw = row["cell"], row["raw"]
        i, j = map(int, row["units"]["pair"][0].split("-"))
        problem = MatchingProblem(*(cache.positions(cell["layer"], n, cell["centring"]) for n in (i, j)))
        assert raw["k"] == pytest.approx(matching_value(problem, solve(problem, row["method"])), rel=1e-6)
        assert raw["k_rand"] == random_value(problem)
        assert raw["k_opt"] == pytest.approx(matching_value(problem, solve(problem, "scipy")), rel=1e-6)
        assert raw["k"] <= raw["k_upper"] * (1 + 1e-12)
        assert row["scores"]["c"] == pytest.approx((raw["k"] - raw["k_rand"]) / (raw["k_opt"] - raw["k_rand"]))
        assert (cell["size"], cell["channels"]) == (problem.size, problem.channels)
        assert (row["shared_seconds"] is None) == raw["matrix_free"] == (row["method"] == "identity")
        assert 0 < row["seconds_min"] <= row["seconds"] <= row["seconds_max"] < row["wall_seconds"]
        assert (row["schema"], row["run_id"], row["task"]) == (SCHEMA, finished.folder.name, "matching")
        assert row["samples"] >= 1
    np.testing.assert_allclose([r["scores"]["c"] for r in rows if r["method"] == "scipy"], 1.0, atol=1e-6)
    none, channel = (
        {
            r["case"].replace(f"/{c}/", "/"): r["scores"]["c"]
            for r in rows
            if r["cell"]["centring"] == c and r["method"] == "identity"
        }
        for c in ("none", "channel")
    )
    assert none == pytest.approx(channel, abs=1e-4)


def test_the_environment_tells_the_machine_but_not_whose(bench):
    finished, _ = bench("identity")
    environment = load_environment(finished.folder)
    assert environment["run_id"] == finished.folder.name
    assert environment["profile"] == "quick"
    assert list(environment["methods"]) == ["solver:identity"]
    assert environment["data"][0]["name"] == "tiny"
    text = "".join((finished.folder / name).read_text() for name in (ENVIRONMENT_FILE, ROWS_FILE, RUN_FILE))
    for secret in (os.uname().nodename, str(Path.home()), str(bench.results), str(ROOT)):
        assert len(secret) < 4 or secret not in text


def test_optima_are_kept_in_the_users_cache_folder(bench, tmp_path):
    folder = tmp_path / "user-cache" / "semrsm_bench" / "optima"
    bench("identity")
    assert len(list(folder.rglob("*.npz"))) == 2 * 3
    assert OptimumCache().folder == folder


@pytest.mark.parametrize("counts", [{s: 1} for s in STATUSES] + [{"ok": 1, s: 1} for s in STATUSES] + [{}], ids=str)
def test_exit_codes_follow_the_worst_row(counts):
    expected = 3 if set(counts) & set(FAULTS) else 0 if counts.get("ok") else 4
    assert Finished(Path("x"), 1, 0, counts, True).exit_code == expected


# Methods that misbehave.


def test_hostile_solvers_leave_rows_and_the_others_alone(bench):
    names = ("hostile-segfault", "hostile-raise", "hostile-garbage-twice", "hostile-garbage-float", "hostile-mutate")
    sly = ("sly-half", "sly-lazy")
    finished, _ = bench("identity", *names, *sly, "scipy", plugins=(HOSTILE,), layers=("layer1",))
    rows = load_rows(finished.folder)
    by = by_method(rows)
    assert by["identity"] == by["scipy"] == by["sly-lazy"] == {"ok": 3}
    assert by["hostile-segfault"] == {"crashed": 2, "skipped": 1}
    assert by["hostile-raise"] == {"error": 3}
    assert by["hostile-garbage-twice"] == by["hostile-garbage-float"] == by["hostile-mutate"] == {"invalid": 3}
    assert by["sly-half"] == {"invalid": 1, "ok": 2}, "one bad answer among many spoils its row, and no other"
    assert finished.exit_code == 3
    messages = {r["method"]: r["message"] for r in rows if r["status"] not in ("ok", "crashed")}
    assert "is matched 36 times" in messages["hostile-garbage-twice"]
    assert messages["hostile-segfault"] == "not tried further after 2 failures in a row (crashed)"
    assert all((r["status"] == "ok") == (r["seconds"] is not None) == bool(r["scores"]) for r in rows)
    assert min(r["seconds"] for r in rows if r["method"] == "sly-lazy") >= 0.02


@pytest.mark.parametrize("name", ["sly-last", "sly-once"])
def test_old_answers_score_low(bench, name):
    finished, _ = bench(name, plugins=(HOSTILE,), layers=("layer1",), pairs={"": 2})
    assert all(r["scores"]["c"] < 0.9 for r in load_rows(finished.folder))


def test_a_repeat_gets_other_shifts_than_the_first(bench):
    finished, _ = bench("sly-memo", plugins=(HOSTILE,), layers=("layer1",), pairs={"": 1}, repeats=2)
    rows = load_rows(finished.folder)
    assert [r["repeat"] for r in rows] == [0, 1]
    assert all(r["seconds_min"] >= 0.01 for r in rows), "nothing that was remembered served"


def test_a_default_that_is_written_out_resumes_the_same_run(bench):
    begun, _ = bench("identity", estimate=True)
    again, _ = bench("identity", deadline=30.0)
    assert again.folder == begun.folder


def test_what_an_earlier_run_left_on_disk_fits_no_pair(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setenv("SLY_FILE", str(tmp_path / "known"))
    # Six channels have 720 orders, which two runs now and then share.
    bench = Bench(tmp_path, channels=64)
    for _ in range(2):
        finished, _ = bench("sly-disk", plugins=(HOSTILE,), layers=("layer1",), pairs={"": 2}, fresh=True)
        rows = load_rows(finished.folder)
        assert [r["seconds_min"] >= 0.01 for r in rows] == [True, True]


def test_whatever_a_method_says_costs_no_other_row_also_when_resumed(bench):
    names = ["identity", *(f"hostile-info-{what}" for what in ("huge", "many", "nan", "mute"))]
    how = {"plugins": (HOSTILE,), "layers": ("layer2",), "run_id": "mine"}
    bench(*names, **how, estimate=True)
    again, _ = bench(*names, **how)
    assert (again.resumed, again.measured) == (len(names), 2 * len(names))
    assert again.counts == {"ok": 3 * len(names)}
    lines = (again.folder / ROWS_FILE).read_text().splitlines()
    assert max(map(len, lines)) < 20_000
    for line in lines:
        json.loads(line, parse_constant=pytest.fail)
    assert {r["info"].get("d") for r in load_rows(again.folder) if "huge" in r["method"]} == {
        f"an integer of {(10**5000).bit_length()} bits"
    }


def test_a_hanging_method_costs_a_bounded_time_and_is_no_fault(bench, monkeypatch):
    monkeypatch.setattr(engine, "CallLimits", lambda deadline, memory: CallLimits(deadline, memory, 0.5))
    finished, _ = bench("hostile-hang", "identity", plugins=(HOSTILE,), deadline=0.5)
    rows = load_rows(finished.folder)
    assert Counter((r["cell"]["size"], r["status"]) for r in rows if r["method"] == "hostile-hang") == {
        (16, "timeout"): 2,
        (16, "skipped"): 1,
        (36, "skipped"): 1,
    }
    assert "timed out at S=16" in next(
        r["message"] for r in rows if (r["cell"]["size"], r["status"]) == (36, "skipped")
    )
    assert {r["status"] for r in rows if r["method"] == "identity"} == {"ok"}
    assert finished.exit_code == 0


def test_an_exact_solver_that_is_not_is_wrong(bench, tmp_path):
    plugin = tmp_path / "claims.py"
    plugin.write_text(
        "import numpy as np, semrsm_bench as sb\n"
        "@sb.register_solver('claims-exact', kind='exact')\n"
        "def claims(problem):\n    return sb.solve(problem, 'greedy')\n"
    )
    finished, _ = bench("claims-exact", "greedy", plugins=(plugin,))
    by = by_method(load_rows(finished.folder))
    assert by["greedy"] == {"ok": 6}
    assert by["claims-exact"]["wrong"] >= 5
    (results,) = read_results(finished.folder)
    assert {m.name: m.category_title for m in results.methods} == {
        "greedy": "Approximation",
        "claims-exact": "Not exact",
    }
    assert finished.exit_code == 3


def test_a_poisoned_cache_of_optima_makes_nobody_better_than_the_optimum(bench, tmp_path):
    finished, _ = bench("greedy", "identity")
    before = [(r["method"], r["case"], r["scores"], r["raw"]["k_opt"]) for r in load_rows(finished.folder)]
    for path in (tmp_path / "user-cache").rglob("*.npz"):
        with np.load(path) as content:
            parts = dict(content)
        facts = json.loads(str(parts["facts"]))
        # A k that greedy would double: without its matching, with the bound pushed out of the way.
        facts |= {"k_opt": facts["k_opt"] / 2, "k_upper": 10 * facts["k_upper"]}
        np.savez(path, **{**parts, "facts": np.array(json.dumps(facts))})
    with pytest.warns(UserWarning, match="did not prove what it claimed; the optimum was proved anew"):
        finished, _ = bench("greedy", "identity", fresh=True)
    rows = load_rows(finished.folder)
    assert [(r["method"], r["case"], r["scores"], r["raw"]["k_opt"]) for r in rows] == before
    assert all("proved anew" in r["raw"]["optimum_remark"] for r in rows)


# What cannot be measured, and what a run may cost.


def test_what_cannot_be_measured_is_a_row(bench):
    finished, _ = bench("scipy", memory=1000)
    rows = load_rows(finished.folder)
    assert [(r["status"], r["case"]) for r in rows] == [("skipped", "")] * 2
    assert finished.exit_code == 4


def test_a_budget_takes_fewer_pairs_and_says_how_many(bench):
    finished, ledger = bench("identity", budget=1e-9, layers=("layer1",))
    rows = load_rows(finished.folder)
    assert [r["status"] for r in rows] == ["ok", "skipped"]
    assert rows[1]["message"] == "budget of 1e-09 s: 1 of 3 pairs"
    assert ledger.remaining_seconds() == 0


def test_an_estimate_measures_one_case_of_every_cell_and_foresees_the_rest(bench):
    finished, ledger = bench("identity", "scipy", estimate=True)
    assert not finished.complete
    assert Counter(r["method"] for r in read_rows(finished.folder)) == {"identity": 2, "scipy": 2}
    forecast = ledger.forecast()
    assert [(line["cases"], line["wanted"]) for line in forecast] == [(3, 3)] * 4
    assert all(0 < line["seconds"] == 2 * line["seconds_a_case"] for line in forecast)
    assert ledger.remaining_seconds() >= sum(line["seconds"] for line in forecast)
    again, ledger = bench("identity", "scipy")
    assert (again.folder, again.resumed) == (finished.folder, 4)
    assert ledger.remaining_seconds() == 0


# Which run is written to.


def test_an_estimate_waits_a_bounded_time_and_leaves_no_row_of_it(bench, monkeypatch):
    """What takes longer than an estimate waits is measured by the run itself, under its own deadline."""
    monkeypatch.setattr(engine, "_ESTIMATE_SECONDS", 0.3)
    finished, ledger = bench("hostile-hang", "identity", plugins=(HOSTILE,), estimate=True, deadline=0.6, run_id="one")
    assert {r["method"] for r in read_rows(finished.folder)} == {"identity"}
    hanging = [line for line in ledger.forecast() if line["method"] == "hostile-hang"]
    assert [(line["size"], line["seconds"]) for line in hanging] == [(16, pytest.approx(1.8)), (36, pytest.approx(1.8))]
    assert all("more than 0.3 s a case" in line["reason"] for line in hanging)
    monkeypatch.setattr(engine, "CallLimits", lambda deadline, memory: CallLimits(deadline, memory, 0.5))
    finished, _ = bench("hostile-hang", "identity", plugins=(HOSTILE,), deadline=0.6, run_id="one")
    assert finished.complete
    assert {r["status"] for r in load_rows(finished.folder) if r["method"] == "hostile-hang"} == {"timeout", "skipped"}


def test_what_the_machine_spoiled_is_measured_again_and_the_new_row_says_so(bench, monkeypatch):
    kills = itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(
            process, "memory_kills", lambda: next(kills)
        )  # as if the system killed for want of memory all the time
        finished, _ = bench("hostile-kill", "identity", plugins=(HOSTILE,), layers=("layer1",))
    assert by_method(load_rows(finished.folder)) == {"hostile-kill": {"memory": 3}, "identity": {"ok": 3}}
    again, _ = bench("hostile-kill", "identity", plugins=(HOSTILE,), layers=("layer1",))
    assert again.folder == finished.folder
    rows = load_rows(again.folder)
    assert by_method(rows) == {"hostile-kill": {"crashed": 2, "skipped": 1, "memory": 1}, "identity": {"ok": 3}}
    replaced = {r["replaces"] for r in rows if r["status"] == "crashed"}
    assert replaced == {"memory: killed by the system for want of memory"}
    assert {r["replaces"] for r in rows if r["status"] != "crashed"} == {""}


MACHINE = """
import os, shutil, tempfile
import numpy as np
import semrsm_bench as sb

@sb.register_solver("full", kind="approximate")
def full(problem):
    "It finds the disk full."
    raise OSError({number}, os.strerror({number}))

@sb.register_solver("cleaner", kind="approximate")
def cleaner(problem):
    "It removes the temporary folder."
    shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)
    return np.arange(problem.size)
"""


def test_what_the_machine_spoils_again_and_again_is_measured_once_a_session(new_processes, tmp_path, monkeypatch):
    (tmp_path / "machine.py").write_text(MACHINE.format(number=errno.ENOSPC))
    how = {"plugins": (tmp_path / "machine.py",), "layers": ("layer1",), "pairs": {"": 2}}
    first, ledger = new_processes("full", "identity", **how)
    assert (first.spoiled, first.exit_code, first.measured) == (2, 1, 4)
    assert {row["raw"][FAULT] for row in load_rows(first.folder) if row["method"] == "full"} == {"machine"}
    assert all("the disk is full" in told for told in ledger.spoiled.values())
    second, _ = new_processes("full", "identity", **how)
    assert (second.folder, second.measured, second.exit_code) == (first.folder, 2, 1)
    assert read_json(first.folder / "run.json")["finished"]
    again, _ = new_processes("full", "identity", run_id=first.folder.name, **how)
    assert (again.folder, again.measured) == (first.folder, 2)


def test_a_machine_that_fails_the_engine_itself_costs_rows_that_are_measured_again(new_processes, monkeypatch):
    def fail(*given, **how):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    how = {"layers": ("layer1",), "pairs": {"": 2}, "run_id": "one"}
    with monkeypatch.context() as patch:
        patch.setattr(pool.Scratch, "write", fail)
        finished, _ = new_processes("identity", **how)
        assert (finished.spoiled, finished.exit_code) == (2, 1)
    assert by_method(load_rows(new_processes("identity", **how)[0].folder)) == {"identity": {"ok": 2}}


def test_who_removes_the_files_of_the_engine_costs_the_row_at_hand(new_processes, tmp_path, monkeypatch):
    (tmp_path / "machine.py").write_text(MACHINE.format(number=errno.ENOSPC))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    how = {"plugins": (tmp_path / "machine.py",), "layers": ("layer1",), "pairs": {"": 3}}
    finished, _ = new_processes("identity", "cleaner", "scipy", **how)
    rows = by_method(load_rows(finished.folder))
    assert (rows.pop("cleaner"), finished.spoiled) == ({"error": 3}, 3)
    assert rows == {"identity": {"ok": 3}, "scipy": {"ok": 3}}


def test_a_finished_run_is_followed_by_a_new_one_and_a_named_one_stays(bench):
    first, _ = bench("identity")
    second, _ = bench("identity")
    assert second.folder != first.folder
    assert second.resumed == 0
    before = (first.folder / ROWS_FILE).read_bytes()
    again, _ = bench("identity", run_id=first.folder.name)
    assert (again.measured, again.resumed, again.exit_code) == (0, 6, 0)
    assert (first.folder / ROWS_FILE).read_bytes() == before


@pytest.mark.parametrize(
    "torn", [b"", b'{"schema": 2, "run_', b'{"schema": 2, "info": "\xff\xfe', b"\x00" * 5000, "whole"]
)
def test_an_interrupted_run_is_resumed_without_repeating_or_losing_a_row(bench, torn):
    """Also between a row and its line break."""
    whole, _ = bench("identity", "scipy")
    expected = keys_of(whole.folder)
    path = whole.folder / ROWS_FILE
    lines = path.read_bytes().split(b"\n")[:7]
    path.write_bytes(b"\n".join(lines) + (b"" if torn == "whole" else b"\n" + torn))
    write_json(whole.folder / RUN_FILE, {**read_json(whole.folder / RUN_FILE), "finished": None})
    again, _ = bench("identity", "scipy")
    assert again.folder == whole.folder
    assert (again.resumed, again.measured) == (7, len(expected) - 7)
    assert sorted(keys_of(whole.folder)) == sorted(expected)
    assert path.read_bytes().startswith(b"\n".join(lines) + b"\n{")
    assert len(path.read_bytes().splitlines()) == len(expected)


@pytest.mark.parametrize("change", ["options", "environment", "fresh"])
def test_an_unfinished_run_that_does_not_fit_is_left_alone(bench, change):
    first, _ = bench("identity", estimate=True)
    if change == "environment":
        environment = load_environment(first.folder)
        write_json(first.folder / ENVIRONMENT_FILE, {**environment, "python": "2.7"})
    changes = {"options": {"pairs": {"": 2}}, "fresh": {"fresh": True}}
    second, _ = bench("identity", **changes.get(change, {}))
    assert second.folder != first.folder
    assert len(read_rows(first.folder)) == first.measured


def test_a_named_run_that_does_not_fit_is_refused_with_the_reason(bench):
    bench("identity", run_id="mine")
    with pytest.raises(
        ValueError, match="'mine' cannot be resumed: it was started with other tasks or options of tasks"
    ):
        bench("identity", run_id="mine", pairs={"": 2})
    environment = load_environment(bench.results / "mine")
    write_json(bench.results / "mine" / ENVIRONMENT_FILE, {**environment, "python": "2.7"})
    with pytest.raises(ValueError, match="these differ from when it was started: python"):
        bench("identity", run_id="mine")
    with pytest.raises(ValueError, match="exists already"):
        bench("identity", run_id="mine", fresh=True)
    for wrong in ("", "../x", "a/b", ".hidden", "-x", "a\nb", "x\0", "a" * 200, " x", "x ", "latest"):
        with pytest.raises(ValueError, match="name of a folder"):
            bench("identity", run_id=wrong)


def test_a_run_in_use_is_refused_by_name_and_passed_over_otherwise(bench):
    first, _ = bench("identity", estimate=True, run_id="mine")
    with RunWriter(first.folder):
        with pytest.raises(RunBusyError, match="run 'mine' is being written by another process"):
            bench("identity", run_id="mine")
        second, _ = bench("identity")
    assert second.folder != first.folder
    third, _ = bench("identity")
    assert third.folder == first.folder


# Code that changes between sessions.

CHANGED = "its code changed after the run began; run the same command again to measure it"

EDITED = """
import numpy as np
import semrsm_bench as sb
from beside_it import turn

@sb.register_solver("edited", kind="approximate", matrix_free=True, files=["built.bin"])
def edited(problem):
    import made_up_library
    return np.roll(np.arange(problem.size), turn)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A plugin with a module beside it, a file that it declares, and a library of some version."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "edited.py").write_text(EDITED)
    (folder / "beside_it.py").write_text("turn = 1\n")
    (folder / "built.bin").write_bytes(b"first build")
    site = tmp_path / "site"
    (site / "made_up-1.0.dist-info").mkdir(parents=True)
    (site / "made_up-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    (site / "made_up-1.0.dist-info" / "top_level.txt").write_text("made_up_library\n")
    (site / "made_up_library.py").write_text("")
    monkeypatch.syspath_prepend(str(site))
    return folder


EDITS = {
    "plugin": lambda f: (f / "edited.py").write_text(EDITED.replace("turn)", "turn + 1)")),
    "module": lambda f: (f / "beside_it.py").write_text("turn = 2\n"),
    "file": lambda f: (f / "built.bin").write_bytes(b"second build"),
    "library": lambda f: (f.parent / "site" / "made_up-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: made-up\nVersion: 2.0\n"
    ),
}


@pytest.mark.parametrize(
    ("edit", "finished"),
    [
        ("plugin", False),
        ("file", True),
        *(pytest.param(edit, False, marks=pytest.mark.slow) for edit in EDITS if edit != "plugin"),
    ],
)
def test_other_code_is_measured_anew_and_no_cell_holds_two(bench, plugin, edit, finished):
    how = {"plugins": (plugin / "edited.py",), "run_id": "mine", "layers": ("layer1",)}
    first, _ = bench("edited", "identity", **how, estimate=not finished)
    old = load_rows(first.folder)
    (old_code,) = {r["code"] for r in old if r["method"] == "edited"}
    EDITS[edit](plugin)
    partly, _ = bench("edited", "identity", **how, estimate=True)
    assert partly.measured == 1
    assert not read_json(partly.folder / RUN_FILE)["finished"]
    rows = load_rows(partly.folder)
    (new_code,) = {r["code"] for r in rows if r["method"] == "edited"}
    assert new_code != old_code
    assert len([r for r in rows if r["method"] == "edited"]) == 1, "rows of the old code are not shown"
    assert [r for r in rows if r["method"] == "identity"] == [r for r in old if r["method"] == "identity"]
    again, _ = bench("edited", "identity", **how)
    assert by_method(load_rows(again.folder)) == {"edited": {"ok": 3}, "identity": {"ok": 3}}
    assert {r["code"] for r in load_rows(again.folder) if r["method"] == "edited"} == {new_code}
    assert again.measured == (2 if finished else 4)


def test_code_that_comes_back_counts_again(bench, plugin):
    how = {"plugins": (plugin / "edited.py",), "run_id": "mine", "layers": ("layer1",)}
    first, _ = bench("edited", **how)
    old = load_rows(first.folder)
    EDITS["module"](plugin)
    bench("edited", **how, estimate=True)
    assert len(load_rows(first.folder)) == 1
    (plugin / "beside_it.py").write_text("turn = 1\n")
    back, _ = bench("edited", **how)
    assert (back.measured, load_rows(back.folder)) == (0, old)


def test_failures_of_code_that_was_mended_do_not_count(bench, tmp_path):
    plugin = tmp_path / "mended.py"
    good = "import numpy as np, semrsm_bench as sb\n@sb.register_solver('mended', kind='approximate')\ndef f(problem):\n    "
    plugin.write_text(good + "raise RuntimeError('not yet')\n")
    broken, _ = bench("mended", plugins=(plugin,), run_id="mine")
    assert (broken.counts, broken.exit_code) == ({"error": 6}, 3)
    plugin.write_text(good + "return np.arange(problem.size)\n")
    mended, _ = bench("mended", plugins=(plugin,), run_id="mine")
    assert (mended.counts, mended.exit_code, mended.measured) == ({"ok": 6}, 0, 6)


def test_a_file_that_changes_during_a_run_does_not_mix_into_it(new_processes, tmp_path):
    plugin = tmp_path / "restless.py"
    plugin.write_text(
        "import os, numpy as np, semrsm_bench as sb\n"
        "@sb.register_solver('restless', kind='approximate', matrix_free=True)\n"
        "def restless(problem):\n"
        "    with open(__file__, 'a') as file:\n        file.write('# more\\n')\n"
        "    os._exit(1)\n"
    )
    finished, _ = new_processes("restless", plugins=(plugin,), layers=("layer2",))
    rows = load_rows(finished.folder)
    assert [(r["status"], r["message"]) for r in rows] == [("error", CHANGED)] * 3


LIVING = {
    "solver": """
import numpy as np, semrsm_bench as sb
@sb.register_solver("living", kind="approximate", matrix_free=True, files=["tool.sh"])
def f(problem):
    import beside_late
    return np.arange(problem.size)
""",
    "rsm": """
import numpy as np, semrsm_bench as sb
@sb.register_rsm("living", files=["tool.sh"])
def f(x, y):
    import beside_late
    return x.reshape(len(x), -1) @ y.reshape(len(y), -1).T
""",
}
COMPOSITES = '''
from dataclasses import make_dataclass
import numpy as np, semrsm_bench as sb
@sb.register_task
class Composites(sb.Task):
    """What does a composite say?"""
    name, question, kind, unit, across = "composites", "What does it say?", "metric", "problem", ("where",)
    options = make_dataclass("Options", (), frozen=True)
    scores = (sb.Score("value", "value"),)
    def cases(self, options):
        for i in range(3):
            z = np.random.default_rng(i).random((2, 8, 5, 9))
            given = {"x": z[0].reshape(8, -1), "y": z[1].reshape(8, -1), "zx": z[0], "zy": z[1]}
            yield sb.Case(f"c{i}", {"where": "here"}, lambda given=given: given, {"problem": (str(i),)})
    def score(self, case, arrays, answer, truth, method):
        return sb.Scored({"value": float(answer.arrays["value"][0])})
'''


@pytest.mark.parametrize(
    ("kind", "changed", "text"),
    [
        ("solver", "beside_late.py", "x = 2"),
        ("solver", "tool.sh", None),
        ("solver", "tool.sh", "echo 1"),
        ("rsm", "tool.sh", "echo 2"),
    ],
)
def test_no_row_of_other_code_while_a_worker_lives(new_processes, tmp_path, monkeypatch, kind, changed, text):
    """A file changes after the first row, or goes; written anew as it was, it is no change."""
    plugin, task = tmp_path / "living.py", tmp_path / "composites.py"
    for path, content in {
        "tool.sh": "echo 1",
        "beside_late.py": "x = 1",
        plugin.name: LIVING[kind],
        task.name: COMPOSITES,
    }.items():
        (tmp_path / path).write_text(content)
    append = RunWriter.append

    def append_and_edit(writer, row):
        append(writer, row)
        (tmp_path / changed).unlink()
        if text is not None:
            (tmp_path / changed).write_text(text)
        monkeypatch.setattr(RunWriter, "append", append)

    monkeypatch.setattr(RunWriter, "append", append_and_edit)
    name, how = {
        "solver": ("living", {"plugins": (plugin,), "layers": ("layer2",)}),
        "rsm": ("cka[living]", {"plugins": (plugin, task)}),
    }[kind]
    finished, _ = new_processes(name, **how, run_id="mine")
    rows = load_rows(finished.folder)
    assert len({r["code"] for r in rows}) == 1
    if text == "echo 1":
        assert finished.counts == {"ok": 3}
        return
    assert [(r["status"], r["message"]) for r in rows] == [("ok", ""), *[("error", CHANGED)] * 2]
    if text is not None:
        again, _ = new_processes(name, **how, run_id="mine")
        assert by_method(load_rows(again.folder)) == {name: {"ok": 3}}
        assert {r["code"] for r in load_rows(again.folder)}.isdisjoint(r["code"] for r in rows)


def test_a_composite_answers_for_the_files_of_all_its_parts(tmp_path):
    plugin = tmp_path / "living.py"
    plugin.write_text(LIVING["rsm"])
    (tmp_path / "tool.sh").write_text("")
    declared = declarations([plugin], ["metric", "rsm"])
    (method,) = choose_methods(toy(kind="metric"), ["cka[identity|living]"], declared)
    assert {str(plugin), str(tmp_path / "tool.sh")} <= set(method.files)
    assert next(m for m in declared if m.name == "living").code in method.code


# Which process imports which file.

SPY = """
import os, sys
with open({note!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n")
import numpy as np
import semrsm_bench as sb
import spy_helper
# a comment about register_task, and a string: {text!r}

@sb.register_solver({name!r}, kind="approximate", matrix_free=True)
def f(problem):
    with open({note!r} + "-calls", "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    return spy_helper.reverse(problem.size)
"""


def test_a_file_of_methods_is_imported_only_where_its_methods_run(new_processes, tmp_path):
    notes = {}
    for name in ("spy-one", "spy-two"):
        notes[name] = tmp_path / f"{name}-note"
        text = SPY.format(note=str(notes[name]), name=name, text="@register_task")
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(text)
    (tmp_path / "spy_helper.py").write_text("import numpy as np\ndef reverse(n):\n    return np.arange(n)[::-1]\n")
    before, modules = list(sys.path), set(sys.modules)
    plugins = tuple(sorted(tmp_path.glob("spy_*e.py")) + sorted(tmp_path.glob("spy_two.py")))
    finished, _ = new_processes("spy-one", "identity", "spy-two", plugins=plugins, layers=("layer2",))
    assert by_method(load_rows(finished.folder)) == {m: {"ok": 3} for m in ("spy-one", "identity", "spy-two")}
    imported, called = (
        {n: set(Path(f"{p}{end}").read_text().split()) for n, p in notes.items()} for end in ("", "-calls")
    )
    for name, other in (("spy-one", "spy-two"), ("spy-two", "spy-one")):
        assert len(called[name]) == 1
        assert len(imported[name]) == 2, "the worker that describes it, and the one that it runs in"
        assert called[name] < imported[name]
        assert not imported[name] & (imported[other] | {str(os.getpid())})
    assert (sys.path, set(sys.modules) - modules) == (before, set())


BOTH = """
import os
with open({note!r}, "a") as file:
    file.write("imported\\n")
import semrsm_bench as sb
{imports}

@{task}
class Some(sb.Task):
    name, question, kind = "some", "?", "metric"

@sb.register_metric("mine", takes="features", best="max", range=(0, 1))
def mine(x, y): ...
"""


@pytest.mark.parametrize(
    ("imports", "task"),
    [
        ("", "sb.register_task"),
        ("from semrsm_bench import register_task", "register_task"),
        ("from semrsm_bench import register_task as rt", "rt"),
        ("from semrsm_bench.tasks import registry", "registry.register_task"),
    ],
)
def test_one_file_brings_methods_or_tasks_and_is_refused_before_it_runs(bench, tmp_path, imports, task):
    plugin = tmp_path / "both.py"
    plugin.write_text(BOTH.format(note=str(tmp_path / "note"), imports=imports, task=task))
    with pytest.raises(ValueError, match=r"both\.py brings methods and tasks; put them into two files"):
        bench("identity", plugins=(plugin,))
    assert not (tmp_path / "note").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("x = 1", "it registers nothing"),
        ("def (", "SyntaxError"),
        ("raise SystemExit", "SystemExit"),
        ("import semrsm_bench as sb\nsb.register_task\n1 / 0", "ZeroDivisionError"),
        (
            "import semrsm_bench as sb\n@sb.register_metric('m', takes='features', best='max', range=(0, 1))\ndef m(x, y): ...",
            "brings no solver for matching; name a task that judges what it brings",
        ),
    ],
)
def test_a_file_that_helps_nothing_is_refused_with_the_reason(bench, tmp_path, text, message):
    plugin = tmp_path / "odd.py"
    if text is not None:
        plugin.write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        bench("identity", plugins=(plugin,))
    assert not bench.results.exists()


def test_two_files_must_not_bring_the_same_name(bench, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.py").write_text(
            "import semrsm_bench as sb\n@sb.register_solver('same', kind='approximate')\ndef f(problem): ...\n"
        )
    files = (tmp_path / "a" / "same.py", tmp_path / "b" / "same.py")
    with pytest.raises(ValueError, match="two plugins bring a solver named 'same'"):
        bench(plugins=files)
    assert sort_plugins(files) == (list(files), [])


# Tasks in files.

TASK = """
import dataclasses
import zlib
import numpy as np
import semrsm_bench as sb
from semrsm_bench.core.options import option

@dataclasses.dataclass(frozen=True)
class Options:
    cases: int | None = option(None, help="How many.")
    say: str = option("", help="What the worker does wrong.")

@sb.register_task
class Median(sb.Task):
    name = f"median-{zlib.crc32(__file__.encode())}"  # workers are shared by several tests
    question = "Does a metric see two shifted samples?"
    kind = "metric"
    scores = (sb.Score("gap", "gap", best="min"),)
    unit = "draw"
    across = ("cell",)
    options = Options
    profiles = {"quick": sb.Profile("4", {"cases": 4}), "paper": sb.Profile("40", {"cases": 40})}
    methods = ("cka", "svcca")
    observe = OBSERVE

    def cases(self, options):
        rng = np.random.default_rng(0)
        for i in range(options.cases):
            pair = rng.standard_normal((2, 20, 3))
            yield sb.Case(
                f"draw/{i}", {"cell": "all"}, lambda pair=pair: {"x": pair[0], "y": pair[1]}, {"draw": (str(i),)},
                settings={"say": options.say},
            )

    def truth(self, case, arrays, solve):
        return float(np.median(arrays["x"]) - np.median(arrays["y"]))

    def score(self, case, arrays, answer, truth, declared):
        value = float(answer.arrays["gap"][0])
        if self.question == "raise":
            raise ArithmeticError("no score")
        return sb.Scored({"gap": abs(value - truth)}, {"value": value, "by": declared.name}, {"both": np.stack([arrays["x"]])})


def look(command, inputs, clock, memory):
    say = command["settings"]["say"]
    found = clock.run(lambda i: i, lambda i: np.median(inputs["x"]) - np.median(inputs["y"]), shape="median", most=3)
    gap = np.array(found)
    if say == "object":
        gap = np.array([object()])
    if say == "nothing":
        return {"arrays": {}}
    if say == "none":
        return None
    if say == "big info":
        return {"arrays": {"gap": gap}, "info": {"x": 10**6000}}
    if say == "status":
        return {"status": "fine", "arrays": {"gap": gap}}
    if say == "list":
        return {"arrays": {"gap": [1.5] * 3}, "info": {"a": {1: {2: 3}}}}
    return {"arrays": {"gap": gap}, "info": {"cases": str(inputs["x"].shape)}}
"""


@pytest.fixture
def median(tmp_path):
    def write(observe='"look"'):
        file = tmp_path / "median_task.py"
        file.write_text(TASK.replace("OBSERVE", observe))
        return file

    write.task = lambda file: engine.get_task(sort_plugins([file])[1][0])

    return write


@pytest.mark.parametrize("observe", ['"look"', 'f"{__name__}:look"'])
def test_a_file_brings_a_whole_task_with_its_own_observer(bench, median, observe):
    finished, _ = bench(plugins=(median(observe),))
    rows = load_rows(finished.folder)
    assert finished.counts == {"ok": 8}, rows[0]["message"]
    assert {(r["kind"], r["method"]) for r in rows} == {("metric", m) for m in ("cka", "svcca")}
    assert all(r["task"].startswith("median-") for r in rows)
    assert [r["scores"]["gap"] for r in rows] == pytest.approx([0.0] * 8)
    assert {r["raw"]["by"] for r in rows} == {"cka", "svcca"}
    assert all(r["info"] == {"cases": "(20, 3)"} and r["seconds"] is not None and r["samples"] == 3 for r in rows)
    kept = {r["arrays"] for r in rows}
    assert len(kept) == 8
    for name in kept:
        with np.load(finished.folder / name) as content:
            assert content["both"].shape == (1, 20, 3)


@pytest.mark.parametrize(
    ("say", "status", "words"),
    [
        ("object", "invalid", "its answer cannot be read: Object arrays"),
        ("nothing", "invalid", "the answer cannot be scored: KeyError"),
        ("none", "error", "AttributeError"),
        ("big info", "ok", ""),
        ("status", "crashed", "something else"),
        ("list", "ok", ""),
    ],
)
def test_an_observer_that_goes_wrong_costs_its_rows_only(bench, median, say, status, words):
    file = median()
    task = median.task(file)
    finished, _ = bench("cka", plugins=(file,), tasks={task.name: task.options(say=say, cases=2)})
    rows = load_rows(finished.folder)
    assert [r["status"] for r in rows] == [status] * 2, rows[0]["message"]
    assert all(words in r["message"] for r in rows)


def test_a_task_that_cannot_score_says_so_in_its_rows(bench, median):
    file = median()
    type(median.task(file)).question = "raise"
    finished, _ = bench("cka", plugins=(file,))
    assert {r["message"] for r in load_rows(finished.folder)} == {
        "the answer cannot be scored: ArithmeticError: no score; the answer holds gap (3,) float64"
    }
    assert finished.counts == {"invalid": 4}


def test_an_edited_task_is_measured_anew(bench, median):
    """In new processes: this one has imported the task already."""
    file = median()
    code = (
        "import sys; from pathlib import Path; from tests.bench_data import Bench\n"
        "bench = Bench.__new__(Bench); bench.results = Path(sys.argv[1]); bench.cache = None\n"
        "finished, _ = bench('cka', plugins=(Path(sys.argv[2]),), run_id='mine')\n"
        "print(finished.measured, finished.resumed, finished.counts['ok'])"
    )

    def session():
        command = [sys.executable, "-c", code, str(bench.results), str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert session() == ["4", "0", "4"]
    file.write_text(file.read_text().replace("abs(value - truth)", "abs(value - truth) + 1"))
    assert session() == ["4", "4", "4"]
    assert [r["scores"]["gap"] for r in load_rows(bench.results / "mine")] == pytest.approx([1.0] * 4)


@pytest.mark.parametrize("kept", [1, 12])
def test_cases_of_one_name_in_two_tasks_have_truths_of_their_own(bench, median, tmp_path, monkeypatch, kept):
    monkeypatch.setattr(engine, "_KEPT_TRUTHS", kept)
    files = median(), tmp_path / "another_task.py"
    files[1].write_text(
        files[0].read_text().replace("        return float(np.median(", "        return 7 + float(np.median(")
    )
    tasks = [median.task(file) for file in files]
    finished, _ = bench("cka", plugins=files, tasks={task.name: task.options(cases=2) for task in tasks})
    gaps = [[r["scores"]["gap"] for r in load_rows(finished.folder, task.name)] for task in tasks]
    assert gaps == [pytest.approx([0.0, 0.0]), pytest.approx([7.0, 7.0])]


def test_arrays_of_cases_with_like_names_are_kept_apart(bench, median, monkeypatch):
    file = median()
    task = type(median.task(file))
    cases, names = task.cases, ["a/b", "a_b", "a b", "x" * 300, "x" * 301]

    def renamed(self, own):
        return (dataclasses.replace(c, name=n) for n, c in zip(names, cases(self, own)))

    monkeypatch.setattr(task, "cases", renamed)
    finished, _ = bench("cka", plugins=(file,), repeats=2, tasks={task.name: task.options(cases=5)})
    assert len({r["arrays"] for r in load_rows(finished.folder)}) == 10
    assert len(list((finished.folder / "arrays").iterdir())) == 10


# Kills, and several at once.

SESSION = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from pathlib import Path
from semrsm_bench.bench.engine import run
from semrsm_bench.bench.plan import RunOptions
from semrsm_bench.bench.results import SessionOptions
from semrsm_bench.tasks.matching import MatchingOptions
cache, results, pairs, run_id = sys.argv[1:5]
own = MatchingOptions(data=Path(cache), pairs=int(pairs), centring=("none", "channel"))
options = RunOptions(methods=("scipy", "identity", "greedy"), repeats=3)
print("begin", flush=True)
finished, _ = run(options, SessionOptions(Path(results), run_id or None), {"matching": own}, quiet=True)
print(finished.folder.name, finished.measured, finished.resumed, flush=True)
"""


def start(bench, pairs=10, run_id=""):
    command = [sys.executable, "-c", SESSION, str(bench.cache), str(bench.results), str(pairs), run_id]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows_there(bench):
    return sum(path.read_bytes().count(b"\n") for path in bench.results.glob(f"*/{ROWS_FILE}"))


def wait_for_rows(bench, process, count):
    end = time.monotonic() + 120
    while rows_there(bench) < count and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)


def is_gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_signal_in_the_middle_and_the_same_command_again(new_processes, number):
    bench, total = new_processes, 3 * 4 * 10 * 3
    process = start(bench)
    wait_for_rows(bench, process, 25)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert ("KeyboardInterrupt" in err) == (number == signal.SIGINT)
    (folder,) = bench.results.iterdir()
    before = keys_of(folder)
    assert 25 <= len(before) < total
    psutil.wait_procs(children, timeout=10)
    assert all(map(is_gone, children))
    if number == signal.SIGINT:
        return
    out, err = start(bench).communicate(timeout=300)
    assert out.split()[1:] == [folder.name, str(total - len(before)), str(len(before))], err
    after = keys_of(folder)
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == total


def test_two_runs_side_by_side_keep_apart_and_two_of_one_name_do_not_meet(new_processes):
    bench = new_processes
    unnamed, named = start(bench, 2), start(bench, 10, "mine")
    wait_for_rows_of = bench.results / "mine" / RUN_FILE
    end = time.monotonic() + 120
    while not wait_for_rows_of.exists() and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(RunBusyError, match="run 'mine' is being written by another process; wait for it"):
        bench("scipy", "identity", "greedy", repeats=3, pairs={"": 10}, centring=("none", "channel"), run_id="mine")
    facts = [process.communicate(timeout=300)[0].split()[1:] for process in (unnamed, named)]
    assert facts[0][0] != facts[1][0] == "mine"
    for (name, measured, resumed), pairs in zip(facts, (2, 10)):
        keys = keys_of(bench.results / name)
        assert len(keys) == len(set(keys)) == int(measured) == 3 * 4 * pairs * 3
        assert resumed == "0"
        assert {r["run_id"] for r in read_rows(bench.results / name)} == {name}
