"""The command line's options, made from the dataclasses that the functions take."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import click

from semrsm_bench.core.options import MISSING, OptionError, OptionInfo, check, describe, option


@dataclass(frozen=True)
class OutputOptions:
    """What many verbs have; each leaves out what it has no use for."""

    results: Path = option(Path("results"), help="Folder of all runs.")
    json: bool = option(False, help="JSON on standard output.")
    quiet: bool = option(False, help="No progress bars; `run` prints only its folder.")


@dataclass(frozen=True)
class PluginOptions:
    """Options of verbs that load plugins."""

    plugins: tuple[Path, ...] = option((), help="File that registers methods or tasks; repeatable.", name="plugin")


@dataclass(frozen=True)
class DataOptions:
    """Where data is looked for."""

    data: Path | None = option(
        None,
        help="Cache, file of arrays or folder; default: $SEMRSM_BENCH_DATA, the checkout's, the user's, or the package's.",
    )


class Word(click.ParamType):  # type: ignore[type-arg]
    """A word of the command line, read as its option says."""

    def __init__(self, info: OptionInfo) -> None:
        self.info, self.name = info, info.kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a list or a mapping where the option holds several."""
        try:
            return self.info.parse(value)
        except OptionError as error:
            self.fail(error.problem, param, ctx)


def options_from(*, leave_out: Collection[str] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of the dataclasses that the function's annotations name; it is called with instances of them.

    Fields that several classes have alike are one option; those in ``leave_out`` keep their default. TypeError: two options that
    are not alike have one name.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        hints = typing.get_type_hints(function)
        taken: dict[str, Any] = {name: hint for name, hint in hints.items() if name != "return" and is_dataclass(hint)}
        infos: dict[str, OptionInfo] = {}
        flags: dict[str, str] = {}
        for info in (info for cls in taken.values() for info in describe(cls) if info.field not in leave_out):
            clashes = [flag for flag in info.flags if flags.setdefault(flag, info.field) != info.field]
            if infos.setdefault(info.field, info) != info or clashes:
                raise TypeError(f"{function.__name__}: two different options {info.flag}")

        @functools.wraps(function)
        def command(**given: Any) -> Any:
            values = {field: joined(info, given.pop(field)) for field, info in infos.items()}
            return function(**given, **{name: made(cls, values, infos) for name, cls in taken.items()})

        # Where click looks for them, the last one first.
        vars(command)["__click_params__"] = [click_option(info) for info in reversed(infos.values())]
        return command

    return decorate


def click_option(info: OptionInfo, *, raw: bool = False) -> click.Option:
    """The option as click has it; ``raw`` keeps its words as they were written, all of them, for several readers."""
    # Limits of 0 and 1 are not printed.
    said = [info.allowed if (info.minimum or 0) > 1 else ""]
    if info.default not in (MISSING, None, (), {}, False):
        said.insert(0, f"default: {info.text(info.default)}")
    text = "; ".join(filter(None, said))
    help_text = f"{info.help}  [{text}]" if text else info.help
    facts: dict[str, Any] = {"help": help_text, "required": info.default is MISSING}
    if info.kind == "flag":
        facts |= {"is_flag": True, "default": None}
    else:
        facts |= {"type": str if raw else Word(info), "metavar": info.placeholder}
        facts |= {"multiple": raw or info.shape != "one"}
    flags = list(info.flags)
    if info.negatable:
        flags[-1] += f"/--no-{info.flag.removeprefix('--')}"
    return click.Option([info.field, *flags], **facts)


def joined(info: OptionInfo, value: Any) -> Any:
    """The words of a repeatable option in one; MISSING where it was not given."""
    if value is None or value == ():
        return MISSING
    if info.shape == "mapping":
        return {name: item for part in value for name, item in part.items()}
    return tuple(item for part in value for item in part) if info.shape == "list" else value


def made(cls: type, values: Mapping[str, Any], infos: Mapping[str, OptionInfo]) -> Any:
    """An instance from the values by field, MISSING ones left to their defaults; bad ones end in a usage error."""
    fields = {info.field for info in describe(cls)}
    try:
        found = cls(**{field: value for field, value in values.items() if field in fields and value is not MISSING})
        check(found)
        return found
    except OptionError as error:
        hint = infos[error.name].flag if error.name in infos else error.name
        raise click.BadParameter(error.problem, param_hint=hint) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
