"""The robustness check: the project's methods pass, and each broken promise of tests/bad_solvers.py is found."""

import json
import os
import re
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import semrsm_bench as sb
from semrsm_bench.bench.check import cases_of, check_method
from semrsm_bench.bench.methods import find_methods
from semrsm_bench.cli import cli
from semrsm_bench.core.method import UnavailableError
from semrsm_bench.solvers.check_cases import CASES, CheckFailedError, optimum

BAD = Path(__file__).with_name("bad_solvers.py")


@pytest.fixture(autouse=True)
def _bad_solvers():
    sb.load_plugin(BAD)


@pytest.fixture(scope="module")
def check_bad():
    found = {method.name: method for method in find_methods([str(BAD)], kind="solver")}
    return lambda name, **given: check_method(found[name], **given)


def failures(name):
    """Cases that fail, with their reasons, run in this process."""
    found = {}
    for case, run in CASES.items():
        try:
            run(sb.get_solver(name))
        except CheckFailedError as error:
            found[case] = str(error)
    return found


@pytest.mark.parametrize("name", sb.solver_names(available_only=True))
def test_every_registered_solver_passes_every_case(name):
    assert failures(name) == {}


@pytest.mark.parametrize(
    ("name", "where", "reason"),
    [
        ("bad-garbage", {"empty", "one", "small", "float32", "ties", "threads"}, r"shape"),
        ("bad-duplicates", {"two", "small", "float64", "constant"}, "position 0 is matched"),
        ("bad-off-by-one", {"odd sizes"}, r"holds 0\.\.62, got 1\.\.63"),
        ("bad-writes", {"one", "small", "float32"}, "read-only"),
        ("bad-writes-behind", {"two", "float32", "affinity made before"}, "changed its input"),
        ("bad-writes-affinity", {"affinity made before", "matrices"}, "changed its input"),
        ("bad-random", {"deterministic", "threads"}, "answer"),
        ("bad-global-random", {"global random state"}, "process-wide random generator; take a seed"),
        ("bad-global-state", {"global random state"}, "the answer depends on the process-wide random generator"),
        ("bad-memory", {"deterministic", "threads"}, "answer"),
        ("bad-raises", {"constant"}, r"raised RuntimeError: singular matrix \(.*bad_solvers\.py:\d+\)"),
        ("bad-not-exact", {"small", "float32", "ties", "offset"}, "registered as exact, but k = .* below the optimum"),
        ("bad-not-matrix-free", {"never makes the affinity"}, "it made problem.affinity"),
        ("bad-duals", {"two", "small", "huge"}, "duals are infeasible"),
        ("bad-short-duals", {"empty", "two", "small"}, r"duals have shapes \(\d+,\) and"),
    ],
)
def test_a_broken_promise_is_found_where_it_is_broken(name, where, reason):
    found = failures(name)
    assert where <= set(found), found
    assert any(re.search(reason, text) for text in found.values()), found
    # A solver that breaks one promise is not blamed for the rest; two threads that share the global generator differ by chance.
    if name in ("bad-off-by-one", "bad-writes-affinity", "bad-not-matrix-free") or name.startswith("bad-global"):
        assert set(found) - {"threads"} == where, found


def test_the_optimum_of_the_check_is_the_optimum():
    identity = np.eye(5)
    assert optimum(sb.MatchingProblem(identity, identity[[3, 1, 4, 0, 2]])) == 5.0
    unit, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((9, 9)))
    assert optimum(sb.MatchingProblem(unit, unit[::-1].copy())) == pytest.approx(9.0)


@pytest.mark.parametrize("max_size", [100, None])
def test_beyond_its_max_size_a_solver_is_not_judged(max_size):
    @sb.register_solver("small-only", kind="approximate", max_size=max_size)
    def only_small(problem):
        if problem.size > 100:
            raise RuntimeError("too large")
        return np.arange(problem.size)

    found = failures("small-only")
    assert {"odd sizes", "larger than blocks"} & set(found) == (
        set() if max_size else {"odd sizes", "larger than blocks"}
    )
    assert all("too large" in reason for reason in found.values())


def test_a_hanging_or_dying_solver_costs_only_its_case_until_the_third_time(check_bad):
    seen = []
    cases = ["empty", "many channels", "one", "two", "many channels", "one", "many channels"]
    results = check_bad("bad-fatal", timeout=3, cases=cases, report=seen.append)
    assert seen == results
    assert [(r.case, r.status, r.reason) for r in results] == [
        ("empty", "failed", "no answer within 3 s"),
        ("many channels", "passed", ""),
        ("one", "failed", "killed by SIGSEGV"),
        ("two", "failed", "SystemExit: 3"),
        ("many channels", "passed", ""),
        ("one", "failed", "killed by SIGSEGV"),
        ("many channels", "not run", "the method hung or died 3 times before"),
    ]


def test_a_solver_that_never_answers_is_given_up(check_bad):
    results = check_bad("bad-hangs-always", timeout=0.4, cases=["empty", "one", "two"])
    assert [r.status for r in results] == ["failed", "not run", "not run"]
    assert "at the start: no answer within" in results[0].reason
    assert results[1].reason == "the method did not start"


def test_what_a_solver_prints_is_not_taken_for_an_answer(check_bad):
    results = check_bad("good-but-chatty", cases=["empty", "one", "small", "threads"])
    assert [r.status for r in results] == ["passed"] * 4
    with pytest.raises(ValueError, match="timeout must be positive"):
        check_bad("good-but-chatty", timeout=0)


MIXED = """
import os
import numpy as np, semrsm_bench as sb
with open("pids", "a") as file:
    print(os.getpid(), file=file)
@sb.register_solver("mixed", kind="approximate", grid={"by": [0, 1]})
def shift(problem, *, by):
    return np.roll(np.arange(problem.size), by) if problem.size != 1 or not by else [1]
sb.register_rsm("mixed-rsm")(lambda z, z2: z.sum(axis=2) @ z2.sum(axis=2).T)
sb.register_metric("mixed-metric", takes="features", best="max", range=(-1e9, 1e9))(lambda x, y: float((x * x).sum()))
"""
ABSENT = """
import semrsm_bench as sb
sb.register_solver("absent", kind="exact", requires=["no_such_module"])(lambda problem: None)
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    """The command in a folder that holds plugins: its exit code and what it prints."""
    monkeypatch.chdir(tmp_path)
    Path("mixed.py").write_text(MIXED)
    Path("absent.py").write_text(ABSENT)

    def invoke(*arguments):
        result = CliRunner().invoke(cli, ["check", *arguments], standalone_mode=False)
        return result.return_value, result.output

    return invoke


def test_every_kind_of_method_of_a_file_is_found_and_told_apart(check):
    found = {(m.kind, m.name) for m in find_methods(["mixed.py"])}
    assert found == {("solver", "mixed-0"), ("solver", "mixed-1"), ("rsm", "mixed-rsm"), ("metric", "mixed-metric")}
    assert [m.kind for m in find_methods(["mixed-0"], [Path("mixed.py")], "rsm")] == ["rsm"]
    with pytest.raises(UnavailableError, match="no_such_module"):
        find_methods(["absent"], [Path("absent.py")], "solver")
    assert str(os.getpid()) not in Path("pids").read_text().split()


def test_the_command_on_a_file_checks_all_its_methods_in_workers(check):
    code, output = check("mixed.py", "--kind", "metric", "--json", "--timeout", "30")
    (entry,) = json.loads(output)
    assert (code, entry["kind"], entry["metric"], entry["passed"]) == (1, "metric", "mixed-metric", False)
    assert {case["case"] for case in entry["cases"]} == set(cases_of("metric"))
    assert all(case["seconds"] > 0 for case in entry["cases"])
    assert any("symmetric" in case["reason"] for case in entry["cases"])
    code, output = check("mixed.py", "--kind", "solver", "--case", "one", "--case", "two")
    assert code == 1
    assert "mixed-0\n  ok      one\n  ok      two\n  2 of 2 cases passed" in output
    refused = "solver 'mixed-1': a permutation of 1 positions holds 0..0, got 1..1"
    assert f"mixed-1\n  FAILED  one: MatchingProblem(S=1, C=2, float64): {refused}\n  ok      two" in output
    assert str(os.getpid()) not in Path("pids").read_text().split()


def test_of_a_file_what_is_not_available_is_said_and_the_rest_is_checked(check):
    Path("both.py").write_text(ABSENT + "sb.register_solver('there', kind='approximate')(lambda p: range(p.size))\n")
    code, output = check("both.py", "--case", "one")
    assert code == 0
    assert "absent\n  not checked, for it is not available: " in output
    assert "there\n  ok      one\n  1 of 1 cases passed" in output
    code, output = check("both.py", "--case", "one", "--json")
    assert [(one["solver"], one["passed"]) for one in json.loads(output)] == [("absent", None), ("there", True)]
    for words in (["absent.py"], ["absent", "there", "--plugin", "both.py"]):
        with pytest.raises(click.UsageError, match=r"'absent' is not available: .*no_such_module"):
            CliRunner().invoke(cli, ["check", *words], standalone_mode=False, catch_exceptions=False)


def test_the_command_lists_its_cases(check):
    assert [line[2:28].strip() for line in check("--list-cases", "--kind", "solver")[1].splitlines()][1:] == [*CASES]
    assert {"solver", "rsm", "metric", "instance"} <= set(check("--list-cases")[1].split())


def test_an_environment_without_scipy_is_told_what_the_check_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    problem = sb.MatchingProblem(*np.random.default_rng(0).random((2, 7, 3)))
    with pytest.raises(CheckFailedError, match="add scipy to the solver's environment"):
        optimum(problem)
