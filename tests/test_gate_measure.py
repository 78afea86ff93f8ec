"""How the gate measures: turns, attempts and scores, with sides that are made up."""

import numpy as np
import pytest

from semrsm_bench.bench.gate.measure import ROUNDS, Gate, GatePlan
from semrsm_bench.bench.gate.problems import GateProblem
from semrsm_bench.bench.gate.side import Answer
from semrsm_bench.bench.gate.verdict import Limits, judge

ENTRY = {"name": "made-up", "kind": "approximate", "reason": "", "max_size": None, "own": False}


def problem(k_opt=None):
    x = np.eye(4, dtype=np.float32)
    return GateProblem(4, "none", "0-1", x, x, 4.0 if k_opt is None else k_opt, 1.0)


class FakeSide:
    """Answers from a list of times, in turn, and always the same matching; notes who was asked when."""

    def __init__(self, log, label, times=(1e-3,), perm=(0, 1, 2, 3)):
        self.log, self.label, self.times, self.perm, self.asked = log, label, times, perm, 0

    def ask(self, command, seconds):
        if command["do"] == "solve":
            return Answer("ok", {"perm": list(self.perm)})
        if command["do"] == "time":
            self.log.append(self.label)
            self.asked += 1
            return Answer("ok", {"seconds": self.times[(self.asked - 1) % len(self.times)], "reference": 1e-3})
        return Answer("ok", {})


def measure(base, head, k_opt=None):
    known = ({"made-up": ENTRY}, {"made-up": ENTRY})
    (cell,) = Gate(base, head, known, [problem(k_opt)], GatePlan()).measure(quiet=True)
    return cell


def test_sides_take_turns_and_change_who_begins():
    log = []
    cell = measure(FakeSide(log, "base"), FakeSide(log, "head"))
    assert log == ["base", "head", "head", "base"] * (ROUNDS[0][0] // 2) + ["base", "head"] * (ROUNDS[0][0] % 2)
    assert (cell.attempts, judge(cell, Limits())) == (1, [])


def test_a_failing_cell_is_measured_as_often_as_there_are_attempts_and_all_counts():
    log = []
    cell = measure(FakeSide(log, "base"), FakeSide(log, "head", times=(3e-3,)))
    assert cell.attempts == len(ROUNDS)
    assert len(cell.head.relative) == len(cell.base.relative) == sum(fast for fast, _ in ROUNDS)
    assert len(cell.head.quality["0-1"]) == len(ROUNDS)
    assert [finding.severity for finding in judge(cell, Limits())] == ["regression"]


def test_a_disturbed_first_attempt_is_outvoted():
    log = []
    times = (3e-3,) * 5 + (1e-3,) * 15
    cell = measure(FakeSide(log, "base"), FakeSide(log, "head", times=times))
    assert cell.attempts > 1
    assert judge(cell, Limits()) == []


def test_long_solves_get_fewer_rounds():
    log = []
    cell = measure(FakeSide(log, "base", times=(2.0,)), FakeSide(log, "head", times=(2.0,)))
    assert len(cell.head.relative) == ROUNDS[0][1]


@pytest.mark.parametrize("perm", [(0, 0, 1, 2), (0, 1, 2), (0, 1, 2, 4)])
def test_what_is_no_permutation_is_invalid(perm):
    cell = measure(FakeSide([], "base"), FakeSide([], "head", perm=perm))
    assert cell.head.status == "invalid"
    assert [finding.severity for finding in judge(cell, Limits())] == ["failure"]


def test_quality_is_scored_here_and_not_by_the_solver():
    cell = measure(FakeSide([], "base"), FakeSide([], "head", perm=(1, 0, 2, 3)))
    assert (cell.base.mean_quality(), cell.head.mean_quality()) == (1.0, pytest.approx(1 / 3))


def test_a_matching_that_beats_the_optimum_is_an_error_and_no_triumph():
    with pytest.raises(ValueError, match="beats the certified optimum"):
        measure(FakeSide([], "base"), FakeSide([], "head"), k_opt=3.5)


def test_without_an_optimum_only_times_count():
    one = GateProblem(4, "none", "0-1", np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32), None, 1.0)
    known = ({"made-up": ENTRY}, {"made-up": ENTRY})
    (cell,) = Gate(FakeSide([], "base"), FakeSide([], "head"), known, [one], GatePlan()).measure(quiet=True)
    assert cell.head.quality == {}
    assert cell.comparable
    assert judge(cell, Limits()) == []
