"""Options declared once: dataclasses whose fields carry help and limits. The command line is made from them.

A class calls `check` in its ``__post_init__``, so that a wrong value is refused in Python as on the command line::

    @dataclass(frozen=True)
    class Options:
        deadline: float = option(60.0, help="Seconds for one solve.", positive=True)
        methods: tuple[str, ...] = option((), help="Only these; default: all.", aliases=("solvers",))

        def __post_init__(self) -> None:
            check(self)

Types: bool (a flag), int, float, str, Path, ``Literal`` (its choices), ``tuple[int, int]`` (a grid, HxW), slice (a range, A:B),
``str | float``, Any (JSON, or else the text), each also optional; tuples ``tuple[X, ...]`` of them; and ``Mapping[str, X]``.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

MISSING = dataclasses.MISSING
# Not inside of brackets: cka[identity,rbf] is one name.
_COMMA = re.compile(r",(?![^\[\]]*\])")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_HINTS = {int: "int", float: "float", str: "str", bool: "flag", Path: "path", slice: "range", tuple[int, int]: "grid"}


class OptionError(ValueError):
    """A value that an option does not take: ``name`` is the field, ``problem`` the value and what is allowed."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name, self.problem = name, problem


def option(default: Any = MISSING, *, help: str, **facts: Any) -> Any:
    """A dataclass field that is an option; keywords are the attributes of `OptionInfo` from ``choices`` on."""
    metadata = {"help": help, **facts}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class OptionInfo:
    """One option as it was declared."""

    field: str  # the dataclass's
    kind: str  # kind of one value: flag, or one of those that `_KINDS` reads
    shape: str  # one, list or mapping
    optional: bool  # None is allowed; ``help`` says what it means
    default: Any  # MISSING where the option must be given
    help: str
    choices: tuple[str, ...] = ()  # all that is allowed; empty where that is not a list
    minimum: float | None = None
    positive: bool = False  # larger than zero
    unit: str = ""  # "bytes": an int that is written like 500M or 4G
    name: str = ""  # on the command line; default: the field's, its words joined by dashes
    short: str = ""
    aliases: tuple[str, ...] = ()
    metavar: str = ""  # what stands for the value in the help
    nameless: bool = False  # an entry of a mapping may come without NAME=; its key is ""
    negatable: bool = False  # a flag can be switched off too: --no-NAME

    @property
    def flag(self) -> str:
        """How it is written on the command line."""
        return f"--{self.name or self.field.replace('_', '-')}"

    @property
    def flags(self) -> tuple[str, ...]:
        """All ways to write it."""
        short = [f"-{self.short}"] if self.short else []
        return (*short, self.flag, *(f"--{name}" for name in self.aliases))

    @property
    def placeholder(self) -> str:
        """What stands for the value in the help."""
        if self.metavar:
            return self.metavar
        one = f"[{'|'.join(self.choices)}]" if self.choices else _KINDS[self.kind].metavar
        if self.shape == "mapping":
            return f"NAME={one}"
        return f"{one},..." if self.shape == "list" and self.kind != "path" else one

    @property
    def allowed(self) -> str:
        """The limits of one value in words; "" where there are none."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return "larger than 0" if self.positive else "" if self.minimum is None else f"at least {self.minimum:g}"

    def check(self, value: Any) -> None:
        """Raise `OptionError` where the option does not take the value."""
        if value is None and self.optional:
            return
        if self.shape == "list" and isinstance(value, str):
            raise OptionError(self.field, f"{value!r} is one value; give several, such as ({value!r},)")
        whole = self.kind != "float"
        for item in value.values() if self.shape == "mapping" else value if self.shape == "list" else (value,):
            problem = ""
            if self.choices and item not in self.choices:
                near = difflib.get_close_matches(str(item), self.choices, n=1)
                problem = self.allowed + (f"; did you mean {near[0]!r}?" if near else "")
            elif self.kind in ("int", "float", "bytes"):
                if isinstance(item, bool) or not hasattr(item, "__index__" if whole else "__float__"):
                    problem = "a whole number" if whole else "a number"
                elif (self.positive and item <= 0) or (self.minimum is not None and item < self.minimum):
                    problem = self.allowed
                elif not math.isfinite(item):
                    problem = "finite"
            if problem:
                raise OptionError(self.field, f"{item!r} is not {problem}")

    def parse(self, text: str) -> Any:
        """Value of one word of the command line: a tuple for a list, a dict of one entry for a mapping; or `OptionError`."""
        if self.shape == "mapping":
            name, equals, rest = text.rpartition("=") if self.nameless else text.partition("=")
            if not equals and not self.nameless:
                raise OptionError(self.field, f"{text!r} is not {self.placeholder}")
            return {name: self._parse_one(rest)}
        if self.shape == "list":
            words = [text] if self.kind == "path" else [word.strip() for word in _COMMA.split(text) if word.strip()]
            if not words:
                raise OptionError(self.field, "an empty list selects nothing; leave the option out instead")
            return tuple(map(self._parse_one, words))
        return self._parse_one(text)

    def _parse_one(self, text: str) -> Any:
        try:
            return _KINDS[self.kind].parse(text)
        except ValueError:
            raise OptionError(self.field, f"{text!r} is not {_KINDS[self.kind].expected}") from None

    def text(self, value: Any) -> str:
        """A value as it is written on the command line."""
        if self.shape == "mapping":
            return ",".join(f"{name}={item}" if name else str(item) for name, item in value.items())
        one = _KINDS[self.kind].text
        return ",".join(map(one, value)) if self.shape == "list" else one(value)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(text)
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _size_text(size: int) -> str:
    unit = next(u for u in reversed(_UNITS) if size % _UNITS[u] == 0) if size else ""
    return f"{size // _UNITS[unit]}{unit}"


def _grid(text: str) -> tuple[int, int]:
    height, width = map(int, text.lower().split("x"))
    return height, width


def _range(text: str) -> slice:
    low, high = (int(end) if end else None for end in text.split(":"))
    return slice(low, high)


def _range_text(part: slice) -> str:
    return ":".join("" if end is None else str(end) for end in (part.start, part.stop))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class _Kind(NamedTuple):
    parse: Callable[[str], Any]  # reads a word; ValueError where it is not what is expected
    metavar: str
    expected: str
    text: Callable[[Any], str] = lambda value: str(value).removesuffix(".0") if isinstance(value, float) else str(value)


_KINDS = {
    "flag": _Kind(bool, "", "a flag"),
    "int": _Kind(int, "N", "a whole number"),
    "float": _Kind(float, "NUMBER", "a number"),
    "str": _Kind(str, "NAME", "a name"),
    "path": _Kind(Path, "PATH", "a path"),
    "bytes": _Kind(_size, "SIZE", "a size such as 500M or 4G", _size_text),
    "grid": _Kind(_grid, "HxW", "a grid HxW, such as 14x14", lambda grid: "x".join(map(str, grid))),
    "range": _Kind(_range, "A:B", "a range A:B, such as 0:100", _range_text),
    "value": _Kind(_value, "VALUE", "a value"),
}


def describe(cls: type) -> tuple[OptionInfo, ...]:
    """The options of a dataclass, in order; a field without ``help`` is none."""
    key: Any = cls
    return _described(key)


@functools.cache
def _described(cls: Any) -> tuple[OptionInfo, ...]:
    hints = typing.get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        if "help" in field.metadata:
            default = field.default if field.default_factory is MISSING else field.default_factory()
            kind, shape, optional, choices = _kind(hints[field.name])
            kind = field.metadata.get("unit") or kind
            found.append(OptionInfo(field.name, kind, shape, optional, default, **{**choices, **field.metadata}))
    return tuple(found)


def _kind(hint: Any) -> tuple[str, str, bool, dict[str, Any]]:
    """Kind, shape, whether None is allowed, and choices of a type."""
    arguments, origin = typing.get_args(hint), typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        rest = [a for a in arguments if a is not type(None)]
        kind, shape, _, choices = _kind(rest[0]) if len(rest) == 1 else ("value", "one", False, {})
        return kind, shape, len(rest) < len(arguments), choices
    if origin is tuple and arguments[1] is ...:
        kind, _, _, choices = _kind(arguments[0])
        return kind, "list", False, choices
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _kind(arguments[1])[0], "mapping", False, {}
    if origin is typing.Literal:
        return "str", "one", False, {"choices": arguments}
    return _HINTS.get(hint, "value"), "one", False, {}


def check(options: Any) -> None:
    """Check every option of an instance; `OptionError` is a ValueError with its name, the value and what is allowed."""
    for info in describe(type(options)):
        info.check(getattr(options, info.field))


def command_words(options: Any) -> list[str]:
    """The options that are not the default, as words of a command line; paths without their folders, which differ elsewhere."""
    words = []
    for info in describe(type(options)):
        value = getattr(options, info.field)
        if value is not None and value is not False and value != info.default:  # 0 is a value
            apart = [{k: v} for k, v in value.items()] if info.shape == "mapping" else [value]
            if info.kind == "path":
                apart = [(path.name,) for path in value] if info.shape == "list" else [value.name]
            words += [info.flag] if info.kind == "flag" else [w for part in apart for w in (info.flag, info.text(part))]
    return words
