"""A made-up month of a fleet, lived through by the real core, for tests of the policy backtest.

Time jumps from one event to the next: agents speak before each jump is noticed, so that nobody is
lost who should not be. Clouds answer at once, agents drain at once, and new machines register a
minute after they were bought.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from navarch.core.judging import HealthPolicy
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import Launch, TakeInventory, Terminate
from navarch.core.model.command import CommandState
from navarch.core.model.gpu import GPU
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.core.strategies import Strategies
from navarch.policy import HealthPolicy as Rules

START = datetime(2026, 5, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TAG = "k3f9"
FINE = (CheckResult("nvml", Health.HEALTHY),)


def rules(name: str, *lines: str) -> Rules:
    """Return a policy that gives a status and a remedy to XIDs: ``79 unhealthy replace``."""
    text = [f"version: v1\nmetadata:\n  name: {name}\nrules:"]
    for line in lines:
        code, result, *repair = line.split()
        text.append(f"  - name: xid-{code}\n    result: {result}")
        text.append(f'    condition: event.event_type == "xid" && known.code == {code}')
        text += [f"    repair: {each}" for each in repair]
    text.append("  - name: rest\n    condition: 'true'\n    result: healthy\n")
    return Rules.from_yaml("\n".join(text))


def a_policy(name: str = "usual", **changes: str) -> Rules:
    """Return a policy for the XIDs of the month; ``xid31="unhealthy replace"`` changes a line."""
    lines = {"xid31": "healthy", "xid48": "unhealthy replace", "xid79": "unhealthy replace"}
    lines |= changes
    return rules(name, *(f"{code[3:]} {words}" for code, words in lines.items()))


def xid(code: int, gpu: int = 0) -> HealthEvent:
    """Return an XID as agents report it."""
    return HealthEvent("xid", gpu, metrics={"xid_code": code})


class Month:
    """A fleet on its way through time, and its journal."""

    def __init__(
        self, policy: HealthPolicy, *, nodes: int = 12, spec: PoolSpec | None = None
    ) -> None:
        """Found the fleet and have its nodes register."""
        self.now = START
        self.facts: list[ev.Fact] = []
        self.machine = Machine(strategies=Strategies(policy=policy))
        self.machines: dict[str, str] = {}
        """The machines of the cloud: our id by its id."""
        self.silent: set[str] = set()
        self._unborn: set[str] = set()
        spec = spec or PoolSpec("train", "cloud", min_nodes=nodes, max_nodes=nodes + 2)
        self.step(msg.Found(TAG), msg.Resume("test"), msg.ConfigurePools((spec,)))
        self.step(msg.AdoptPolicy(policy.name, policy.digest, "it is configured"))
        self.minutes(3)

    def node(self, number: int) -> str:
        """Return what the machine with this number is called."""
        return f"train-{TAG}-{number:04d}"

    # --- the world ---------------------------------------------------------------------------

    def step(self, *messages: msg.Message) -> None:
        """Let the control plane take messages, and do all that it wants done."""
        waiting = list(messages)
        for _ in range(20):
            step = self.machine.step(waiting, self.now)
            self.facts += step.facts
            assert not [each for each in step.answers if isinstance(each, msg.Refused)]
            waiting = [answer for each in self.machine.owed(self.now) for answer in self._do(each)]
            if not waiting:
                return
        raise AssertionError("the control plane does not come to rest")

    def _do(self, action: object) -> Iterable[msg.Message]:
        match action:
            case Launch():
                ref = f"m-{action.instance_id}"
                self.machines[ref] = action.instance_id
                self._unborn.add(action.instance_id)
                yield msg.Launched(action.instance_id, msg.Machine(ref, TAG, action.instance_id))
            case Terminate():
                self.machines.pop(action.ref, None)
                yield msg.TerminateAnswered(action.provider, action.ref, action.instance_id)
            case TakeInventory():
                listed = (msg.Machine(ref, TAG, id_) for ref, id_ in self.machines.items())
                yield msg.InventoryTaken(action.provider, self.now, timedelta(), tuple(listed))
            case _:
                raise AssertionError(f"nobody does {action}")

    def _alive(self) -> list[str]:
        return [id_ for id_ in self.machines.values() if id_ not in self.silent]

    def _spoken(self) -> list[msg.Message]:
        """Say what agents say when nothing is the matter."""
        said: list[msg.Message] = []
        for id_ in self._alive():
            if id_ in self._unborn:
                self._unborn.discard(id_)
                gpus = tuple(GPU(index, f"GPU-{id_}-{index}") for index in range(8))
                said.append(msg.RegisterNode(id_, gpus=gpus))
            said.append(msg.Heartbeat(id_))
            said.append(msg.ReportHealth(id_, FINE))
            said += [
                msg.AckCommand(id_, each.id, CommandState.SUCCEEDED)
                for each in self.machine.fleet.commands_for(id_)
            ]
        return said

    # --- what happens ------------------------------------------------------------------------

    def jump(self, to: datetime) -> None:
        """Let time pass in which nothing happens."""
        self.now = to
        self.step(*self._spoken(), msg.Tick())

    def minutes(self, count: int) -> None:
        """Let time pass in which agents report each minute that all is well."""
        for _ in range(count):
            self.jump(self.now + MINUTE)

    def report(self, node: int, *events: HealthEvent, minutes: int = 60) -> None:
        """Let a node report events, and time pass for what follows from it."""
        self.jump(self.now)
        self.step(msg.ReportHealth(self.node(node), FINE, events))
        self.minutes(minutes)

    def vanish(self, node: int) -> None:
        """Let a machine be gone from one moment to the next."""
        self.machines.pop(f"m-{self.node(node)}")
        self.minutes(10)

    def clear(self, node: int) -> None:
        """Let an operator say that a node is well."""
        self.step(msg.ClearHealth(self.node(node), "the cable was loose"))
        self.minutes(10)


def a_month() -> Month:
    """Live through a month with known answers, judged by `a_policy`.

    ====  ===============================================================================
    node  what becomes of it
    ====  ===============================================================================
    1     XID 31 on day 2: an application's fault, and the node lives on
    2     XID 79 on day 5: replaced
    3     XID 31 on day 9, and again on day 10; it lives on
    4     XID 48 on day 12: condemned, and an operator clears it before its end
    5     vanishes on day 15, without a sign
    6     XID 31 on day 20, and two hours later it vanishes
    ====  ===============================================================================
    """
    month = Month(a_policy())
    for day, node in ((2, 1), (5, 2), (9, 3), (10, 3)):
        month.jump(START + day * DAY)
        month.report(node, xid(79 if node == 2 else 31))
    month.jump(START + 12 * DAY)
    month.report(4, xid(48), minutes=1)
    month.clear(4)
    month.jump(START + 15 * DAY)
    month.vanish(5)
    month.jump(START + 20 * DAY)
    month.report(6, xid(31))
    month.jump(START + 20 * DAY + 2 * HOUR)
    month.vanish(6)
    month.jump(START + 30 * DAY)
    return month
