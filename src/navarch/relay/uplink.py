"""Calls to the control plane, at whichever of its addresses answers.

A call is tried at each address once at most, within one deadline. All calls that agents make may be
made twice, so one whose answer was lost is made again elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from pyqwest import (
    Client,
    Headers,
    HTTPTransport,
    ReadError,
    RemoteProtocolError,
    WriteError,
)

from navarch.errors import ConfigError
from navarch.peers.endpoint import OF_URL
from navarch.relay.settings import RelaySettings
from navarch.relay.verdicts import Reply, tries_elsewhere
from navarch.wire.asgi import SERVICE

CALL_SECONDS_MAX: Final = 9.0
"""How long a call may take over all addresses: agents wait for ten."""

CALLS_MAX: Final = 1_000
"""Calls under way at one time; a control plane of one core answers no more in a second."""

IDLE_SECONDS_MAX: Final = 60.0
"""How long connections are kept: not as long as a control plane does, so that it is not us who
find one closed."""

IDLE_CONNECTIONS_MAX: Final = 64

_DROPPED: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "te"}
)
"""Headers that belong to a connection, or that our own server writes."""


class Away(Exception):
    """No address of the control plane has answered; the text says why."""


class Busy(Exception):
    """Too many calls are under way."""


class Uplink:
    """The way to the control plane."""

    def __init__(self, settings: RelaySettings) -> None:
        """Connect nothing yet. Raises `ConfigError` for a certificate that cannot be used."""
        self.servers = settings.servers
        self.chosen = 0
        """The index of the address that is asked first."""
        self.underway = 0
        files = settings.upward_tls
        try:
            transport = HTTPTransport(
                tls_ca_cert=files.ca_pem,
                tls_include_system_certs=files.ca_pem is None,
                tls_cert=files.cert_pem,
                tls_key=files.key_pem,
                connect_timeout=CALL_SECONDS_MAX,
                pool_idle_timeout=IDLE_SECONDS_MAX,
                pool_max_idle_per_host=IDLE_CONNECTIONS_MAX,
                enable_gzip=False,
                enable_brotli=False,
                enable_zstd=False,
                follow_redirects=False,
                enable_otel=False,
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot be used: {error}", key="server-ca") from error
        self._transport = transport
        self._client = Client(transport)

    async def call(
        self,
        method: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        always: bool = False,
    ) -> Reply:
        """Make a call, and return the answer of whoever gave one.

        An answer by which an address says that it cannot serve is returned when no other one did
        better. Raises `Away` when nobody answered in time, and `Busy` when too many calls are under
        way, unless this one is made `always`.
        """
        if self.underway >= CALLS_MAX and not always:
            raise Busy
        self.underway += 1
        try:
            return await self._call(method, Headers(headers), body)
        finally:
            self.underway -= 1

    async def close(self) -> None:
        """Give up the connections."""
        await self._transport.aclose()

    async def _call(self, method: str, headers: Headers, body: bytes) -> Reply:
        loop = asyncio.get_running_loop()
        ends = loop.time() + CALL_SECONDS_MAX
        last: Reply | None = None
        problem = ""
        first = self.chosen
        for tried in range(len(self.servers)):
            index = (first + tried) % len(self.servers)
            url = self.servers[index]
            share = (ends - loop.time()) / (len(self.servers) - tried)
            try:
                async with asyncio.timeout(share):
                    reply = await self._post(url, method, headers, body)
            except TimeoutError:
                problem = f"{url} did not answer within {share:.0f} s"
            except (OSError, ReadError, RemoteProtocolError, WriteError) as error:
                problem = f"{url}: {_words(error)}"
            else:
                if not tries_elsewhere(reply):
                    self._choose(index, first)
                    return reply
                last = reply
        self._choose((first + 1) % len(self.servers), first)
        if last is not None:
            return last
        raise Away(problem)

    def _choose(self, index: int, first: int) -> None:
        """Ask this address first from now on, unless another call has chosen meanwhile."""
        if self.chosen == first:
            self.chosen = index

    async def _post(self, url: str, method: str, headers: Headers, body: bytes) -> Reply:
        path = f"{url.rstrip('/')}/{SERVICE.full_name}/{method}"
        answer = await self._client.post(path, headers, body)
        passed = tuple(
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in _items(answer.headers)
            if name not in _DROPPED
        )
        length = (b"content-length", str(len(answer.content)).encode())
        return Reply(answer.status, (*passed, length), answer.content)


def _items(headers: Headers) -> Iterable[tuple[str, str]]:
    return ((name.lower(), value) for name, value in headers.items())


def own_headers(token: str | None) -> Mapping[str, str]:
    """The headers of a call that the relay makes for itself."""
    headers = {
        "content-type": "application/proto",
        "connect-protocol-version": "1",
        "accept-encoding": "identity",
        "user-agent": "navarch-relay",
    }
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return headers


def _words(error: Exception) -> str:
    return OF_URL.sub("", str(error)) or type(error).__name__
