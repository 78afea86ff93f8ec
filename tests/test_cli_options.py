"""The command line is what the dataclasses say."""

import re
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from semrsm_bench.cli import VERBS, cli
from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.core.options import MISSING, check, describe, option
from tests.test_options import Everything


@dataclass(frozen=True)
class Shared:
    data: Path | None = option(None, help="A file.")
    other: int = option(1, help="Of this class alone.", minimum=0)
    eager: bool = option(True, help="On by default.", negatable=True)
    third: int = option(5, help="At least two of them.", minimum=2)

    def __post_init__(self) -> None:
        check(self)
        if self.other == 13:
            raise ValueError("13 brings bad luck")


@click.command()
@click.argument("word")
@options_from()
def command(word: str, first: Everything, second: Shared) -> tuple:
    """Gives back what it got."""
    return word, first, second


def call(words=""):
    return CliRunner().invoke(command, ["w", "--out", "o", *words.split()], standalone_mode=False).return_value


def test_nothing_given_is_the_defaults():
    assert call() == ("w", Everything(out=Path("o")), Shared())


def test_words_reach_the_instances_and_one_option_feeds_two_classes():
    first = "--methods a,b --solvers c --size 4 --size 5,6 --data d -f --plugins p --plugins q"
    _, first, second = call(f"{first} --limits 2 --limits x=3 --options b=[1] --other 0 --no-eager")
    assert first == Everything(
        out=Path("o"),
        methods=("a", "b", "c"),
        sizes=(4, 5, 6),
        data=Path("d"),
        plugins=(Path("p"), Path("q")),
        limits={"": 2.0, "x": 3.0},
        options={"b": [1]},
        fast=True,
    )
    assert second == Shared(Path("d"), 0, eager=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--out o --count 0", r"--count: 0 is not at least 1"),
        ("--out o --count x", r"'--count': 'x' is not a whole number"),
        ("--out o --level lwo", r"--level: 'lwo' is not one of low, high; did you mean 'low'\?"),
        ("--out o --size ,", r"'--size': an empty list selects nothing"),
        ("--out o --other 13", r"13 brings bad luck"),
        ("--out o --othr 1", r"--othr"),
        ("", r"Missing option '--out'"),
    ],
)
def test_a_bad_value_is_exit_code_2_and_names_its_option(words, message):
    done = CliRunner().invoke(command, ["w", *words.split()])
    assert done.exit_code == 2
    assert re.search(message, done.output)


def test_the_help_says_what_the_class_says():
    text = " ".join(CliRunner().invoke(command, ["--help"], max_content_width=200, terminal_width=200).output.split())
    for info in describe(Everything):
        shown = "" if info.default in (MISSING, None, (), {}, False) else info.text(info.default)
        assert f"{', '.join(info.flags)} {info.placeholder}".strip() in text
        assert info.help in text
        if shown:
            assert re.search(rf"{re.escape(info.help)} \[default: {re.escape(shown)}[\];]", text), info
    assert "[default: 5; at least 2]" in text
    assert "Where it goes. [required]" in text


def test_fields_can_be_left_out():
    @click.command()
    @options_from(leave_out=("quiet",))
    def verb(output: OutputOptions):
        return output

    assert [parameter.opts for parameter in verb.params] == [["--results"], ["--json"]]
    done = CliRunner().invoke(verb, ["--results", "x", "--json"], standalone_mode=False)
    assert done.return_value == OutputOptions(Path("x"), json=True)


@dataclass(frozen=True)
class SameField:
    data: Path | None = option(None, help="Another file.")


@dataclass(frozen=True)
class SameFlag:
    file: Path | None = option(None, help="A file.", name="data")


@pytest.mark.parametrize("other", [SameField, SameFlag])
def test_two_options_of_one_name_are_found_when_the_command_is_made(other):
    def function(first, second): ...

    function.__annotations__ = {"first": Shared, "second": other}
    with pytest.raises(TypeError, match="two different options --data"):
        options_from()(function)


def commands(group, context):
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        yield from commands(found, context) if isinstance(found, click.Group) else [(name, found)]


def test_every_verb_has_help_for_each_of_its_options():
    context = click.Context(cli)
    assert cli.list_commands(context) == [*VERBS]
    for name, found in commands(cli, context):
        assert found.help, name
        for parameter in found.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (name, parameter.name)


def test_no_command_has_a_flag_twice():
    for name, found in commands(cli, click.Context(cli)):
        flags = [flag for parameter in found.params for flag in (*parameter.opts, *parameter.secondary_opts)]
        assert len(flags) == len(set(flags)), (name, sorted(flags))
