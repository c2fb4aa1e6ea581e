"""Batches on their way up, and what their answers teach.

One batch is under way at a time, so that of two heartbeats of a node the older never comes later. A
call of a node that is passed on may overtake its heartbeat, and a node's account of what it serves
would then be older than the result that it has told: `settled` has such a call wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

from google.protobuf.message import DecodeError

from navarch.relay import gathering, verdicts
from navarch.relay.counting import Counts
from navarch.relay.gathering import Batch, Gathering
from navarch.relay.roster import Roster
from navarch.relay.uplink import Away, Uplink, own_headers
from navarch.relay.verdicts import Refusal, Reply
from navarch.telemetry.log import Log
from navarch.wire.generated import navarch_pb2 as pb

log = Log(__name__)

PROBE_SECONDS: Final = 2.0
"""How often an empty batch asks whether the control plane is there, while no node speaks."""

SPLITS_MAX: Final = 200
"""How often a refused batch is split in one round: that finds ten bad heartbeats of 10,000."""


class Flushing:
    """Sends what was gathered."""

    def __init__(
        self,
        uplink: Uplink,
        held: Gathering,
        roster: Roster,
        counts: Counts,
        *,
        token: str | None,
        interval: float,
        spread: float,
    ) -> None:
        """Send every `interval` seconds, as whoever holds `token`; `spread` is our chance."""
        self._uplink = uplink
        self._held = held
        self._roster = roster
        self._counts = counts
        self._headers = own_headers(token)
        self._interval = interval
        self._spread = spread
        self._underway: frozenset[str] | set[str] = frozenset()
        self._kicked = asyncio.Event()
        self._rounds: asyncio.Event = asyncio.Event()
        self._failures = 0
        self._not_before = 0.0
        self._stopped = asyncio.Event()
        self._splits = 0
        self.taken_at = float("-inf")
        """When the control plane last took a batch, on the loop's clock."""
        self.problem = "the control plane has not answered yet"
        """Why the last batch was not taken; empty: it was."""

    def works(self, now: float) -> bool:
        """Whether heartbeats get through, so that one may be answered."""
        return now - self.taken_at <= verdicts.AWAY_MAX

    def kick(self) -> None:
        """Send now instead of at the end of the interval, unless a failure forbids it."""
        self._kicked.set()

    def stop(self) -> None:
        """Have `run` end once what is under way is answered."""
        self._stopped.set()
        self._kicked.set()

    async def run(self) -> None:
        """Send until `stop`."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._stopped.is_set():
            if (patience := self._not_before - loop.time()) > 0:
                await _wait(self._stopped, patience)
                continue
            if (patience := due - loop.time()) > 0 and not self._kicked.is_set():
                await _wait(self._kicked, patience)
                continue
            self._kicked.clear()
            due = loop.time() + self._interval
            await self._round()

    async def finish(self) -> None:
        """Send what is left, once `run` has ended."""
        if len(self._held):
            await self._round()

    async def settled(self, node_id: str) -> None:
        """Wait until no heartbeat of the node is on its way; one that cannot go now is dropped."""
        while node_id in self._underway or node_id in self._held:
            if self._failures and node_id not in self._underway:
                self._held.discard(node_id)
                self._counts.dropped["overtaken"] += 1
                return
            self.kick()
            await self._rounds.wait()

    async def _round(self) -> None:
        """Send everything that waits; what is not taken waits again."""
        loop = asyncio.get_running_loop()
        if self._failures:  # it may have waited for long
            self._dropped(self._held.expire(loop.time() - verdicts.AWAY_MAX))
        batches = deque(self._held.take())
        self._splits = 0
        if not batches:
            if loop.time() - self.taken_at < PROBE_SECONDS and not self._failures:
                self._round_over()
                return
            batches.append({})
        self._underway = {node_id for batch in batches for node_id in batch}
        try:
            while batches:
                if not await self._send(batches):
                    break
        finally:
            since = loop.time() - verdicts.AWAY_MAX
            self._dropped(self._held.give_back(batches, since=since))
            self._underway = frozenset()
            self._round_over()

    def _dropped(self, old: int) -> None:
        if old:
            self._counts.dropped["old"] += old

    def _round_over(self) -> None:
        self._rounds.set()
        self._rounds = asyncio.Event()

    async def _send(self, batches: deque[Batch]) -> bool:
        """Send the first of them, and take it off when that is done with; False: wait."""
        batch = batches[0]
        loop = asyncio.get_running_loop()
        began = loop.time()
        body = gathering.encoded(held.body for held in batch.values())
        try:
            reply = await self._uplink.call(
                "HeartbeatBatch", self._headers.items(), body, always=True
            )
        except Away as error:
            return self._failed(Refusal("unavailable", str(error)))
        self._counts.batch_seconds.add(loop.time() - began)
        if not reply.ok:
            return self._refused(batches, reply)
        try:
            answer = pb.HeartbeatBatchResponse.FromString(reply.body)
        except DecodeError:
            return self._failed(Refusal("unknown", "its answer is not one of a control plane"))
        batches.popleft()
        self._taken(batch, answer, loop.time())
        return True

    def _taken(self, batch: Batch, answer: pb.HeartbeatBatchResponse, now: float) -> None:
        if self._failures:
            log.info("server_answers", failures=self._failures)
        self._failures, self.problem, self.taken_at = 0, "", now
        self._counts.batches["ok"] += 1
        self._counts.batched += answer.acknowledged
        self._counts.unknown += len(answer.unknown_node_ids)
        if answer.heartbeat_interval_seconds:
            self._roster.interval = answer.heartbeat_interval_seconds
        self._roster.told(batch, frozenset(answer.commands_pending_node_ids), now)
        self._roster.forget(answer.unknown_node_ids)

    def _refused(self, batches: deque[Batch], reply: Reply) -> bool:
        """Find the heartbeat that a control plane of other rules refuses; else wait."""
        told = verdicts.refusal(reply)
        batch = batches[0]
        if told.code != "invalid_argument" or not batch or self._splits >= SPLITS_MAX:
            return self._failed(told, verdicts.retry_after(reply))
        self._counts.batches[told.code] += 1
        batches.popleft()
        self._splits += 1
        if len(batch) > 1:
            batches.extendleft(reversed(gathering.halves(batch)))
        else:
            # Passed on alone from now on, so that its node hears itself what is wrong.
            log.warning("heartbeat_refused", node=next(iter(batch)), error=told.message)
            self._counts.dropped["refused"] += 1
            self._roster.forget(batch)
        return True

    def _failed(self, told: Refusal, after: float = 0.0) -> bool:
        now = asyncio.get_running_loop().time()
        self._failures += 1
        self._counts.batches[told.code] += 1
        self.problem = f"{told.code}: {told.message}"
        self._not_before = now + max(after, verdicts.wait(self._failures, self._spread))
        if self._failures == 1:
            log.warning("server_away", error=self.problem)
        return False


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
