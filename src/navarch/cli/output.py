"""How answers are written: tables for people, one document for programs.

Text from the fleet is written by strangers: a node chooses its host name, an operator the reason.
Nothing of it reaches a terminal with its control characters. Programs get the API's JSON as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import click

GAP = "  "
ABSENT = "-"
"""What stands in a table where there is nothing, so that columns can be counted."""


def document(content: object, output: str) -> None:
    """Write one document, as ``json`` or ``yaml``."""
    if output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)
        return
    import json

    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def for_programs(output: str) -> bool:
    """Tell whether a document is wanted instead of a table."""
    return output in {"json", "yaml"}


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, each column as wide as its widest cell."""
    cells = [[plain(cell) or ABSENT for cell in row] for row in rows]
    lines = [list(headers), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(GAP.join(padded).rstrip())


def block(pairs: Iterable[tuple[str, str]]) -> None:
    """Write names and values, one pair a line; pairs without a value are left out."""
    kept = [(name, plain(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in kept), default=0) + 1
    for name, value in kept:
        click.echo(f"{name + ':':<{width}}{GAP}{value}")


def line(text: str) -> None:
    """Write one line of text that may hold a stranger's words."""
    click.echo(plain(text))


def note(text: str) -> None:
    """Tell people something that is no part of the answer."""
    click.echo(f"navarch: {plain(text)}", err=True)


def mistake(error: Exception) -> None:
    """Tell of a mistake in a file; below its line may be a drawing of the place."""
    first, *drawing = str(error).split("\n")
    note(first)
    for drawn in drawing:
        click.echo(plain(drawn), err=True)


def plain(text: str) -> str:
    r"""Keep text on one line and away from the terminal's controls.

    >>> plain("red \x1b[31m alert\n")
    'red \\x1b[31m alert\\n'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def age(moment: datetime | None, now: datetime) -> str:
    """Say how long ago a time was, in its largest unit; ``never`` when there is none.

    A time in the future, by a clock that is ahead of ours, is 0 seconds ago.
    """
    if moment is None:
        return "never"
    passed = max(now - moment, timedelta())
    units = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))
    for unit, length in units:
        if passed >= length * (2 if unit == "m" else 1):
            return f"{passed // length}{unit} ago"
    return f"{passed // timedelta(seconds=1)}s ago"


def stamp(moment: datetime | None) -> str:
    """Write a time to the second, in UTC; empty when there is none."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def silence_stdout() -> None:
    """Stop writing after the reader has left, so that nothing is flushed into a closed pipe."""
    import os

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
