"""The pods of a Kubernetes cluster that ask for a pool, kept up to date by list and watch.

One list, page by page, gives a copy and the version it is of; one watch from that version gives
every change after it. The cost for the API server is then one stream, however many pools are asked
for and however often. Read for this: "Kubernetes API Concepts" (pages, watch, 410 Gone), November
2026.

Rules that hold:

- The copy is used only while it is known to be in step: `heard_at` is when the server last said
  so. The server ends each watch after `watch_period`, and opening the next one, which is cheap,
  proves that we are still heard; a cut connection is therefore noticed within two periods.
- 410 Gone means that our version is too old: list again, at once. Anything else that fails is
  tried again after a pause that doubles.
- A list replaces the copy when its last page is in, never before.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from navarch.peers.endpoint import Endpoint
from navarch.peers.unanswered import Unanswered

T = TypeVar("T")

POOL_LABEL: Final = "navarch.dev/pool"
"""The label by which a pod names the pool whose nodes it wants."""

PAGE: Final = 250
"""Pods a page: 16 MB if each of them has 64 KB."""

PODS_MAX: Final = 500_000
"""More pods than a cluster may have (the documented limit is 150,000); above it we give up."""

GRACE: Final = timedelta(seconds=5)
"""How much longer than promised a watch may stay open before the connection counts as dead."""

PAUSE_FIRST: Final = timedelta(milliseconds=500)
PAUSE_MAX: Final = timedelta(seconds=30)


class _Metadata(Struct, rename="camel"):
    uid: str = ""
    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = None
    resource_version: str = ""


class _Spec(Struct, rename="camel"):
    scheduling_gates: list[dict[str, str]] | None = None


class _Status(Struct):
    phase: str = ""


class _Pod(Struct):
    metadata: _Metadata = field(default_factory=_Metadata)
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = field(default_factory=_Status)

    @property
    def counted(self) -> tuple[str, str] | None:
        """Its pool and its phase; None when it wants no node: gated, ended, or being deleted."""
        pool = (self.metadata.labels or {}).get(POOL_LABEL)
        if not pool or self.metadata.deletion_timestamp or self.spec.scheduling_gates:
            return None
        return (pool, self.status.phase) if self.status.phase in ("Pending", "Running") else None


class _PageOf(Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = field(name="continue", default="")


class _Pods(Struct):
    metadata: _PageOf
    items: list[_Pod] | None = None


class _Change(Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


class _Refusal(Struct):
    code: int = 0
    message: str = ""


class _Gone(Exception):
    """The version that was asked for is no longer kept: list again."""


class PodCopy:
    """Pending and running pods by pool, as `run` keeps them."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        path: str,
        now: Callable[[], datetime],
        deadline: timedelta,
        watch_period: timedelta,
    ) -> None:
        """Read pods at `path`. `deadline` is for each page, and for a watch to be opened."""
        self.heard_at: datetime | None = None
        """When the server last confirmed the copy; None until the first list is complete."""
        self.failure = ""
        """Why it is not being kept up to date; empty while it is."""
        self.answered = asyncio.Event()
        """Set once the first list is complete, or has failed."""
        self._endpoint = endpoint
        self._path = path
        self._now = now
        self._deadline = deadline
        self._watch_period = watch_period
        self._version = ""
        self._pods: dict[str, tuple[str, str]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, pool: str, phase: str) -> int:
        """How many pods of a pool are in a phase, ``Pending`` or ``Running``. O(1)."""
        return self._counts[pool, phase]

    async def run(self) -> None:
        """Keep the copy until cancelled. Never returns, and raises only for a bug."""
        listed = False
        troubles = 0
        while True:
            began, was_watching = self._now(), listed
            try:
                if not listed:
                    await self._list()
                    listed = True
                await self._watch()
                troubles = 0
                continue
            except _Gone as gone:
                listed, is_gone, trouble = False, True, str(gone)
            except Unanswered as failure:
                is_gone, trouble = False, str(failure)
            if was_watching and self._now() - began > self._watch_period / 2:
                troubles = 0  # it has worked meanwhile: this is a new trouble
            troubles += 1
            if not is_gone or troubles > 1:  # the first time, a new list puts it right
                self.failure = trouble
                self.answered.set()
                await asyncio.sleep(_pause(troubles).total_seconds())

    async def _list(self) -> None:
        """Read all pages; the copy is as it was unless the last one arrives."""
        began = self._now()
        pods: dict[str, tuple[str, str]] = {}
        query = {"labelSelector": POOL_LABEL, "limit": str(PAGE)}
        while True:
            page = _decode(await self._page(query), _Pods)
            for pod in page.items or ():
                if pod.counted:
                    pods[pod.metadata.uid] = pod.counted
            if len(pods) > PODS_MAX:
                raise Unanswered(f"more than {PODS_MAX} pods carry the label {POOL_LABEL}")
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        self._pods = pods
        self._counts = Counter(pods.values())
        self._version = page.metadata.resource_version
        self._heard(began)

    async def _page(self, query: dict[str, str]) -> bytes:
        try:
            return await self._endpoint.get(self._path, query, self._deadline)
        except Unanswered as failure:
            if failure.status == HTTPStatus.GONE and "continue" in query:
                raise _Gone("the list took longer than its pages are kept") from failure
            raise

    async def _watch(self) -> None:
        """Apply changes until the server ends the watch, as it was asked to.

        :raises _Gone: the version is too old
        :raises Unanswered: it was not opened, or broke off
        """
        query = {
            "labelSelector": POOL_LABEL,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(round(self._watch_period.total_seconds()), 1)),
        }
        began = self._now()
        patience = self._deadline
        try:
            async with aclosing(self._endpoint.lines(self._path, query)) as lines:
                while (line := await _next(lines, patience)) is not None:
                    patience = self._watch_period + GRACE
                    if line.strip():
                        self._apply(_decode(line, _Change))
                    self._heard(self._now())
        except Unanswered as failure:
            if failure.status == HTTPStatus.GONE:
                raise _Gone(str(failure)) from failure
            raise
        if self._now() - began < self._watch_period / 2:
            raise Unanswered("the watch ended before its time")

    def _apply(self, change: _Change) -> None:
        if change.type == "ERROR":
            refusal = _decode(change.object, _Refusal)
            if refusal.code == HTTPStatus.GONE:
                raise _Gone(refusal.message)
            raise Unanswered(f"the watch was ended: {refusal.code} {refusal.message}")
        pod = _decode(change.object, _Pod)
        self._version = pod.metadata.resource_version or self._version
        if change.type != "BOOKMARK":
            kept = None if change.type == "DELETED" else pod.counted
            self._replace(pod.metadata.uid, kept)

    def _replace(self, uid: str, kept: tuple[str, str] | None) -> None:
        before = self._pods.pop(uid, None)
        if before is not None:
            self._counts[before] -= 1
            if not self._counts[before]:
                del self._counts[before]
        if kept is not None:
            self._pods[uid] = kept
            self._counts[kept] += 1

    def _heard(self, at: datetime) -> None:
        self.heard_at = at
        self.failure = ""
        self.answered.set()


async def _next(lines: AsyncIterator[bytes], patience: timedelta) -> bytes | None:
    """Wait for the next line; None at the end."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            return await anext(lines, None)
    except TimeoutError as cause:
        raise Unanswered(f"the watch: nothing for {patience.total_seconds():g} s") from cause


def _pause(troubles: int) -> timedelta:
    """How long to wait before trying again, after so many failures in a row."""
    return min(PAUSE_FIRST * (1 << min(troubles - 1, 10)), PAUSE_MAX)


def _decode(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as cause:
        raise Unanswered(f"no answer of Kubernetes: {cause}") from cause
