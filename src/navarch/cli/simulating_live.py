"""``simulate run --serve`` and ``simulate interactive``: a simulated fleet while people use it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import output
from navarch.cli.scenario_files import read_scenario
from navarch.errors import ConfigError, NavarchError

if TYPE_CHECKING:
    from navarch.config.values import Address
    from navarch.simulator.scenarios.running import Outcome, Run

LISTEN = "127.0.0.1:0"
PROMPT = "> "
LINE_MAX = 10_000
"""Characters of one command."""


def serve_run(run: Run, listen: str | None, speed: float | None) -> Outcome:
    """Serve a run until Ctrl-C, and return what had come of it by then."""
    import asyncio

    import uvloop

    from navarch.config.values import parse_address
    from navarch.wire.listener import is_loopback

    try:
        address = parse_address(listen or LISTEN)
    except ValueError as error:
        message = f"{listen!r} is no address, expected HOST:PORT: {error}"
        raise click.BadParameter(message, param_hint="'--listen'") from error
    if not is_loopback(address.host):
        message = (
            f"{address} can be reached by others, and everybody who calls is admin here: listen "
            "on 127.0.0.1"
        )
        raise ConfigError(message, key="--listen")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(run, address, 1.0 if speed is None else speed))
    return run.so_far()


async def _serve(run: Run, address: Address, speed: float) -> None:
    import asyncio
    import signal

    from navarch.controlplane.clock import RealClock
    from navarch.simulator import serving
    from navarch.simulator.scenarios.passing import Passing
    from navarch.wire import listener

    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    listening = listener.bind(address.host, address.port)
    try:
        host, port = listening.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        simulated = serving.Simulated(run.twin)
        passing = Passing(run)
        click.echo(f"{run.scenario.name}, seed {run.twin.dice.seed}, is served at {url}")
        click.echo(f"  next    navarch -s {url} list    (Ctrl-C here ends it)")
        sys.stdout.flush()
        await serving.serve(
            passing,
            simulated,
            RealClock(),
            listening=listening,
            told=told,
            speed=speed,
            tell=_tell,
        )
    finally:
        listening.close()


def _tell(text: str) -> None:
    for line in text.split("\n"):
        output.note(line)


@click.command("interactive")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0, 2**53), help="Where chance begins.")
@click.pass_context
def interactive(context: click.Context, file: Path, seed: int | None) -> None:
    """Live through a scenario by commands, one a line; `help` names them.

    Ends with 1 if a command failed that came from a file or a pipe.
    """
    from navarch.simulator.interactive import Prompt

    scenario = read_scenario(context, file)
    prompt = Prompt(scenario, seed)
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        import readline  # noqa: F401 - gives `input` its history

        output.line(f"{scenario.name}, seed {prompt.seed}; `help` names the commands")
    failed = False
    while not prompt.is_over:
        line = _line(is_terminal=is_terminal)
        if line is None:
            break
        try:
            for told in prompt.obey(line):
                output.line(told)
        except NavarchError as error:
            failed = True
            output.mistake(error)
        sys.stdout.flush()
    context.exit(1 if failed and not is_terminal else 0)


def _line(*, is_terminal: bool) -> str | None:
    """Read the next command; None at the end."""
    if is_terminal:
        try:
            return input(PROMPT)
        except EOFError:
            return None
    try:
        line = sys.stdin.readline(LINE_MAX)
    except UnicodeDecodeError as error:
        raise NavarchError(f"standard input is not UTF-8: byte {error.start}") from error
    return line or None
