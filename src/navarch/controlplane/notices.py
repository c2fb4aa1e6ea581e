"""Notices: telling the workload manager what the state owes it, and asking it about drains.

Every notice ends in exactly one message, as effects do: agreed, refused, or unknown. Nothing is
repeated here; what is still owed will be asked for again by the state. A notice that takes longer
than a notifier may is given up, and its outcome is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from navarch.controlplane import effect_log
from navarch.controlplane.causes import Cause, Causes
from navarch.controlplane.clock import Clock
from navarch.controlplane.effects import always
from navarch.core.model import messages as msg
from navarch.core.model.actions import Action, AskDrained, Notice, Tell
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.node import Node
from navarch.notifiers.base import (
    Notifier,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.telemetry.log import Log

log = Log(__name__)

AT_ONCE: Final = 16
"""Notices under way at one time: enough to cordon a rack in a second, few for any API server."""

SECONDS_MAX: Final = 600.0
"""How long a notice may take, whatever its notifier promises: twenty times their own default."""


class Notices:
    """Performs notices, one at a time for each node."""

    def __init__(
        self,
        notifier: Notifier | None,
        post: Callable[[msg.Message], None],
        clock: Clock,
        may_act: Callable[[], bool] = always,
    ) -> None:
        """Tell `notifier`; None tells nobody. `post` takes every outcome.

        `may_act` is asked before each notice: where it says no, another leads, and tells.
        """
        self._may_act = may_act
        self._notifier = notifier
        self._post = post
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._quiet_until: datetime | None = None
        self.cause_of: Callable[[Action], Cause] = Causes().of
        """Tells which fact has caused a notice."""

    def __len__(self) -> int:
        """How many notices are under way, those included whose outcome has not been heard yet."""
        return len(self._under_way)

    def perform(self, fleet: Fleet, notices: Iterable[Notice]) -> None:
        """Begin the notices that are not under way and for which there is room."""
        notifier = self._notifier
        if notifier is None or self._is_quiet() or not self._may_act():
            return
        for notice in notices:
            if len(self._under_way) >= AT_ONCE:
                return
            if notice.key in self._under_way:
                continue
            node = fleet.nodes[notice.node_id]
            doing = self._perform(notifier, node, notice, self.cause_of(notice))
            task = asyncio.create_task(doing, name=notice.key)
            self._under_way[notice.key] = task

    def heard(self, messages: Iterable[msg.Message]) -> None:
        """Know that the fleet has learned of these outcomes; messages of others are passed over."""
        for message in messages:
            match message:
                case msg.WorkloadAnswered():
                    self._under_way.pop(f"tell {message.node_id}", None)
                case msg.DrainAnswered():
                    self._under_way.pop(f"drained {message.node_id}", None)
                case _:
                    pass

    async def stop(self) -> None:
        """Abandon what is under way, and let go of the workload manager."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._notifier is not None:
            await self._notifier.close()

    def _is_quiet(self) -> bool:
        """Whether the workload manager asked for a pause that is not over."""
        return self._quiet_until is not None and self._clock.now() < self._quiet_until

    async def _perform(self, notifier: Notifier, node: Node, notice: Notice, cause: Cause) -> None:
        outcome: msg.Message | None = None
        with effect_log.caused_by(cause, notice):
            try:
                if not self._may_act():  # it may be lost between the plan and the deed
                    return
                match notice:
                    case Tell():
                        outcome = await self._tell(notifier, node, notice)
                    case AskDrained():
                        outcome = await self._ask(notifier, node)
            finally:
                if outcome is None:
                    del self._under_way[notice.key]
                else:
                    self._post(outcome)

    async def _tell(self, notifier: Notifier, node: Node, tell: Tell) -> msg.WorkloadAnswered:
        error, refused = "", False
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await _say(notifier, node, tell)
        except NotifierUnknownNode as unknown:
            log.info(
                "notifier_knows_no_node", notifier=notifier.name, node=node.id, error=str(unknown)
            )
        except NotifierRefused as refusal:
            error, refused = str(refusal), True
        except NotifierUnavailable as trouble:
            error = str(trouble)
            self._pause(trouble.retry_after)
        except TimeoutError:
            error = f"{notifier.name}: no answer within {SECONDS_MAX:g} s"
        except Exception as broken:
            log.exception("notifier_broke", notifier=notifier.name, node=node.id)
            error = f"{type(broken).__name__}: {broken}"
        fields = {"notifier": notifier.name, "node": node.id, "told": tell.told.value}
        if error:
            log.warning("notice_failed", **fields, refused=refused, error=error)
        else:
            log.info("notice_performed", **fields)
        return msg.WorkloadAnswered(node.id, tell.told, error, refused=refused)

    async def _ask(self, notifier: Notifier, node: Node) -> msg.DrainAnswered:
        try:
            async with asyncio.timeout(SECONDS_MAX):
                status = await notifier.drained(_workload(node))
        except (NotifierRefused, NotifierUnavailable) as trouble:
            if isinstance(trouble, NotifierUnavailable):
                self._pause(trouble.retry_after)
            return msg.DrainAnswered(node.id, done=False, text=str(trouble))
        except TimeoutError:
            text = f"{notifier.name}: no answer within {SECONDS_MAX:g} s"
            return msg.DrainAnswered(node.id, done=False, text=text)
        except Exception as broken:
            log.exception("notifier_broke", notifier=notifier.name, node=node.id)
            return msg.DrainAnswered(node.id, done=False, text=f"{type(broken).__name__}: {broken}")
        return msg.DrainAnswered(node.id, status.done, status.text)

    def _pause(self, seconds: float | None) -> None:
        if seconds:
            self._quiet_until = self._clock.now() + timedelta(seconds=seconds)


async def _say(notifier: Notifier, node: Node, tell: Tell) -> None:
    workload = _workload(node)
    match tell.told:
        case Told.OPEN:
            await notifier.uncordon(workload, tell.because, intent=tell.intent)
        case Told.CORDONED:
            await notifier.cordon(workload, tell.because, intent=tell.intent)
        case Told.DRAINING:
            await notifier.drain(workload, tell.because, tell.deadline, intent=tell.intent)


def _workload(node: Node) -> Workload:
    return Workload(
        node_id=node.id,
        hostname=node.metadata.hostname,
        internal_ip=node.metadata.internal_ip,
        pool=node.pool,
        provider=node.provider,
        labels=node.metadata.labels,
    )
