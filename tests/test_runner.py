import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import pytest

from semrsm_bench.bench import runner
from semrsm_bench.bench.cases import Options, make_plan
from semrsm_bench.bench.ledger import Ledger
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.bench.results import (
    ENVIRONMENT_FILE,
    ROWS_FILE,
    RUN_FILE,
    load_environment,
    load_rows,
    read_json,
    read_rows,
    write_json,
)
from semrsm_bench.bench.runner import Finished, run
from semrsm_bench.bench.worker import Limits
from semrsm_bench.bench.writer import RunBusyError, RunWriter
from semrsm_bench.solvers import MatchingProblem, matching_value, random_value, solve
from tests.bench_data import HOSTILE, make_row, small_cache

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A cache, and a call that measures it into ``results`` with optima of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    cache = small_cache(tmp_path / "data")

    def call(*solvers, **changes):
        keys = ("run_id", "fresh", "first_pairs_only", "tell")
        how = {k: changes.pop(k) for k in keys if k in changes}
        options = Options(**{"data": cache, "solvers": solvers, "pairs": 3, **changes})
        return run(options, tmp_path / "results", quiet=True, **how)

    call.cache, call.results = cache, tmp_path / "results"
    return call


def keys_of(folder):
    return [(r["solver"], r["problem"], r["repeat"]) for r in read_rows(folder)]


def test_every_cell_is_measured_and_scored_in_float64(bench):
    finished, _ = bench("scipy", "identity", "greedy", repeats=2)
    rows = load_rows(finished.folder)
    assert finished.counts == {"ok": 3 * 2 * 2 * 3 * 2}
    assert finished.exit_code == 0
    assert len(set(keys_of(finished.folder))) == len(rows)
    from semrsm_bench.activations.store import open_cache

    cache = open_cache(bench.cache)
    for _, row in rows.iterrows():
        i, j = map(int, row["pair"].split("-"))
        problem = MatchingProblem(*(cache.positions(row["layer"], n, row["centring"]) for n in (i, j)))
        assert row["k"] == matching_value(problem, solve(problem, row["solver"]))
        assert row["k_rand"] == random_value(problem)
        assert row["k_opt"] == pytest.approx(matching_value(problem, solve(problem, "scipy")), rel=1e-6)
        assert row["k"] <= row["k_upper"] * (1 + 1e-12)
        assert row["chance_corrected"] == pytest.approx((row["k"] - row["k_rand"]) / (row["k_opt"] - row["k_rand"]))
        assert (row["size"], row["channels"]) == (problem.size, problem.channels)
        assert np.isnan(row["affinity_seconds"]) == row["matrix_free"] == (row["solver"] == "identity")
        assert row["seconds_min"] <= row["seconds"] <= row["seconds_max"] < row["wall_seconds"]
    exact = rows[rows["solver"] == "scipy"]
    np.testing.assert_allclose(exact["chance_corrected"], 1.0, atol=1e-6)


def test_chance_corrected_quality_does_not_see_centring_by_channel(bench):
    finished, _ = bench("identity")
    rows = load_rows(finished.folder).set_index(["layer", "pair"])
    raw, centred = (rows[rows["centring"] == c]["chance_corrected"] for c in ("none", "channel"))
    np.testing.assert_allclose(raw.sort_index(), centred.sort_index(), atol=1e-4)


def test_the_environment_tells_the_machine_but_not_whose(bench):
    finished, _ = bench("identity")
    environment = load_environment(finished.folder)
    assert environment["run_id"] == finished.folder.name
    assert environment["profile"] == "quick"
    assert list(environment["solvers"]) == ["identity"]
    assert environment["data"][0]["name"] == "tiny"
    text = (
        json.dumps(environment) + (finished.folder / ROWS_FILE).read_text() + (finished.folder / RUN_FILE).read_text()
    )
    for secret in (os.uname().nodename, str(Path.home()), str(bench.results), str(ROOT)):
        assert len(secret) < 4 or secret not in text


def test_hostile_solvers_leave_rows_and_the_others_alone(bench):
    names = ("hostile-segfault", "hostile-raise", "hostile-garbage-twice", "hostile-garbage-float", "hostile-mutate")
    finished, _ = bench("identity", *names, "scipy", plugins=(HOSTILE,), layers=("layer2",), centrings=("none",))
    rows = load_rows(finished.folder)
    by = {solver: Counter(group["status"]) for solver, group in rows.groupby("solver")}
    assert by["identity"] == by["scipy"] == {"ok": 3}
    assert by["hostile-segfault"] == {"crashed": 2, "skipped": 1}
    assert by["hostile-raise"] == {"error": 3}
    assert by["hostile-garbage-twice"] == by["hostile-garbage-float"] == by["hostile-mutate"] == {"invalid": 3}
    assert finished.exit_code == 3
    message = rows.loc[rows["solver"] == "hostile-garbage-twice", "message"].iloc[0]
    assert "position 0 is matched 16 times" in message
    (closing,) = rows.loc[rows["status"] == "skipped", "message"]
    assert closing == "not tried further after 2 failures in a row (crashed)"
    assert rows.loc[rows["status"] != "ok", "seconds"].isna().all()


def test_a_hanging_solver_costs_a_bounded_time_and_is_no_fault(bench, monkeypatch):
    monkeypatch.setattr(runner, "Limits", functools.partial(Limits, warm_up=1.0))
    finished, _ = bench("hostile-hang", "identity", plugins=(HOSTILE,), deadline=5.0, centrings=("none",))
    rows = load_rows(finished.folder)
    hanging = rows[rows["solver"] == "hostile-hang"]
    assert Counter(zip(hanging["size"], hanging["status"])) == {
        (16, "timeout"): 2,
        (16, "skipped"): 1,
        (36, "skipped"): 1,
    }
    assert "timed out at S=16" in hanging.loc[hanging["size"] == 36, "message"].iloc[0]
    assert (rows[rows["solver"] == "identity"]["status"] == "ok").all()
    assert finished.exit_code == 0
    # With one pair there is no second try at the small size; the large one gets its row all the same.
    finished, _ = bench("hostile-hang", plugins=(HOSTILE,), deadline=1.0, centrings=("none",), pairs=1)
    rows = load_rows(finished.folder)
    assert list(zip(rows["size"], rows["status"])) == [(16, "timeout"), (36, "timeout")]


def test_what_cannot_be_measured_is_a_row(bench):
    finished, _ = bench("scipy", memory=1000)
    rows = load_rows(finished.folder)
    assert set(rows["status"]) == {"skipped"}
    assert len(rows) == 4
    assert rows["pair"].tolist() == [""] * 4
    assert finished.exit_code == 4


def test_a_budget_takes_fewer_pairs_and_says_how_many(bench):
    finished, ledger = bench("identity", budget=1e-9, layers=("layer1",), centrings=("none",))
    rows = load_rows(finished.folder)
    assert rows["status"].tolist() == ["ok", "skipped"]
    assert rows["message"].iloc[1] == "budget of 1e-09 s: 1 of 3 pairs"
    assert ledger.remaining_seconds() == 0


def test_a_finished_run_is_followed_by_a_new_one_and_a_named_one_stays(bench):
    first, _ = bench("identity")
    second, _ = bench("identity")
    assert second.folder != first.folder
    assert second.resumed == 0
    before = keys_of(first.folder)
    again, _ = bench("identity", run_id=first.folder.name)
    assert (again.measured, again.resumed, again.exit_code) == (0, len(before), 0)
    assert keys_of(first.folder) == before


def test_an_interrupted_run_goes_on_without_repeating_or_losing_a_row(bench):
    whole, _ = bench("identity", "scipy")
    expected = set(keys_of(whole.folder))
    path = whole.folder / ROWS_FILE
    kept = path.read_bytes().split(b"\n")[:7]
    path.write_bytes(b"\n".join(kept) + b'\n{"schema": 1, "solv')
    write_json(whole.folder / RUN_FILE, {**read_json(whole.folder / RUN_FILE), "finished": None})
    again, _ = bench("identity", "scipy")
    assert again.folder == whole.folder
    assert (again.resumed, again.measured) == (7, len(expected) - 7)
    assert len(keys_of(whole.folder)) == len(expected)
    assert set(keys_of(whole.folder)) == expected
    assert path.read_bytes().startswith(b"\n".join(kept) + b"\n")


@pytest.mark.parametrize(
    "change", ["options", "environment", "fresh"], ids=["other options", "another environment", "asked for"]
)
def test_an_unfinished_run_that_does_not_fit_is_left_alone(bench, change):
    first, _ = bench("identity", first_pairs_only=True)
    assert not first.complete
    if change == "environment":
        environment = load_environment(first.folder)
        write_json(first.folder / ENVIRONMENT_FILE, {**environment, "code_sha256": "other"})
    second, _ = bench("identity", **({"options": {"pairs": 2}, "fresh": {"fresh": True}}.get(change, {})))
    assert second.folder != first.folder
    assert len(read_rows(first.folder)) == first.measured


def test_a_named_run_that_does_not_fit_is_refused_with_the_reason(bench):
    bench("identity", run_id="mine")
    with pytest.raises(ValueError, match="'mine' cannot be gone on with: it was started with other pairs"):
        bench("identity", run_id="mine", pairs=2)
    environment = load_environment(bench.results / "mine")
    write_json(bench.results / "mine" / ENVIRONMENT_FILE, {**environment, "python": "2.7"})
    with pytest.raises(ValueError, match="these differ from when it was started: python"):
        bench("identity", run_id="mine")
    with pytest.raises(ValueError, match="exists already"):
        bench("identity", run_id="mine", fresh=True)
    for wrong in ("", "../x", "a/b", ".hidden"):
        with pytest.raises(ValueError, match="name of a folder"):
            bench("identity", run_id=wrong)


def test_a_run_in_use_is_refused_by_name_and_passed_over_otherwise(bench):
    first, _ = bench("identity", first_pairs_only=True, run_id="mine")
    with RunWriter(first.folder):
        with pytest.raises(RunBusyError, match="another process"):
            bench("identity", run_id="mine")
        second, _ = bench("identity")
    assert second.folder != first.folder
    third, _ = bench("identity")
    assert third.folder == first.folder


COMMAND = [sys.executable, "-m", "semrsm_bench", "run", "--solvers", "scipy,identity,greedy", "--json"]


def start(bench, *more):
    command = [*COMMAND, "--data", str(bench.cache), "--out", str(bench.results), "--repeats", "3", *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def rows_there(bench):
    return sum(path.read_bytes().count(b"\n") for path in bench.results.glob(f"*/{ROWS_FILE}"))


def test_sigkill_in_the_middle_and_the_same_command_again(bench):
    process = start(bench)
    end = time.monotonic() + 120
    while rows_there(bench) < 25 and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = bench.results.iterdir()
    before = keys_of(folder)
    assert 25 <= len(before) < 3 * 4 * 10 * 3
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    out, err = start(bench).communicate(timeout=300)
    facts = json.loads(out)
    assert facts["folder"] == str(folder), err
    assert facts["resumed"] == len(before)
    after = keys_of(folder)
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == 3 * 4 * 10 * 3


def test_two_runs_side_by_side_keep_apart(bench):
    both = [start(bench, "--pairs", "2"), start(bench, "--pairs", "2")]
    facts = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert facts[0]["folder"] != facts[1]["folder"]
    for fact in facts:
        keys = keys_of(Path(fact["folder"]))
        assert len(keys) == len(set(keys)) == 3 * 4 * 2 * 3
        assert {r["run_id"] for r in read_rows(Path(fact["folder"]))} == {fact["run_id"]}


def test_an_estimate_measures_one_pair_of_every_cell_and_foresees_the_rest(bench):
    finished, ledger = bench("identity", "scipy", first_pairs_only=True)
    assert not finished.complete
    rows = read_rows(finished.folder)
    assert Counter(r["solver"] for r in rows) == {"identity": 4, "scipy": 4}
    forecast = ledger.forecast()
    assert [(line["pairs"], line["wanted"]) for line in forecast] == [(3, 3)] * 8
    assert all(0 < line["seconds"] == 2 * line["seconds_a_pair"] for line in forecast)
    assert ledger.remaining_seconds() >= sum(line["seconds"] for line in forecast)
    again, ledger = bench("identity", "scipy")
    assert (again.folder, again.resumed) == (finished.folder, 8)
    assert ledger.remaining_seconds() == 0


def ledger_of(bench, **changes):
    plan = make_plan(Options(data=bench.cache, solvers=("scipy",), centrings=("none",), pairs=5, **changes))
    return Ledger(plan), plan.cells


def observed(cell, pair, **changes):
    facts = {"problem": cell.problem(pair), "pair": f"{pair[0]}-{pair[1]}", "size": cell.size, "layer": cell.layer}
    return asdict(make_row(**{"model": "tiny", "wall_seconds": 1.0, **facts, **changes}))


def test_a_solver_too_slow_at_small_sizes_is_not_tried_at_large_ones(bench):
    ledger, (small, large) = ledger_of(bench)
    assert ledger.reason_to_close(large) == ""
    ledger.observe(observed(small, small.pairs[0], seconds=3.0))
    expected = 3.0001 * (36 / 16) ** 3
    assert ledger.reason_to_close(large) == f"too slow for quick: {expected:.0f} s a pair expected from smaller S"
    paper, (small, large) = ledger_of(bench, profile="paper")
    paper.observe(observed(small, small.pairs[0], seconds=3.0))
    assert paper.reason_to_close(large) == ""


def test_the_budget_counts_what_was_spent_and_what_comes(bench):
    ledger, (cell, _) = ledger_of(bench, budget=3.5)
    for n, pair in enumerate(cell.pairs[:3]):
        assert ledger.reason_to_close(cell) == "", n
        assert ledger.planned_measurements(cell) >= 1
        ledger.observe(observed(cell, pair, seconds=0.97))
    assert ledger.reason_to_close(cell) == "budget of 3.5 s: 3 of 5 pairs"
    assert ledger.planned_measurements(cell) == 0


def test_larger_sizes_wait_while_a_smaller_one_is_in_doubt(bench):
    ledger, (small, large) = ledger_of(bench)
    ledger.observe(observed(small, small.pairs[0], status="timeout"))
    assert ledger.is_doubtful(large)
    assert not ledger.is_doubtful(small)
    ledger.observe(observed(small, small.pairs[1], seconds=1e-3))
    assert not ledger.is_doubtful(large)
    assert ledger.reason_to_close(large) == ""
    for pair in small.pairs[2:4]:
        ledger.observe(observed(small, pair, status="timeout"))
    assert not ledger.is_doubtful(large)
    assert ledger.reason_to_close(large) == "not tried: it timed out at S=16 already"


def test_a_success_between_failures_keeps_a_cell_open(bench):
    ledger, (cell, _) = ledger_of(bench, budget=1000.0)
    for pair, status in zip(cell.pairs, ("timeout", "ok", "memory", "crashed")):
        assert ledger.reason_to_close(cell) == ""
        ledger.observe(observed(cell, pair, status=status))
    assert "2 failures in a row (crashed)" in ledger.reason_to_close(cell)


def test_exit_codes_follow_the_worst_row():
    def code(**counts):
        return Finished(Path("x"), 1, 0, counts, True).exit_code

    assert code(ok=3, timeout=1, memory=2, skipped=5) == 0
    assert code(ok=3, crashed=1) == code(ok=3, invalid=1) == code(error=1) == 3
    assert code(skipped=3) == code(timeout=2) == code() == 4


def test_optima_are_kept_in_the_users_cache_folder(bench, tmp_path):
    bench("identity")
    stored = list((tmp_path / "user-cache" / "semrsm_bench" / "optima").rglob("*.json"))
    assert len(stored) == 2 * 2 * 3
    assert OptimumCache().folder == tmp_path / "user-cache" / "semrsm_bench" / "optima"
