"""The process of a relay: it serves until a signal says stop, and sends what is left."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import zlib
from collections.abc import Callable
from datetime import datetime

import uvloop

from navarch.relay.app import Application
from navarch.relay.counting import Counts
from navarch.relay.flushing import Flushing
from navarch.relay.gathering import Gathering
from navarch.relay.roster import Roster
from navarch.relay.settings import RelaySettings
from navarch.relay.uplink import Uplink
from navarch.telemetry.log import Log
from navarch.version import VERSION
from navarch.wire import listener
from navarch.wire.certificates import Certificates

log = Log(__name__)


def run_relay(settings: RelaySettings, now: Callable[[], datetime]) -> None:
    """Run a relay until SIGTERM or SIGINT; `now` tells the time with its zone.

    Raises `ConfigError` when it cannot begin.
    """
    settings.check()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, now))


async def _serve(settings: RelaySettings, now: Callable[[], datetime]) -> None:
    certificates = None if settings.tls is None else Certificates(settings.tls, now)
    listening = listener.bind(settings.host, settings.port)
    try:
        uplink = Uplink(settings)
        held, roster, counts = Gathering(), Roster(settings.nodes_max), Counts()
        flushing = Flushing(
            uplink,
            held,
            roster,
            counts,
            token=settings.token,
            interval=settings.interval.total_seconds(),
            spread=_spread(),
        )
        application = Application(uplink, flushing, held, roster, counts)
        if certificates is not None:
            application.more_metrics = certificates.metrics
        server = listener.EmbeddedServer(
            listener.config(
                application,
                tls=None if certificates is None else certificates.context,
                connections_max=settings.nodes_max + MORE,
            )
        )
        listening.listen(BACKLOG)
        _say_where(listening, settings)
        await _until_told(server, flushing, listening, certificates)
        await uplink.close()
    finally:
        listening.close()


MORE = 1_000
"""Connections beyond one a node: of nodes that connect anew, and of whoever looks at pages."""

BACKLOG = 2_048
"""Connections that may wait to be taken: a whole rack comes at once after an outage."""


async def _until_told(
    server: listener.EmbeddedServer,
    flushing: Flushing,
    listening: socket.socket,
    certificates: Certificates | None,
) -> None:
    """Serve until a signal, then send what is left. Raises what a part ended with."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="serving")
    sending = asyncio.create_task(flushing.run(), name="flushing")
    waiting = asyncio.create_task(told.wait(), name="signals")
    watching = None
    if certificates is not None:
        watching = asyncio.create_task(certificates.watch(), name="certificates")
    done, _ = await asyncio.wait({serving, sending, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if watching is not None:
        watching.cancel()
    log.info("stopping", because="it was told to")
    server.should_exit = True
    await serving  # what is under way is answered, and may still bring heartbeats
    flushing.stop()
    await sending
    await flushing.finish()
    for task in done - {waiting}:
        task.result()


def _say_where(listening: socket.socket, settings: RelaySettings) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    log.info(
        "relaying",
        address=shown,
        server=",".join(settings.servers),
        version=VERSION,
        pid=os.getpid(),
    )


def _spread() -> float:
    """This relay's chance: relays of one fleet do not come back together."""
    return zlib.crc32(f"{socket.gethostname()}/{os.getpid()}".encode()) / 2**32
