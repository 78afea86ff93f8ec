"""The gate's rules on made-up evidence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_bench.bench.gate.options import GateLimits, GateOptions, limits_of
from semrsm_bench.bench.gate.verdict import Evidence, Finding, GateCell, exit_code, judge, undecided


def side(quality=(0.95, 0.97), relative=(1.0,) * 5, kind="approximate", status="ok", message=""):
    pairs = {f"0-{i}": [q] for i, q in enumerate(quality)}
    return Evidence(status, message, kind, pairs, list(relative), [r / 1e3 for r in relative])


def cell(base, head):
    return GateCell("greedy", 256, "none", base, head)


def severities(base, head, limits=None):
    return [f.severity for f in judge(cell(base, head), limits or GateLimits())]


def exact(*quality, **more):
    return side(quality, kind="exact", **more)


def taking(microseconds):
    """A side whose calls take so many microseconds; the reference kernel takes one."""
    made = side(relative=(microseconds,) * 5)
    made.seconds = [1e-6 * microseconds] * 5
    return made


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        (side(), side(), []),
        (side((0.95, 0.97)), side((0.9451, 0.9651)), []),
        (side((0.95, 0.97)), side((0.9449, 0.9649)), ["regression"]),
        (side((0.95, 0.97)), side((0.9551, 0.9751)), ["improvement"]),
        (side((0.95,) * 8), side((*(0.955,) * 7, 0.92)), ["regression"]),  # one pair may not pay for the others
        (exact(1.0, 1.0, 1.0), exact(1.0, 1 - 0.9e-6, 1.0), []),
        (exact(1.0, 1.0, 1.0), exact(1.0, 1 - 1.1e-6, 1.0), ["regression"]),
        (exact(1.0), side((0.999,)), ["regression"]),  # calling a solver approximate does not loosen its limit
        (
            side(relative=(1.0, 3.0, 9.0, 2.0, 5.0)),
            side(relative=(1.1, 3.3, 9.9, 2.2, 5.5)),
            [],
        ),  # the machine slows down
        (side(), side(relative=(1.95,) * 5), []),
        (side(), side(relative=(2.05,) * 5), ["regression"]),
        (side(), side(relative=(0.45,) * 5), ["improvement"]),
        (taking(2.0), taking(6.0), []),
        (taking(200.0), taking(600.0), ["regression"]),
    ],
)
def test_what_may_change(base, head, expected):
    assert severities(base, head) == expected


@pytest.mark.parametrize(("solver", "found"), [("greedy", []), ("other", ["regression"] * 2)])
def test_limits_of_one_solver(solver, found):
    base, head = side(), side((0.94, 0.96), relative=(2.5,) * 5)
    assert severities(base, head, GateLimits(quality_of={solver: 0.02}, time_of={solver: 3.0})) == found


def test_words_name_what_from_what_to_what_and_where():
    quality, time = (f.text for f in judge(cell(side(), side((0.90, 0.97), relative=(3.0,) * 5)), GateLimits()))
    assert "greedy at S=256 (none): chance-corrected quality fell from 0.9600 to 0.9350" in quality
    assert "greedy at S=256 (none): time relative to the reference kernel rose from 1 to 3 (1 ms to 3 ms)" in time
    assert "3.00 times" in time
    (pair,) = judge(cell(side((0.95,) * 8), side((*(0.955,) * 7, 0.92))), GateLimits())
    assert "pair 0-7 fell from 0.9500 to 0.9200" in pair.text


@pytest.mark.parametrize(
    ("base", "head", "severity", "code"),
    [
        (side(status="absent"), side(), "note", 0),
        (side(status="crashed"), side(status="absent"), "note", 4),
        (side(status="unavailable"), side(status="absent"), "note", 4),
        (side(status="absent"), side(status="unavailable", message="no lap"), "note", 4),
        (side(status="unavailable", message="no lap"), side(status="unavailable", message="no lap"), "note", 4),
        (side(status="unavailable", message="no lap"), side(), "improvement", 4),
        (side(status="timeout"), side(), "improvement", 4),
        (side(status="absent"), side(status="error", message="boom"), "failure", 3),
        (side(status="crashed"), side(status="timeout"), "note", 4),
        (side(status="absent", kind=""), side((1.0, 0.9), kind="exact"), "regression", 1),
    ],
)
def test_outcomes_that_are_no_figures(base, head, severity, code):
    one = cell(base, head)
    found = judge(one, GateLimits())
    assert [f.severity for f in found] == [severity]
    assert exit_code([one], found) == code
    assert not undecided(one, GateLimits())


@pytest.mark.parametrize("missing", [("greedy",), ("all",), ("other",), ()])
@pytest.mark.parametrize("status", ["absent", "unavailable", "timeout", "memory", "crashed", "error", "invalid"])
def test_what_only_the_head_lacks_fails_unless_it_is_allowed(status, missing):
    one = cell(side(), side(status=status, message="why"))
    (found,) = judge(one, GateLimits(missing=missing))
    severity = "regression" if status in ("absent", "unavailable", "timeout") else "failure"
    expected = (
        ("note", 4) if missing in (("greedy",), ("all",)) else (severity, {"regression": 1, "failure": 3}[severity])
    )
    assert (found.severity, exit_code([one], [found])) == expected
    assert not undecided(one, GateLimits(missing=missing))


@pytest.mark.parametrize("head", [side((0.95, float("nan"))), side((0.95,))], ids=["NaN", "gone"])
def test_a_figure_that_is_nan_or_gone_fails(head):
    assert severities(side((0.95, 0.95)), head) == ["regression"]


def test_exit_codes_put_a_regression_before_a_failure():
    fine = cell(side(), side())
    findings = [Finding(s, "greedy", 256, "none", "") for s in ("note", "failure", "regression")]
    assert [exit_code([fine], findings[: n + 1]) for n in range(3)] == [0, 3, 1]
    assert exit_code([], []) == 4


ratios = st.lists(st.floats(0.2, 20.0), min_size=5, max_size=5)


@given(first=ratios, second=st.lists(st.floats(0.2, 20.0), min_size=10, max_size=15))
@settings(max_examples=60)
def test_a_later_attempt_adds_evidence_and_replaces_none(first, second):
    pooled = np.array([*first, *second])
    middle = float(np.exp(np.median(np.log(pooled))))  # of two middle rounds the geometric mean
    assert ("regression" in severities(side(relative=[1.0] * len(pooled)), side(relative=pooled))) == (middle > 2.0)


@given(slow=st.integers(11, 20), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_no_order_of_lucky_rounds_hides_a_solver_that_is_mostly_slower(slow, seed):
    rounds = np.random.default_rng(seed).permutation([3.0] * slow + [1.0] * (20 - slow))
    assert severities(side(relative=[1.0] * 20), side(relative=rounds)) == ["regression"]


@pytest.mark.parametrize(
    ("first", "later", "decided"),
    [
        ((3.0,) * 5, (1.0,) * 15, (["regression"], [])),  # disturbed
        ((1.0, 1.0, 1.9, 3.0, 3.0), (3.0,) * 5, ([], ["regression"])),  # lucky
        ((1.0, 1.0, 1.0, 1.0, 1.9), (1.0,), ([], [])),
    ],
)
def test_a_cell_near_a_limit_is_measured_again(first, later, decided):
    base, head = side(), side(relative=first)
    assert severities(base, head) == decided[0]
    assert undecided(cell(base, head), GateLimits()) == (decided != ([], []))
    base.seconds, head.seconds = [1e-6], [4e-6]
    assert not undecided(cell(base, head), GateLimits()), "calls this short are not compared"
    base.seconds, head.seconds = [1e-3], [4e-3]
    head.relative += later
    base.relative += [1.0] * len(later)
    assert severities(base, head) == decided[1]


def test_quality_is_the_mean_over_attempts_not_the_best_of_them():
    head = side((0.90,))
    head.quality["0-0"] += [0.95, 0.95]
    assert severities(side((0.95,)), head) == ["regression"]


@pytest.mark.parametrize(
    "bad", [{"time": 1.0}, {"time": 0.5}, {"quality": -0.1}, {"quality": 1.0}, {"time_of": {"a": 1.0}}]
)
def test_limits_that_make_no_sense(bad):
    with pytest.raises(ValueError, match=r"between 0 and 1|larger than 1"):
        GateLimits(**bad)


def limits_from(settings, options):
    return limits_of({"tool": {"semrsm-bench": {"gate": settings}}}, options)


def test_limits_from_settings_and_options():
    settings = {"time": 3, "missing": ["lap"], "solvers": {"greedy": {"quality": 0.02}, "ortools": {"time": 1.5}}}
    found = limits_from(settings, GateOptions())
    assert (found.time, found.fall("greedy", "approximate"), found.fall("scipy", "exact")) == (3.0, 0.02, 1e-6)
    assert (found.factor("ortools"), found.factor("greedy")) == (1.5, 3.0)
    chosen = GateOptions(quality={"": 0.1, "scipy": 0.2}, time={"ortools": 4}, missing=("scipy",))
    found = limits_from(settings, chosen)
    assert (found.time, found.quality, found.fall("scipy", "exact"), found.exact) == (3.0, 0.1, 0.2, 1e-6)
    assert (found.factor("ortools"), found.fall("greedy", "approximate")) == (4.0, 0.02)
    assert found.missing == ("lap", "scipy")
    for wrong, message in (
        ({"qualty": 0.1}, "has no 'qualty', but exact, missing, quality, solvers, time"),
        ({"solvers": {"greedy": {"speed": 2}}}, "no 'speed'"),
    ):
        with pytest.raises(ValueError, match=message):
            limits_from(wrong, GateOptions())
