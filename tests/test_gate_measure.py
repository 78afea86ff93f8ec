"""How the gate measures: rounds, attempts and scores, with sides that are fakes."""

import errno
import os
from types import SimpleNamespace

import numpy as np
import pytest

from semrsm_bench.bench.gate import run as gate_run
from semrsm_bench.bench.gate.measure import ROUNDS, Gate, GateProblem
from semrsm_bench.bench.gate.options import GateLimits, GateOptions
from semrsm_bench.bench.gate.sides import GateSide, Sample
from semrsm_bench.bench.gate.verdict import exit_code, judge
from semrsm_bench.bench.process import Reply, WorkerProcess
from semrsm_bench.core import clock
from semrsm_bench.core.files import MachineError
from semrsm_bench.core.task import Case
from semrsm_bench.solvers import MatchingProblem
from tests.gate_repository import ThrowAway

ENTRY = {"name": "made-up", "category": "approximate", "reason": "", "max_size": None, "own": False}
IDENTITY = (0, 1, 2, 3)


def problem(k_opt=4.0):
    x = np.eye(4, dtype=np.float32)
    case = Case("0-1", {"centring": "none"}, dict, {"pair": ("0-1",)}, size=4)
    optimum = SimpleNamespace(k_opt=k_opt, k_upper=4.0, solver="", certificate=None)
    return GateProblem(case, {"x": x, "y": x}, (MatchingProblem(x, x), 1.0, optimum))


class FakeSide:
    """Answers from a list of times, one after the other, and always with the same matchings; notes who was asked when."""

    def __init__(self, log, label, times=(1e-3,), perms=(IDENTITY,)):
        self.log, self.label, self.times, self.perms, self.seeds = log, label, times, perms, []
        self.known = {"made-up": ENTRY}

    def measure(self, solver, arrays, limits, seed):
        self.log.append(self.label)
        self.seeds.append(seed)
        seconds = self.times[(len(self.seeds) - 1) % len(self.times)]
        value = {"arrays": {"perms": np.array(self.perms)}, "seconds": [seconds + 5.0] * len(self.perms)}
        value["waited_seconds"] = [5.0] * len(self.perms)
        return Sample(Reply("ok", value=value), 1e-3)


def seven_pairs():
    problems = [problem() for _ in range(7)]
    for i, one in enumerate(problems):
        one.case.units["pair"] = (f"0-{i}",)
    return problems


def measure(base, head, *problems):
    gate = Gate({"base": base, "head": head}, problems or [problem()], GateLimits(), 60.0)
    (cell,) = cells = gate.cells(["made-up"], {})
    gate.measure(cells, quiet=True)
    return cell


def test_the_clock_notes_how_long_a_call_waited_for_its_core(monkeypatch):
    waits = iter([100, 100, 700, 5_000_700, 800, 10**18])
    monkeypatch.setattr(clock, "waited_nanoseconds", lambda: next(waits))
    timed = clock.Clock(lambda stage, size: None, 1 << 30, True, {"warm"})
    ticks = iter([0, 10**6, 0, 6 * 10**6, 0, 10**6])
    monkeypatch.setattr(clock, "perf_counter_ns", lambda: next(ticks))
    timed.run(lambda i: i, lambda i: i, shape="warm", most=3)
    assert timed.waited_seconds == [0.0, 0.005, 0.0], "the last wait was longer than its call"


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (None, "absent"),
        (ENTRY, "ok"),
        ({**ENTRY, "max_size": 4}, "ok"),
        ({**ENTRY, "max_size": 3}, "unavailable"),
        ({**ENTRY, "reason": "no lap"}, "unavailable"),
    ],
)
def test_what_is_known_without_measuring(entry, status):
    base, head = FakeSide([], "base"), FakeSide([], "head")
    head.known = {} if entry is None else {"made-up": entry}
    gate = Gate({"base": base, "head": head}, [problem()], GateLimits(), 60.0)
    (cell,) = gate.cells(["made-up"], {"made-up": 5, "other": 1})
    assert (cell.base.status, cell.head.status) == ("ok", status)
    assert gate.cells(["made-up"], {"made-up": 4}) == []
    gate.measure([cell], quiet=True)
    assert bool(head.seeds) == (status == "ok")


def test_the_reference_kernel_runs_before_and_after_and_the_faster_one_counts():
    side = GateSide.__new__(GateSide)
    for answers in ([3e-3, 2e-3], [2e-3, 3e-3], [2e-3, None]):
        given = iter([Reply("ok", value={"seconds": s}) if s else Reply("crashed") for s in answers])
        side._worker = SimpleNamespace(timed_out=True, ask=lambda command, seconds, given=given: next(given))
        side._observe = lambda *given, **more: Reply("ok")
        assert side.measure("made-up", {}, None, seed=0).reference == 2e-3
        assert side._worker.timed_out is False, "that was another solver"


@pytest.mark.parametrize(("seconds", "rounds"), list(zip((1e-3, 2.0), ROUNDS[0])))
def test_sides_alternate_and_change_who_begins_and_long_solves_get_fewer_rounds(seconds, rounds):
    log = []
    cell = measure(*(FakeSide(log, label, times=(seconds,)) for label in ("base", "head")))
    assert log == (["base", "head", "head", "base"] * rounds)[: 2 * rounds]
    assert (cell.attempts, judge(cell, GateLimits())) == (1, [])


def test_a_failing_cell_is_measured_as_often_as_there_are_attempts_and_all_counts():
    log = []
    cell = measure(FakeSide(log, "base"), FakeSide(log, "head", times=(3e-3,)))
    assert cell.attempts == len(ROUNDS)
    assert len(cell.head.relative) == len(cell.base.relative) == sum(fast for fast, _ in ROUNDS)
    assert len(cell.head.quality["0-1"]) == sum(fast for fast, _ in ROUNDS)
    assert [finding.severity for finding in judge(cell, GateLimits())] == ["regression"]


FULL = OSError(errno.ENOSPC, "No space left on device", "x.npy")
FAULTS = {
    "a reply": lambda: Sample(Reply("crashed", "too many open files", machine=True)),
    "no worker can be started": lambda: real_side(ask=FULL),
    "the worker dies before its solver runs": lambda: real_side(ask=Reply("crashed", "killed by SIGKILL")),
    "no room for the arrays": lambda: real_side(observe=FULL),
}


def real_side(ask=None, observe=None):
    """What a side says whose worker, or observer, meets this."""

    def meet(what):
        if isinstance(what, OSError):
            raise what
        return what

    side = GateSide.__new__(GateSide)
    reference = Reply("ok", value={"seconds": 1e-3})
    side._worker = SimpleNamespace(timed_out=False, ask=lambda *given: meet(ask or reference))
    side._observe = lambda *given, **more: meet(observe)
    return side.measure("made-up", {}, None, seed=0)


class Spoiled(FakeSide):
    """The machine fails in these calls."""

    def __init__(self, log, label, fault, calls):
        super().__init__(log, label)
        self.fault, self.calls = fault, calls

    def measure(self, *given):
        sample = super().measure(*given)
        return FAULTS[self.fault]() if len(self.seeds) in self.calls else sample


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("label", ["base", "head"])
@pytest.mark.parametrize(("calls", "gone"), [([1], False), ([4], False), ([2, 5], False), (range(1, 99), True)])
def test_a_fault_of_the_machine_is_no_fault_of_the_solver(fault, label, calls, gone):
    sides = {name: FakeSide([], name) for name in ("base", "head")}
    sides[label] = Spoiled([], label, fault, calls)
    cell = measure(*sides.values(), *seven_pairs())
    found = judge(cell, GateLimits())
    assert cell.attempts == (len(ROUNDS) if gone else 1 + len(calls))
    assert [finding.severity for finding in found] == ["unmeasured"] * gone
    assert exit_code([cell], found) == (4 if gone else 0)
    if gone:
        assert "not measured: the machine failed (" in found[0].text
    else:
        assert len(cell.base.relative) == len(cell.head.relative) == cell.rounds
        assert list(cell.base.quality) == list(cell.head.quality) == [f"0-{i}" for i in range(7)]


@pytest.mark.parametrize("times", [1, 2])
def test_a_side_that_the_machine_keeps_from_its_start_is_started_again(times):
    replies = [Reply("memory", "killed", machine=True)] * times + [Reply("ok", value={"declared": [ENTRY]})]
    worker = SimpleNamespace(
        setup=SimpleNamespace(search=None), package="", ask=lambda *given: replies.pop(0), timed_out=False
    )
    if times == 1:
        assert GateSide(worker, None).known == {"made-up": ENTRY}
    else:
        with pytest.raises(MachineError, match="killed"):
            GateSide(worker, None)


def test_a_disturbed_first_attempt_is_outvoted():
    log = []
    times = (3e-3,) * 5 + (1e-3,) * 15
    cell = measure(FakeSide(log, "base"), FakeSide(log, "head", times=times))
    assert cell.attempts > 1
    assert judge(cell, GateLimits()) == []


@pytest.mark.parametrize("perms", [[(0, 0, 1, 2)], [(0, 1, 2)], [(0, 1, 2, 4)], [IDENTITY, IDENTITY, (0, 0, 1, 2)]])
def test_what_is_no_permutation_is_invalid(perms):
    cell = measure(FakeSide([], "base"), FakeSide([], "head", perms=perms))
    assert cell.head.status == "invalid"
    assert [finding.severity for finding in judge(cell, GateLimits())] == ["failure"]


def test_quality_is_scored_here_and_not_by_the_solver():
    cell = measure(FakeSide([], "base"), FakeSide([], "head", perms=[(1, 0, 2, 3)]))
    assert (cell.base.mean_quality(), cell.head.mean_quality()) == (1.0, pytest.approx(1 / 3))


def test_a_matching_that_beats_the_optimum_is_an_error_and_no_triumph():
    with pytest.raises(ValueError, match="beats the certified optimum"):
        measure(FakeSide([], "base"), FakeSide([], "head"), problem(k_opt=3.5))


def test_without_an_optimum_only_times_count():
    cell = measure(FakeSide([], "base"), FakeSide([], "head"), problem(k_opt=None))
    assert cell.head.quality == {}
    assert cell.comparable
    assert judge(cell, GateLimits()) == []


def test_both_sides_meet_the_same_shifts_and_only_those_that_both_have_answered_are_compared():
    worse = (1, 0, 2, 3)
    base, head = (
        FakeSide([], "base", perms=[IDENTITY, worse]),
        FakeSide([], "head", perms=[IDENTITY, worse, worse, worse]),
    )
    cell = measure(base, head)
    assert base.seeds == head.seeds
    assert [visit for _, visit, _ in base.seeds] == list(range(ROUNDS[0][0]))
    assert cell.base.mean_quality() == cell.head.mean_quality() == pytest.approx(2 / 3)


def test_every_pair_is_measured_in_the_first_attempt():
    cell = measure(FakeSide([], "base"), FakeSide([], "head"), *seven_pairs())
    assert list(cell.head.quality) == [f"0-{i}" for i in range(7)]


def test_an_error_between_start_and_measurement_leaves_no_process_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    repository = ThrowAway(tmp_path / "repository")
    started = []

    def noted(self, *given):
        real(self, *given)
        started.append(self.pid)

    real = WorkerProcess._start
    monkeypatch.setattr(WorkerProcess, "_start", noted)
    options = GateOptions(methods=("gredy",), sizes=(64,), centrings=("none",), pairs=1, environment="shared")
    with pytest.raises(ValueError, match="did you mean 'greedy'"):
        gate_run.run_gate("base", "base", options, folder=repository.folder, quiet=True)
    assert len(started) >= 2
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
