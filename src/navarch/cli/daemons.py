"""Commands that stay: everything on this machine, the control plane, an agent."""

from __future__ import annotations

import shlex
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli.parameters import DURATION, LABEL
from navarch.cli.serving_options import serving_options
from navarch.cli.token_files import read_token

FOLDER = click.Path(path_type=Path)
PORT = click.IntRange(min=0, max=65535)
if TYPE_CHECKING:
    from navarch.agent.settings import Serving

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
@click.option("--serving", is_flag=True, help="Have the local agents run replicas.")
@click.pass_context
def up(
    context: click.Context,
    *,
    config: Path | None,
    nodes: int,
    port: int,
    data: Path,
    heartbeat_interval: timedelta,
    serving: bool,
) -> None:
    """Run a whole fleet on this machine, until Ctrl-C."""
    from navarch import wiring
    from navarch.dashboard import furnish

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
            serving=serving,
            furnish=furnish,
        )
    )


@click.command("server")
@click.option("--config", type=FOLDER, required=True, help="The configuration.")
@click.pass_context
def server(context: click.Context, config: Path) -> None:
    """Run the control plane."""
    from navarch import wiring
    from navarch.dashboard import furnish

    context.exit(wiring.run_server(config, furnish))


# --- agent -------------------------------------------------------------------------------------


class Words(click.ParamType[tuple[str, ...]]):
    """A program and its arguments, as a shell would read them; no shell runs it."""

    name = "command"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read it, or end the program with a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            words = tuple(shlex.split(str(value)))
        except ValueError as error:
            self.fail(f"{value!r} is no command: {str(error).lower()}", param, ctx)
        if not words or not words[0]:
            self.fail("it is empty, expected a program and its arguments", param, ctx)
        return words


WORDS = Words()


@click.command("agent")
@click.option(
    "--server",
    "servers",
    required=True,
    multiple=True,
    metavar="URL",
    help="The control plane; may be repeated where several share a journal: the next one is tried "
    "when one is away or a standby.",
)
@click.option("--node-id", required=True, help="The node's name; an instance's is its id.")
@click.option(
    "--state-dir", type=FOLDER, required=True, help="Where it keeps what must survive a restart."
)
@click.option(
    "--token-file", type=FOLDER, help=f"Holds the node's token.  [default: ${TOKEN_VARIABLE}]"
)
@click.option("--tls-ca", type=FOLDER, help="Certificates to trust, in the place of the system's.")
@click.option("--tls-cert", type=FOLDER, help="The node's certificate, to be shown.")
@click.option("--tls-key", type=FOLDER, help="The key of --tls-cert.")
@click.option("--provider", default="", help="Who sells the machine.")
@click.option("--region", default="", help="Where it is, in the provider's words.")
@click.option("--zone", default="", help="Which part of the region.")
@click.option("--instance-type", default="", help="Which kind, in the provider's words.")
@click.option("--label", "labels", type=LABEL, multiple=True, help="May be repeated.")
@click.option(
    "--sensors",
    type=click.Choice(["real", "injected"]),
    default="real",
    show_default=True,
    help="Who reads the GPUs: driver, kernel log and system, or nobody.",
)
@click.option(
    "--expected-gpus",
    type=click.IntRange(min=0, max=64),
    help="GPUs that have to be there before the node registers.  [default: any number]",
)
@click.option(
    "--kernel-log",
    type=FOLDER,
    default=Path("/dev/kmsg"),
    show_default=True,
    help="What real sensors read XIDs from.",
)
@click.option(
    "--gpu-count",
    type=click.IntRange(min=0, max=64),
    help="GPUs that injected sensors show.  [default: 8]",
)
@click.option("--gpu-type", help="What injected GPUs call themselves.  [default: H100]")
@click.option(
    "--boot-check",
    "boot_checks",
    type=WORDS,
    multiple=True,
    help="Has to end with 0 before the node registers; may be repeated.",
)
@click.option(
    "--boot-check-register-anyway",
    is_flag=True,
    help="Register, as unhealthy, also when the boot check does not pass.",
)
@click.option(
    "--diagnostic",
    type=WORDS,
    help="What run_diagnostic runs, such as dcgmi.  [default: the sensors are read]",
)
@click.option(
    "--diagnostic-time-max",
    type=DURATION,
    default="25m",
    show_default=True,
    help="How long it may take.",
)
@click.option(
    "--allow",
    "allowed",
    type=click.Choice(["gpu_reset", "reboot"]),
    multiple=True,
    help="A command that takes work down; may be repeated.",
)
@click.option(
    "--gpu-reset-command",
    type=WORDS,
    help="Resets {gpu}.  [default: nvidia-smi --gpu-reset -i {gpu}]",
)
@click.option(
    "--reboot-command", type=WORDS, help="Reboots the machine.  [default: systemctl reboot]"
)
@click.option(
    "--interruptions",
    type=click.Choice(["auto", "aws", "gcp", "off"]),
    default="auto",
    show_default=True,
    help="Whose notices that a spot machine ends are looked for; auto asks the firmware.",
)
@click.option(
    "--dry-run-commands",
    is_flag=True,
    help="Carry out no command: refuse each, and say what would be done.",
)
@serving_options
@click.pass_context
def agent(  # noqa: PLR0913 - click hands over one argument an option
    context: click.Context,
    *,
    servers: tuple[str, ...],
    node_id: str,
    state_dir: Path,
    token_file: Path | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    provider: str,
    region: str,
    zone: str,
    instance_type: str,
    labels: tuple[tuple[str, str], ...],
    sensors: str,
    expected_gpus: int | None,
    kernel_log: Path,
    gpu_count: int | None,
    gpu_type: str | None,
    boot_checks: tuple[tuple[str, ...], ...],
    boot_check_register_anyway: bool,
    diagnostic: tuple[str, ...] | None,
    diagnostic_time_max: timedelta,
    allowed: tuple[str, ...],
    gpu_reset_command: tuple[str, ...] | None,
    reboot_command: tuple[str, ...] | None,
    interruptions: str,
    dry_run_commands: bool,
    serving: Serving | None,
) -> None:
    """Run the agent of a node."""
    if sensors != "injected" and (gpu_count is not None or gpu_type is not None):
        raise click.UsageError("--gpu-count and --gpu-type go with --sensors injected only")
    from navarch import wiring
    from navarch.agent.commands import ALLOWED, Means
    from navarch.agent.settings import AgentSettings
    from navarch.wire.trust import trust_of

    means = Means(
        allowed=ALLOWED | set(allowed),
        dry_run=dry_run_commands,
        diagnostic=diagnostic or (),
        diagnostic_time_max=diagnostic_time_max,
        gpu_reset=gpu_reset_command or (),
        reboot=reboot_command or (),
    )
    settings = AgentSettings(
        servers=servers,
        node_id=node_id,
        state_dir=state_dir.absolute(),  # `inject` runs elsewhere and is told this by a label
        token=read_token(token_file, variable=TOKEN_VARIABLE, expected="the node's token"),
        tls=trust_of(ca=tls_ca, cert=tls_cert, key=tls_key),
        provider=provider,
        region=region,
        zone=zone,
        instance_type=instance_type,
        labels=dict(labels),
        sensors=sensors,
        expected_gpus=expected_gpus,
        kernel_log=kernel_log,
        gpu_count=8 if gpu_count is None else gpu_count,
        gpu_type=gpu_type or "H100",
        means=means,
        boot_checks=boot_checks,
        boot_check_register_anyway=boot_check_register_anyway,
        interruptions=interruptions,
        serving=serving,
    )
    context.exit(wiring.run_agent(settings))
