"""The command ``node-token``: how a machine that nobody bought gets a token of its own."""

from __future__ import annotations

import os
from pathlib import Path

import click

from navarch.cli import output
from navarch.errors import ConfigError

FOLDER = click.Path(path_type=Path)


@click.command("node-token")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@click.option(
    "--data",
    type=FOLDER,
    required=True,
    help="The control plane's data folder, which has node-tokens.key.",
)
@click.option(
    "--out", type=FOLDER, help="Write a file for each node there.  [default: print the token]"
)
def node_token(nodes: tuple[str, ...], data: Path, out: Path | None) -> None:
    """Make the tokens of nodes, for agents on machines that were not bought by Navarch.

    A token is for its node alone and is the same each time. Several nodes need --out.
    """
    from navarch.core.model.ids import NODE_ID
    from navarch.wire.auth import mint_node_token
    from navarch.wiring.parts import fleet_secret

    if out is None and len(nodes) > 1:
        raise click.UsageError("several nodes need --out FOLDER: a file for each")
    for node in nodes:
        if not NODE_ID.fullmatch(node) or (out is not None and "/" in node):
            what = "the id of a node" if out is None else "an id that a file can be named by"
            raise click.BadParameter(f"{node!r} is not {what}", param_hint="'NODE'")
    if not (data / "node-tokens.key").exists():
        message = "is not there; the control plane makes it when it starts for the first time"
        raise ConfigError(message, file=str(data / "node-tokens.key"))
    secret = fleet_secret(data)
    for node in nodes:
        token = mint_node_token(secret, node)
        if out is None:
            click.echo(token)
        else:
            _write(out / node, token)
    if out is not None:
        output.note(f"{len(nodes)} tokens written into {out}")


def _write(path: Path, token: str) -> None:
    """Write a token into a file that its owner alone may read."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{token}\n")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", file=str(path)) from error
