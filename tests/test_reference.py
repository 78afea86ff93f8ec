"""The package reproduces the values on record in tests/reference/values.json, and the comparison notices when it does not."""

import json

import pytest

from tests.reference import reference

SLOW = ("solvers 4096",)


@pytest.fixture(scope="module")
def record():
    return reference.load()


@pytest.mark.parametrize(
    "group", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in reference.GROUPS]
)
def test_values_on_record_are_reproduced(group, record):
    elsewhere = record["machine"] != reference.machine()
    assert list(reference.differences(group, reference.compute(group), record[group], elsewhere)) == []


@pytest.mark.parametrize("group", list(reference.GROUPS))
def test_a_changed_value_is_noticed(group, record):
    for key, value in record[group].items():
        flat = json.loads(json.dumps(value))
        place = flat
        while isinstance(place, list) and isinstance(place[0], list):
            place = place[-1]
        off = 3 * reference.tolerance(group, key) * max(1.0, *map(abs, _numbers(value)))
        if isinstance(place, list):
            place[-1] += off
        else:
            flat += off
        (line,) = reference.differences(group, {key: flat}, {key: value})
        assert key in line


def _numbers(value):
    return [n for part in value for n in _numbers(part)] if isinstance(value, list) else [value]


def test_what_is_gone_or_new_or_not_a_number_or_of_another_shape_is_noticed():
    stored = {"a": 1.0, "b": [1.0, 2.0]}
    for computed in ({"a": 1.0}, {**stored, "c": 0.0}, {**stored, "a": float("nan")}, {**stored, "b": [1.0]}):
        assert len(list(reference.differences("metrics", computed, stored))) == 1
    assert not list(reference.differences("metrics", {"a": 1.0 + 1e-12, "b": [1.0, 2.0]}, stored))


def test_a_solver_may_be_added_but_none_may_go():
    stored = {"S=64/pair=0,1/centring=none/greedy/k": 2.0}
    added = {**stored, "S=64/pair=0,1/centring=none/brand-new/k": 3.0}
    assert not list(reference.differences("solvers 64", added, stored))
    assert len(list(reference.differences("solvers 64", {}, stored))) == 1
