"""Calls that a browser makes: whether the page behind one is ours.

A browser adds what it knows of the person in front of it to every request, whatever page has caused
it: the cookie of a session, and the fact that it runs on this machine. So a request without a token
of its own is believed only when it comes from a page of this very server:

- ``Sec-Fetch-Site``, which no page can forge, has to say ``same-origin``. Where a browser does not
  send it, as to plain HTTP on another machine, ``Origin`` has to be the server's own.
- Where everybody may call (no token is configured), ``Host`` has to be an address or ``localhost``.
  Another name may be one of a stranger's that leads here for the moment ("DNS rebinding"): to the
  browser that stranger's page is of this server then.

Programs send neither header, and are not held to this; nor is whoever shows a token, for a browser
does not send one that it was not told.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from navarch.errors import WireError

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})

Headers = Iterable[tuple[bytes, bytes]]


def check(method: str, headers: Headers, *, scheme: str, everybody: bool) -> None:
    """Refuse what a page of another origin has caused.

    `everybody`: whether callers without a token are let in. Raises `WireError` with
    ``permission_denied``. Cost: O(headers).
    """
    said = {name: value.decode("latin-1").lower() for name, value in headers if name in _HEADERS}
    if b"authorization" in said:
        return
    host, origin = said.get(b"host", ""), said.get(b"origin")
    if everybody and host and (origin is not None or method in SAFE_METHODS):
        _check_host(host)
    site = said.get(b"sec-fetch-site")
    if site is not None:
        visits = method in SAFE_METHODS and said.get(b"sec-fetch-mode") == "navigate"
        if site == "same-origin" or visits or (site == "none" and method in SAFE_METHODS):
            return
        raise _refused(f"a page of another origin has caused this request ({site})")
    if origin is not None and origin != f"{scheme}://{host}":
        raise _refused("a page of another origin has caused this request")


def _check_host(host: str) -> None:
    """Refuse a name that may lead here for a moment only."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name == "localhost" or name.endswith(".localhost"):
        return
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        raise _refused(
            f"Host {host[:100]!r}: without tokens only an address or localhost is served"
        ) from None


_HEADERS: Final = frozenset(
    {b"authorization", b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode"}
)


def _refused(why: str) -> WireError:
    return WireError("permission_denied", why)
