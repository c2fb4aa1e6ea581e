"""The program ``navarch``: its commands, and what its exit codes mean.

==== =====================================================================================
0    done
1    refused or failed; one line on stderr says what, to what, and what to do. Without a line:
     whoever read the output has left, as `head` does
2    wrong usage; one line on stderr
130  ended by Ctrl-C
==== =====================================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from navarch.cli import (
    autoscaling,
    commands,
    configuration,
    daemons,
    events,
    explaining,
    guardrails,
    injecting,
    instances,
    joining,
    leading,
    nodes,
    observing,
    output,
    plugins,
    policies,
    pools,
    providers,
    relaying,
    resources,
    session,
    simulating,
    stores,
)
from navarch.cli.top import command as top_command
from navarch.errors import ConfigError, NavarchError, WireError
from navarch.version import VERSION

INTERRUPTED = 130

HINTS = {
    "unauthenticated": "; say who calls with --token or NAVARCH_AUTH_TOKEN",
    "permission_denied": "; a token of a higher role is needed",
    "deadline_exceeded": "; --timeout waits longer",
}
"""What to do about a refusal, by Connect code."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, message="%(prog)s %(version)s")
@session.options
def cli() -> None:
    """Keep a fleet of GPU nodes right-sized and healthy.

    `navarch up` runs a whole fleet on this machine; `navarch list` then shows its nodes.
    """


@cli.command("version")
def version() -> None:
    """Print the version of this program."""
    click.echo(VERSION)


for _command in (
    *(daemons.up, daemons.server, daemons.agent, relaying.relay),
    *(nodes.list_nodes, nodes.get_node),
    *(nodes.cordon, nodes.uncordon, nodes.drain, nodes.terminate, nodes.clear),
    *(commands.reset, commands.reboot, commands.diagnose, policies.policy),
    *(injecting.inject, instances.instance, pools.pool, providers.provider),
    *(leading.leader, top_command.top, joining.node_token),
    *(events.show_events, explaining.explain, configuration.config, autoscaling.autoscale),
    *(resources.apply, resources.get_resource, resources.delete),
    *(plugins.plugin, simulating.simulate, guardrails.guardrail, stores.store_group),
    observing.monitoring,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; without `arguments`, those of the process."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            output.note(f"cannot write the output: {error.strerror or error}")
        output.silence_stdout()
        return 1
    return code


def _run(arguments: Sequence[str] | None) -> int:
    """Run one command; what it raises on purpose becomes a line and a code."""
    try:
        code = cli.main(args=arguments, prog_name="navarch", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        output.note(_usage(error))
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except ConfigError as error:
        output.mistake(error)
        return 1
    except NavarchError as error:
        output.note(_failure(error))
        return 1
    return code if isinstance(code, int) else 0


def _usage(error: click.ClickException) -> str:
    """Say on one line what is wrong with the arguments, and where help is."""
    text = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{text}; see {context.command_path} --help" if context else text


def _failure(error: NavarchError) -> str:
    """Say on one line what failed, and what to do where that is known."""
    if isinstance(error, WireError):
        refused = isinstance(error.__cause__, ConnectionRefusedError)
        hint = " `navarch up` starts one" if refused else HINTS.get(error.code, "")
        return f"{error.message}{hint}"
    return str(error)


if __name__ == "__main__":
    raise SystemExit(main())
