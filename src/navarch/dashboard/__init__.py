"""The dashboard: what people see of a fleet in a browser, served by the control plane at ``/``.

::

    site      which path is answered by what: the page, its parts, sessions, views, the stream
    shelf     the files of `assets`, as they are sent
    seen      what a view may look at
    rows      every machine as one row, with its state in one word
    stream    what changes, sent to everybody who looks
    past      what charts need: read off the journal, and noted as it happens
    reports   the reports of simulations in a folder
    views     one module for each page: what it shows, as JSON
    parts     what views of pools and of cost are put together from

The pages themselves are ES modules in `assets`, served as they are; the words for all of it are in
docs/dashboard.md. Nothing here changes the fleet: what people do on the page are the same calls
that every other program makes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from navarch.controlplane.control_plane import ControlPlane
from navarch.dashboard.past.kept import Past
from navarch.dashboard.reports import Reports
from navarch.dashboard.seen import seen_of
from navarch.dashboard.site import Site
from navarch.telemetry.log import Log
from navarch.wire.asgi import Application

__all__ = ["Site", "furnish"]

log = Log(__name__)


def furnish(
    control_plane: ControlPlane,
    application: Application,
    data: Path,
    reports: Path | None = None,
) -> Callable[[], Awaitable[None]]:
    """Have an application show the dashboard of a control plane that has started.

    `data` is the folder of the fleet, `reports` the one with reports of simulations; None:
    ``reports`` in the folder of the fleet. Returns what ends it. To be called in the loop of the
    control plane.
    """
    past = Past(control_plane.pool_manager.demand, Reports(reports or data / "reports"))
    site = Site(lambda: seen_of(control_plane, data, past), application)
    application.face = site
    keeping = asyncio.create_task(past.keep(control_plane), name="dashboard")
    keeping.add_done_callback(_told)

    async def end() -> None:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await site.close()

    return end


def _told(keeping: asyncio.Task[None]) -> None:
    if not keeping.cancelled() and (error := keeping.exception()) is not None:
        log.error("readings_not_kept", raised=error)
