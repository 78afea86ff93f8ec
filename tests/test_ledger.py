"""What a run has measured and what is left: resuming, budgets, patience, forecasts."""

import dataclasses
import itertools
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.bench import plan as planning
from semrsm_bench.bench.ledger import PATIENCE_FOR_FAILURES, Ledger
from semrsm_bench.bench.plan import RunOptions, make_plan
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.row import STATUSES, Row, resume_key
from semrsm_bench.core.task import Profile
from tests.toy_tasks import ToyOptions, toy


def ledger_of(sizes=(16, 36), patience=20.0, models=("", "", ""), methods=("m",), **options):
    """A ledger of methods, at one place for each size, and its cells, place by place; five cases each."""
    task = toy(profiles={"quick": Profile("q", {}, 20.0, 30.0, patience)})
    task.cases = lambda own: [
        dataclasses.replace(case, name=f"{size}-{case.name}", cell={"size": size, "model": model}, size=size)
        for size, model in zip(sizes, models)
        for case in type(task).cases(task, own)
    ]
    declared = [Declaration("metric", name, code="c") for name in methods]
    with mock.patch.object(planning, "task_digest", return_value="t"):
        plan = make_plan(RunOptions(**options), [task], {"toy": ToyOptions(cases=5)}, declared)
    return Ledger(plan), plan.cells


def observed(cell, number=0, repeat=0, **changes):
    facts = {
        "run_id": "r",
        "kind": "metric",
        "cell": dict(cell.place),
        "status": "ok",
        "wall_seconds": 1.0,
        "seconds": 0.5,
    }
    identity = cell.identity(None if number is None else cell.cases[number], repeat)
    return Row(**{**facts, **identity, **changes}).as_dict()


@pytest.mark.parametrize("status", [s for s in STATUSES if s != "skipped"])
def test_what_was_observed_is_done_whatever_came_of_it(status):
    ledger, cells = ledger_of(repeats=2)
    ledger.observe(observed(cells[0], 1, 1, status=status))
    keys = {
        (cell.size, i, repeat): resume_key(cell.identity(cell.cases[i], repeat))
        for cell, i, repeat in itertools.product(cells, range(5), range(2))
    }
    assert [place for place, key in keys.items() if key in ledger.done] == [(16, 1, 1)]


def test_what_was_observed_of_something_else_is_not_done():
    ledger, (cell, _) = ledger_of()
    for name in ("code", "options", "data_sha256", "case", "method", "task"):
        ledger.observe(observed(cell) | {name: {"a": 1} if name == "options" else "other"})
    assert resume_key(cell.identity(cell.cases[0], 0)) not in ledger.done


@pytest.mark.parametrize("status", ["timeout", "skipped", "ok"])
def test_rows_of_other_code_count_for_nothing(status):
    ledger, (cell, _) = ledger_of(budget=2.0)
    for i in range(3):
        ledger.observe(observed(cell, None if status == "skipped" else i, code="old", status=status, wall_seconds=99.0))
    assert not ledger.is_closed(cell)
    assert ledger.reason_to_close(cell) == ""
    assert ledger.planned_observations(cell) == 5


def test_a_row_of_a_whole_cell_closes_it():
    ledger, (cell, other) = ledger_of()
    ledger.observe(observed(cell, None, status="skipped", message="budget of 30 s"))
    assert (ledger.is_closed(cell), ledger.is_closed(other)) == (True, False)
    assert ledger.forecast()[0]["reason"] == "budget of 30 s"
    assert ledger.planned_observations(cell) == 0


@pytest.mark.parametrize("patience", [None, 20.0])
def test_a_method_too_slow_at_small_sizes_is_not_tried_at_large_ones(patience):
    ledger, (small, large) = ledger_of(patience=patience)
    assert ledger.reason_to_close(large) == ""
    ledger.observe(observed(small, seconds=3.0, shared_seconds=1.0))
    reason = f"too slow for quick: {4 * (36 / 16) ** 3:.0f} s a case expected from smaller S"
    assert ledger.reason_to_close(large) == (reason if patience else "")


def test_the_budget_counts_what_was_spent_and_what_comes():
    ledger, (cell, _) = ledger_of(budget=3.5)
    for i in range(3):
        assert ledger.reason_to_close(cell) == ""
        assert ledger.planned_observations(cell) >= 1
        ledger.observe(observed(cell, i, seconds=0.97))
    assert ledger.reason_to_close(cell) == "budget of 3.5 s: 3 of 5 items"
    assert ledger.planned_observations(cell) == 0


@pytest.mark.parametrize(("models", "closed"), [(("maps", "maps"), True), (("matrices", "maps"), False)])
def test_instances_of_another_kind_say_nothing_of_how_long_a_method_takes(models, closed):
    for seen in ({"status": "timeout", "seconds": None}, {"seconds": 30.0}):
        ledger, (small, large) = ledger_of(models=models)
        ledger.observe(observed(small, 0, **seen))
        assert bool(ledger.reason_to_close(large)) == closed


def test_a_method_is_not_begun_at_a_size_beyond_one_where_it_last_timed_out():
    ledger, (small, large) = ledger_of()
    ledger.observe(observed(small, 0, status="timeout"))
    assert ledger.reason_to_close(large) == "not tried: it timed out at S=16 already"
    assert ledger.reason_to_close(small) == ""
    ledger.observe(observed(small, 1, seconds=1e-3))
    assert ledger.reason_to_close(large) == ""
    ledger.observe(observed(large, 0, seconds=1e-3))
    ledger.observe(observed(small, 2, status="timeout"))
    assert ledger.reason_to_close(large) == ""


@given(st.lists(st.sampled_from(["ok", "timeout", "memory", "crashed", "error", "invalid"]), max_size=5))
def test_only_costly_failures_in_a_row_close_a_cell(statuses):
    ledger, (cell, _) = ledger_of(budget=1000.0)
    for i, status in enumerate(statuses):
        ledger.observe(observed(cell, i, status=status))
    last = statuses[-PATIENCE_FOR_FAILURES:]
    hopeless = len(last) == PATIENCE_FOR_FAILURES and set(last) <= {"timeout", "memory", "crashed"}
    assert bool(ledger.reason_to_close(cell)) == hopeless
    if hopeless:
        assert f"failures in a row ({statuses[-1]})" in ledger.reason_to_close(cell)


@given(st.integers(1, 3), st.integers(0, 12), st.floats(1e-3, 5.0))
def test_the_forecast_adds_up(repeats, measured, seconds):
    ledger, cells = ledger_of(repeats=repeats, patience=None, budget=60.0)
    cell = cells[0]
    rows = [(i, r) for i in range(5) for r in range(repeats)][:measured]
    for i, r in rows:
        ledger.observe(observed(cell, i, r, seconds=seconds, wall_seconds=seconds + 0.2))
    lines = ledger.forecast()
    assert [line["size"] for line in lines] == [16, 36]
    wall, growth = seconds + 0.2, (36 / 16) ** 2.3
    # Of an observation in each cell: as measured, else from the smaller S, else a guess.
    each = (wall, min(wall + seconds * (growth - 1), 20.0)) if rows else (0.2 + 1e-7 * 16**2, 0.2 + 1e-7 * 36**2)
    for line, one, seen in zip(lines, each, (len(rows), 0)):
        assert line["seconds_a_case"] == pytest.approx(one * repeats)
        # As many as are left or the budget allows.
        number, left, money = round(line["seconds"] / one), 5 * repeats - seen, max(0.0, 60.0 - seen * wall)
        assert line["seconds"] == pytest.approx(number * one)
        assert number <= left
        assert number * one <= money + 1e-6
        assert number == left or (number + 1) * one > money - 1e-6
        assert 0 <= line["cases"] <= line["wanted"] == 5
        assert (line["cases"] < line["wanted"]) <= bool(line["reason"])
    assert ledger.remaining_seconds() == pytest.approx(sum(line["seconds"] for line in lines))
    for one in cells:
        for i in range(5):
            for r in range(repeats):
                ledger.observe(observed(one, i, r, seconds=1e-3, wall_seconds=0.1))
    assert ledger.remaining_seconds() == 0


@given(st.lists(st.floats(0.1, 5.0), min_size=1, max_size=5))
def test_one_more_observation_is_expected_to_take_as_long_as_the_fastest(walls):
    ledger, (cell, _) = ledger_of(patience=None, budget=1000.0)
    for i, wall in enumerate(walls):
        ledger.observe(observed(cell, i, wall_seconds=wall))
    line = ledger.forecast()[0]
    assert line["seconds_a_case"] == min(walls)
    assert line["seconds"] == pytest.approx((5 - len(walls)) * min(walls))


def test_what_was_not_measured_is_guessed_from_the_nearest_cells_of_the_method_or_from_other_methods_there():
    ledger, cells = ledger_of(
        sizes=(16, 16, 16, 64), models=("a", "b", "c", "d"), methods=("m", "n", "o"), patience=None, budget=1000.0
    )
    at = {(cell.method.name, cell.place["model"]): cell for cell in cells}
    for place, wall in ((("m", "a"), 1.0), (("m", "b"), 3.0), (("n", "d"), 5.0), (("n", "c"), 8.0)):
        ledger.observe(observed(at[place], wall_seconds=wall, seconds=0.5))
    lines = {(line["method"], line["cell"]["model"]): line for line in ledger.forecast()}
    near, others = "guessed from the method's nearest cells", "guessed from other methods"
    growth = 0.5 * (4**2.3 - 1)
    expected = {
        ("m", "a"): (1.0, 4, "measured", ""),
        ("m", "b"): (3.0, 4, "measured", ""),
        ("m", "c"): (2.0, 5, "guessed", near),  # both are as near as each other
        ("m", "d"): (2.0 + growth, 5, "guessed", near),
        ("n", "a"): (8.0, 5, "guessed", near),
        ("n", "b"): (8.0, 5, "guessed", near),
        ("n", "c"): (8.0, 4, "measured", ""),
        ("n", "d"): (5.0, 4, "measured", ""),
        ("o", "a"): (1.0, 5, "guessed", others),
        ("o", "b"): (3.0, 5, "guessed", others),
        ("o", "c"): (8.0, 5, "guessed", others),
        ("o", "d"): (5.0, 5, "guessed", others),
    }
    for place, (seconds, left, known, reason) in expected.items():
        line = lines[place]
        assert (line["known"], line["reason"], line["cases"]) == (known, reason, 5), place
        assert line["least_seconds"] == line["seconds"] == pytest.approx(left * seconds), place


def test_what_was_given_up_has_a_range():
    """Given up after 2 s, with a deadline of 20 s and a budget of 30 s: five cases of 2 s, or one of 20 s."""
    ledger, (small, large) = ledger_of(patience=None)
    ledger.give_up(small, 2.0)
    for line in ledger.forecast():
        assert (line["least_seconds"], line["seconds"], line["cases"], line["known"]) == (10.0, 20.0, 1, "given up")
    ledger.observe(observed(large, wall_seconds=1.5))
    assert [(line["known"], line["least_seconds"]) for line in ledger.forecast()] == [
        ("given up", 10.0),
        ("measured", 6.0),
    ]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_an_estimate_gives_up_is_given_up_at_larger_sizes_too(at):
    ledger, cells = ledger_of(sizes=(16, 36, 64), patience=None)
    assert {ledger.given_up(cell) for cell in cells} == {None}
    ledger.give_up(cells[at], 2.5)
    assert [ledger.given_up(cell) for cell in cells] == [2.5 if i >= at else None for i in range(3)]
    assert ["more than 2.5 s a case" in line["reason"] for line in ledger.forecast()] == [i >= at for i in range(3)]
