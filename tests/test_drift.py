"""The machine's speed through a run: what is measured again when a fixed kernel slows down, on a clock that is made up."""

import itertools
from collections import Counter

import pytest

from semrsm_bench.bench import drift, engine
from semrsm_bench.bench.doctor import check_drift
from semrsm_bench.bench.results import RUN_FILE, load_rows, read_json, read_rows
from tests.bench_data import Bench, make_row


class Machine:
    """Is slow right after an observation as often as ``slow`` says, by method and pair; counts the observations."""

    def __init__(self, monkeypatch, **settings):
        self.slow, self.seen, self._next, self._jitter = Counter(), Counter(), 1.0, itertools.count()
        measure = engine._Engine._measure

        def measured(one, cell, case, repeat, limits):
            key = cell.method.name, case.units["pair"][0]
            self.seen[key] += 1
            self._next = 1.5 if self.slow[key] > 0 else 1.0
            self.slow[key] -= self.slow[key] > 0
            return measure(one, cell, case, repeat, limits)

        monkeypatch.setattr(engine._Engine, "_measure", measured)
        monkeypatch.setattr(engine._Engine, "_reference_seconds", lambda one: self.read())
        for name, value in {"PAUSE": -1.0, "SHARE": 1e9, "FEWEST": 10, **settings}.items():
            monkeypatch.setattr(drift, name, value)

    def read(self):
        found, self._next = self._next, 1.0
        return found + 1e-6 * next(self._jitter)


@pytest.fixture
def bench(tmp_path, user_cache, kept_workers):
    return Bench(tmp_path)


HOW = {"layers": ("layer1",), "pairs": {"": 6}}


def test_what_was_measured_while_the_machine_was_slow_is_measured_again(bench, monkeypatch):
    machine = Machine(monkeypatch)
    pairs = [case.rpartition("/")[2] for case in dict.fromkeys(r["case"] for r in bench("identity", **HOW).rows)]
    machine.seen.clear()
    machine.slow.update({("identity", pairs[1]): 1, ("greedy", pairs[4]): 1})
    done = bench("identity", "greedy", **HOW)
    assert {key for key, count in machine.seen.items() if count == 2} == {("identity", pairs[1]), ("greedy", pairs[4])}
    assert machine.seen.total() == done.measured == len(read_rows(done.folder)) == 14
    counted = load_rows(done.folder)
    assert len(counted) == 12
    assert all(row["reference_seconds"] < 1.01 for row in counted)
    replaced = [row["replaces"] for row in counted if row["replaces"]]
    assert replaced == ["drift: the reference kernel took 1.50 times its usual time"] * 2
    found = drift.steadiness(counted)
    assert (found.rows, found.off, found.again) == (12, 0, 2)
    assert check_drift(done.folder) == (str(found), "")


def test_a_machine_that_stays_slow_costs_a_bounded_number_of_tries_which_a_resumed_run_remembers(bench, monkeypatch):
    machine = Machine(monkeypatch)
    pair = bench("identity", **HOW).rows[2]["case"].rpartition("/")[2]
    machine.slow["greedy", pair] = 99
    done = bench("identity", "greedy", **HOW)
    assert machine.seen["greedy", pair] == 1 + drift.TRIES
    assert read_json(done.folder / RUN_FILE)["finished"]
    again = bench("identity", "greedy", run_id=done.folder.name, **HOW)
    assert again.measured == 0
    found = drift.steadiness(load_rows(done.folder))
    assert (found.off, found.again) == (1, 1)
    assert "1 of 12 timed rows are of moments beyond 20 %" in str(found)
    assert check_drift(done.folder)[1]


def test_tries_end_with_their_share_of_the_time(bench, monkeypatch):
    machine = Machine(monkeypatch, SHARE=0.0)
    pairs = [row["case"].rpartition("/")[2] for row in bench("identity", **HOW).rows]
    machine.slow.update({("greedy", pair): 1 for pair in pairs[:3]})
    assert bench("identity", "greedy", **HOW).measured == 12 + 1


def test_few_readings_and_old_rows_say_nothing(bench, monkeypatch):
    Machine(monkeypatch)
    done = bench("identity", layers=("layer1",), pairs={"": 3})
    assert drift.steadiness(load_rows(done.folder)) is None
    assert "too short" in check_drift(done.folder)[0]


def test_a_reading_is_kept_for_a_while(monkeypatch):
    now = iter([0.0, 0.0, 1.0, 3.0, 3.0])
    monkeypatch.setattr(drift.time, "monotonic", lambda: next(now))
    read = drift.Speedometer(iter([5.0, 6.0]).__next__).read
    assert [read(), read(), read()] == [5.0, 5.0, 6.0]


def test_the_spread_is_that_of_the_moments_and_not_of_the_rows(monkeypatch):
    monkeypatch.setattr(drift, "FEWEST", 10)
    readings = [1.0] * 50 + [0.9 + 0.01 * i for i in range(20)] + [1.3]
    rows = [make_row(reference_seconds=each).as_dict() for each in readings]
    found = drift.steadiness([*rows, make_row().as_dict(), make_row(seconds=None, reference_seconds=9.0).as_dict()])
    moments = sorted(set(readings))
    assert (found.rows, found.readings, found.off) == (71, len(moments), 1)
    assert found.level == moments[len(moments) // 2]
    assert found.low < 0.95 < 1.08 < found.high < 1.3
