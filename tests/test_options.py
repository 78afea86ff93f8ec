"""Options are declared once: what a dataclass says is what is parsed, refused and written down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.core.options import MISSING, OptionError, check, command_words, describe, option


@dataclass(frozen=True, kw_only=True)
class Everything:
    count: int = option(3, help="A count.", minimum=1)
    seconds: float = option(2.5, help="A time.", positive=True)
    methods: tuple[str, ...] = option((), help="Names.", aliases=("solvers",))
    sizes: tuple[int, ...] = option((16, 64), help="Sizes.", name="size")
    level: Literal["low", "high"] | None = option(None, help="A level.")
    centrings: tuple[Literal["none", "channel"], ...] = option(("none",), help="Centrings.")
    data: Path | None = option(None, help="A file.")
    plugins: tuple[Path, ...] = option((), help="Files.")
    memory: int = option(4 << 30, help="Bytes.", unit="bytes")
    grid: tuple[int, int] | None = option(None, help="A grid.")
    grids: tuple[tuple[int, int], ...] = option((), help="Grids.")
    images: slice | None = option(None, help="A range.")
    limits: Mapping[str, float] = option({}, help="Limits.", nameless=True, positive=True)
    options: Mapping[str, Any] = option({}, help="Options of the method.")
    sigma: str | float = option("median", help="A rule or a number.")
    fast: bool = option(False, help="A flag.", short="f")
    shown: bool = option(True, help="A flag.")
    out: Path = option(help="Where it goes.")
    inner: int = field(default=7)

    def __post_init__(self) -> None:
        check(self)


INFOS = {info.field: info for info in describe(Everything)}


def made(**values):
    return Everything(out=Path("o"), **values)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("seconds", "1e-3", 1e-3),
        ("methods", "a, b,", ("a", "b")),
        ("methods", "cka[a,rbf],b,cka[c|d]", ("cka[a,rbf]", "b", "cka[c|d]")),
        ("level", "high", "high"),
        ("data", "a,b", Path("a,b")),
        ("plugins", "a,b", (Path("a,b"),)),
        ("memory", "500M", 500 << 20),
        ("memory", "1.5 GiB", 3 << 29),
        ("grid", "14x9", (14, 9)),
        ("images", "3:", slice(3, None)),
        ("images", ":8", slice(None, 8)),
        ("limits", "0.25", {"": 0.25}),
        ("options", "b=128", {"b": 128}),
        ("options", "rule=x=y", {"rule": "x=y"}),
        ("options", "list=[1, 2]", {"list": [1, 2]}),
        ("sigma", "median", "median"),
    ],
)
def test_words_become_values_and_values_words(field, text, value):
    info = INFOS[field]
    parsed = info.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)
    assert info.parse(info.text(value)) == value


whole, numbers = st.integers(1), st.floats(0, exclude_min=True, allow_infinity=False)
VALUES = {
    "count": whole,
    "seconds": numbers,
    "sigma": numbers,
    "sizes": st.lists(whole, min_size=1).map(tuple),
    "memory": st.integers(0, 1 << 50),
    "grids": st.lists(st.tuples(whole, whole), min_size=1).map(tuple),
    "images": st.builds(slice, st.none() | whole, st.none() | whole),
    "limits": st.builds(lambda name, value: {name: value}, st.sampled_from(["", "greedy"]), numbers),
}


@given(st.sampled_from([*VALUES]), st.data())
def test_a_value_that_is_written_as_words_is_read_as_it_was(field, data):
    value = data.draw(VALUES[field])
    assert INFOS[field].parse(INFOS[field].text(value)) == value


@pytest.mark.parametrize(
    ("field", "text", "problem"),
    [
        ("count", "1.5", "'1.5' is not a whole number"),
        ("seconds", "soon", "'soon' is not a number"),
        ("sizes", "1,x", "'x' is not a whole number"),
        ("methods", " ,", "an empty list selects nothing"),
        ("memory", "4Q", "'4Q' is not a size such as 500M or 4G"),
        ("grid", "14", "'14' is not a grid HxW"),
        ("grid", "axb", "'axb' is not a grid HxW"),
        ("images", "1:2:3", "'1:2:3' is not a range A:B"),
        ("limits", "greedy=much", "'much' is not a number"),
        ("options", "b", "'b' is not NAME=VALUE"),
    ],
)
def test_words_that_say_nothing_are_refused(field, text, problem):
    with pytest.raises(OptionError) as error:
        INFOS[field].parse(text)
    assert error.value.name == field
    assert error.value.problem.startswith(problem)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count: 0 is not at least 1"),
        *(({"count": value}, f"count: {value!r} is not a whole number") for value in (1.0, True, "4", None)),
        ({"seconds": 0}, "seconds: 0 is not larger than 0"),
        *(({"seconds": float(value)}, f"seconds: {value} is not finite") for value in ("nan", "inf")),
        ({"methods": "greedy"}, "methods: 'greedy' is one value; give several, such as ('greedy',)"),
        ({"level": "hgih"}, "level: 'hgih' is not one of low, high; did you mean 'high'?"),
        ({"centrings": ("none", "position")}, "centrings: 'position' is not one of none, channel"),
        ({"limits": {"greedy": -1.0}}, "limits: -1.0 is not larger than 0"),
    ],
)
def test_python_gets_the_same_refusals(values, message):
    with pytest.raises(ValueError) as error:
        made(**values)
    assert str(error.value) == message


def test_what_a_field_may_be():
    assert "inner" not in INFOS, "it has no help"
    assert [name for name, info in INFOS.items() if info.default is MISSING] == ["out"]
    assert made(count=np.int64(2), seconds=np.float32(0.5), level=None).count == 2
    made().options["x"] = 1
    assert made().options == {}, "a default that can change is not shared"


def test_what_differs_from_the_default_is_written_as_a_command():
    assert command_words(made()) == command_words(made(shown=False)) == ["--out", "o"]
    assert command_words(made(memory=0)) == ["--memory", "0", "--out", "o"]
    chosen = made(
        sizes=(9,),
        limits={"": 1.5, "greedy": 2.0},
        plugins=(Path("/far/a.py"), Path("b.py")),
        fast=True,
        memory=1 << 20,
    )
    words = "--size 9 --plugins a.py --plugins b.py --memory 1M --limits 1.5 --limits greedy=2.0 --fast --out o"
    assert command_words(chosen) == words.split()
