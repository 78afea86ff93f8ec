"""Rows: their key, their length whatever a method says, and those of schema 1."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.core.row import COLUMNS, SCHEMA, current, plain, resume_key
from tests.bench_data import make_row, old_line
from tests.hostile_info import INFO


def key(**changes):
    return resume_key(make_row(**changes).as_dict())


KEYED = ("task", "method", "options", "code", "case", "data_sha256", "repeat")


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_a_row_is_recognised_by_all_that_decides_it_and_by_nothing_else(column):
    old = getattr(make_row(), column)
    if column == "status":
        new = "error"
    else:
        new = {"x": 1} if isinstance(old, dict) else f"{old}x" if isinstance(old, str) else (old or 0) + 1
    assert (key(**{column: new}) != key()) == (column in KEYED)
    assert json.loads(make_row(**{column: new}).to_json())[column] == new


def test_the_key_ignores_the_order_of_options_holds_all_values_and_survives_the_file():
    assert key(options={"a": 1, "b": 2}) == key(options={"b": 2, "a": 1})
    assert key(options={"a": [0] * 500 + [1]}) != key(options={"a": [0] * 500 + [2]})
    options = {"a": (1, 2), "b": np.int64(3), "c": None}
    assert resume_key(current(json.loads(make_row(options=options).to_json()))) == key(options=options)


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="status is one of"):
        make_row(status="fine")


@pytest.mark.parametrize("what", [name for name in INFO if name not in ("none", "text", "endless")])
def test_a_row_is_a_short_line_whatever_a_method_said(what):
    row = make_row(info=INFO[what](), message="m" * 10_000_000)
    line = row.to_json()
    assert len(line) < 20_000
    assert "\n" not in line
    again = current(json.loads(line))
    assert (again["scores"], again["status"]) == (row.scores, "ok")
    assert again["message"].startswith("mmm")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner),
    max_leaves=40,
)


@given(st.dictionaries(st.text(), json_values), json_values)
def test_anything_becomes_json_that_reads_back_the_same(info, raw):
    line = make_row(info=info, raw={"x": raw}).to_json()
    assert len(json.dumps(json.loads(line)["info"])) < 9000
    json.loads(line, parse_constant=pytest.fail)


def test_what_the_task_says_is_kept_whole():
    units = {"image": [f"image-{i}" for i in range(3000)]}
    raw = {"values": list(range(500)), "text": "x" * 5000}
    row = json.loads(make_row(units=units, raw=raw).to_json())
    assert row["units"] == units
    assert row["raw"] == raw


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (math.nan, None),
        (np.float64("inf"), None),
        (2**63, "an integer of 64 bits"),
        (-(2**63), -(2**63)),
        ((1, 2), [1, 2]),
        ({1: {None: 2}}, {"1": {"None": 2}}),
        (np.array(3.0), 3.0),
        ("\ud800", "?"),
    ],
)
def test_values_as_json_knows_them(value, expected):
    assert plain(value) == expected


def test_a_line_of_schema_1_says_the_same_in_this_one():
    optimum = {"optimum_solver": "scipy", "optimum_certificate": 0.0, "matrix_free": False}
    times = {"seconds": 0.002, "seconds_min": 0.001, "seconds_max": 0.003, "wall_seconds": 0.1}
    facts = {"run_id": "20260101-000000-quick-abcd", "version": "1.15.0", "code": "", "peak_bytes": 4096}
    expected = make_row(**facts, **times, info={"fallback": "none"}, raw={**make_row().raw, **optimum}).as_dict()
    row = current(json.loads(old_line()))
    assert row == expected | {"schema": 1}
    assert current(row | {"schema": SCHEMA}) == expected


def test_a_skipped_cell_of_schema_1_speaks_for_its_cell():
    empty = dict.fromkeys(("k", "k_opt", "k_rand", "k_upper", "quality", "chance_corrected", "seconds"))
    row = current(json.loads(old_line(pair="", status="skipped", message="too slow", **empty)))
    assert (row["case"], row["units"], row["status"], row["message"]) == ("", {}, "skipped", "too slow")
    assert row["scores"] == {"c": None, "quality": None}


def test_rows_do_not_share_what_they_lack():
    one, two = (current({"schema": SCHEMA, "task": "t", "method": "m", "case": "c", "status": "ok"}) for _ in range(2))
    one["info"]["x"] = 1
    assert two["info"] == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"schema": SCHEMA + 1}, f"schema {SCHEMA + 1}, this version reads up to {SCHEMA}; update"),
        ({"schema": "x"}, "schema 'x': this is no row"),
        ({"schema": None}, "this is no row"),
        ({}, "no solver, size, status"),
        ({"schema": 1, "solver": "scipy"}, "no size, status"),
        ({"schema": SCHEMA, "status": "ok"}, "no task, method, case"),
    ],
)
def test_what_is_no_row_is_refused_with_the_reason(row, message):
    with pytest.raises(ValueError, match=message):
        current(row)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cell", None, "cell is null; needed is Mapping"),
        ("seconds", "abc", 'seconds is "abc"; needed is float'),
        ("options", [], "options is []; needed is Mapping"),
        ("raw", None, "raw is null"),
        ("units", 3, "units is 3"),
        ("units", {"pair": "0-1"}, 'units of pair is "0-1"'),
        ("scores", {"c": "high"}, 'scores of c is "high"'),
        ("message", 7, "message is 7; needed is str"),
        ("status", "fine", "status is 'fine'; there are ok, "),
    ],
)
def test_a_field_of_another_type_is_named(name, value, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        current({**json.loads(make_row().to_json()), name: value})


def test_every_row_that_is_written_can_be_read():
    for row in (make_row(), make_row(seconds=None, scores={"c": None}, peak_bytes=3, info=[1]), make_row(pair="")):
        written = json.loads(row.to_json())
        assert current(written) == written
