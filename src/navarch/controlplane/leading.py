"""Who leads: of several control planes over one journal one writes and acts, the others follow.

Where a journal has one writer by nature, such as a file of SQLite, whoever opens it leads. A shared
store has a lease instead. Whoever holds it leads; the others fold what the leader writes as it is
written, answer readings from that, and take the lease when it is free or has run out.

Nobody leads by his own word. An append is refused by the store once another has taken the lease,
and no effect is begun once ours has run out by our own clock, which it does before it runs out by
the store's. Whoever loses the lease ends his process: what he believes to know of the fleet is
worth nothing any more, and a restart is always safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, cast

from navarch.controlplane.clock import Clock
from navarch.controlplane.runtime import Runtime
from navarch.errors import JournalCorrupt, JournalError
from navarch.stores.base import Leader, SharedStore, Store
from navarch.telemetry.log import Log
from navarch.wire.standing import FAILED, LEADER, STANDBY, Standing

log = Log(__name__)

POLL: Final = timedelta(milliseconds=500)
"""How often a standby looks whether the lease is free: so long nobody leads when a leader stops."""
STALE_AFTER: Final = timedelta(seconds=10)
"""A standby that has not read the journal for so long is not ready: it would show an old fleet."""
RELEASE_SECONDS_MAX: Final = 2.0
"""How long giving the lease up may take; a database that is away frees it by itself."""


def contested(store: Store) -> SharedStore | None:
    """The same store, if several control planes may share it."""
    return cast("SharedStore", store) if hasattr(store, "acquire") else None


class Leadership:
    """What one control plane is among those that share its journal."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Be nothing yet; `open` comes first."""
        self._store = store
        self._shared = contested(store)
        self._clock = clock
        self._role = FAILED
        self._leader: Leader | None = None
        self._looked_at: datetime | None = None
        self._followed_at = clock.now()
        self._in_trouble = False

    @property
    def leads(self) -> bool:
        """Whether this control plane writes and acts."""
        return self._role == LEADER

    @property
    def contested(self) -> bool:
        """Whether others may lead in our place."""
        return self._shared is not None

    def may_act(self) -> bool:
        """Whether an effect may be begun now."""
        return self._shared is None or self._shared.held()

    async def open(self) -> None:
        """Take the journal, or reach it for reading where it is shared.

        Raises `JournalError`.
        """
        if self._shared is None:
            await self._store.open()
        else:
            await self._shared.connect()
            self._followed_at = self._clock.now()

    async def close(self) -> None:
        """Give up what is held, and let go of the journal."""
        self._role = FAILED
        try:
            if self._shared is not None:
                async with asyncio.timeout(RELEASE_SECONDS_MAX):
                    await self._shared.release()
        except (JournalError, TimeoutError) as error:
            log.warning("lease_not_released", error=str(error) or "no answer in time")
        finally:
            await self._store.close()

    # --- becoming the leader -------------------------------------------------------------------

    async def elected(self, runtime: Runtime) -> bool:
        """Try to lead, and say whether we do; then all that was written is folded.

        Raises `JournalCorrupt` when a fact can not be read. A store that is away is no error: it
        is tried again.
        """
        if self._shared is None:
            return True
        self._looked_at = self._clock.now()
        try:
            self._leader = await self._shared.leader()
            free = self._leader is None or self._shared.held()
            if free and await self._shared.acquire():
                await runtime.follow()
                self._leader = await self._shared.leader()
                return True
        except JournalCorrupt:
            raise
        except JournalError as error:
            self._away(error)
        return False

    async def follow_until_elected(self, runtime: Runtime, followed: Callable[[], None]) -> None:
        """Fold what the leader writes, until nobody leads and we have the lease.

        `followed` is called whenever something was folded, and whenever another leads. Raises
        `JournalCorrupt`.
        """
        assert self._shared is not None, "a journal with one writer has no standbys"
        while True:
            try:
                await self._shared.wait_appended(runtime.seq, POLL)
                await runtime.follow()
                self._followed_at = self._clock.now()
                self._in_trouble = False
            except JournalCorrupt:
                raise
            except JournalError as error:
                self._away(error)
                await self._clock.sleep(POLL)
            if self._is_due() and await self.elected(runtime):
                return
            followed()

    def stand_by(self) -> None:
        """Be a standby from now on; `follow_until_elected` then follows."""
        self._role = STANDBY

    def _is_due(self) -> bool:
        return self._looked_at is None or self._clock.now() - self._looked_at >= POLL

    def _away(self, error: JournalError) -> None:
        if not self._in_trouble:
            log.warning("journal_not_followed", error=str(error))
        self._in_trouble = True

    # --- leading -------------------------------------------------------------------------------

    def lead(self) -> None:
        """Be the leader from now on."""
        self._role = LEADER

    async def lost(self) -> str:
        """Wait until we must not lead any more, and say why; for ever where nobody else may."""
        if self._shared is None:
            await asyncio.get_running_loop().create_future()
            raise AssertionError("nobody ends this wait")
        because = await self._shared.lost()
        self._role = FAILED
        return because

    def fail(self) -> None:
        """Be nothing any more: the process is about to end."""
        self._role = FAILED

    # --- being asked ---------------------------------------------------------------------------

    def standing(self, seq: int, node_key: str = "") -> Standing:
        """Say what we are, with `seq` facts folded."""
        leader = self._leader
        return Standing(
            role=self._role,
            leader="" if leader is None else leader.url,
            holder="" if leader is None else leader.holder,
            term=0 if leader is None else leader.term,
            seq=seq,
            behind_seconds=0.0 if self.leads else round(self._behind.total_seconds(), 3),
            node_key=node_key,
        )

    @property
    def stale_because(self) -> str:
        """Why a standby should not be read from; empty when it may be."""
        if self._role != STANDBY or self._behind <= STALE_AFTER:
            return ""
        seconds = self._behind.total_seconds()
        return f"a standby that could not read the journal for {seconds:.0f} s"

    @property
    def _behind(self) -> timedelta:
        return max(self._clock.now() - self._followed_at, timedelta())
