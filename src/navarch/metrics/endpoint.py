"""An HTTP API that is read: one address, one kind of credentials, deadlines and limits.

It stands on pyqwest, which the RPC client needs anyway: it is asynchronous, so that a deadline ends
a request instead of leaving a thread behind with it, and it streams, so that an answer is measured
while it arrives. The standard library's client can do neither.

Rules that hold:

- Every failure is an `Unanswered` that names the address and never the credentials.
- Credentials are read anew for each request, since both kinds of file rotate under us.
- A redirect is an error: it would carry the credentials to somebody else.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final

from msgspec import Struct
from pyqwest import (
    Headers,
    HTTPTransport,
    ReadError,
    RemoteProtocolError,
    Request,
    Response,
    WriteError,
)

from navarch.errors import ConfigError
from navarch.metrics.base import Unanswered

BYTES_MAX: Final = 32 * 1024 * 1024
"""The longest answer that is read: 250 pods of 64 KB are half of it."""

EXCERPT_BYTES: Final = 300
"""How much of a refusal is quoted."""


class Credentials(Struct, frozen=True, kw_only=True):
    """Where the secret of an API is found, and who vouches for it; empty means that none is needed.

    Only places are kept here, never the secrets, so that this may be printed.
    """

    token_env: str = ""
    """The environment variable that holds a bearer token."""

    token_file: str = ""
    """The file that holds a bearer token, as Kubernetes mounts it."""

    username: str = ""
    """The user of basic authentication."""

    password_env: str = ""
    """The environment variable that holds that user's password."""

    ca_file: str = ""
    """The file of certificates that vouch for the API's own; empty: those of the system."""

    def __post_init__(self) -> None:
        """Refuse two kinds at once, and half of one.

        :raises ConfigError: it is not clear which one is meant
        """
        if bool(self.username) != bool(self.password_env):
            raise ConfigError("username and password_env belong together: give both or none")
        if sum(map(bool, (self.token_env, self.token_file, self.username))) > 1:
            raise ConfigError("give one of token_env, token_file and username, not several")

    def header(self) -> dict[str, str]:
        """Read the secret and return the header that carries it; empty where none is needed.

        :raises Unanswered: the place is empty or cannot be read
        """
        if self.username:
            pair = f"{self.username}:{_from_environment(self.password_env)}"
            return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        if self.token_env:
            return {"authorization": f"Bearer {_from_environment(self.token_env)}"}
        if self.token_file:
            return {"authorization": f"Bearer {_from_file(self.token_file)}"}
        return {}


class Endpoint:
    """One HTTP API. Made outside of any event loop, used in one."""

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """Speak to `url`, of which no answer may have more than `bytes_max`.

        :raises ConfigError: `url` is none, or the file of certificates cannot be read
        """
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{url!r} is no address: expected http://… or https://…")
        self.url = url.rstrip("/")
        self._credentials = credentials or Credentials()
        self._bytes_max = bytes_max
        ca_file = self._credentials.ca_file
        try:
            authority = Path(ca_file).read_bytes() if ca_file else None
            self._transport = HTTPTransport(
                tls_ca_cert=authority,
                tls_include_system_certs=authority is None,
                follow_redirects=False,
                enable_otel=False,
            )
        except (OSError, ValueError) as cause:
            raise ConfigError(f"cannot use ca_file {ca_file}: {cause}") from cause

    async def get(self, path: str, query: Mapping[str, str], deadline: timedelta) -> bytes:
        """Read a whole answer.

        :raises Unanswered: none within `deadline`, too long, or not 200; the latter has a status
        """
        async with self._ending(path, deadline), await self._request(path, query) as response:
            await self._demand_ok(path, response)
            return await self._whole(path, response)

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Read an answer line by line while it is being written; the first item is empty.

        The empty first one says that the peer has accepted the request. There is no deadline here:
        whoever waits for the next line sets one.

        :raises Unanswered: it was refused, it broke off within a line, or a line is too long
        """
        async with self._ending(path, None), await self._request(path, query) as response:
            await self._demand_ok(path, response)
            yield b""
            rest = bytearray()
            async for chunk in response.content:
                rest += chunk
                *complete, last = rest.split(b"\n")
                for line in complete:
                    yield bytes(line)
                rest = last
                if len(rest) > self._bytes_max:
                    raise Unanswered(f"{self.url}{path}: a line above {self._bytes_max} bytes")
            if rest.strip():
                raise Unanswered(f"{self.url}{path}: the answer broke off within a line")

    async def close(self) -> None:
        """Give up the connections. Another request afterwards fails."""
        await self._transport.aclose()

    async def _request(self, path: str, query: Mapping[str, str]) -> Response:
        headers = {"accept": "application/json", **self._credentials.header()}
        request = Request(
            "GET", self.url + path, Headers(list(headers.items())), params=list(query.items())
        )
        return await self._transport.execute(request)

    async def _demand_ok(self, path: str, response: Response) -> None:
        if response.status == HTTPStatus.OK:
            return
        start = bytearray()
        async for chunk in response.content:
            start += chunk
            if len(start) >= EXCERPT_BYTES:
                break
        said = " ".join(start[:EXCERPT_BYTES].decode(errors="replace").split())
        raise Unanswered(
            f"{self.url}{path}: HTTP {response.status}: {said}", status=response.status
        )

    async def _whole(self, path: str, response: Response) -> bytes:
        content = bytearray()
        async for chunk in response.content:
            content += chunk
            if len(content) > self._bytes_max:
                raise Unanswered(f"{self.url}{path}: an answer above {self._bytes_max} bytes")
        return bytes(content)

    @asynccontextmanager
    async def _ending(self, path: str, deadline: timedelta | None) -> AsyncIterator[None]:
        """End what takes too long, and put every failure of the library into our words."""
        try:
            async with asyncio.timeout(deadline.total_seconds() if deadline else None):
                yield
        except TimeoutError as cause:
            within = f" within {deadline.total_seconds():g} s" if deadline else ""
            raise Unanswered(f"{self.url}{path}: no answer{within}") from cause
        except (OSError, ReadError, RemoteProtocolError, WriteError) as cause:
            raise Unanswered(f"{self.url}{path}: {str(cause) or type(cause).__name__}") from cause


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise Unanswered(f"the environment variable {name} is not set")
    return value


def _from_file(path: str) -> str:
    try:
        value = Path(path).read_text().strip()
    except OSError as cause:
        raise Unanswered(f"cannot read the token file {path}: {cause.strerror}") from cause
    if not value:
        raise Unanswered(f"the token file {path} is empty")
    return value
