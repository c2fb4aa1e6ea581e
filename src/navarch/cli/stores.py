"""Commands about the journal itself: is it whole, and how does it get from one store to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from navarch.cli import output
from navarch.cli.session import output_format, output_option
from navarch.errors import ConfigError

FILE = click.Path(path_type=Path)
TOLD_EVERY = 100_000
"""Facts after which long work says how far it is."""

_Command = Callable[..., Any]


def store_options(command: _Command) -> _Command:
    """Add the two ways to say which store is meant."""
    for option in (
        click.option("--config", type=FILE, help="The store that this configuration names."),
        click.option("--store", help="sqlite:///FILE or postgresql://USER@HOST/DATABASE."),
    ):
        command = option(command)
    return command


@click.group("store")
def store_group() -> None:
    """Check the journal, and carry it from one store to another."""


@store_group.command("check")
@store_options
@output_option
@click.pass_context
def check(context: click.Context, store: str | None, config: Path | None) -> None:
    """Read every fact and snapshot, fold them, and say what is damaged.

    Only reads, also while a control plane writes. The exit code is 1 when something is wrong.
    """
    import asyncio

    from navarch.wiring import journals

    checked = asyncio.run(journals.check(_place(store, config), _teller("checked")))
    if output.for_programs(output_format(context)):
        content = {
            "store": checked.store,
            "sound": checked.sound,
            "facts": checked.facts,
            "last_seq": checked.last,
            "findings": [
                {"what": each.what, "sound": each.sound, "text": each.text}
                for each in checked.findings
            ],
        }
        output.document(content, output_format(context))
    else:
        for each in checked.findings:
            output.line(f"{'ok' if each.sound else 'BAD'}  {each.what}: {each.text}")
        output.line(f"{checked.store}: {'sound' if checked.sound else 'damaged'}")
    context.exit(0 if checked.sound else 1)


@store_group.command("export")
@store_options
@click.argument("file", type=FILE)
def export(store: str | None, config: Path | None, file: Path) -> None:
    """Write the journal to one FILE that any store can be filled from.

    Only reads, also while a control plane writes. A name that ends in .gz is compressed.
    """
    import asyncio

    from navarch.wiring import journals

    head = asyncio.run(journals.export(_place(store, config), file, _teller("exported")))
    count = head.last - head.first + 1
    output.line(f"{file}: {count} facts, {head.first} to {head.last}")


@store_group.command("import")
@store_options
@click.argument("file", type=FILE)
def import_file(store: str | None, config: Path | None, file: Path) -> None:
    """Fill an empty store from a FILE that `store export` has written.

    All of it or nothing. A store that has facts already is refused.
    """
    import asyncio

    from navarch.wiring import journals

    last = asyncio.run(journals.import_(_place(store, config), file, _teller("imported")))
    output.line(f"{file}: imported, the last fact is {last}")


def _place(store: str | None, config: Path | None) -> str:
    """Return which store is meant, as the wiring takes it."""
    from navarch.config.load import examine
    from navarch.config.values import parse_store
    from navarch.wiring import parts

    if (store is None) == (config is None):
        raise click.UsageError("name the store: either --store URL or --config FILE")
    if config is not None:
        found = examine(config)
        if found.config is None:
            raise found.faults[0]
        return parts.store_of(found.config.store)
    assert store is not None
    try:
        return parts.store_of(parse_store(store))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--store'") from error
    except ConfigError as error:
        raise click.BadParameter(error.message, param_hint="'--store'") from error


def _teller(verb: str) -> Callable[[int, int], None]:
    """Return what tells on standard error how far long work is."""
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if done - told >= TOLD_EVERY:
            told = done
            output.note(f"{verb} {done:,} of {total:,} facts")

    return tell
