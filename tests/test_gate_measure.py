"""How the gate measures: rounds, attempts and scores, with sides that are fakes."""

import errno
import os
import subprocess
import sys
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from semrsm_bench.bench.gate.measure import ROUNDS, Gate, GateProblem, load_problems
from semrsm_bench.bench.gate.options import GateLimits, GateOptions
from semrsm_bench.bench.gate.run import run_gate
from semrsm_bench.bench.gate.sides import GateSide, Sample
from semrsm_bench.bench.gate.verdict import exit_code, judge
from semrsm_bench.bench.process import Reply, WorkerProcess
from semrsm_bench.core import clock
from semrsm_bench.core.files import MachineError
from semrsm_bench.core.task import Case
from semrsm_bench.solvers import MatchingProblem
from tests.bench_data import small_cache
from tests.gate_repository import ThrowAway

ENTRY = {"name": "made-up", "category": "approximate", "reason": "", "max_size": None, "own": False}
IDENTITY = (0, 1, 2, 3)
WORSE = (1, 0, 2, 3)


def problem(k_opt=4.0, pair="0-1"):
    x = np.eye(4, dtype=np.float32)
    case = Case(pair, {"centring": "none"}, dict, {"pair": (pair,)}, size=4)
    optimum = SimpleNamespace(k_opt=k_opt, k_upper=4.0, solver="", certificate=None)
    return GateProblem(case, {"x": x, "y": x}, (MatchingProblem(x, x), 1.0, optimum))


SEVEN_PAIRS = [f"0-{i}" for i in range(7)]


class FakeSide:
    """Always the same matchings, after times from a list; in some calls the machine fails. Notes who was asked when."""

    def __init__(self, times=(1e-3,), perms=(IDENTITY,), fault=None, calls=(), log=None, label=""):
        self.times, self.perms, self.fault, self.calls, self.log, self.label = times, perms, fault, calls, log, label
        self.seeds, self.known = [], {"made-up": ENTRY}

    def measure(self, solver, arrays, limits, seed):
        if self.log is not None:
            self.log.append(self.label)
        self.seeds.append(seed)
        if len(self.seeds) in self.calls:
            return FAULTS[self.fault]()
        seconds = self.times[(len(self.seeds) - 1) % len(self.times)]
        value = {"arrays": {"perms": np.array(self.perms)}, "seconds": [seconds + 5.0] * len(self.perms)}
        value["waited_seconds"] = [5.0] * len(self.perms)
        return Sample(Reply("ok", value=value), 1e-3)


def measure(base, head, *problems):
    """The cell of two sides, and the severities of what is found."""
    gate = Gate({"base": base, "head": head}, problems or [problem()], GateLimits(), 60.0)
    (cell,) = cells = gate.cells(["made-up"], {})
    gate.measure(cells, quiet=True)
    return cell, [finding.severity for finding in judge(cell, GateLimits())]


def test_the_clock_notes_how_long_a_call_waited_for_its_core(monkeypatch):
    waits = iter([100, 100, 700, 5_000_700, 800, 10**18])
    monkeypatch.setattr(clock, "waited_nanoseconds", lambda: next(waits))
    monkeypatch.setattr(clock, "helpers_nanoseconds", lambda: 0)
    timed = clock.Clock(lambda stage, size: None, 1 << 30, True, {"warm"})
    ticks = iter([0, 10**6, 0, 6 * 10**6, 0, 10**6])
    monkeypatch.setattr(clock, "perf_counter_ns", lambda: next(ticks))
    timed.run(lambda i: i, lambda i: i, shape="warm", most=3)
    assert timed.waited_seconds == [0.0, 0.005, 0.0], "the last wait was longer than its call"


def test_a_call_does_not_wait_for_threads_and_processes_of_its_own():
    """What another one takes from its core is no time of a method's, but what it gives to its own helpers is."""
    core, before = {max(os.sched_getaffinity(0))}, os.sched_getaffinity(0)
    code = "import time\nend = time.thread_time() + .2\nwhile time.thread_time() < end: pass"

    def in_a_thread():
        thread = threading.Thread(target=exec, args=(code, {}))
        thread.start()
        exec(code, {})
        thread.join()

    def in_a_process():
        child = subprocess.Popen([sys.executable, "-c", code])
        exec(code, {})
        child.wait()

    os.sched_setaffinity(0, core)
    try:
        for call in (in_a_thread, in_a_process):
            timed = clock.Clock(timed=False)
            timed.run(partial(lambda helped, i: helped, call), lambda helped: helped())
            assert timed.seconds[0] - timed.waited_seconds[0] >= 0.38, f"{call.__name__} used .4 s of the core"
    finally:
        os.sched_setaffinity(0, before)


def test_of_layers_of_one_size_the_first_is_taken(tmp_path):
    def chosen(**options):
        optimum = SimpleNamespace(k_opt=1.0, k_upper=1.0)
        return load_problems(GateOptions(data=data, **options), lambda problem: optimum)

    data = small_cache(tmp_path, sizes=(16, 16, 36))
    made = chosen(pairs=2)
    assert [(*one.cell, one.case.cell["layer"]) for one in made] == [
        (size, centring, layer)
        for size, layer in ((16, "layer3"), (36, "layer1"))
        for centring in ("none", "channel")
        for _ in range(2)
    ]
    assert {one.cell for one in chosen(sizes=(36,), centrings=("channel",))} == {(36, "channel")}
    with pytest.raises(ValueError, match="no layer with S = 9; it has 16, 36"):
        chosen(sizes=(9,))


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
    base, head = FakeSide(), FakeSide()
    head.known = {} if entry is None else {"made-up": entry}
    gate = Gate({"base": base, "head": head}, [problem()], GateLimits(), 60.0)
    (cell,) = gate.cells(["made-up"], {"made-up": 5, "other": 1})
    assert (cell.base.status, cell.head.status) == ("ok", status)
    assert gate.cells(["made-up"], {"made-up": 4}) == []
    gate.measure([cell], quiet=True)
    assert bool(head.seeds) == (status == "ok")


def real_side(observed, *asked):
    """What a side measures whose worker replies to the reference kernel's commands, and whose observer replies, with these."""

    def meet(what):
        if isinstance(what, OSError):
            raise what
        return what

    replies = iter(asked)
    side = GateSide.__new__(GateSide)
    side._worker = SimpleNamespace(timed_out=True, ask=lambda *given: meet(next(replies)))
    side._observe = lambda *given, **more: meet(observed)
    found = side.measure("made-up", {}, None, seed=0)
    assert side._worker.timed_out is False, "that was another solver"
    return found


def kernel(seconds):
    return Reply("ok", value={"seconds": seconds})


@pytest.mark.parametrize("after", [kernel(2e-3), kernel(3e-3), Reply("crashed")])
def test_the_reference_kernel_runs_before_and_after_and_the_faster_one_counts(after):
    before = kernel(2e-3 if after.status != "ok" else 5e-3 - after.value["seconds"])
    assert real_side(Reply("ok"), before, after).reference == 2e-3


FULL = OSError(errno.ENOSPC, "No space left on device", "x.npy")
FAULTS = {
    "a reply": lambda: Sample(Reply("crashed", "too many open files", machine=True)),
    "no worker can be started": lambda: real_side(None, FULL),
    "the worker dies before its solver runs": lambda: real_side(None, Reply("crashed", "killed by SIGKILL")),
    "no room for the arrays": lambda: real_side(FULL, kernel(1e-3)),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("label", ["base", "head"])
@pytest.mark.parametrize(
    ("calls", "gone"), [([], False), ([1], False), ([4], False), ([2, 5], False), (range(99), True)]
)
def test_a_fault_of_the_machine_is_no_fault_of_the_solver(fault, label, calls, gone):
    sides = {"base": FakeSide(), "head": FakeSide(), label: FakeSide(fault=fault, calls=calls)}
    cell, found = measure(sides["base"], sides["head"], *(problem(pair=pair) for pair in SEVEN_PAIRS))
    assert cell.attempts == (len(ROUNDS) if gone else 1 + len(calls))
    assert found == ["unmeasured"] * gone
    findings = judge(cell, GateLimits())
    assert exit_code([cell], findings) == (4 if gone else 0)
    if gone:
        assert "not measured: the machine failed (" in findings[0].text
    else:  # every pair in the first attempt that the machine does not spoil
        assert len(cell.base.relative) == len(cell.head.relative) == cell.rounds
        assert list(cell.base.quality) == list(cell.head.quality) == SEVEN_PAIRS


@pytest.mark.parametrize("times", [1, 2])
def test_a_side_that_the_machine_keeps_from_its_start_is_started_again(times):
    replies = [Reply("memory", "killed", machine=True)] * times + [Reply("ok", value={"declared": [ENTRY]})]
    setup = SimpleNamespace(search=None)
    worker = SimpleNamespace(setup=setup, package="", ask=lambda *given: replies.pop(0), timed_out=False)
    if times == 1:
        assert GateSide(worker, None).known == {"made-up": ENTRY}
    else:
        with pytest.raises(MachineError, match="killed"):
            GateSide(worker, None)


@pytest.mark.parametrize(("seconds", "rounds"), list(zip((1e-3, 2.0), ROUNDS[0])))
def test_sides_alternate_and_change_who_begins_and_long_solves_get_fewer_rounds(seconds, rounds):
    log = []
    cell, found = measure(*(FakeSide(times=(seconds,), log=log, label=label) for label in ("base", "head")))
    assert log == (["base", "head", "head", "base"] * rounds)[: 2 * rounds]
    assert (cell.attempts, found) == (1, [])


def test_a_failing_cell_is_measured_as_often_as_there_are_attempts_and_all_counts():
    cell, found = measure(FakeSide(), FakeSide(times=(3e-3,)))
    every = sum(fast for fast, _ in ROUNDS)
    assert (cell.attempts, found) == (len(ROUNDS), ["regression"])
    assert [len(side.relative) for side in cell.sides.values()] == [every, every]
    assert len(cell.head.quality["0-1"]) == every
    cell, found = measure(FakeSide(), FakeSide(times=(3e-3,) * 5 + (1e-3,) * 15))
    assert (cell.attempts > 1, found) == (True, []), "a disturbed first attempt is outvoted"


@pytest.mark.parametrize("perms", [[(0, 0, 1, 2)], [(0, 1, 2)], [(0, 1, 2, 4)], [IDENTITY, IDENTITY, (0, 0, 1, 2)]])
def test_what_is_no_permutation_is_invalid(perms):
    cell, found = measure(FakeSide(), FakeSide(perms=perms))
    assert (cell.head.status, found) == ("invalid", ["failure"])


def test_quality_is_scored_here_against_an_optimum_that_no_matching_beats():
    cell, _ = measure(FakeSide(), FakeSide(perms=[WORSE]))
    assert (cell.base.mean_quality(), cell.head.mean_quality()) == (1.0, pytest.approx(1 / 3))
    with pytest.raises(ValueError, match="beats the certified optimum"):
        measure(FakeSide(), FakeSide(), problem(k_opt=3.5))
    cell, found = measure(FakeSide(), FakeSide(), problem(k_opt=None))
    assert (cell.head.quality, cell.comparable, found) == ({}, True, []), "without an optimum only times count"


def test_both_sides_meet_the_same_shifts_and_only_those_that_both_have_answered_are_compared():
    base, head = FakeSide(perms=[IDENTITY, WORSE]), FakeSide(perms=[IDENTITY, WORSE, WORSE, WORSE])
    cell, _ = measure(base, head)
    assert base.seeds == head.seeds
    assert [visit for _, visit, _ in base.seeds] == list(range(ROUNDS[0][0]))
    assert cell.base.mean_quality() == cell.head.mean_quality() == pytest.approx(2 / 3)


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
        run_gate("base", "base", options, folder=repository.folder, quiet=True)
    assert len(started) >= 2
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
