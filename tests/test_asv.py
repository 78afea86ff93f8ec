"""The benchmarks' frozen lists, their problems and clock, and asv itself on a detached clone."""

import ast
import itertools
import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import benchmarks.bench_solvers as bench_solvers
import semrsm_bench as sb
from benchmarks import calls, clock, common, problems
from semrsm_bench.activations.store import open_cache
from semrsm_bench.bench.gate.measure import load_problems
from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.bench.worker import ReferenceKernel
from semrsm_bench.solvers import chance_corrected, quality, random_value
from tests.gate_repository import CHECKOUT, ThrowAway, git

DATA = CHECKOUT / "data" / "resnet18-tiny-imagenet.safetensors"


@pytest.fixture(scope="module")
def smallest():
    """The first problem with 64 positions."""
    return problems.load_problems()[64, "none"][0]


def test_the_frozen_lists_are_those_of_the_registry():
    # Without what plugins of this environment and other tests have added.
    known = {n: sb.get_solver(n) for n in sb.solver_names()}
    known = {n: s for n, s in known.items() if s.function.__module__.startswith("semrsm_bench.solvers.")}
    known = {n: s for n, s in known.items() if s.in_process}
    assert tuple(known) == common.SOLVERS, "add the new names to SOLVERS in benchmarks/common.py, in this order"


def test_every_benchmark_says_unit_and_which_way_is_better():
    found = 0
    for holder in (bench_solvers.Runtime, bench_solvers.Quality, bench_solvers.Memory):
        assert holder.params == (list(common.SOLVERS), list(common.SIZES), list(common.CENTRINGS))
        for name in dir(holder):
            if name.startswith("track_"):
                found += 1
                benchmark = getattr(holder, name)
                assert benchmark.unit
                assert "er is better" in benchmark.pretty_name.lower()
    assert found == 9
    for name in ("track_solve_seconds", "track_gap_percent"):
        assert getattr(bench_solvers.Families, name).unit
        assert "lower is better" in getattr(bench_solvers.Families, name).pretty_name


@pytest.mark.parametrize("family", common.FAMILIES)
def test_problems_of_other_families_have_the_optimum_that_they_say(family):
    problem = problems.family_problem(family)
    k = {name: problem.score(calls.matching_of(name, problem))[1] for name in ("ortools", "exact-auction", "greedy")}
    assert k["ortools"] == pytest.approx(1.0)
    assert k["exact-auction"] == pytest.approx(1.0)
    assert k["greedy"] <= 1 + 1e-9
    if family == "machol-wien":  # small numbers go with large ones
        assert problem.k_opt == -sum(i * (257 - i) for i in range(1, 257))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quality", 0.925),
        ("chance_corrected", 0.85),
        ("gap_percent", 15.0),
        ("worst_gap_percent", 20.0),
        ("inverse_quality", 1 / 0.85),
    ],
)
def test_what_the_quality_benchmarks_make_of_scores(monkeypatch, name, expected):
    def value_of(*scores):
        monkeypatch.setattr(bench_solvers.Quality, "scores", lambda self, *cell: scores)
        return getattr(bench_solvers.Quality(), f"track_{name}")(None, "greedy", 64, "none")

    value = value_of((0.95, 0.9), (0.9, 0.8))
    assert type(value) is float, "anything else becomes a null result"
    assert value == pytest.approx(expected)
    # k / k_opt means nothing where an optimum is negative.
    assert math.isnan(value_of((0.9, 0.9), (math.nan, 0.8))) == (name == "quality")


def test_inverse_quality_falls_as_quality_rises_and_is_bounded():
    values = [calls.inverse_quality(c) for c in (-1.0, 0.0, 0.5, 0.9, 1.0)]
    assert values == sorted(values, reverse=True)
    assert (values[0], values[-1]) == (1000.0, 1.0)


@pytest.mark.parametrize(("least", "rounds"), [(0.006, 5), (0.7, 2)])
def test_relative_time_is_least_over_least_and_takes_turns(least, rounds):
    asked, kernel = [], itertools.cycle([0.003, 0.002])

    def measure(number):
        asked.append(number)
        return [2 * least, least + number]

    found = calls.relative_time(measure, lambda: asked.append("kernel") or next(kernel))
    assert (type(found), found) == (float, pytest.approx(least / 0.002))
    assert asked == [*itertools.chain.from_iterable(("kernel", n) for n in range(rounds))]


def benchmark_files():
    return [*(CHECKOUT / "benchmarks").glob("*.py"), *(CHECKOUT / "tests" / "pytest_benchmarks").glob("*.py")]


@pytest.mark.parametrize("path", benchmark_files(), ids=lambda path: path.name)
def test_benchmarks_import_public_names_and_files_beside_them(path):
    """Whatever is moved inside the package: older and newer commits are measured by the same files."""
    text, public = path.read_text(), {"metrics", "rsm", "solvers", "testing"}
    assert "spec_from_file_location" not in text
    assert '"semrsm_bench.' not in text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert all(a.name == "semrsm_bench" or not a.name.startswith("semrsm_bench.") for a in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "semrsm_bench":
            assert node.module == "semrsm_bench"
            assert {a.name for a in node.names} <= public


@pytest.mark.parametrize("sizes", [(64, 256), pytest.param((1024, 4096), marks=pytest.mark.slow)])
def test_the_frozen_optima_are_proved(sizes):
    found, frozen = problems.certified(sizes), problems.frozen()
    assert (found["data"], found["sha256"]) == (frozen["data"], frozen["sha256"])
    expected = [entry for entry in frozen["problems"] if entry["size"] in sizes]
    assert len(expected) == len(found["problems"]) > 0
    for entry, certified in zip(expected, found["problems"]):
        assert entry.pop("k_opt") == pytest.approx(certified.pop("k_opt"), rel=1e-12)
        assert entry == certified


def test_an_optimum_that_the_bound_does_not_prove_and_other_data_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sb, "solve", lambda problem, name: np.arange(problem.size), raising=False)
    with pytest.raises(ValueError, match=r"pair .* is not the bound"):
        problems.certified((64,))
    (tmp_path / "other.safetensors").write_bytes(b"other")
    monkeypatch.setattr(problems, "CHECKOUT", tmp_path)
    monkeypatch.setenv("SEMRSM_BENCH_DATA", str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match="not the data whose optima"):
        problems.load_problems()


def test_the_problems_are_those_of_the_gate():
    gate = load_problems(GateOptions(data=DATA, sizes=(64, 256)), lambda problem: SimpleNamespace(k_opt=1, k_upper=1))
    found = [(*p.cell, p.case.cell["layer"], p.pair) for p in gate]
    names = ("size", "centring", "layer", "pair")
    assert found == [tuple(e[n] for n in names) for e in problems.frozen()["problems"] if e["size"] in (64, 256)]


def test_problems_are_those_of_the_cache():
    cache = open_cache(DATA)
    layers = {cache.shape(layer)[2]: layer for layer in cache.layers}
    assert tuple(sorted(layers)) == common.SIZES
    made = problems.load_problems()
    assert set(made) == set(itertools.product(common.SIZES, common.CENTRINGS))
    for (size, centring), cell in made.items():
        for problem in cell:
            for side, image in zip((problem.x, problem.y), problem.pair.split("-")):
                np.testing.assert_array_equal(side, cache.positions(layers[size], int(image), centring))
    images = problems.images_of((64,), 3)[64]
    np.testing.assert_array_equal(images.reshape(3, -1, 64), cache.activations(layers[64], slice(0, 3)))


def test_a_problem_scores_as_the_package_does(smallest):
    perm = np.random.default_rng(0).permutation(64)
    given = sb.MatchingProblem(smallest.x, smallest.y)
    k, chance = sb.matching_value(given, perm), random_value(given)
    expected = (quality(k, smallest.k_opt), chance_corrected(k, smallest.k_opt, chance))
    assert smallest.score(perm) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [[0] * 64, range(1, 65), np.arange(64) - 1, np.arange(64) + 0.5])
def test_what_is_no_permutation_is_refused(smallest, wrong):
    for use in (smallest.score, lambda perm: calls.unshifted(perm, 5)):
        with pytest.raises(ValueError, match="no permutation"):
            use(np.array(wrong))


def test_every_timed_call_gets_other_bytes_and_the_answers_are_of_the_pair_as_it_was(smallest):
    seen = []

    @sb.register_solver("asv-noting", kind="approximate")
    def noting(problem):
        seen.append(problem.x.tobytes())
        return np.arange(problem.size)

    found = calls.observed("asv-noting", smallest)
    assert len(found.seconds) == len(found.affinity_seconds) == len(found.perms) > 1
    assert min(*found.seconds, *found.affinity_seconds) > 0
    assert len(set(seen)) == len(seen) > len(found.perms)
    assert all(np.array_equal(perm, np.arange(64)) for perm in found.perms)
    seen.clear()
    calls.matching_of("asv-noting", smallest)
    assert seen == [smallest.x.tobytes()]


def test_a_matching_is_of_the_pair_as_it_was_before_its_shift(smallest):
    expected = calls.matching_of("exact-auction", smallest)
    for shift in (1, 40):
        given, seconds = calls.shifted(smallest, shift, False)
        assert seconds > 0
        np.testing.assert_array_equal(given.x[shift:], smallest.x[:-shift])
        answer = calls.answer_of(sb.get_solver("exact-auction"), given)
        np.testing.assert_array_equal(calls.unshifted(answer, shift), expected)
    assert smallest.score(expected)[1] == pytest.approx(1.0)


def test_the_clock_takes_waiting_for_a_core_off(monkeypatch):
    waits = iter([100, 100, 700, 5_000_700, 800, 10**18])
    monkeypatch.setattr(clock, "waited_nanoseconds", lambda: next(waits))
    ticks = iter([0, 6_000_000] * 3)
    monkeypatch.setattr(clock, "perf_counter_ns", lambda: next(ticks))
    assert [clock.timed(lambda: 7) for _ in range(3)] == [(7, 0.006), (7, 0.001), (7, 0.006)]


def test_short_calls_are_repeated_within_a_sample(monkeypatch):
    calls = []
    ticks = itertools.count(step=1_000_000)
    monkeypatch.setattr(clock, "perf_counter_ns", lambda: next(ticks))
    monkeypatch.setattr(clock, "waited_nanoseconds", lambda: 0)
    monkeypatch.setattr(clock, "SAMPLE_SECONDS", 0.004)
    sample = clock.looped(lambda: calls.append(0))
    assert (sample(), len(calls)) == (pytest.approx(0.001 / 4), 5)
    samples = clock.alternating({"ours": lambda: 3.0, "a": lambda: 2.0, "b": lambda: 6.0}, 2)
    assert samples == {"ours": [3.0] * 2, "a": [2.0] * 2, "b": [6.0] * 2}
    assert clock.ratio_of_least(samples, "ours") == 1.5


def test_the_reference_kernel_is_the_workers():
    assert clock.ReferenceKernel()() == pytest.approx(ReferenceKernel()(), rel=1e-12)


def test_peak_memory_is_what_a_call_takes():
    peak = clock.peak_bytes(lambda: np.ones(8 << 20))
    if peak is None:
        pytest.skip("this kernel does not report a process's peak memory")
    assert 60 << 20 <= peak < 96 << 20
    assert clock.peak_bytes(lambda: None) < 8 << 20


@pytest.mark.parametrize(("name", "size"), [("no-such-solver", 64), ("scipy", 4096)])
def test_a_solver_that_a_commit_does_not_have_is_not_available_there(name, size):
    with pytest.raises(NotImplementedError):
        calls.solver_for(name, size)


def asv(folder, *arguments):
    environment = {**os.environ, "HOME": str(folder.parent), "ASV_PYTHONPATH": str(folder)}
    environment["SEMRSM_BENCH_DATA"] = str(CHECKOUT / "data")
    command = [sys.executable, "-m", "asv", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.gate
def test_asv_in_this_environment_on_a_detached_clone_labels_every_commit_rightly(tmp_path):
    pytest.importorskip("asv")
    origin = ThrowAway(tmp_path / "origin")
    origin.with_solver_in_the_middle("middle")
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(origin.folder), str(folder))
    asv(folder, "machine", "--yes")
    found = {}
    chosen = r"track_chance_corrected\('(ortools|reverse|greedy|identity)', 64, 'none'\)"
    for tag in ("base", "middle"):
        git(folder, "checkout", "--quiet", "--detach", tag)
        commit = git(folder, "rev-parse", "HEAD")
        asv(folder, "run", f"--environment=existing:{sys.executable}", "--set-commit-hash", commit, "-b", chosen)
        (path,) = (folder / ".asv" / "results").glob(f"*/{commit[:8]}-*.json")
        result, params, *_ = json.loads(path.read_text())["results"]["bench_solvers.Quality.track_chance_corrected"]
        cells = itertools.product(*([ast.literal_eval(v) for v in axis] for axis in params))
        found[tag] = {c[0]: v for c, v in zip(cells, result) if v is not None and math.isfinite(v)}
    assert set(found["base"]) == {"ortools", "greedy", "identity"}
    assert found["middle"] == {**found["base"], "reverse": found["middle"]["reverse"]}
    assert found["base"]["ortools"] == pytest.approx(1.0)
    assert len(set(found["middle"].values())) == 4
