"""An HTTP API: one address, one kind of credentials, deadlines and limits.

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
import re
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
from navarch.peers.unanswered import Unanswered
from navarch.telemetry import redaction

BYTES_MAX: Final = 32 * 1024 * 1024
"""The longest answer that is read: 250 pods of 64 KB are half of it."""

OF_URL: Final = re.compile(r" for url \(\S*\)")
"""How the library names the address in an error."""

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
            pair = f"{self.username}:{secret_of_environment(self.password_env)}"
            return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        if self.token_env:
            return {"authorization": f"Bearer {secret_of_environment(self.token_env)}"}
        if self.token_file:
            return {"authorization": f"Bearer {secret_of_file(self.token_file)}"}
        return {}


class Answer(Struct, frozen=True):
    """What came back of a request, whatever its status says."""

    status: int
    body: bytes
    """The beginning, up to the limit that was asked for."""
    is_cut: bool
    """Whether there was more."""
    retry_after: str = ""
    """The header of that name; empty where there was none."""


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
        called = self.url + path
        async with ending(called, deadline), await self._request(path, query) as response:
            await self._demand_ok(path, response)
            return await self._whole(path, response)

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        deadline: timedelta | None = None,
        called: str = "",
    ) -> Answer:
        """Make a request and return the answer of any status; one that is too long is cut.

        `path` may carry a query, encoded. `called` stands for the address in errors, where that
        itself holds a secret. Without a `deadline` the caller has one of its own.

        :raises Unanswered: there was no whole answer within `deadline`, or no secret to send
        """
        request = Request(
            method,
            self.url + path,
            Headers([*self._headers().items(), *(headers or {}).items()]),
            body,
        )
        async with (
            ending(called or self.url + path, deadline, is_secret=bool(called)),
            await self._transport.execute(request) as response,
        ):
            start = bytearray()
            async for chunk in response.content:
                start += chunk
                if len(start) > self._bytes_max:
                    break
            return Answer(
                status=response.status,
                body=bytes(start[: self._bytes_max]),
                is_cut=len(start) > self._bytes_max,
                retry_after=response.headers.get("retry-after", ""),
            )

    async def date(self, deadline: timedelta) -> str:
        """Ask what the peer's clock says: the header ``Date`` of whatever it answers.

        Credentials are not sent. Empty where there is no such header.

        :raises Unanswered: there was no answer within `deadline`
        """
        request = Request("GET", self.url + "/", Headers([("accept", "*/*")]))
        async with ending(self.url, deadline), await self._transport.execute(request) as response:
            return response.headers.get("date", "")

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Read an answer line by line while it is being written; the first item is empty.

        The empty first one says that the peer has accepted the request. There is no deadline here:
        whoever waits for the next line sets one.

        :raises Unanswered: it was refused, it broke off within a line, or a line is too long
        """
        called = self.url + path
        async with ending(called, None), await self._request(path, query) as response:
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
        headers = Headers(list(self._headers().items()))
        request = Request("GET", self.url + path, headers, params=list(query.items()))
        return await self._transport.execute(request)

    def _headers(self) -> dict[str, str]:
        return {"accept": "application/json", **self._credentials.header()}

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
async def ending(
    called: str, deadline: timedelta | None, *, is_secret: bool = False
) -> AsyncIterator[None]:
    """End what takes too long, and put every failure of the library into our words.

    The library names the whole address in its errors. Where that `is_secret`, they are not even
    kept as the cause, which ends up in logs.
    """
    try:
        async with asyncio.timeout(deadline.total_seconds() if deadline else None):
            yield
    except TimeoutError as cause:
        within = f" within {deadline.total_seconds():g} s" if deadline else ""
        raise Unanswered(f"{called}: no answer{within}") from cause
    except (OSError, ReadError, RemoteProtocolError, WriteError) as cause:
        why = OF_URL.sub("", str(cause)) or type(cause).__name__
        raise Unanswered(f"{called}: {why}") from (None if is_secret else cause)


def secret_of_environment(name: str) -> str:
    """Read a secret from the environment.

    :raises Unanswered: the variable is not set, or empty
    """
    value = os.environ.get(name, "")
    if not value:
        raise Unanswered(f"the environment variable {name} is not set")
    redaction.know(value)
    return value


def secret_of_file(path: str, *, what: str = "token") -> str:
    """Read a secret from a file, without the white space around it; `what` it is, in errors.

    :raises Unanswered: the file cannot be read, is no text, or is empty
    """
    try:
        value = Path(path).read_text().strip()
    except OSError as cause:
        raise Unanswered(f"cannot read the {what} file {path}: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise Unanswered(f"the {what} file {path} is no text") from cause
    if not value:
        raise Unanswered(f"the {what} file {path} is empty")
    redaction.know(value)
    return value
