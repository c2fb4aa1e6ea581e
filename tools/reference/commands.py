"""The page of all commands, from the parser that reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import click

from navarch.cli.main import cli
from reference.marking import NOTICE, prose, table

PAGE: Final = "commands.md"


def commands(root: click.Group = cli) -> dict[str, click.Command]:
    """Collect all commands by how they are called, such as ``navarch pool scale``."""
    return dict(_below("navarch", root))


def _below(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from _below(f"{path} {name}", found)


def options(command: click.Command) -> list[click.Option]:
    """Return the options that help shows, but ``--help`` itself."""
    return [each for each in command.params if isinstance(each, click.Option) and not each.hidden]


def spelt(option: click.Option) -> str:
    """Write an option as one types it."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag or option.count else f"{names} {_value(option)}"


def _value(parameter: click.Parameter) -> str:
    context = click.Context(click.Command("navarch"))
    return parameter.make_metavar(context).removesuffix("...")


def of_callers(root: click.Group = cli) -> dict[str, click.Option]:
    """Return the options of every command that asks a control plane, by name."""
    own = {each.name or "": each for each in options(root)}
    return {name: each for name, each in own.items() if name != "version"}


def page(root: click.Group = cli) -> str:
    """Write the page."""
    shared = of_callers(root)
    parts = [
        NOTICE,
        "# Commands\n",
        (
            "Every command and every option, as `--help` tells them. What ends a command with"
            " which code is in [exit codes](exit-codes.md).\n"
        ),
        "## Options of all commands that ask a control plane\n",
        "They stand before the command or behind it; behind wins.\n",
        table(("option", "means"), map(_row, shared.values())),
    ]
    for path, command in commands(root).items():
        if command is not root:
            parts.append(_chapter(path, command, shared))
    return "\n".join(parts)


def _chapter(path: str, command: click.Command, shared: dict[str, click.Option]) -> str:
    level = "##" if path.count(" ") == 1 else "###"
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *(each for each in command.collect_usage_pieces(context) if each)])
    lines = [f"{level} `{path}`\n", _help(command), f"```text\n{usage}\n```\n"]
    if isinstance(command, click.Group) and not command.invoke_without_command:
        return "\n".join(lines)
    asks = [
        each.name
        for each in options(command)
        if each.name in shared and each.help == shared[each.name].help
    ]
    own = [each for each in options(command) if each.name not in asks]
    lines.append(table(("option", "means"), map(_row, own)))
    if len(asks) == len(shared):
        lines.append("It asks a control plane, and takes the options of all that do.\n")
    elif asks:
        names = ", ".join(f"`{spelt(shared[name or ''])}`" for name in asks)
        lines.append(f"It also takes {names}.\n")
    return "\n".join(each for each in lines if each)


def _row(option: click.Option) -> tuple[str, str]:
    context = click.Context(click.Command("navarch"))
    record = option.get_help_record(context)
    assert record is not None, f"{option.opts}: hidden"
    text = record[1]
    if not option.is_flag and isinstance(option.type, click.Choice):
        text = f"{text} One of {', '.join(f'`{each}`' for each in option.type.choices)}."
        return f"`{', '.join(option.opts)}`", _plain(text)
    return f"`{spelt(option)}`", _plain(text)


def _plain(text: str) -> str:
    return re.sub(r"\[(default|env|required|[-\dx])", r"\\[\1", prose(text))


def _help(command: click.Command) -> str:
    text = (command.help or "").replace("\b", "")
    return re.sub(r"\n {2,}(?=\S)", "\n", prose(text)) + "\n"
