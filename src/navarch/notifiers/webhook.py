"""Tells a workload system of one's own over HTTP: one POST with a JSON body for each wish.

What is sent and what is expected back is in ``docs/notifiers.md``; ``examples/notifier_webhook.py``
is a receiver.

Rules that hold:

- 2xx is agreement. 4xx is a refusal, but for 408, 425 and 429, which like 5xx, silence and a
  broken connection mean "not now" and are tried again: here a few times within the timeout, after
  that by the caller.
- A plain 404 is a refusal, since it may well be a mistyped address. Only a 404 whose body says
  ``{"error": "unknown_node"}`` means that the receiver does not know the node.
- An action without an address is told to nobody, and counts as agreed.
- A redirect is a refusal: it would carry the signature to somebody else.
- Neither header values, nor the secret, nor the path of an address appears in any text, and where
  a receiver repeats one in its answer it is blanked.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field

from navarch.errors import ConfigError
from navarch.notifiers import base
from navarch.notifiers.base import (
    DrainStatus,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.peers.endpoint import (
    Answer,
    Credentials,
    Endpoint,
    secret_of_environment,
    secret_of_file,
)
from navarch.telemetry import redaction

BYTES_MAX: Final = 64 * 1024
"""How much of an answer is read; nothing that a receiver has to say is longer."""

RETRIES_MAX: Final = 10
"""More than this is the caller's business, who repeats anyway."""

PAUSE_FIRST: Final = timedelta(milliseconds=250)
"""The pause before the first repetition; it doubles."""

SECRET_LENGTH_MIN: Final = 4
"""Shorter header values are not blanked in answers: each ``1`` of them would be."""

AGAIN: Final = frozenset(
    [HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS]
)
"""The 4xx that do not refuse what was asked, but when (RFC 9110; RFC 8470; RFC 6585)."""

HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What RFC 9110 calls a token."""

HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")

OUR_HEADERS: Final = frozenset(
    [
        *("accept", "connection", "content-length", "content-type", "host", "idempotency-key"),
        *("transfer-encoding", "x-navarch-signature", "x-navarch-timestamp"),
    ]
)
"""Headers that a configuration cannot set: they belong to the message."""

Action = Literal["cordon", "uncordon", "drain", "drain_status"]


class WebhookSettings(Struct, frozen=True, kw_only=True):
    """Where each action is told, and how we prove that it is us."""

    cordon_url: str = ""
    """Empty: nobody is told."""
    uncordon_url: str = ""
    drain_url: str = ""
    drain_status_url: str = ""
    """Empty where `drain_url` is not: nobody says when a node is empty, so it never counts as
    drained, and the drain lasts until its deadline."""
    timeout: timedelta = base.TIMEOUT
    """For a whole call, its repetitions included."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every request, such as ``Authorization``. Their values are secrets."""
    secret_env: str = ""
    """The environment variable that holds the secret of signatures."""
    secret_file: str = ""
    """The file that holds it, without the white space around it. Read anew for each request."""
    ca_file: str = ""
    """The file of certificates that vouch for the receiver; empty: those of the system."""
    retries: int = 2
    """How often a request is repeated within one call, 0 to 10."""

    def __post_init__(self) -> None:
        """Refuse what can never work.

        :raises ConfigError: an address, header or number that cannot be used, two places of the
            secret, or no address at all
        """
        for key, url in self.urls().items():
            _demand_url(key, url)
        if not self.urls():
            raise ConfigError("webhook: no address is given; give drain_url, or use type noop")
        if self.drain_status_url and not self.drain_url:
            raise ConfigError("webhook: drain_status_url without drain_url: give both or neither")
        for header, value in self.headers.items():
            _demand_header(header, value)
        if self.secret_env and self.secret_file:
            raise ConfigError("webhook: give one of secret_env and secret_file, not both")
        if not 0 <= self.retries <= RETRIES_MAX:
            raise ConfigError(f"webhook: retries is {self.retries}, expected 0 to {RETRIES_MAX}")
        base.demand_positive(self.timeout)

    def __repr__(self) -> str:
        """Show what is no secret: which actions are told, and the names of the headers."""
        told = ", ".join(self.urls())
        return f"WebhookSettings({told}; headers: {', '.join(self.headers) or 'none'})"

    def urls(self) -> dict[str, str]:
        """The addresses that are given, by key."""
        keys = ("cordon_url", "uncordon_url", "drain_url", "drain_status_url")
        return {key: getattr(self, key) for key in keys if getattr(self, key)}


class Message(Struct, frozen=True, kw_only=True):
    """The body of a request."""

    action: Action
    node_id: str
    hostname: str
    internal_ip: str
    pool: str
    provider: str
    labels: dict[str, str]
    reason: str
    deadline: datetime | None
    """When we shall stop waiting for a drain; null for never, and for other actions."""
    delivery_id: str
    """The same when a delivery is repeated; also in the header ``Idempotency-Key``."""
    sent_at: int
    """Seconds of Unix time; also in the header ``X-Navarch-Timestamp``, but here it is signed."""


class _Refusal(Struct):
    error: str = ""


class _Status(Struct):
    status: Literal["draining", "drained"] | None = None
    drained: bool | None = None
    remaining: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    message: str = ""

    @property
    def done(self) -> bool:
        """Whether all that it says agrees on it; in doubt it is not, since machines end on it."""
        said = [self.status == "drained"] if self.status else []
        said += [] if self.drained is None else [self.drained]
        return all(said) and not self.remaining


class WebhookNotifier:
    """Posts each wish to the address of its action."""

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        name: str = "webhook",
    ) -> None:
        """Tell the addresses of `settings`. `now` stamps requests; `sleep` waits between tries.

        :raises ConfigError: the file of certificates cannot be used
        """
        self.name = name
        self._settings = settings
        self._now = now
        self._sleep = sleep
        self._latest_secret = ""
        redaction.know(*settings.headers.values())
        credentials = Credentials(ca_file=settings.ca_file)
        origins = {_origin(url) for url in settings.urls().values()}
        self._endpoints = {
            origin: Endpoint(origin, credentials=credentials, bytes_max=BYTES_MAX)
            for origin in origins
        }

    async def cordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Post to `cordon_url`, if there is one."""
        await self._tell("cordon", node, reason, intent=intent)

    async def uncordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Post to `uncordon_url`, if there is one; quiet where the node is not known."""
        try:
            await self._tell("uncordon", node, reason, intent=intent)
        except NotifierUnknownNode:
            return  # nothing of ours is held there

    async def drain(
        self,
        node: Workload,
        reason: str,
        deadline: datetime | None,
        *,
        intent: int | None = None,
    ) -> None:
        """Post to `drain_url`, if there is one."""
        await self._tell("drain", node, reason, deadline=deadline, intent=intent)

    async def drained(self, node: Workload) -> DrainStatus:
        """Post to `drain_status_url`; without one, `WebhookSettings` says what is answered."""
        if not self._settings.drain_url:
            return DrainStatus(done=True, text=f"{self.name}: drains are told to nobody")
        if not self._settings.drain_status_url:
            text = f"{self.name}: no drain_status_url: nobody says when, so the deadline does"
            return DrainStatus(done=False, text=text)
        try:
            answer = await self._tell("drain_status", node, "")
        except NotifierUnknownNode as unknown:
            return DrainStatus(done=True, remaining=0, text=str(unknown))
        return self._status(answer)

    async def close(self) -> None:
        """Give up the connections."""
        for endpoint in self._endpoints.values():
            await endpoint.close()

    async def _tell(
        self,
        action: Action,
        node: Workload,
        reason: str,
        *,
        deadline: datetime | None = None,
        intent: int | None = None,
    ) -> Answer:
        url: str = getattr(self._settings, f"{action}_url")
        if not url:
            return Answer(status=HTTPStatus.NO_CONTENT, body=b"", is_cut=False)
        message = Message(
            action=action,
            node_id=node.node_id,
            hostname=node.hostname,
            internal_ip=node.internal_ip,
            pool=node.pool,
            provider=node.provider,
            labels=node.labels,
            reason=base.one_line(reason, base.REASON_MAX),
            deadline=deadline,
            delivery_id=self._delivery_id(action, node, intent),
            sent_at=0,
        )
        async with base.speaking(self._called(action), self._settings.timeout):
            return await self._insist(url, message)

    async def _insist(self, url: str, message: Message) -> Answer:
        """Try again while there are tries and time left."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._settings.timeout.total_seconds()
        for tried in range(self._settings.retries + 1):
            try:
                return await self._post(url, message)
            except NotifierUnavailable as trouble:
                pause = max(PAUSE_FIRST.total_seconds() * (1 << tried), trouble.retry_after or 0.0)
                if tried == self._settings.retries or loop.time() + pause >= ends:
                    raise
            await self._sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _post(self, url: str, message: Message) -> Answer:
        sent_at = int(self._now().timestamp())
        body = msgspec.json.encode(msgspec.structs.replace(message, sent_at=sent_at))
        self._latest_secret = secret = self._secret()
        headers = {
            **self._settings.headers,
            "content-type": "application/json",
            "idempotency-key": message.delivery_id,
            "x-navarch-timestamp": str(sent_at),
        }
        if secret:
            headers["x-navarch-signature"] = signature(secret, body)
        called = self._called(message.action)
        origin = _origin(url)
        async with base.speaking(called, self._settings.timeout):
            answer = await self._endpoints[origin].send(
                "POST", url.removeprefix(origin), body=body, headers=headers, called=origin
            )
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return answer
        raise self._failure(answer, f"{called}: {origin}")

    def _failure(self, answer: Answer, called: str) -> NotifierRefused | NotifierUnavailable:
        quoted = self._quote(answer.body.decode(errors="replace")) or "no word"
        said = f"{called}: HTTP {answer.status}: {quoted}"
        status = answer.status
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in AGAIN:
            pause = base.retry_after(answer.retry_after, self._now())
            return NotifierUnavailable(said, retry_after=pause)
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return NotifierRefused(f"{said} (redirects are not followed)")
        if status == HTTPStatus.NOT_FOUND and _error(answer.body) == "unknown_node":
            return NotifierUnknownNode(said)
        return NotifierRefused(said)

    def _status(self, answer: Answer) -> DrainStatus:
        called = self._called("drain_status")
        try:
            status = msgspec.json.decode(answer.body, type=_Status)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            why = self._quote(str(cause))
            raise NotifierUnavailable(f"{called}: no drain status: {why}") from cause
        if answer.is_cut or (status.status is None and status.drained is None):
            expected = '{"status": "draining" or "drained", "remaining": 3}'
            raise NotifierUnavailable(f"{called}: no drain status, expected {expected}")
        left = "" if status.remaining is None else f", {status.remaining} left"
        said = f": {self._quote(status.message)}" if status.message else ""
        text = f"{'drained' if status.done else 'draining'}{left}{said}"
        return DrainStatus(done=status.done, remaining=status.remaining, text=text)

    def _quote(self, text: str) -> str:
        """Quote an answer, with what we sent and nobody may read blanked."""
        hidden = {self._latest_secret}
        for value in self._settings.headers.values():
            hidden |= {value, *value.split()}
        for value in sorted(hidden, key=len, reverse=True):
            if len(value) >= SECRET_LENGTH_MIN:
                text = text.replace(value, "***")
        return base.one_line(text)

    def _secret(self) -> str:
        """Read the secret of signatures; empty where none is configured."""
        if self._settings.secret_env:
            return secret_of_environment(self._settings.secret_env)
        if self._settings.secret_file:
            return secret_of_file(self._settings.secret_file, what="secret")
        return ""

    def _delivery_id(self, action: Action, node: Workload, intent: int | None) -> str:
        """Name a delivery by its intent, or else by its time: none is to be taken for another."""
        which = f"intent {intent}" if intent is not None else self._now().isoformat()
        text = f"{node.node_id}\0{action}\0{which}"
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]

    def _called(self, action: Action) -> str:
        return f"{self.name}: {action}"


def signature(secret: str, body: bytes) -> str:
    """Sign a body: the value of the header ``X-Navarch-Signature``."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def _error(body: bytes) -> str:
    """Read which error an answer names; empty when it names none."""
    try:
        return msgspec.json.decode(body, type=_Refusal).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _origin(url: str) -> str:
    """Return the part of an address that names the server, and holds no secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _demand_url(key: str, url: str) -> None:
    expected = f"webhook: {key} is no address, expected https://host/path"
    try:
        parts = urlsplit(url)
        is_url = bool(parts.hostname) and parts.port != 0
    except ValueError as cause:
        raise ConfigError(expected) from cause
    if not is_url or not url.startswith(("http://", "https://")):
        raise ConfigError(expected)
    if not url.isprintable() or not url.isascii() or " " in url or "\\" in url:
        raise ConfigError(f"{expected}, with everything else encoded")
    if "@" in parts.netloc or "#" in url:
        raise ConfigError(f"webhook: {key} carries a user or a fragment: use headers for secrets")


def _demand_header(header: str, value: str) -> None:
    if not HEADER_NAME.fullmatch(header):
        raise ConfigError(f"webhook: headers: {header!r} cannot be the name of a header")
    if header.lower() in OUR_HEADERS:
        raise ConfigError(f"webhook: headers: {header} is set by Navarch itself")
    if not HEADER_VALUE.fullmatch(value):
        raise ConfigError(
            f"webhook: headers: the value of {header} is empty, begins or ends with a space, or "
            "holds something else than printable ASCII"
        )
