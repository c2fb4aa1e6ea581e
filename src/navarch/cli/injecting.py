"""``inject``: faults put into the made-up sensors of a node on this machine.

The sensors read their faults from a file in the agent's folder, so the command has to run on the
node's own host. It asks the control plane where that is, and refuses everything else: a node whose
sensors are real, and a node elsewhere.
"""

from __future__ import annotations

import math
import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import clock, output
from navarch.cli.parameters import DURATION, LABEL
from navarch.cli.session import Session, connected
from navarch.errors import NavarchError

if TYPE_CHECKING:
    from navarch.agent.sensors.injected import Fault
    from navarch.cli import views

SENSORS_LABEL = "navarch.dev/sensors"
FOLDER_LABEL = "navarch.dev/state-dir"


@click.command("inject")
@click.argument("node")
@click.option("--xid", type=click.IntRange(1, 999), help="The driver logs this XID, once.")
@click.option(
    "--temperature", type=click.IntRange(-50, 200), help="The GPU has so many degrees Celsius."
)
@click.option("--silent", type=DURATION, help="The node says nothing for so long.")
@click.option("--utilization", type=click.FloatRange(0, 100), help="Every GPU is so busy, in %.")
@click.option("--event", help="An event of this type happens, such as ecc_dbe.")
@click.option(
    "--metric",
    "metrics",
    type=LABEL,
    multiple=True,
    metavar="NAME=VALUE",
    help="A number or word of --event.  May be repeated.",
)
@click.option("--clear", is_flag=True, help="All faults are over.")
@click.option(
    "--gpu",
    type=click.IntRange(0, 63),
    help="Which GPU.  [default: 0 for --xid, all for --temperature, none for --event]",
)
@connected
def inject(  # noqa: PLR0913 - click hands over one argument an option
    session: Session,
    *,
    node: str,
    xid: int | None,
    temperature: int | None,
    silent: timedelta | None,
    utilization: float | None,
    event: str | None,
    metrics: tuple[tuple[str, str], ...],
    clear: bool,
    gpu: int | None,
) -> None:
    """Put one fault into a node with injected sensors."""
    if gpu is not None and xid is None and temperature is None and event is None:
        raise click.UsageError("--gpu goes with --xid, --temperature and --event only")
    if metrics and event is None:
        raise click.UsageError("--metric goes with --event only")
    from navarch.agent.sensors import injected

    faults: list[Fault] = []
    if xid is not None:
        faults.append(injected.Xid(code=xid, gpu=gpu or 0))
    if temperature is not None:
        faults.append(injected.Temperature(celsius=temperature, gpu=-1 if gpu is None else gpu))
    if silent is not None:
        faults.append(injected.Silence(duration=silent))
    if utilization is not None:
        faults.append(injected.Utilization(percent=utilization))
    if event is not None:
        numbers = {name: _number(text) for name, text in metrics}
        faults.append(injected.Happening(event, -1 if gpu is None else gpu, metrics=numbers))
    if clear:
        faults.append(injected.Clear())
    if len(faults) != 1:
        known = "--xid, --temperature, --silent, --utilization, --event and --clear"
        raise click.UsageError(f"say exactly one of {known}")
    injected.inject(_state_folder(session, node), faults[0], now=clock.now())
    _tell(session, node, faults[0])


def _number(text: str) -> str | int | float:
    """Read what looks like a number as one; the rest is words."""
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text


def _tell(session: Session, node: str, fault: Fault) -> None:
    """Say what was injected, in the words of the fault itself."""
    from msgspec import structs, to_builtins

    fields = to_builtins(structs.asdict(fault))
    if output.for_programs(session.output):
        document = {"nodeId": node, "fault": {"kind": type(fault).__name__, **fields}}
        output.document(document, session.output)
        return
    fields.update(fields.pop("metrics", {}))
    told = ", ".join(f"{name} {value}" for name, value in fields.items() if value != "")
    kind = type(fault).__name__.lower()
    output.line(f"{node}: injected {kind}{': ' if told else ''}{told}")


def _state_folder(session: Session, node: str) -> Path:
    """Find the folder of the node's agent; `NavarchError` when it is not ours to write to."""
    from navarch.cli import views

    answer = session.call("GetNode", {"nodeId": node})
    host = views.read(answer.get("node", {}), views.NodeView).metadata
    _demand_injected(node, host)
    folder = Path(host.labels.get(FOLDER_LABEL, ""))
    if not folder.is_absolute():
        raise NavarchError(f"{node} does not say where its agent keeps its state ({FOLDER_LABEL})")
    return folder


def _demand_injected(node: str, host: views.MetadataView) -> None:
    sensors = host.labels.get(SENSORS_LABEL, "")
    if sensors != "injected":
        what = f"are {sensors}" if sensors else "are not known to be injected"
        raise NavarchError(
            f"the sensors of {node} {what}; faults go into injected sensors only, never into"
            " real hardware"
        )
    here = socket.gethostname()
    if host.hostname != here:
        there = host.hostname or "an unknown host"
        raise NavarchError(f"{node} runs on {there}, this is {here}; run the command there")
