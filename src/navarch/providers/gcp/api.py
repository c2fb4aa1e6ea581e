"""The REST API of Compute Engine, for one project.

Rules that hold:

- A request that changes something and got no clear answer ends in `OutcomeUnknown`, any other one
  in `Unavailable`. Where no connection was made, nothing was done: `Unavailable`.
- A 401 renews the token once: tokens are taken back before their time.
- A list is whole or an error: every page, and no zone that did not answer.
- What Google says is quoted in one line, without the token and the words of the start-up script,
  which Google likes to repeat when it refuses one.

Paths and parameters: "Compute Engine API v1", cloud.google.com, read November 2026.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    Throttled,
    Unavailable,
)
from navarch.peers.endpoint import Answer, Endpoint
from navarch.peers.unanswered import Unanswered
from navarch.providers.gcp.examining import Granted, Quotas
from navarch.providers.gcp.refusals import ComputeError, Refusal, meaning, refusal_of
from navarch.providers.gcp.resources import (
    FIELDS,
    Machine,
    MachineType,
    Operation,
    Operations,
    Page,
    SerialOutput,
    last,
)
from navarch.providers.gcp.settings import GcpSettings
from navarch.providers.gcp.tokens import SCOPES_OF_PROJECTS, Tokens
from navarch.providers.pace import Now, Pace, Sleep, throttled
from navarch.providers.rest import WORD, retry_after

T = TypeVar("T")

REQUEST_TIME_MAX: Final = timedelta(seconds=15)
"""How long one answer may take."""

LIST_TIME_MAX: Final = timedelta(seconds=50)
"""How long all pages together may take; the control plane gives up after 60 s."""

PER_PAGE: Final = 500
"""The most that Google gives at once."""

PAGES_MAX: Final = 200
"""More than 100,000 machines are no fleet, but a list without end."""

REQUESTS_PER_SECOND: Final = 20
"""A project may make 1,500 of each group a minute ("Compute Engine rate quotas", cloud.google.com,
read November 2026); that is 25 a second, and we may not be alone."""

RATE_RENEWED_AFTER: Final = timedelta(seconds=60)
"""When a used-up rate is granted again, by the same source; Google rarely says it itself."""

HARMLESS: Final = frozenset(
    [
        *("NO_RESULTS_ON_PAGE", "DEPRECATED_RESOURCE_USED", "DEPRECATED_TYPE_USED"),
        "EXPERIMENTAL_TYPE_USED",
    ]
)
"""Warnings of a list that leaves nothing out."""

QUOTED_FROM_MAX: Final = 4096
QUOTE_LENGTH_MAX: Final = 300


class Taken(InvalidRequest):
    """There is something of this name already, so nothing was made."""


class ComputeApi:
    """One project. Made outside of any event loop, used in one."""

    def __init__(self, name: str, settings: GcpSettings, *, now: Now, sleep: Sleep) -> None:
        """Speak for the provider called `name`."""
        self.name = name
        self._now = now
        self._project = quote(settings.project, safe=":")
        self._root = f"/compute/v1/projects/{self._project}"
        self._tokens = Tokens(name, settings, now=now)
        self._tokens_of_projects = Tokens(name, settings, now=now, scopes=SCOPES_OF_PROJECTS)
        self._latest_token = ""
        self._endpoint = Endpoint(settings.url)
        self._resource_manager = Endpoint(settings.resource_manager_url)
        every = timedelta(seconds=1) / REQUESTS_PER_SECOND
        patience = timedelta(seconds=10)
        self._pace = Pace(
            every, now=now, sleep=sleep, burst=2 * REQUESTS_PER_SECOND, patience=patience
        )

    async def close(self) -> None:
        """Give up the connections. Another request afterwards fails."""
        await self._endpoint.close()
        await self._resource_manager.close()

    async def insert(
        self,
        zone: str,
        body: Mapping[str, object],
        *,
        request_id: str,
        hidden: Collection[str] = (),
    ) -> Operation:
        """Ask for a machine; `hidden` are words that no error may repeat.

        :raises Taken: there is one of this name in the zone
        """
        query = {"requestId": request_id} if request_id else {}
        try:
            content = msgspec.json.encode(body)
        except UnicodeEncodeError as cause:
            raise InvalidRequest(f"{self.name}: a text of the request is no Unicode") from cause
        path = f"/zones/{_part(zone)}/instances"
        return await self._changed("POST", path, query, content, hidden)

    async def delete(self, zone: str, name: str) -> Operation:
        """Ask for the end of a machine.

        There is no request id on purpose: a second try must not be answered by the first one.

        :raises NotFound: the zone, or the project, has no such machine now
        """
        path = f"/zones/{_part(zone)}/instances/{_part(name)}"
        return await self._changed("DELETE", path, {}, b"", ())

    async def instance(self, zone: str, name: str) -> Machine:
        """Look at one machine.

        :raises NotFound: there is none
        """
        path = f"/zones/{_part(zone)}/instances/{_part(name)}"
        return await self._read(path, {"fields": FIELDS}, Machine)

    async def serial_output(self, zone: str, name: str, bytes_max: int) -> str:
        """Read the end of what a machine wrote to its first serial port, its console.

        :raises NotFound: there is no such machine
        """
        path = f"/zones/{_part(zone)}/instances/{_part(name)}/serialPort"
        query = {"port": "1", "start": str(-bytes_max)}
        return (await self._read(path, query, SerialOutput)).contents

    async def operation(self, zone: str, name: str) -> Operation:
        """Look at how far a change has come."""
        return await self._read(f"/zones/{_part(zone)}/operations/{_part(name)}", {}, Operation)

    async def instances(self, chosen: str) -> list[Machine]:
        """List the machines of all zones that a filter chooses."""
        fields = f"items/*/instances({FIELDS}),items/*/warning,nextPageToken,unreachables,warning"
        found: dict[tuple[str, str], Machine] = {}
        for page in await self._pages("/aggregated/instances", chosen, fields):
            for scope in page.items.values():
                found |= {(each.zone, each.name): each for each in scope.instances}
        return list(found.values())

    async def machine_types(self, chosen: str) -> list[tuple[str, MachineType]]:
        """List the types that a filter chooses, each with the zone that sells it."""
        fields = (
            "items/*/machineTypes(name,guestCpus,memoryMb,accelerators),items/*/warning,"
            "nextPageToken,unreachables,warning"
        )
        return [
            (last(zone), each)
            for page in await self._pages("/aggregated/machineTypes", chosen, fields)
            for zone, scope in page.items.items()
            for each in scope.machine_types
        ]

    async def is_being_made(self, zone: str, name: str) -> bool:
        """Whether a machine of this name is being made, seen or not."""
        chosen = '(operationType = "insert") (status != "DONE")'
        query = {"filter": chosen, "maxResults": str(PER_PAGE)}
        for _ in range(PAGES_MAX):
            page = await self._read(f"/zones/{_part(zone)}/operations", query, Operations)
            if any(last(each.target_link) == name and not each.is_done for each in page.items):
                return True
            if not page.next_page_token:
                return False
            query["pageToken"] = page.next_page_token
        raise Unavailable(f"{self.name}: the operations of {zone} have no end")

    async def quotas(self, region: str) -> Quotas:
        """Read the quotas of a region, or of the project as a whole where it is empty."""
        path = f"/regions/{_part(region)}" if region else ""
        return await self._read(path, {"fields": "quotas"}, Quotas)

    async def granted(self, permissions: Collection[str]) -> Granted:
        """Say which of these permissions we have in the project, as far as it grants them."""
        address = f"/v1/projects/{self._project}:testIamPermissions"
        await self._pace.turn(self.name)
        token = await self._tokens_of_projects.bearer()
        body = msgspec.json.encode({"permissions": list(permissions)})
        answer = await self._sent(
            "POST", address, body, token, Unavailable, endpoint=self._resource_manager
        )
        if answer.status != HTTPStatus.OK:
            raise self._refused("the question for our permissions", answer, Unavailable)
        return self._parsed(address, answer, Granted, Unavailable)

    async def _pages(self, path: str, chosen: str, fields: str) -> list[Page]:
        query = {
            "filter": chosen,
            "fields": fields,
            "maxResults": str(PER_PAGE),
            "returnPartialSuccess": "false",
        }
        pages: list[Page] = []
        within = LIST_TIME_MAX.total_seconds()
        try:
            async with asyncio.timeout(within):
                for _ in range(PAGES_MAX):
                    page = await self._read(path, query, Page)
                    self._demand_whole(path, page)
                    pages.append(page)
                    if not page.next_page_token:
                        return pages
                    query["pageToken"] = page.next_page_token
        except TimeoutError as cause:
            raise Unavailable(f"{self.name}: {path}: not all within {within:g} s") from cause
        raise Unavailable(f"{self.name}: {path}: more than {PAGES_MAX} pages")

    def _demand_whole(self, path: str, page: Page) -> None:
        missing = [f"{last(each)} is out of reach" for each in page.unreachables]
        missing += [
            f"{each.code}: {each.message}" for each in page.warnings() if each.code not in HARMLESS
        ]
        if missing:
            said = self._quoted(", ".join(missing))
            raise Unavailable(f"{self.name}: {path} is not whole: {said}")

    async def _read(self, path: str, query: Mapping[str, str], shape: type[T]) -> T:
        answer = await self._send("GET", path, query, b"", Unavailable)
        if answer.status != HTTPStatus.OK:
            raise self._refused(f"GET {path}", answer, Unavailable)
        return self._parsed(path, answer, shape, Unavailable)

    async def _changed(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        hidden: Collection[str],
    ) -> Operation:
        answer = await self._send(method, path, query, body, OutcomeUnknown)
        if answer.status != HTTPStatus.OK:
            raise self._refused(f"{method} {path}", answer, OutcomeUnknown, hidden)
        return self._parsed(path, answer, Operation, OutcomeUnknown)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        unanswered: type[ProviderError],
    ) -> Answer:
        """Make a request, with a new token where the one we have is not taken any more."""
        address = f"{self._root}{path}?{urlencode(query)}" if query else f"{self._root}{path}"
        await self._pace.turn(self.name)
        token = await self._tokens.bearer()
        answer = await self._sent(method, address, body, token, unanswered)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return answer
        token = await self._tokens.bearer(refused=token)
        return await self._sent(method, address, body, token, unanswered)

    async def _sent(
        self,
        method: str,
        address: str,
        body: bytes,
        token: str,
        unanswered: type[ProviderError],
        *,
        endpoint: Endpoint | None = None,
    ) -> Answer:
        self._latest_token = token
        headers = {"authorization": f"Bearer {token}"}
        if body:
            headers["content-type"] = "application/json"
        try:
            return await (endpoint or self._endpoint).send(
                method, address, body=body, headers=headers, deadline=REQUEST_TIME_MAX
            )
        except Unanswered as failure:
            # The library raises `ConnectionError` for what failed before a request was written:
            # names, connections, TLS. What breaks off later has errors of its own.
            is_unsent = isinstance(failure.__cause__, ConnectionError)
            kind = Unavailable if is_unsent else unanswered
            raise kind(f"{self.name}: {failure}") from failure

    def _parsed(
        self, path: str, answer: Answer, shape: type[T], otherwise: type[ProviderError]
    ) -> T:
        if answer.is_cut:
            raise otherwise(f"{self.name}: {path}: an answer above {len(answer.body)} bytes")
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            why = str(cause) if isinstance(cause, msgspec.MsgspecError) else type(cause).__name__
            raise otherwise(f"{self.name}: {path}: an answer that does not fit: {why}") from cause

    def _refused(
        self,
        asked: str,
        answer: Answer,
        unanswered: type[ProviderError],
        hidden: Collection[str] = (),
    ) -> ProviderError:
        status = answer.status
        refusal = refusal_of(answer.body)
        said = self._quoted(refusal.message if refusal else "no word of Google's", hidden)
        words = [self._quoted(word) for word in refusal.words] if refusal else []
        return self._error(
            self._kind(status, refusal, unanswered),
            f"{self.name}: {asked}: HTTP {status}: {said}",
            ComputeError(status, words, said),
            answer.retry_after,
        )

    def _error(
        self, kind: type[ProviderError], text: str, cause: ComputeError, after: str = ""
    ) -> ProviderError:
        error = kind(text)
        if kind is Throttled:
            pause = retry_after(after, self._now()) if after else RATE_RENEWED_AFTER
            error = throttled(text, pause)
        error.__cause__ = cause
        return error

    def _kind(
        self, status: int, refusal: Refusal | None, unanswered: type[ProviderError]
    ) -> type[ProviderError]:
        words = refusal.words if refusal else ()
        is_refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        if not is_refused or status == HTTPStatus.REQUEST_TIMEOUT:
            return NoCapacity if meaning(words, None) is NoCapacity else unanswered
        if refusal is None and status in {
            HTTPStatus.NOT_FOUND,
            HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        }:
            return Unavailable  # somebody on the way there says so, and who knows what he means
        if status == HTTPStatus.CONFLICT and refusal is not None and refusal.is_taken:
            return Taken
        return meaning(words, status) or InvalidRequest

    def _quoted(self, text: str, hidden: Collection[str] = ()) -> str:
        """Put what Google says into one short line, without what nobody may read."""
        text = text[:QUOTED_FROM_MAX]
        if self._latest_token:
            text = text.replace(self._latest_token, "***")
        if hidden:
            text = WORD.sub(lambda word: "***" if word[0] in hidden else word[0], text)
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= QUOTE_LENGTH_MAX else f"{line[: QUOTE_LENGTH_MAX - 1]}…"

    def failure(
        self, asked: str, operation: Operation, hidden: Collection[str] = ()
    ) -> ProviderError | None:
        """Say what a finished operation failed of; None where it did not, or it is not clear.

        What is clear is that nothing was made, and why.
        """
        codes = [each.code for each in operation.faults]
        kind = meaning(codes, operation.http_error_status_code)
        if not codes or kind is None:
            return None
        said = self.words_of(operation, hidden)
        cause = ComputeError(operation.http_error_status_code, map(self._quoted, codes), said)
        return self._error(kind, f"{self.name}: {asked}: {said}", cause)

    def words_of(self, operation: Operation, hidden: Collection[str] = ()) -> str:
        """Quote why an operation failed."""
        words = "; ".join(f"{each.code}: {each.message}" for each in operation.faults)
        return self._quoted(words, hidden)


def _part(text: str) -> str:
    """Write a name as one part of a path, whatever it holds."""
    return quote(text, safe="")
