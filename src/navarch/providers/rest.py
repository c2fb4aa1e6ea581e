"""Clouds that are spoken to in JSON over HTTP, with one secret key: what all of them need alike.

A provider of such a cloud says which request means what; here is what makes of a request a call
that keeps the provider contract (`navarch.providers.base`).

Rules that hold:

- The key is read anew for each request, and is in no error: what a cloud says is quoted with the
  key blanked, and an answer that is no error is never quoted at all (it may hold secrets of its
  own).
- A request that changes something and got no clear answer ends in `OutcomeUnknown`. Only where no
  connection was made at all, nothing was done, and that is `Unavailable`.
- A request that only reads ends in `Unavailable` instead.
- Requests go out at the pace the cloud bears, and "too many requests" holds all of them back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from navarch.errors import (
    ConfigError,
    InvalidRequest,
    OutcomeUnknown,
    ProviderError,
    Unauthorized,
    Unavailable,
)
from navarch.peers.endpoint import Answer, Credentials, Endpoint
from navarch.peers.unanswered import Unanswered
from navarch.providers.pace import Now, Pace, throttled

T = TypeVar("T")

QUOTE_LENGTH_MAX: Final = 300
"""How much of what a cloud says is quoted in an error, in characters."""

QUOTED_FROM_MAX: Final = 4096
"""How much of it is looked at for that, in characters."""

HIDDEN_LENGTH_MIN: Final = 8
"""Shorter words of a start-up script are not blanked in quotations: no secret is so short."""

WORD: Final = re.compile(r"[^\s\"'`=:;,\\]+")
"""What is taken as one word, in scripts and in quotations of them."""

RETRY_AFTER_DEFAULT: Final = timedelta(seconds=12)
"""The pause after "too many requests" that does not say how long: Lambda Cloud's longest one."""

RETRY_AFTER_MAX: Final = timedelta(hours=1)
"""A longer pause is cut to this: some limits count by the day, and operators raise them."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Where a key may be sent unencrypted: to a test's double."""

HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""What may stand in a header."""


def api_key(env: str, file: str, *, default: str) -> Credentials:
    """Say where a key is: in the variable `env`, in `file`, or without both in `default`.

    :raises ConfigError: both are given
    """
    if env and file:
        raise ConfigError("give one of api_key_env and api_key_file, not both")
    if file:
        return Credentials(token_file=file)
    return Credentials(token_env=env or default)


class Rest:
    """One account of one cloud. Made outside of any event loop, used in one."""

    def __init__(
        self, name: str, url: str, credentials: Credentials, *, pace: Pace, now: Now
    ) -> None:
        """Speak to `url` for the provider called `name`, no faster than `pace`.

        :raises ConfigError: `url` is none, or would send the key unencrypted
        """
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ConfigError(f"{name}: {url} would send the key unencrypted, expected https://…")
        self.name = name
        self.pace = pace
        self._now = now
        self._credentials = credentials
        self._endpoint = Endpoint(url, credentials=credentials)
        self._key = ""

    async def read(self, path: str, *, deadline: timedelta) -> Answer:
        """Ask for something, which changes nothing; the answer may have any status but 429.

        :raises Unauthorized: there is no key
        :raises Throttled: the pace, or the cloud, says later
        :raises Unavailable: there was no whole answer
        """
        return await self._send("GET", path, b"", deadline, Unavailable)

    async def change(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        deadline: timedelta,
    ) -> Answer:
        """Ask for a change; the answer may have any status but 429.

        :raises Unauthorized: there is no key
        :raises InvalidRequest: `body` cannot be written as JSON
        :raises Throttled: the pace, or the cloud, says later
        :raises Unavailable: no connection was made
        :raises OutcomeUnknown: it was asked, and there was no whole answer
        """
        try:
            content = b"" if body is None else msgspec.json.encode(body)
        except UnicodeEncodeError as cause:
            raise InvalidRequest(f"{self.name}: a text of the request is no Unicode") from cause
        return await self._send(method, path, content, deadline, OutcomeUnknown)

    def parsed(self, answer: Answer, shape: type[T], *, otherwise: type[ProviderError]) -> T:
        """Read an answer that is no error; nothing of it is quoted where it does not fit.

        :raises ProviderError: the kind `otherwise`
        """
        try:
            if answer.is_cut:
                raise otherwise(f"{self.name}: an answer above {len(answer.body)} bytes")
            return msgspec.json.decode(answer.body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            why = str(cause) if isinstance(cause, msgspec.MsgspecError) else type(cause).__name__
            raise otherwise(
                f"{self.name}: HTTP {answer.status} with an answer that does not fit: {why}"
            ) from cause

    def quoted(self, text: str, *, hidden: Collection[str] = ()) -> str:
        """Put what the cloud says into one short line, without the key and the words `hidden`."""
        text = text[:QUOTED_FROM_MAX]
        if self._key:
            text = text.replace(self._key, "***")
        if hidden:
            text = WORD.sub(lambda word: "***" if word[0] in hidden else word[0], text)
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= QUOTE_LENGTH_MAX else f"{line[: QUOTE_LENGTH_MAX - 1]}…"

    async def close(self) -> None:
        """Give up the connections. Another request afterwards fails."""
        await self._endpoint.close()

    async def _send(
        self,
        method: str,
        path: str,
        content: bytes,
        deadline: timedelta,
        unanswered: type[ProviderError],
    ) -> Answer:
        await self.pace.turn(self.name)
        self._read_key()
        headers = {"content-type": "application/json"} if content else {}
        try:
            answer = await self._endpoint.send(
                method, path, body=content, headers=headers, deadline=deadline
            )
        except Unanswered as failure:
            # The library raises `ConnectionError` for what failed before a request was written:
            # names, connections, TLS. What breaks off later has errors of its own.
            is_unsent = isinstance(failure.__cause__, ConnectionError)
            kind = Unavailable if is_unsent else unanswered
            raise kind(f"{self.name}: {failure}") from failure
        if _is_throttled(answer):
            pause = retry_after(answer.retry_after, self._now())
            self.pace.hold(pause)
            said = f"{self.name}: too many requests: HTTP {answer.status} for {method} {path}"
            raise throttled(said, pause) from refusal_of(answer)
        return answer

    def _read_key(self) -> None:
        """Look whether there is a key before the request that needs it."""
        try:
            header = self._credentials.header().get("authorization", "")
        except Unanswered as failure:
            raise Unauthorized(f"{self.name}: {failure}") from failure
        self._key = header.removeprefix("Bearer ")
        if not HEADER_VALUE.fullmatch(self._key):
            raise Unauthorized(f"{self.name}: the key holds a sign that no key has")


def refusal_of(answer: Answer) -> Unanswered:
    """Make the cause of an error from the answer that led to it. Nothing of it is quoted."""
    return Unanswered(f"HTTP {answer.status}", status=answer.status)


def retry_after(header: str, now: datetime) -> timedelta:
    """Read how long a cloud wants us to wait: seconds or a date (RFC 9110, 10.2.3).

    One that is missing, wrong or past is `RETRY_AFTER_DEFAULT`.
    """
    pause = timedelta()
    if re.fullmatch(r"[0-9]{1,9}", header):
        pause = timedelta(seconds=int(header))
    elif header:
        try:
            until = parsedate_to_datetime(header)
        except (ValueError, TypeError, IndexError, OverflowError):
            until = now
        pause = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
    return min(pause, RETRY_AFTER_MAX) if pause > timedelta() else RETRY_AFTER_DEFAULT


def secrets_of(script: str) -> frozenset[str]:
    """Name the words of a start-up script that may be secrets: the long ones. Costs its length.

    A cloud that refuses a script may quote it, and a script may carry a node's secret.
    """
    return frozenset(word for word in WORD.findall(script) if len(word) >= HIDDEN_LENGTH_MIN)


def _is_throttled(answer: Answer) -> bool:
    """Tell "too many requests", be it said by the cloud or by the proxy before it.

    Cloudflare says it by its error 1015, on a page that is no JSON (the older documents of Lambda
    Cloud describe it, read November 2026). A page is believed with the status 403 as well.
    """
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    start = answer.body[:4096].lower()
    says_so = b"error code: 1015" in start or (b"1015" in start and b"cloudflare" in start)
    return answer.status == HTTPStatus.FORBIDDEN and says_so
