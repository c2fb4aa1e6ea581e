"""The command that stands between a rack of agents and the control plane."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from navarch.cli.parameters import DURATION, HOST_PORT
from navarch.cli.token_files import read_token

FILE = click.Path(path_type=Path)
TOKEN_VARIABLE = "NAVARCH_RELAY_TOKEN"  # noqa: S105 - the name of a variable, not what is in it


@click.command("relay")
@click.option(
    "--server",
    "servers",
    required=True,
    multiple=True,
    metavar="URL",
    help="The control plane; may be repeated, the next one is tried when one is away.",
)
@click.option(
    "--listen",
    type=HOST_PORT,
    default="127.0.0.1:50052",
    show_default=True,
    help="Where agents reach it; :PORT is every interface.",
)
@click.option(
    "--token-file", type=FILE, help=f"Holds an operator's token.  [default: ${TOKEN_VARIABLE}]"
)
@click.option(
    "--interval",
    type=DURATION,
    default="1s",
    show_default=True,
    help="How often heartbeats go up.",
)
@click.option(
    "--nodes-max",
    type=click.IntRange(min=1, max=100_000),
    default=20_000,
    show_default=True,
    help="Nodes it speaks for; calls of further ones are passed on one by one.",
)
@click.option("--tls-cert", type=FILE, help="The certificate that agents are shown.")
@click.option("--tls-key", type=FILE, help="The key of --tls-cert.")
@click.option("--client-ca", type=FILE, help="Who signs the certificates that agents must show.")
@click.option("--server-ca", type=FILE, help="Trusted on the way up, in the place of the system's.")
@click.option("--server-cert", type=FILE, help="The relay's certificate, shown on the way up.")
@click.option("--server-key", type=FILE, help="The key of --server-cert.")
@click.pass_context
def relay(  # noqa: PLR0913 - click hands over one argument an option
    context: click.Context,
    *,
    servers: tuple[str, ...],
    listen: tuple[str, int],
    token_file: Path | None,
    interval: timedelta,
    nodes_max: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    server_ca: Path | None,
    server_cert: Path | None,
    server_key: Path | None,
) -> None:
    """Speak for the agents of a rack: their heartbeats go up together."""
    _together(("--tls-cert", tls_cert), ("--tls-key", tls_key))
    _together(("--server-cert", server_cert), ("--server-key", server_key))
    if client_ca is not None and tls_cert is None:
        raise click.UsageError("--client-ca goes with --tls-cert and --tls-key")
    from navarch import wiring
    from navarch.relay.settings import RelaySettings, UpwardTls, read_pem
    from navarch.wire.certificates import Tls

    tls = None
    if tls_cert is not None and tls_key is not None:
        tls = Tls(str(tls_cert), str(tls_key), str(client_ca) if client_ca else None)
    settings = RelaySettings(
        servers=servers,
        host=listen[0],
        port=listen[1],
        token=read_token(token_file, variable=TOKEN_VARIABLE, expected="an operator's token"),
        interval=interval,
        nodes_max=nodes_max,
        tls=tls,
        upward_tls=UpwardTls(read_pem(server_ca), read_pem(server_cert), read_pem(server_key)),
    )
    context.exit(wiring.run_relay(settings))


def _together(one: tuple[str, Path | None], other: tuple[str, Path | None]) -> None:
    """Refuse half of a pair."""
    if (one[1] is None) != (other[1] is None):
        missing = one[0] if one[1] is None else other[0]
        raise click.UsageError(f"{missing} is missing: a certificate and its key go together")
