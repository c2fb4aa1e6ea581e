"""The dashboard: what people see of a fleet in a browser, served by the control plane at ``/``.

::

    site      which path is answered by what: the page, its parts, sessions, views, the stream
    shelf     the files of `assets`, as they are sent
    seen      what a view may look at
    rows      every machine as one row, with its state in one word
    stream    what changes, sent to everybody who looks
    views     one module for each page: what it shows, as JSON

The pages themselves are ES modules in `assets`, served as they are; the words for all of it are in
docs/dashboard.md. Nothing here changes the fleet: what people do on the page are the same calls
that every other program makes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from navarch.controlplane.control_plane import ControlPlane
from navarch.dashboard.seen import seen_of
from navarch.dashboard.site import Site
from navarch.wire.asgi import Application

__all__ = ["Site", "furnish"]


def furnish(
    control_plane: ControlPlane, application: Application, data: Path
) -> Callable[[], Awaitable[None]]:
    """Have an application show the dashboard of a control plane that has started.

    `data` is the folder of the fleet. Returns what ends it.
    """
    site = Site(lambda: seen_of(control_plane, data), application)
    application.face = site
    return site.close
