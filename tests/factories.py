"""Moments, machines and fleets for tests, made the way production makes them: by folding facts.

One small world is told again and again: the fleet ``k3f9``, its pool ``training`` at the provider
``fake``, whose machine number n is called ``training-k3f9-000n`` by us and ``m-n`` by the provider.
Functions in the past tense return facts about machine n; `a_fleet` folds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from msgspec.structs import replace

from navarch.core import fold, inventory
from navarch.core.judging import Counts, Match, Verdict, verdict_of
from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.fleet import Fleet, Snapshot
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Metadata, Node
from navarch.core.model.offer import Offer
from navarch.core.model.pool import Pool, PoolSpec
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.core.model.sightings import Catalog, Recommendation, Sightings
from navarch.core.settings import Settings

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
TAG = "k3f9"
POOL = "training"
PROVIDER = "fake"
SETTINGS = Settings()


def at(*, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
    """Return the moment this long after the beginning of the test's world."""
    return START + timedelta(hours=hours, minutes=minutes, seconds=seconds)


# --- single values ---------------------------------------------------------------------------


def a_spec(**changes: object) -> PoolSpec:
    """Return the configuration of the pool: no node by itself, at most ten."""
    spec = PoolSpec(POOL, PROVIDER, instance_type="h100-8x", region="us-west-2", max_nodes=10)
    return replace(spec, **changes)


def a_pool(**changes: object) -> Pool:
    """Return the pool with one node wanted."""
    return replace(Pool(a_spec(), 1, "a test wants one"), **changes)


def an_instance(n: int = 1, **changes: object) -> Instance:
    """Return machine n, its launch just requested."""
    instance = Instance(name(n), POOL, PROVIDER, InstanceState.PROVISIONING, at(), "wanted")
    return replace(instance, **changes)


def a_node(n: int = 1, **changes: object) -> Node:
    """Return the node on machine n, just registered."""
    node = Node(name(n), at(), at(), PROVIDER, pool=POOL, instance_id=name(n), because="registered")
    return replace(node, **changes)


def an_offer(provider: str = PROVIDER, **changes: object) -> Offer:
    """Return what a pool may buy of a provider, in no place in particular."""
    return replace(Offer(provider, instance_type="h100-8x"), **changes)


def name(n: int) -> str:
    """Return what we call machine n."""
    return ids.instance_id(POOL, TAG, n)


def gpus(count: int = 8) -> tuple[GPU, ...]:
    """Return that many GPUs of one kind."""
    return tuple(GPU(index, f"GPU-{index}", "H100") for index in range(count))


def xid(code: int, *, gpu_index: int = 0, **changes: object) -> HealthEvent:
    """Return what an agent says about an XID of one GPU."""
    event = HealthEvent("xid", gpu_index, metrics={"xid_code": str(code)}, message=f"Xid {code}")
    return replace(event, **changes)


def thermal(*, gpu_index: int = 0, **changes: object) -> HealthEvent:
    """Return what an agent says about a GPU that is too hot: a condition."""
    return replace(HealthEvent("thermal", gpu_index, metrics={"temperature": 97}), **changes)


def a_finding(
    remedy: Remedy = Remedy.REPLACE, when: datetime = START, code: int = 79, **changes: object
) -> Finding:
    """Return the finding that an XID has made a GPU unfit, and what would put it right."""
    event = xid(code)
    finding = Finding(
        f"xid-{code}", Health.UNHEALTHY, remedy, when, when, event, number=1, lasting=True
    )
    return replace(finding, **changes)


def a_sample(utilization_percent: float) -> NodeSample:
    """Return a reading of a node with one GPU that is so busy."""
    return NodeSample(gpus=(GPUSample(0, utilization_percent=utilization_percent),))


def check(status: Health = Health.HEALTHY, **changes: object) -> CheckResult:
    """Return the result of the check ``nvml``."""
    return replace(CheckResult("nvml", status), **changes)


# --- a policy --------------------------------------------------------------------------------


class ByXid:
    """A policy that knows some XIDs by their number, and heat; of others it makes no death.

    ====  =========  ===========  =======  =======================================
    xid   status     remedy       lasting
    ====  =========  ===========  =======  =======================================
    13    healthy    restart_app  no       the application's own
    48    degraded   observe      no
    63    degraded   observe      yes
    79    unhealthy  replace      yes
    95    unhealthy  reset_gpu    yes
    119   unhealthy  reboot       yes
    110   unhealthy  inspect      yes
    154   by its metric ``action``: none settles all, others are unhealthy and settle too
    ====  =========  ===========  =======  =======================================

    Heat is unhealthy, needs another machine, and ends with clean reports.
    """

    KNOWN: ClassVar[dict[str, tuple[Health, Remedy, bool]]] = {
        "13": (Health.HEALTHY, Remedy.RESTART_APP, False),
        "31": (Health.HEALTHY, Remedy.RESTART_APP, False),
        "48": (Health.DEGRADED, Remedy.OBSERVE, False),
        "63": (Health.DEGRADED, Remedy.OBSERVE, True),
        "79": (Health.UNHEALTHY, Remedy.REPLACE, True),
        "95": (Health.UNHEALTHY, Remedy.RESET_GPU, True),
        "119": (Health.UNHEALTHY, Remedy.REBOOT, True),
        "110": (Health.UNHEALTHY, Remedy.INSPECT, True),
    }

    def __init__(self, name: str = "by xid", **lenient: Health) -> None:
        """Give other verdicts where ``xid79=Health.HEALTHY`` says so; then the digest differs."""
        self.name = name
        self.digest = " ".join([name, *(f"{each}:{lenient[each]}" for each in sorted(lenient))])
        self._lenient = lenient

    def evaluate(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        """Let the worst event speak; counts are not asked for."""
        return verdict_of([self._match(event) for event in events])

    def _match(self, event: HealthEvent) -> Match:
        code = str(event.metrics.get("xid_code", ""))
        if event.event_type == "thermal":
            status, remedy, lasting = Health.UNHEALTHY, Remedy.REPLACE, False
        elif code == "154":
            return self._recovery(event)
        else:
            unknown = (Health.DEGRADED, Remedy.OBSERVE, False)
            status, remedy, lasting = self.KNOWN.get(code, unknown)
        status = self._lenient.get(f"{event.event_type}{code}", status)
        return Match(
            event,
            f"{event.event_type}-{code}".rstrip("-"),
            status,
            remedy,
            lasting=lasting and status is not Health.HEALTHY,
        )

    def _recovery(self, event: HealthEvent) -> Match:
        action = str(event.metrics.get("action", "none"))
        if action == "none":
            return Match(event, "xid-154-none", Health.HEALTHY, Remedy.NONE, settles=True)
        remedy = Remedy(action)
        rule = f"xid-154-{action}"
        return Match(event, rule, Health.UNHEALTHY, remedy, lasting=True, settles=True)


BY_XID = ByXid()


def recovery(action: str = "none", *, gpu_index: int = 0, **changes: object) -> HealthEvent:
    """Return the driver's word on what a GPU needs: XID 154 with a remedy, or ``none``."""
    event = xid(154, gpu_index=gpu_index)
    return replace(event, metrics={"xid_code": "154", "action": action}, **changes)


# --- facts about machine n -------------------------------------------------------------------


def founded(spec: PoolSpec | None = None, target: int = 0) -> list[ev.Fact]:
    """Return what every journal begins with; the pool wants `target` nodes."""
    spec = spec or a_spec()
    return [
        ev.FleetFounded(at(), TAG),
        ev.Resumed(at(), "0.1.0"),
        ev.PoolConfigured(at(), spec),
        ev.TargetChanged(at(), spec.name, target, "a test wants so many"),
    ]


def requested(n: int, when: datetime = START, pool: str = POOL) -> ev.LaunchRequested:
    """Return the wish for machine n."""
    id_ = ids.instance_id(pool, TAG, n)
    return ev.LaunchRequested(when, id_, pool, PROVIDER, "too few", "h100-8x", "us-west-2")


def launched(n: int, when: datetime = START, pool: str = POOL) -> ev.InstanceLaunched:
    """Return that the provider made machine n."""
    return ev.InstanceLaunched(when, ids.instance_id(pool, TAG, n), f"m-{n}", "fake launched it")


def registered(n: int, when: datetime = START, pool: str = POOL) -> ev.NodeRegistered:
    """Return that the agent of machine n introduced itself."""
    id_ = ids.instance_id(pool, TAG, n)
    return ev.NodeRegistered(
        when,
        id_,
        provider=PROVIDER,
        region="us-west-2",
        instance_type="h100-8x",
        pool=pool,
        instance_id=id_,
        gpus=gpus(),
        metadata=Metadata(f"host-{n}"),
    )


def refused(
    n: int, failure: str = "NoCapacity", when: datetime = START, because: str = "none left"
) -> ev.LaunchFailed:
    """Return that the provider would not make machine n."""
    return ev.LaunchFailed(when, name(n), failure, because)


def running(n: int, when: datetime = START, pool: str = POOL) -> list[ev.Fact]:
    """Return the three facts that make machine n a node."""
    return [requested(n, when, pool), launched(n, when, pool), registered(n, when, pool)]


def lost(n: int, when: datetime) -> ev.NodeLost:
    """Return that node n fell silent."""
    return ev.NodeLost(when, name(n), "silent for 91 s")


def sick(n: int, when: datetime, *findings: Finding, reports: int = 2) -> ev.HealthJudged:
    """Return that node n is unhealthy by these findings, confirmed by so many reports."""
    found = findings or (a_finding(when=when),)
    return ev.HealthJudged(
        when, name(n), Health.UNHEALTHY, "it is sick", found, 0, reports, BY_XID.digest
    )


def well(n: int, when: datetime) -> ev.HealthJudged:
    """Return that node n is healthy again."""
    return ev.HealthJudged(
        when, name(n), Health.HEALTHY, "it is well", clean_reports=3, policy=BY_XID.digest
    )


def condemned(n: int, when: datetime, cause: str = "") -> ev.InstanceCondemned:
    """Return that machine n is to be replaced."""
    because = "it is sick" if cause == "sickness" else "silent for 91 s"
    return ev.InstanceCondemned(when, name(n), because, cause)


def mending(n: int, when: datetime, rung: Remedy = Remedy.REBOOT) -> ev.RepairStarted:
    """Return that node n is drained to be repaired where it is."""
    return ev.RepairStarted(when, name(n), rung, "it is sick")


def ending(n: int, when: datetime) -> ev.TerminationRequested:
    """Return that machine n is not wanted any more."""
    return ev.TerminationRequested(when, name(n), "too many")


def releasing(n: int, when: datetime = START) -> ev.ReleaseRequested:
    """Return that machine n is drained because it is too many."""
    return ev.ReleaseRequested(when, name(n), "too many")


def drained(n: int, command: ev.CommandIssued, when: datetime) -> ev.CommandFinished:
    """Return that the agent of machine n has done as this command to drain says."""
    done = CommandState.SUCCEEDED
    return ev.CommandFinished(when, command.command_id, name(n), done, "drained")


def a_stranger(node_id: str = "lab-1", when: datetime = START) -> ev.NodeRegistered:
    """Return that a machine which we did not launch introduced itself."""
    return ev.NodeRegistered(when, node_id, provider="lab", gpus=gpus(1))


def issued(
    n: int, type_: CommandType, when: datetime = START, *, node_id: str = ""
) -> ev.CommandIssued:
    """Return the command number n, to machine 1 unless another node is named."""
    command_id = ids.command_id(TAG, n)
    return ev.CommandIssued(when, command_id, node_id or name(1), type_, when + timedelta(hours=1))


# --- fleets ----------------------------------------------------------------------------------

Facts = ev.Fact | Iterable[ev.Fact]


def flat(*facts: Facts) -> list[ev.Fact]:
    """Return facts and lists of facts as one list."""
    flattened: list[ev.Fact] = []
    for fact in facts:
        flattened += [fact] if isinstance(fact, ev.Event) else fact
    return flattened


def fold_all(*facts: Facts, fleet: Fleet | None = None) -> Fleet:
    """Fold facts, in order, into a fleet; into an empty one if none is given."""
    fleet = Fleet() if fleet is None else fleet
    for fact in flat(*facts):
        fold.apply(fleet, fact)
    return fleet


def a_fleet(
    nodes: int = 0, *facts: Facts, target: int | None = None, spec: PoolSpec | None = None
) -> Fleet:
    """Return a founded fleet whose machines 1 to `nodes` serve, then `facts` folded into it.

    The pool wants as many as there are, unless `target` says otherwise.
    """
    beginning = founded(spec, nodes if target is None else target)
    return fold_all(beginning, *(running(n) for n in range(1, nodes + 1)), *facts)


def indexes(fleet: Fleet) -> dict[str, set[str]]:
    """Return all that a fleet keeps besides its records, without the order of it."""
    nested = ("members", "current", "bought_from")
    mappings = {name for name, value in vars(fleet).items() if isinstance(value, dict)}
    kept = mappings - set(Snapshot.__struct_fields__) - set(nested)
    flat = {
        name: {f"{key}: {id_}" for key, ids_ in getattr(fleet, name).items() for id_ in ids_}
        for name in nested
    }
    return flat | {index: set(vars(fleet)[index]) for index in kept}


# --- sightings -------------------------------------------------------------------------------


def a_machine(n: int, **changes: object) -> msg.Machine:
    """Return machine n as the provider lists it."""
    return replace(msg.Machine(f"m-{n}", TAG, name(n)), **changes)


def a_list(
    begun_at: datetime, *machines: msg.Machine, lag: timedelta = timedelta()
) -> msg.InventoryTaken:
    """Return an inventory of the provider that shows these machines."""
    return msg.InventoryTaken(PROVIDER, begun_at, lag, machines)


def sighted(fleet: Fleet, *lists: msg.InventoryTaken) -> Sightings:
    """Return what these inventories leave in memory; each was taken when it was begun."""
    sightings = Sightings()
    for taken in lists:
        inventory.observe(fleet, sightings, taken, taken.begun_at)
    return sightings


def advised(
    target: int, when: datetime = START, *, held: bool = False, pool: str = POOL
) -> Sightings:
    """Return the sighting of an autoscaler's word."""
    word = Recommendation(when, target, "queue 12", "queue", held)
    return Sightings(recommendations={pool: word})


def priced(when: datetime = START, **lists: Iterable[msg.Sold]) -> dict[str, Catalog]:
    """Return price lists by provider, all read at one moment."""
    return {
        provider: Catalog(when, {sold.name: sold for sold in types})
        for provider, types in lists.items()
    }
