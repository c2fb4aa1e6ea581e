"""The command ``top``: draws on the terminal where there is one, and prints where there is none."""

from __future__ import annotations

import importlib.util
import os
import sys

import click

from navarch.cli import output
from navarch.cli.session import Session, connected
from navarch.errors import NavarchError


@click.command("top")
@click.option("--once", is_flag=True, help="Print one plain screen and end.")
@click.option("--pool", default="", help="Begin with the nodes of this pool.")
@click.option("--filter", "words", default="", help="Begin with nodes that show these words.")
@click.option(
    "--nodes",
    "nodes_max",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How many nodes --once prints, what is wrong first.",
)
@connected
def top(session: Session, *, once: bool, pool: str, words: str, nodes_max: int) -> None:
    """Show the fleet in the terminal, live: what is wrong first.

    Without a terminal, or with -o json or yaml, it prints one screen as --once does.
    """
    if once or output.for_programs(session.output) or not _can_draw():
        from navarch.cli.top import once as once_

        once_.show(session, nodes_max=nodes_max, pool=pool, words=words)
        return
    if importlib.util.find_spec("textual") is None:
        message = (
            "navarch top draws with Textual, which is not installed: pip install "
            "'navarch[dashboard]'; or print one screen with --once"
        )
        raise NavarchError(message)
    from navarch.cli.top.app import run

    run(session, pool=pool, words=words)


def _can_draw() -> bool:
    """Whether keys can be read and the screen be drawn on."""
    term = os.environ.get("TERM", "")
    return sys.stdin.isatty() and sys.stdout.isatty() and term not in ("", "dumb")
