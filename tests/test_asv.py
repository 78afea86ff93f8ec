"""The benchmarks' frozen lists, and asv itself on a detached clone."""

import ast
import itertools
import json
import math
import os
import subprocess
import sys

import pytest

import benchmarks.bench_solvers as bench_solvers
from benchmarks import common
from semrsm_bench.activations.store import open_cache
from semrsm_bench.bench.cases import SLOW_FROM
from semrsm_bench.solvers import get_solver, solver_names
from tests.gate_repository import CHECKOUT, ThrowAway, git

probe = common.probe


def own_solvers():
    """The registry without what plugins of this environment and other tests have added."""
    names = [n for n in solver_names() if get_solver(n).function.__module__.startswith("semrsm_bench.solvers.")]
    return tuple(names)


def test_the_frozen_solvers_are_those_of_the_registry():
    assert own_solvers() == common.SOLVERS, (
        "add the new names to SOLVERS in benchmarks/common.py, in the registry's order"
    )


def test_the_frozen_sizes_are_those_of_the_shipped_data():
    cache = open_cache(CHECKOUT / "data" / "resnet18-tiny-imagenet.safetensors")
    assert sorted(cache.shape(layer)[2] for layer in cache.layers) == list(common.SIZES)


def test_pairs_that_are_too_slow_are_those_that_runs_skip():
    slow = {(name, size) for name, start in SLOW_FROM.items() for size in common.SIZES if size >= start}
    assert slow == common.TOO_SLOW


def test_every_benchmark_says_unit_and_which_way_is_better():
    found = 0
    for holder in (bench_solvers.Runtime, bench_solvers.Quality, bench_solvers.Memory):
        assert holder.params == (list(common.SOLVERS), list(common.SIZES), list(common.CENTRINGS))
        assert holder.version == "1"
        for name in vars(holder):
            if name.startswith(("time_", "track_")):
                found += 1
                benchmark = getattr(holder, name)
                assert "lower is better" in benchmark.pretty_name or "HIGHER is better" in benchmark.pretty_name
                assert name.startswith("time_") or benchmark.unit
    assert found == 9


class Scores(bench_solvers.Quality):
    """The class without a solver: what it makes of given scores."""

    def __init__(self, scores):
        self.given = scores

    def scores(self, *cell):
        return self.given


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("track_quality", 0.925),
        ("track_chance_corrected", 0.85),
        ("track_gap_percent", 15.0),
        ("track_worst_gap_percent", 20.0),
        ("track_inverse_quality", 1 / 0.85),
    ],
)
def test_what_the_quality_benchmarks_report(name, expected):
    value = getattr(Scores([(0.95, 0.9), (0.9, 0.8)]), name)(None, "greedy", 64, "none")
    assert type(value) is float, "anything else becomes a null result"
    assert value == pytest.approx(expected)


def test_quality_means_nothing_where_an_optimum_is_negative():
    assert math.isnan(Scores([(0.9, 0.9), (math.nan, 0.8)]).track_quality(None, "greedy", 64, "none"))


def test_inverse_quality_falls_as_quality_rises_and_is_bounded():
    values = [probe.inverse_quality(c) for c in (-1.0, 0.0, 0.5, 0.9, 1.0)]
    assert values == sorted(values, reverse=True)
    assert (values[0], values[-1]) == (1000.0, 1.0)


class Clock:
    """Time that passes only where a test says so, in nanoseconds."""

    def __init__(self, monkeypatch):
        self.now = 0
        monkeypatch.setattr(probe, "_clock", lambda: self.now)

    def work(self, nanoseconds):
        def call():
            self.calls += 1
            self.now += nanoseconds

        self.calls = 0
        return call


@pytest.mark.parametrize("nanoseconds", [1, 300, 10_000, 1_999_999, 2_000_000, 50_000_000])
def test_a_sample_is_long_enough_and_divided_by_its_calls(monkeypatch, nanoseconds):
    clock = Clock(monkeypatch)
    assert probe.seconds_per_call(clock.work(nanoseconds)) == pytest.approx(nanoseconds / 1e9)
    assert clock.calls * nanoseconds >= probe.SAMPLE_SECONDS * 1e9
    assert clock.calls * nanoseconds <= max(3 * probe.SAMPLE_SECONDS * 1e9, nanoseconds)


def test_a_clock_that_stands_still_or_runs_back_does_not_blow_up_the_loop(monkeypatch):
    readings = iter([0, 0, 0, -5_000_000, 0, 3_000_000])
    monkeypatch.setattr(probe, "_clock", lambda: next(readings))
    calls = []
    assert probe.seconds_per_call(lambda: calls.append(0)) == pytest.approx(3e-3 / 100)
    assert len(calls) == 1 + 10 + 100


def test_relative_time_is_least_over_least(monkeypatch):
    clock = Clock(monkeypatch)
    durations = itertools.cycle([9_000_000, 6_000_000, 7_000_000, 30_000_000, 8_000_000])

    def solver():
        clock.now += next(durations)

    assert probe.relative_time(solver, clock.work(2_000_000)) == pytest.approx(3.0)
    assert type(probe.relative_time(solver, clock.work(2_000_000))) is float


def test_the_clock_counts_sleep_and_leaves_out_waiting(monkeypatch):
    waits = iter([5, 5, 100, 100])
    monkeypatch.setattr(probe, "_waited", lambda: next(waits))
    monkeypatch.setattr(probe.time, "perf_counter_ns", iter([1_000, 1_500]).__next__)
    assert [probe._clock(), probe._clock()] == [995, 1_400]


def test_a_wait_between_the_two_readings_of_the_clock_is_noticed(monkeypatch):
    waits = iter([0, 400, 400])
    monkeypatch.setattr(probe, "_waited", lambda: next(waits))
    monkeypatch.setattr(probe.time, "perf_counter_ns", iter([1_000, 1_001]).__next__)
    assert probe._clock() == 1_001 - 400


def test_the_reference_kernel_gives_one_number_wherever_it_runs():
    assert probe.ReferenceKernel()() == pytest.approx(probe.ReferenceKernel()())


def test_a_solver_that_a_commit_does_not_have_is_not_available_there():
    for name, size in (("no-such-solver", 64), ("scipy", 4096)):
        with pytest.raises(NotImplementedError):
            common.solver_for(name, size)


def asv(folder, home, *arguments):
    environment = {**os.environ, "HOME": str(home), "ASV_PYTHONPATH": str(folder)}
    environment["SEMRSM_BENCH_DATA"] = str(CHECKOUT / "data")
    command = [sys.executable, "-m", "asv", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def values_of(folder, commit):
    """Results of one commit by benchmark and parameters."""
    path = next((folder / ".asv" / "results").glob(f"*/{commit[:8]}-*.json"))
    found = {}
    for name, (result, params, *_) in json.loads(path.read_text())["results"].items():
        cells = itertools.product(*([ast.literal_eval(v) for v in axis] for axis in params))
        found |= {
            (name, *cell): value for cell, value in zip(cells, result) if value is not None and math.isfinite(value)
        }
    return found


@pytest.mark.gate
def test_asv_in_this_environment_on_a_detached_clone_labels_every_commit_rightly(tmp_path):
    pytest.importorskip("asv")
    origin = ThrowAway(tmp_path / "origin")
    origin.with_solver_in_the_middle("middle")
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(origin.folder), str(folder))
    asv(folder, tmp_path, "machine", "--yes")
    found = {}
    chosen = r"(track_chance_corrected|track_rel_time)\('(ortools|reverse|greedy|identity)', 64, 'none'\)"
    for tag in ("base", "middle"):
        git(folder, "checkout", "--quiet", "--detach", tag)
        commit = git(folder, "rev-parse", "HEAD")
        asv(
            folder,
            tmp_path,
            "run",
            f"--environment=existing:{sys.executable}",
            "--set-commit-hash",
            commit,
            "-b",
            chosen,
        )
        found[tag] = values_of(folder, commit)
    name = "bench_solvers.Quality.track_chance_corrected"
    solvers = {tag: {key[1] for key in values if key[0] == name} for tag, values in found.items()}
    assert solvers == {
        "base": {"ortools", "greedy", "identity"},
        "middle": {"ortools", "reverse", "greedy", "identity"},
    }
    for solver in solvers["base"]:
        assert found["base"][name, solver, 64, "none"] == found["middle"][name, solver, 64, "none"]
    qualities = [found["middle"][name, solver, 64, "none"] for solver in ("ortools", "greedy", "identity", "reverse")]
    assert qualities[0] == pytest.approx(1.0)
    assert len(set(qualities)) == 4
