"""Notices of clouds that take a spot machine back: asked for every few seconds, told once each.

Facts (read 2026-11-22). Amazon EC2, *Spot Instance interruption notices*: two minutes before a
machine is stopped or terminated, and at once where it hibernates, ``spot/instance-action`` in the
instance metadata holds ``{"action": ..., "time": ...}``; before that it is 404. Whoever waits for
it should look every 5 seconds. IMDSv2 (*Use the Instance Metadata Service*) wants a token that is
fetched with PUT and lives for six hours at most; 401 says that it is not valid any more. Google
Compute Engine, *Preemptible VM instances*: ``instance/preempted`` becomes TRUE when the machine is
about to be stopped, as a rule 30 seconds before that; requests and answers carry
``Metadata-Flavor: Google``. All of these notices are given on a best effort basis.

Rules that hold:

- Only a machine whose firmware says that it belongs to one of these clouds asks anybody, unless a
  setting names the cloud. Elsewhere nothing waits for an address that nobody answers.
- Questions are asked in a thread of their own: no other work of the agent waits for the answer.
- What cannot be understood is no notice. It is logged once, and asked for again.
"""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from navarch.agent.worker import Worker
from navarch.core.model.report import HealthEvent
from navarch.errors import ConfigError, NavarchError
from navarch.telemetry.log import Log

log = Log(__name__)

AUTO: Final = "auto"
AWS: Final = "aws"
GCP: Final = "gcp"
OFF: Final = "off"
CHOICES: Final = (AUTO, AWS, GCP, OFF)
"""What may be asked of a watch: to find out which cloud it is in, one of them, or nothing."""

EVENT_TYPE: Final = "interruption"

VENDORS: Final = {"Amazon EC2": AWS, "Google": GCP}
"""What the firmware calls the maker of the machine. EC2's older machines, on Xen, say ``Xen``."""

VENDOR_BYTES_MAX: Final = 256
ANSWER_BYTES_MAX: Final = 4096
"""The longest answer that is read; a notice has less than 100 bytes, a token 56."""

TOKEN: Final = re.compile(r"[!-~]{1,1024}")

TOKEN_SECONDS: Final = 21_600
"""How long a token of IMDSv2 is to live: six hours, the longest there is. It is not counted here:
the service says 401 when it is over."""

GOOGLE_NOTICE: Final = timedelta(seconds=30)
"""How long after its notice Google stops a machine, as a rule; the notice names no time."""

ACTION: Final = re.compile(r"[a-z-]{1,32}")


class Metadata(Struct, frozen=True, kw_only=True):
    """Where the notices of a cloud are, and how often they are looked for."""

    vendor_file: Path = Path("/sys/class/dmi/id/sys_vendor")
    """What Linux says of the machine's firmware; a machine without it is in no known cloud."""
    aws_url: str = "http://169.254.169.254"
    gcp_url: str = "http://169.254.169.254"
    """The address behind ``metadata.google.internal``, which asks no name server."""
    every: timedelta = timedelta(seconds=5)
    """How long after an answer to look again: what Amazon asks for, and a sixth of Google's
    notice."""
    time_max: timedelta = timedelta(seconds=1)
    """How long a connection, and each part of an answer, may take: the service is on the host."""


class Unheard(NavarchError):
    """A cloud was asked for a notice, and did not answer with sense."""


class Notice(Struct, frozen=True):
    """A cloud's word that it takes the machine back."""

    cloud: str
    action: str
    """What it does to the machine: ``terminate``, ``stop``, ``hibernate`` or ``preempt``."""
    deadline: datetime
    """When, in UTC; the moment itself where it begins at once."""
    mark: str
    """What is the same each time the same notice is read."""

    def event(self, now: datetime) -> HealthEvent:
        """Say it as an event of the whole node."""
        deadline = self.deadline.astimezone(UTC).isoformat(timespec="seconds")
        deadline = deadline.replace("+00:00", "Z")
        return HealthEvent(
            EVENT_TYPE,
            metrics={"deadline": deadline, "action": self.action, "cloud": self.cloud},
            message=f"{self.cloud} takes this machine back: {self.action} at {deadline}",
            timestamp=now,
        )


class Source(Protocol):
    """Whom to ask."""

    @property
    def cloud(self) -> str:
        """Which cloud it is."""
        ...

    def look(self, now: datetime) -> Notice | None:
        """Ask once; None when nothing is announced. Blocks.

        :raises Unheard: it does not answer, or not with sense
        """
        ...


class AmazonNotices:
    """The notices of Amazon EC2, through IMDSv2."""

    cloud: Final = AWS

    def __init__(self, url: str, time_max: timedelta) -> None:
        """Ask at `url`, without a token so far."""
        self._service = _Service(url, time_max)
        self._token = ""

    def look(self, now: datetime) -> Notice | None:
        """Ask once, and once more with a new token where the old one is refused."""
        had_token = bool(self._token)
        answer = self._ask()
        if answer.status == HTTPStatus.UNAUTHORIZED and had_token:
            self._token = ""
            answer = self._ask()
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._token = ""
            raise Unheard("a token that was just given is refused")
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise Unheard(f"spot/instance-action: HTTP {answer.status}")
        try:
            said = msgspec.json.decode(answer.body, type=_InstanceAction)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            raise Unheard(f"spot/instance-action is not understood: {cause}") from cause
        if said.time.tzinfo is None or ACTION.fullmatch(said.action) is None:
            raise Unheard("spot/instance-action is not understood: its action or its time is odd")
        return Notice(AWS, said.action, said.time, mark=f"{said.action} {said.time.isoformat()}")

    def _ask(self) -> _Answer:
        if not self._token:
            self._token = self._new_token()
        token = {"x-aws-ec2-metadata-token": self._token}
        return self._service.ask("GET", "/latest/meta-data/spot/instance-action", token)

    def _new_token(self) -> str:
        lasting = {"x-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        answer = self._service.ask("PUT", "/latest/api/token", lasting)
        if answer.status != HTTPStatus.OK:
            raise Unheard(f"no token is given: HTTP {answer.status}")
        token = answer.body.decode("ascii", errors="replace").strip()
        if TOKEN.fullmatch(token) is None:
            raise Unheard("what is given as a token is none")
        return token


class GoogleNotices:
    """The notices of Google Compute Engine."""

    cloud: Final = GCP

    def __init__(self, url: str, time_max: timedelta) -> None:
        """Ask at `url`."""
        self._service = _Service(url, time_max)

    def look(self, now: datetime) -> Notice | None:
        """Ask once."""
        path = "/computeMetadata/v1/instance/preempted"
        answer = self._service.ask("GET", path, {"metadata-flavor": "Google"})
        if answer.status != HTTPStatus.OK:
            raise Unheard(f"instance/preempted: HTTP {answer.status}")
        if answer.flavor != "Google":
            raise Unheard("the answer is not from Google's metadata server")
        match answer.body.strip():
            case b"FALSE":
                return None
            case b"TRUE":
                return Notice(GCP, "preempt", now + GOOGLE_NOTICE, mark="preempted")
            case _:
                raise Unheard("instance/preempted is neither TRUE nor FALSE")


class Interruptions:
    """Watches one cloud for notices."""

    def __init__(self, source: Source, *, every: timedelta, now: Callable[[], datetime]) -> None:
        """Ask `source`; the thread starts now, and waits."""
        self.cloud = source.cloud
        self._source = source
        self._every = every
        self._now = now
        self._worker = Worker("agent-interruption")
        self._told = ""
        self._trouble = False

    async def watch(self, tell: Callable[[HealthEvent], None]) -> None:
        """Look for ever, and `tell` each notice once. Cancelling it ends it."""
        log.info("watching_interruptions", cloud=self.cloud)
        while True:
            event = await self.look()
            if event is not None:
                log.warning("interruption_announced", cloud=self.cloud, notice=event.metrics)
                tell(event)
            await asyncio.sleep(self._every.total_seconds())

    async def look(self) -> HealthEvent | None:
        """Look once; None when there is nothing new, or no answer, which is logged once."""
        now = self._now()
        try:
            notice = await self._worker.do(lambda: self._source.look(now))
        except Unheard as error:
            if not self._trouble:
                log.error("interruptions_unheard", cloud=self.cloud, error=str(error))
            self._trouble = True
            return None
        if self._trouble:
            log.info("interruptions_heard_again", cloud=self.cloud)
            self._trouble = False
        mark = notice.mark if notice else ""
        is_new, self._told = mark != self._told, mark
        return notice.event(now) if notice and is_new else None


def make_interruptions(
    choice: str, metadata: Metadata, *, now: Callable[[], datetime]
) -> Interruptions | None:
    """Make the watch that `choice` wants; None when there is nobody to ask.

    :raises ConfigError: `choice` is none of `CHOICES`, or an address is none
    """
    check_interruptions(choice)
    cloud = cloud_of(metadata.vendor_file) if choice == AUTO else choice
    source: Source
    if cloud == AWS:
        source = AmazonNotices(metadata.aws_url, metadata.time_max)
    elif cloud == GCP:
        source = GoogleNotices(metadata.gcp_url, metadata.time_max)
    else:
        return None
    return Interruptions(source, every=metadata.every, now=now)


def check_interruptions(choice: str) -> None:
    """Refuse a word that means nothing.

    :raises ConfigError: `choice` is none of `CHOICES`
    """
    if choice not in CHOICES:
        text = f"{choice!r} is none of {', '.join(CHOICES)}"
        raise ConfigError(text, key="interruptions")


def cloud_of(vendor_file: Path) -> str:
    """Tell which cloud this machine is in, by its firmware; empty when it is in none of these."""
    try:
        with vendor_file.open("rb") as opened:
            vendor = opened.read(VENDOR_BYTES_MAX).decode("ascii", errors="replace").strip()
    except OSError:
        return ""  # a container or a machine without firmware: nobody is asked
    return VENDORS.get(vendor, "")


class _InstanceAction(Struct):
    action: str
    time: datetime


class _Answer(Struct, frozen=True):
    status: int
    body: bytes
    flavor: str
    """The header ``Metadata-Flavor``; empty where there was none."""


class _Service:
    """A metadata service; every request has a connection of its own, and no proxy."""

    def __init__(self, url: str, time_max: timedelta) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as cause:
            raise ConfigError(f"{url!r} is no address: {cause}") from cause
        if parts.scheme != "http" or not host:
            raise ConfigError(f"{url!r} is no address of a metadata service, expected http://…")
        self._host = host
        self._port = port or 80
        self._time_max = time_max

    def ask(self, method: str, path: str, headers: dict[str, str]) -> _Answer:
        """Make one request.

        :raises Unheard: there was no whole answer, or a longer one than is read
        """
        connection = http.client.HTTPConnection(
            self._host, self._port, timeout=self._time_max.total_seconds()
        )
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            body = response.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException, ValueError) as cause:
            why = str(cause) or type(cause).__name__
            raise Unheard(f"{method} {path}: {why}") from cause
        finally:
            connection.close()
        if len(body) > ANSWER_BYTES_MAX:
            raise Unheard(f"{method} {path}: an answer above {ANSWER_BYTES_MAX} bytes")
        return _Answer(response.status, body, response.getheader("metadata-flavor", ""))
