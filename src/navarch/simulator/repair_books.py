"""Books of repair: what the journal says about the health of nodes, and what is done about it.

Like `navarch.simulator.books` a second account, written down from the facts alone. What a verdict
must come to is worked out anew here, from the events that were reported and the table that judged
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from msgspec import Struct, field

from navarch.core.judging import HealthPolicy, NothingBefore
from navarch.core.model import events as ev
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.ladder import Told
from navarch.core.model.node import Intent
from navarch.core.model.report import Health, HealthEvent

TREATMENTS = {CommandType.GPU_RESET: Remedy.RESET_GPU, CommandType.REBOOT: Remedy.REBOOT}

GPUS_MAX = 16
"""More than any simulated machine has."""

Debt = tuple[str, int]
"""A kind of event, and the GPU that it came from."""


class Mending(Struct):
    """A repair in place that is under way."""

    rung: Remedy
    begun_at: datetime
    command_id: str = ""
    """The reset or the reboot; empty before it was asked for."""
    gpu: str = "all"
    """What it is for: the index of one GPU, or all of them."""
    succeeded: bool = False
    """Whether its agent said that it was done."""
    on_probation_since: datetime | None = None


class Tried(Struct, frozen=True):
    """A repair in place that is over."""

    rung: Remedy
    at: datetime
    outcome: str


class Record(Struct):
    """One node."""

    id: str
    verdict: Health = Health.UNKNOWN
    reports: list[ev.HealthReported] = field(default_factory=list)
    """Those that no verdict has followed yet."""
    reports_before: int = 0
    """How many different reports had come when it fell ill last."""
    debts: dict[Debt, HealthEvent] = field(default_factory=dict)
    """What lasts until it is put right: the newest event of each."""
    ails: dict[int, None] = field(default_factory=dict)
    """The GPUs against which anything stands that passes; -1: the node as a whole."""
    unsure: bool = False
    """Whether another policy has judged it since: then its debts are not known here."""
    cleared_at: datetime | None = None
    """When somebody set everything aside last."""
    mending: Mending | None = None
    tried: list[Tried] = field(default_factory=list)
    handed_over: bool = False
    gpus: tuple[str, ...] = ()
    lemon: bool = False
    """Whether it had a GPU, when it registered, that had made two machines sick before."""
    intent: Intent = Intent.IN_SERVICE
    wish_is_open: bool = False
    """Whether an operator wants something else, and the workload manager has not agreed yet."""
    told: Told = Told.OPEN
    """What the workload manager is believed to go by."""

    @property
    def has_cause(self) -> bool:
        """Whether anything is known that a repair may be for."""
        return bool(self.debts or self.ails) or self.unsure


class RepairBooks:
    """What the facts so far come to."""

    def __init__(self, policies: Mapping[str, HealthPolicy]) -> None:
        """Know the policies by their digests."""
        self.records: dict[str, Record] = {}
        self.open: dict[str, None] = {}
        """Pools in which nothing may be begun."""
        self.half_open: dict[str, bool] = {}
        """Pools in which one thing may be, to whether a person has said so."""
        self.half_opened_at: dict[str, datetime] = {}
        """When pools last got there."""
        self.acknowledged: dict[str, None] = {}
        """Halted pools of which a person has said that they looked."""
        self.begun: dict[str, list[datetime]] = {}
        """When repairs were begun, by pool."""
        self.culprits: dict[str, dict[str, None]] = {}
        """Which machines each GPU has made sick."""
        self.pools: dict[str, str] = {}
        """Nodes to their pools."""
        self._policies = dict(policies)

    def know(self, policy: HealthPolicy) -> None:
        """Know one more policy, which may judge from now on."""
        self._policies[policy.digest] = policy

    def of(self, node_id: str) -> Record:
        """Find the record of a node, or begin it."""
        return self.records.setdefault(node_id, Record(node_id))

    def write(self, fact: ev.Event, reports_before: Callable[[str], int]) -> None:
        """Take a fact down.

        `reports_before` tells how many different reports a node had sent before the newest one.
        """
        match fact:
            case ev.RepairHalted():
                self.open[fact.pool] = None
                self.half_open.pop(fact.pool, None)
                self.acknowledged.pop(fact.pool, None)
            case ev.RepairAcknowledged():
                self.acknowledged[fact.pool] = None
                if fact.pool in self.half_open:
                    self.half_open[fact.pool] = True
            case ev.RepairHalfOpened():
                self.open.pop(fact.pool, None)
                self.half_open[fact.pool] = fact.pool in self.acknowledged
                self.half_opened_at[fact.pool] = fact.at
            case ev.RepairContinued():
                self.half_open.pop(fact.pool, None)
                self.acknowledged.pop(fact.pool, None)
            case ev.PolicyAdopted():
                for record in self.records.values():
                    record.unsure = record.verdict in (Health.DEGRADED, Health.UNHEALTHY)
            case ev.RecordsForgotten():
                for id_ in set(fact.instances).difference(fact.nodes):
                    self.records.pop(id_, None)
                for node_id in fact.nodes:  # one that comes back begins anew
                    self.records[node_id] = Record(node_id, told=self.of(node_id).told)
            case ev.InstanceCondemned():
                self._begin(fact.instance_id, fact.at)
                for uuid in fact.hardware:
                    self.culprits.setdefault(uuid, {})[fact.instance_id] = None
            case ev.CommandFinished():
                self._finish(fact)
            case _ if node_id := getattr(fact, "node_id", ""):
                self._write_about(self.of(node_id), fact, reports_before)
            case _:
                pass

    def _begin(self, node_id: str, at: datetime) -> None:
        self.begun.setdefault(self.pools.get(node_id, ""), []).append(at)

    def _finish(self, fact: ev.CommandFinished) -> None:
        mending = self.of(fact.node_id).mending
        if mending is not None and mending.command_id == fact.command_id:
            mending.succeeded = fact.state is CommandState.SUCCEEDED

    def _write_about(
        self, record: Record, fact: ev.Event, reports_before: Callable[[str], int]
    ) -> None:
        match fact:
            case ev.NodeRegistered():
                self.pools[record.id] = fact.pool
                record.gpus = tuple(gpu.uuid for gpu in fact.gpus)
                record.lemon = any(len(self.culprits.get(uuid, ())) >= 2 for uuid in record.gpus)
            case ev.HealthReported():
                record.reports.append(fact)
            case ev.HealthJudged():
                if fact.health is Health.UNHEALTHY and record.verdict is not Health.UNHEALTHY:
                    record.reports_before = reports_before(record.id)
                self._judge(record, fact)
            case ev.HealthCleared():
                self._well(record)
                record.cleared_at = fact.at
                record.tried = []
                record.lemon = record.handed_over = False
                for uuid in record.gpus:
                    self.culprits.pop(uuid, None)
            case ev.RepairStarted():
                self._begin(record.id, fact.at)
                record.mending = Mending(fact.rung, fact.at)
            case ev.CommandIssued() if fact.type in TREATMENTS and record.mending:
                record.mending.command_id = fact.command_id
                record.mending.gpu = fact.parameters.get("gpu", "all")
            case ev.RepairAdvanced() if record.mending and fact.stage == "probation":
                record.mending.on_probation_since = fact.at
            case ev.RepairEnded() if record.mending:
                record.tried.append(Tried(record.mending.rung, fact.at, fact.outcome.value))
                mended, record.mending = record.mending, None
                if fact.outcome == "succeeded":
                    self._pay(record, mended.gpu)
                    record.reports_before = reports_before(record.id) + 1
            case ev.NodeHandedOver():
                record.handed_over = True
            case ev.IntentChanged():
                record.intent = fact.intent
                record.wish_is_open = "by an operator" in fact.because
                record.handed_over = record.handed_over and fact.intent != "in_service"
            case ev.WorkloadTold():
                record.told, record.wish_is_open = fact.told, False
            case _:
                pass

    def _well(self, record: Record) -> None:
        record.verdict = Health.UNKNOWN
        record.debts, record.ails, record.unsure = {}, {}, False

    def _pay(self, record: Record, gpu: str) -> None:
        """What a repair has put right is paid; a reset of one GPU pays for no other."""
        left = set() if gpu == "all" else set(range(GPUS_MAX)) - {int(gpu)}
        record.debts = {key: event for key, event in record.debts.items() if key[1] in left}
        record.ails = dict.fromkeys(index for index in record.ails if index in left)
        record.unsure = record.handed_over = False
        record.verdict = Health.UNHEALTHY if record.debts else Health.HEALTHY

    # --- verdicts ---------------------------------------------------------------------------

    def _judge(self, record: Record, fact: ev.HealthJudged) -> None:
        policy = self._policies.get(fact.policy)
        for report in record.reports:
            self._hear(record, report, policy)
        record.reports = []
        if fact.health is not Health.UNHEALTHY:
            record.ails = {}
            record.handed_over = record.unsure = False
        record.verdict = fact.health

    def _hear(self, record: Record, report: ev.HealthReported, policy: HealthPolicy | None) -> None:
        if any(result.status is Health.UNHEALTHY for result in report.results):
            record.ails[-1] = None
        if policy is None:
            return
        for match in policy.evaluate(report.events, NothingBefore()).matches:
            event = match.event
            if match.settles:
                settled = (event.event_type, event.gpu_index)
                for kind, gpu in list(record.debts):
                    if (kind.partition(":")[0], gpu) == settled:
                        del record.debts[kind, gpu]
            if match.status is Health.UNHEALTHY and match.lasting:
                record.debts[event.kind, event.gpu_index] = event
            elif match.status is Health.UNHEALTHY:
                record.ails[event.gpu_index] = None
