"""A group of commands that imports a command's module on first use."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """Group made from a table; a mistyped verb is answered with the nearest one.

    Parameters
    ----------
    table : mapping of name to (module, attribute, help)
        The help line is shown without importing the module.
    gone : mapping of name to str
        Verbs of earlier versions, and what to say instead of them.
    """

    def __init__(
        self, *args: Any, table: Mapping[str, tuple[str, str, str]], gone: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.table, self.gone = table, gone

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.table and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.table, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Verbs: {', '.join(self.table)}."
            raise click.UsageError(f"there is no verb {args[0]!r}. {self.gone.get(args[0], hint)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self.table.items()])
