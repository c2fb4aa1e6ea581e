"""A fleet without a control plane: the core's loop, turned only while somebody waits for it.

A pool that is used as a library has no server, no agents and no background tasks. It still gets
the whole core: facts are journaled (in memory) before anything is done, machines have our ids
before they are bought, unknown outcomes are looked up before they are repeated.

Rules that hold:

- `SoloFleet.tell` is synchronous and asks nothing of any provider; `SoloFleet.settle` performs what
  is owed until nothing is, and leaves nothing under way when it returns.
- What taught nothing is not tried again in the same call, and a launch without an outcome once:
  no wait for a slow end, no busy loop.
- There are no agents, so the fleet speaks for its machines: a launched one is introduced at once,
  and its commands are acknowledged. Silence means nothing here.
- A call that is cancelled leaves unknown outcomes, like a crash; the next call looks them up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from navarch.controlplane.clock import Clock
from navarch.controlplane.effects import Effects
from navarch.controlplane.fact_log import log_facts
from navarch.controlplane.founding import new_tag
from navarch.core.machine import Machine
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.actions import Action, Launch, Notice, TakeInventory
from navarch.core.model.command import Command, CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import InstanceState
from navarch.core.selection.base import Ranker
from navarch.core.settings import Settings
from navarch.core.strategies import Strategies
from navarch.errors import NavarchError
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    Instance,
    Instances,
    InstanceType,
    InstanceTypeLister,
    Provider,
    ProvisionRequest,
    facts_of,
)
from navarch.stores.memory import MemoryStore
from navarch.telemetry.log import Log
from navarch.version import VERSION

log = Log(__name__)

_Saw = Callable[[Instance], None]

NEVER: Final = timedelta(days=365 * 20)
"""Longer than any program runs: what only agents could be late for is never late."""

PATIENCE: Final = Settings(
    heartbeat_interval=NEVER,
    provisioning_timeout=NEVER,
    registration_timeout=NEVER,
    command_timeout=NEVER,
    inventory_interval_urgent=timedelta(),  # `settle` itself bounds how often a list is read
)
"""How patient the core is where nobody but the caller drives it."""

LAUNCHES_MAX: Final = 2
"""How often one call asks for a machine whose launch has no known outcome: once more."""

HISTORY_KEPT: Final = timedelta(days=90)
"""How long facts are kept in memory, as a control plane keeps them on disk."""
TIDIED_EVERY: Final = 5_000
"""Facts after which old ones are dropped."""


class SoloFleet:
    """A machine, its journal in memory, and the providers it may ask."""

    def __init__(
        self, providers: Mapping[str, Provider], clock: Clock, rankers: Mapping[str, Ranker]
    ) -> None:
        """Found a fleet; nothing is asked of a provider yet.

        Raises `PluginError` when a provider misstates its facts.
        """
        self.clock = clock
        self.machine = Machine(strategies=Strategies(settings=PATIENCE, rankers=rankers))
        self.journal = MemoryStore()
        self.seen: dict[str, Instance] = {}
        """Our machines as their providers last showed them, by our id."""
        self.failures: dict[str, str] = {}
        """What the terminations that failed in the newest call said, by our id."""
        self.lost: dict[str, list[str]] = {}
        """What was said in the newest call of launches without a known outcome, by our id."""
        watched = {name: _watched(each, self._saw) for name, each in providers.items()}
        self._effects = Effects(watched, self._came_back, _Unhurried(clock))
        self._outcomes: asyncio.Queue[msg.Message] = asyncio.Queue()
        self._listed: dict[str, int] = {}
        self._tidied_seq = 0
        self.tell(msg.Found(new_tag()), msg.Resume(VERSION, "a program"))

    @property
    def fleet(self) -> Fleet:
        """The state that the facts so far have made."""
        return self.machine.fleet

    # --- learning ------------------------------------------------------------------------

    def tell(self, *messages: msg.Message) -> None:
        """Have messages looked at; nothing is asked of providers. What is owed waits.

        Raises `NavarchError` when one is refused.
        """
        self._step(messages)
        while words := self._words_of_machines():
            self._step(words)

    def _step(self, messages: tuple[msg.Message, ...]) -> None:
        step = self.machine.step(messages, self.clock.now())
        if step.facts:
            self.journal.append_now(step.facts, after=self.journal.last_seq_now)
            log_facts(log, step.facts, last_seq=self.journal.last_seq_now)
        for answer in step.answers:
            if isinstance(answer, msg.Refused):
                raise NavarchError(answer.text)

    def _words_of_machines(self) -> tuple[msg.Message, ...]:
        """What agents would say: that they are there, and that they did as they were told."""
        fleet = self.fleet
        booting = (fleet.instances[id_] for id_ in fleet.booting)
        pending = (fleet.commands[id_] for ids in fleet.pending.values() for id_ in ids)
        return (
            *(
                msg.RegisterNode(each.id)
                for each in booting
                if each.state is InstanceState.PENDING_REGISTRATION
            ),
            *(_done(each) for each in pending if each.type is not CommandType.TERMINATE),
        )

    # --- doing ---------------------------------------------------------------------------

    async def settle(self, *messages: msg.Message) -> None:
        """Tell, then perform what is owed until nothing is, and nothing is under way.

        When it is cancelled, what was under way is abandoned: its outcome is unknown, and the next
        call looks it up. One call at a time. Raises `NavarchError` when a message is refused.
        """
        self._outcomes = asyncio.Queue()  # a program may use one event loop after the other
        self._listed.clear()
        self.failures.clear()
        self.lost.clear()
        try:
            self.tell(*messages)
            while self._begin():
                self._learn(await self._outcomes.get())
        except BaseException:
            await self._abandon()
            raise
        self._tidy()

    def _begin(self) -> bool:
        """Begin what is owed; say whether anything is under way.

        A list is read when all else is done, and again only when something was learned since.
        """
        owed = [
            each
            for each in self.machine.owed(self.clock.now())
            if not isinstance(each, Notice) and not self._in_vain(each)
        ]
        tag, seq = self.fleet.tag, self.journal.last_seq_now
        self._effects.perform(tag, (each for each in owed if not isinstance(each, TakeInventory)))
        if not self._effects:
            for each in owed:
                if isinstance(each, TakeInventory) and self._listed.get(each.provider) != seq:
                    self._listed[each.provider] = seq
                    self._effects.perform(tag, (each,))
        return bool(self._effects)

    def _in_vain(self, action: Action) -> bool:
        """Whether a launch was looked up in vain so often that somebody else should look."""
        if not isinstance(action, Launch):
            return False
        return len(self.lost.get(action.instance_id, ())) >= LAUNCHES_MAX

    def _learn(self, outcome: msg.Message) -> None:
        self.tell(outcome)
        self._effects.heard((outcome,))

    def _came_back(self, outcome: msg.Message) -> None:
        match outcome:
            case msg.TerminateAnswered() if outcome.error:
                self.failures[outcome.instance_id] = outcome.error
            case msg.LaunchLost():
                self.lost.setdefault(outcome.instance_id, []).append(outcome.text)
            case _:
                pass
        self._outcomes.put_nowait(outcome)

    async def _abandon(self) -> None:
        await self._effects.stop()
        while not self._outcomes.empty():
            self._learn(self._outcomes.get_nowait())
        self.tell(msg.Resume(VERSION, "the same program, after a call was abandoned"))

    # --- remembering ---------------------------------------------------------------------

    def _saw(self, instance: Instance) -> None:
        if instance.labels.get(FLEET_LABEL) == self.fleet.tag:
            self.seen[instance.labels.get(INSTANCE_LABEL, "")] = instance

    def _tidy(self) -> None:
        """Forget what the fleet no longer knows, and what the journal has kept for long enough."""
        if len(self.seen) > len(self.fleet.instances):
            self.seen = {id_: i for id_, i in self.seen.items() if id_ in self.fleet.instances}
        seq = self.journal.last_seq_now
        if seq - self._tidied_seq >= TIDIED_EVERY:
            self._tidied_seq = seq
            self.journal.snapshot_now(seq, fleets.encode(self.fleet))
            self.journal.forget_now(before=self.clock.now() - HISTORY_KEPT)


def _done(command: Command) -> msg.AckCommand:
    return msg.AckCommand(
        command.node_id,
        command.id,
        CommandState.SUCCEEDED,
        "there is no agent: nothing runs there that this pool knows of",
    )


class _Unhurried:
    """A clock on which nobody waits in vain: one that others move is not waited for.

    Calls to a provider are spread over time. In virtual time, whoever could move the clock is
    waiting for those calls.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.jumps = clock.jumps

    def now(self) -> datetime:
        return self._clock.now()

    async def sleep(self, duration: timedelta) -> None:
        await self._clock.sleep(timedelta() if self.jumps else duration)


class _Watched:
    """A provider whose machines are remembered as it shows them."""

    def __init__(self, provider: Provider, saw: _Saw) -> None:
        facts = facts_of(provider)
        self.name = provider.name
        self.list_lag = facts.list_lag
        self.launches_at_once = facts.launches_at_once
        self.calls_per_second = facts.calls_per_second
        self.honours_tokens = facts.honours_tokens
        self._provider = provider
        self._saw = saw

    async def provision(self, request: ProvisionRequest) -> Instance:
        instance = await self._provider.provision(request)
        self._saw(replace(instance, labels={**request.labels, **instance.labels}))
        return instance

    async def terminate(self, instance_id: str) -> None:
        await self._provider.terminate(instance_id)

    async def list(self) -> Instances:
        instances = await self._provider.list()
        for each in instances:
            self._saw(each)
        return instances


class _Priced(_Watched):
    """The same for one that also shows its price list."""

    def __init__(self, provider: Provider, lister: InstanceTypeLister, saw: _Saw) -> None:
        super().__init__(provider, saw)
        self._lister = lister

    async def list_instance_types(self) -> list[InstanceType]:
        return await self._lister.list_instance_types()


def _watched(provider: Provider, saw: _Saw) -> Provider:
    if isinstance(provider, InstanceTypeLister):
        return _Priced(provider, provider, saw)
    return _Watched(provider, saw)
