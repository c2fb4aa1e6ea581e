"""Commands that stay: everything on this machine, the control plane, an agent."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import click

from navarch.cli.parameters import DURATION, LABEL
from navarch.errors import ConfigError

FOLDER = click.Path(path_type=Path)
PORT = click.IntRange(min=0, max=65535)
TOKEN_VARIABLE = "NAVARCH_NODE_TOKEN"  # noqa: S105 - the name of a variable, not what is in it


@click.command("up")
@click.option(
    "--config",
    type=FOLDER,
    help="Its providers and pools take the place of the local pool of --nodes.",
)
@click.option(
    "--nodes", type=click.IntRange(min=0, max=1000), default=3, show_default=True, help="How many."
)
@click.option("--port", type=PORT, default=50051, show_default=True, help="0 is any free one.")
@click.option(
    "--data",
    type=FOLDER,
    default=Path(".navarch"),
    show_default=True,
    help="The folder of the fleet; the same one carries on with the same fleet.",
)
@click.option(
    "--heartbeat-interval",
    type=DURATION,
    default="2s",
    show_default=True,
    help="How often agents speak; three missed mean lost.",
)
@click.pass_context
def up(
    context: click.Context,
    *,
    config: Path | None,
    nodes: int,
    port: int,
    data: Path,
    heartbeat_interval: timedelta,
) -> None:
    """Run a whole fleet on this machine, until Ctrl-C."""
    from navarch import wiring

    if heartbeat_interval < timedelta(seconds=1) or heartbeat_interval % timedelta(seconds=1):
        message = "agents count in whole seconds, from 1s"
        raise click.BadParameter(message, param_hint="'--heartbeat-interval'")
    context.exit(
        wiring.run_up(
            nodes=nodes,
            port=port,
            data=data,
            config=config,
            heartbeat_interval=heartbeat_interval,
        )
    )


@click.command("server")
@click.option("--config", type=FOLDER, required=True, help="The configuration.")
@click.pass_context
def server(context: click.Context, config: Path) -> None:
    """Run the control plane."""
    from navarch import wiring

    context.exit(wiring.run_server(config))


@click.command("agent")
@click.option("--server", required=True, metavar="URL", help="The control plane.")
@click.option("--node-id", required=True, help="The node's name; an instance's is its id.")
@click.option(
    "--state-dir", type=FOLDER, required=True, help="Where it keeps what must survive a restart."
)
@click.option(
    "--token-file", type=FOLDER, help=f"Holds the node's token.  [default: ${TOKEN_VARIABLE}]"
)
@click.option("--provider", default="", help="Who sells the machine.")
@click.option("--region", default="", help="Where it is, in the provider's words.")
@click.option("--zone", default="", help="Which part of the region.")
@click.option("--instance-type", default="", help="Which kind, in the provider's words.")
@click.option("--label", "labels", type=LABEL, multiple=True, help="May be repeated.")
@click.option(
    "--sensors",
    type=click.Choice(["injected"]),
    default="injected",
    show_default=True,
    help="Who reads the GPUs.",
)
@click.option(
    "--gpu-count",
    type=click.IntRange(min=0, max=64),
    default=8,
    show_default=True,
    help="GPUs that injected sensors show.",
)
@click.option(
    "--gpu-type",
    default="H100",
    show_default=True,
    help="What injected GPUs call themselves.",
)
@click.pass_context
def agent(  # noqa: PLR0913 - click hands over one argument an option
    context: click.Context,
    *,
    token_file: Path | None,
    labels: tuple[tuple[str, str], ...],
    server: str,
    node_id: str,
    state_dir: Path,
    provider: str,
    region: str,
    zone: str,
    instance_type: str,
    sensors: str,
    gpu_count: int,
    gpu_type: str,
) -> None:
    """Run the agent of a node."""
    token = _token(token_file)
    from navarch import wiring

    context.exit(
        wiring.run_agent(
            server=server,
            node_id=node_id,
            # `inject` runs in another folder and is told this one by a label.
            state_dir=state_dir.absolute(),
            token=token,
            provider=provider,
            region=region,
            zone=zone,
            instance_type=instance_type,
            labels=dict(labels),
            sensors=sensors,
            gpu_count=gpu_count,
            gpu_type=gpu_type,
        )
    )


def _token(file: Path | None) -> str | None:
    """Fetch the node's token; None when there is none, which open control planes accept."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the token cannot be read: {reason}", file=str(file)) from error
    if not text:
        raise ConfigError("is empty, expected the node's token", file=str(file))
    return text
