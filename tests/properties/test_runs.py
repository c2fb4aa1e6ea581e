"""Properties of whole runs: what holds after every step, whatever the world sends."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from factories import SETTINGS, START, indexes
from navarch.core import concluding, fold, health
from navarch.core.decide import decide
from navarch.core.interpret import interpret
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.actions import Tell
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.model.offer import Offer, offers
from navarch.core.model.pool import HOUR, Pool
from navarch.core.model.report import CheckResult, Health
from navarch.core.repair import breaker, budget, ladder
from navarch.core.selection import memory
from strategies import messages
from worlds import Run, finished, in_every_run, played, runs

LEGAL = {
    InstanceState.PROVISIONING: {
        InstanceState.PENDING_REGISTRATION,
        InstanceState.RUNNING,
        InstanceState.TERMINATING,
        InstanceState.FAILED,
    },
    InstanceState.PENDING_REGISTRATION: {
        InstanceState.RUNNING,
        InstanceState.TERMINATING,
        InstanceState.TERMINATED,
    },
    InstanceState.RUNNING: {InstanceState.TERMINATING, InstanceState.TERMINATED},
    InstanceState.TERMINATING: {InstanceState.TERMINATED},
    InstanceState.TERMINATED: set(),
    InstanceState.FAILED: set(),
}
"""The arrows drawn in `navarch.core.model.instance`."""


def retold(run: Run) -> Iterator[tuple[ev.Fact, Fleet, Fleet]]:
    """Play a run and show each fact with the fleets before and after it."""
    fleet = Fleet()
    for _, step, _ in played(run):
        for fact in step.facts:
            before = fleet.copy()
            fold.apply(fleet, fact)
            yield fact, before, fleet


def wanted(fleet: Fleet, pool: str) -> list[Instance]:
    """Return the machines that count: neither ending nor condemned nor being let go."""
    return [i for i in fleet.instances_of(pool) if i.live and not i.condemned and not i.releasing]


# --- the verbs -------------------------------------------------------------------------------


@given(runs, st.lists(messages, max_size=10))
def test_interpreting_is_total_and_its_facts_fold(run: Run, arriving: list[msg.Message]) -> None:
    machine, _, now = finished(run)
    settings = machine.strategies.settings
    for message in arriving:
        learned = interpret(machine.fleet, machine.sightings, message, now, settings)
        for fact in () if isinstance(learned, msg.Refused) else learned:
            fold.apply(machine.fleet.copy(), fact)


@in_every_run
def test_every_message_has_an_answer(run: Run) -> None:
    machine, _, now = finished(run)
    batch = [message for turn in run[1] for message in turn.wild]
    assert len(machine.step(batch, now).answers) == len(batch)


@in_every_run
def test_deciding_again_brings_nothing(run: Run) -> None:
    """Every step of a run decides, for a tick ends its batch."""
    for machine, _, now in played(run):
        assert decide(machine.fleet, machine.sightings, now, machine.strategies) == []


@in_every_run
def test_deciding_and_owing_change_nothing(run: Run) -> None:
    machine, _, now = finished(run)
    later = now + HOUR
    machine.step([msg.Heartbeat(node_id) for node_id in machine.fleet.nodes], now)
    before = fleets.encode(machine.fleet), copy.deepcopy(machine.sightings)
    decided = decide(machine.fleet, machine.sightings, later, machine.strategies)
    owed = list(machine.owed(later))
    assert decide(machine.fleet, machine.sightings, later, machine.strategies) == decided
    assert list(machine.owed(later)) == owed
    assert (fleets.encode(machine.fleet), machine.sightings) == before


@in_every_run
def test_no_action_is_owed_twice_at_one_time(run: Run) -> None:
    for machine, _, now in played(run):
        keys = [action.key for action in machine.owed(now)]
        assert len(keys) == len(set(keys))


# --- journal and snapshot --------------------------------------------------------------------


@in_every_run
def test_the_decoded_journal_folds_to_the_same_fleet(run: Run) -> None:
    machine, journal, _ = finished(run)
    fleet = Fleet()
    for fact in journal:
        fold.apply(fleet, ev.decode(ev.encode(fact)))
    assert fleet == machine.fleet


@in_every_run
def test_a_snapshot_is_read_back_equal(run: Run) -> None:
    machine, _, _ = finished(run)
    assert fleets.decode(fleets.encode(machine.fleet)) == machine.fleet


@in_every_run
def test_a_fleet_from_a_snapshot_behaves_alike(run: Run) -> None:
    machine, _, now = finished(run)
    later = now + HOUR
    other = Machine(fleets.decode(fleets.encode(machine.fleet)), machine.strategies)
    other.sightings = copy.deepcopy(machine.sightings)
    step = machine.step([msg.Tick()], later)
    assert other.step([msg.Tick()], later) == step
    owed, again = list(machine.owed(later)), list(other.owed(later))
    assert sorted(again, key=lambda action: action.key) == sorted(owed, key=lambda each: each.key)


@in_every_run
def test_a_fleet_from_a_snapshot_decides_alike_at_any_moment(run: Run) -> None:
    for machine, _, now in played(run):
        other = fleets.decode(fleets.encode(machine.fleet))
        for later in (now, now + HOUR):
            decided = decide(machine.fleet, machine.sightings, later, machine.strategies)
            assert decide(other, machine.sightings, later, machine.strategies) == decided


@in_every_run
def test_indexes_are_those_that_follow_from_the_records(run: Run) -> None:
    for _, _, fleet in retold(run):
        assert indexes(fleet) == indexes(Fleet(fleet.records()))
        for pool in fleet.members:
            alive = [i for i in fleet.instances.values() if i.pool == pool and not i.ended]
            assert list(fleet.instances_of(pool)) == alive
        unfinished = sorted(each.id for each in fleet.commands.values() if not each.finished)
        assert sorted(id_ for ids in fleet.pending.values() for id_ in ids) == unfinished


@in_every_run
def test_the_same_run_gives_the_same_bytes(run: Run) -> None:
    once, again = ([ev.encode(fact) for fact in finished(run)[1]] for _ in range(2))
    assert once == again


@given(runs, st.data())
def test_messages_of_different_nodes_may_come_in_any_order(run: Run, data: st.DataObject) -> None:
    machine, journal, now = finished(run)
    said = [data.draw(_word(node_id)) for node_id in machine.fleet.nodes]
    shuffled = data.draw(st.permutations(said))
    other = Machine(strategies=machine.strategies)
    for fact in journal:
        fold.apply(other.fleet, fact)
    other.sightings = copy.deepcopy(machine.sightings)
    machine.step(said, now)
    other.step(shuffled, now)
    assert (other.fleet, other.sightings) == (machine.fleet, machine.sightings)


def _word(node_id: str) -> st.SearchStrategy[msg.Message]:
    said = [
        msg.Heartbeat(node_id),
        msg.ReportHealth(node_id, (CheckResult("nvml", Health.DEGRADED),)),
        msg.PollCommands(node_id, acknowledges=False),
        msg.RegisterNode(node_id, zone="b"),
    ]
    return st.sampled_from(said)


# --- facts and their reasons -----------------------------------------------------------------


@in_every_run
def test_facts_carry_their_time_and_reason_and_no_id_is_given_twice(run: Run) -> None:
    given_: list[str] = []
    for _, step, now in played(run):
        for fact in step.facts:
            assert fact.at == now
            assert getattr(fact, "because", "none is needed") != "", fact
            if isinstance(fact, ev.LaunchRequested):
                given_.append(fact.instance_id)
            elif isinstance(fact, ev.CommandIssued):
                given_.append(fact.command_id)
    assert len(given_) == len(set(given_))


# --- limits ----------------------------------------------------------------------------------


@in_every_run
def test_targets_and_machines_stay_within_the_limits(run: Run) -> None:
    """Only a new configuration can leave a pool above its maximum, and then it does not grow."""
    for fact, before, after in retold(run):
        for name, pool in after.pools.items():
            assert pool.spec.min_nodes <= pool.target <= pool.spec.max_nodes
            alive = len(after.members.get(name, ()))
            grown = alive > len(before.members.get(name, ()))
            assert alive <= pool.spec.max_nodes or not grown, fact


@in_every_run
def test_only_what_is_missing_is_bought_and_of_an_offer_that_may_be_asked(run: Run) -> None:
    for fact, before, after in retold(run):
        if isinstance(fact, ev.LaunchRequested):
            pool = after.pools[fact.pool]
            assert len(wanted(after, pool.name)) <= pool.target
            assert not pool.asleep
            assert memory.blocked_until(before, _offer_of(fact, pool), fact.at, SETTINGS) is None
            assert not any(_could_stay(before, i) for i in before.instances_of(pool.name))


def _offer_of(fact: ev.LaunchRequested, pool: Pool) -> Offer:
    """Find what was bought among the pool's offers."""
    bought = (fact.provider, fact.region, fact.zone, fact.instance_type, fact.spot)
    return next(
        offer
        for offer in offers(pool)
        if (offer.provider, offer.region, offer.zone, offer.instance_type, offer.spot) == bought
    )


def _could_stay(fleet: Fleet, instance: Instance) -> bool:
    """Whether it is being let go and could be called back instead of buying another.

    Who is sick, or about to be taken away, is not called back.
    """
    node = fleet.node_of(instance)
    wanted = instance.releasing and instance.live and not instance.interrupted
    return wanted and node is not None and node.connected and node.health is not Health.UNHEALTHY


@in_every_run
def test_letting_go_takes_no_pool_below_its_target_and_drains_who_serves(run: Run) -> None:
    for fact, before, after in retold(run):
        if isinstance(fact, ev.ReleaseRequested):
            instance = before.instances[fact.instance_id]
        elif isinstance(fact, ev.TerminationRequested) and "wanted:" in fact.because:
            instance = before.instances[fact.instance_id]
            assert instance.releasing or not _serves(before, instance)
            assert not instance.releasing or _is_empty(before, instance, fact.at)
        else:
            continue
        pool = after.pools[instance.pool]
        assert not pool.asleep
        assert instance.releasing or len(wanted(after, pool.name)) >= pool.target


def _serves(fleet: Fleet, instance: Instance) -> bool:
    node = fleet.node_of(instance)
    return node is not None and node.phase is Phase.ACTIVE and node.connected


def _is_empty(fleet: Fleet, instance: Instance, now: datetime) -> bool:
    """Whether nothing runs there, nobody can know, or it has had its time."""
    node = fleet.node_of(instance)
    if node is None or not node.connected:
        return True
    if node.drained_at is not None or node.emptied_at is not None:
        return True
    since = max(instance.releasing_since or now, fleet.resumed_at or START)
    return now - since > SETTINGS.drain_timeout


@in_every_run
def test_only_machines_that_are_too_many_are_leaving(run: Run) -> None:
    for machine, _, _ in played(run):
        fleet = machine.fleet
        for instance_id in fleet.releasing:
            pool = fleet.pools[fleet.instances[instance_id].pool]
            node = fleet.nodes[instance_id]
            sick = node.health is Health.UNHEALTHY  # it is not called back, and fills the maximum
            assert pool.asleep or sick or len(wanted(fleet, pool.name)) >= pool.target
        leaving = {node.id for node in fleet.nodes.values() if node.phase is Phase.LEAVING}
        replaced = {i.id for i in fleet.instances.values() if i.live and i.draining_since}
        assert leaving == set(fleet.releasing) | replaced
        assert all(fleet.instances[id_].condemned for id_ in replaced)


@in_every_run
def test_repair_stays_inside_its_budgets_and_waits_while_most_of_its_pool_is_in_trouble(
    run: Run,
) -> None:
    for fact, before, after in retold(run):
        if isinstance(fact, ev.InstanceCondemned):
            pool = after.pools[after.instances[fact.instance_id].pool]
        elif isinstance(fact, ev.RepairStarted):
            pool = after.pools[after.nodes[fact.node_id].pool]
        else:
            continue
        _assert_inside(after, pool)
        assert budget.this_hour(before.pools[pool.name], fact.at) > 0
        assert len(pool.replacements) <= pool.spec.disruption.max_replacements_per_hour
        assert not breaker.shut(pool, fact.at, SETTINGS)
        assert not pool.asleep
        assert not pool.spec.dry_run
        nodes = [node for i in wanted(before, pool.name) if (node := before.node_of(i)) is not None]
        troubled = sum(_in_trouble(node) for node in nodes)
        assert troubled <= 1 or troubled * 2 <= len(nodes) or breaker.half_open(pool)


def _in_trouble(node: Node) -> bool:
    ill = node.health is Health.UNHEALTHY and node.repair is None and not node.handed_over
    return node.contact is Contact.LOST or ill


def _assert_inside(fleet: Fleet, pool: Pool) -> None:
    disruption = pool.spec.disruption
    instances = list(fleet.instances_of(pool.name))
    busy = {i.id for i in instances if i.condemned}
    busy |= {id_ for id_ in fleet.repairing if fleet.nodes[id_].pool == pool.name}
    share = int(len(instances) * disruption.max_unavailable_percent / 100)
    limit = 1 if breaker.half_open(pool) else max(disruption.max_unavailable, share)
    assert len(busy) <= limit
    if disruption.max_unavailable_per_zone:
        zones = [fleet.nodes[id_].zone for id_ in busy if id_ in fleet.nodes]
        assert all(zones.count(zone) <= disruption.max_unavailable_per_zone for zone in zones)


# --- safety ----------------------------------------------------------------------------------


@in_every_run
def test_machines_move_only_along_the_arrows(run: Run) -> None:
    for _, before, after in retold(run):
        for id_ in before.instances.keys() & after.instances.keys():
            old, new = before.instances[id_].state, after.instances[id_].state
            assert new is old or new in LEGAL[old]


@in_every_run
def test_nothing_is_written_off_while_its_agent_speaks(run: Run) -> None:
    for fact, before, _ in retold(run):
        if isinstance(fact, ev.InstanceVanished):
            node = before.node_of(before.instances[fact.instance_id])
            assert node is None or node.contact is Contact.LOST


@in_every_run
def test_machines_are_condemned_for_a_silence_or_a_confirmed_sickness(run: Run) -> None:
    for fact, before, _ in retold(run):
        if isinstance(fact, ev.InstanceCondemned):
            node = before.node_of(before.instances[fact.instance_id])
            assert node is not None
            assert (fact.cause == "silence") == (node.contact is Contact.LOST)
            if fact.cause == "sickness":
                assert health.confirmed(before, node)
                assert ladder.gravest(node) is not None
            assert fact.cause != "lemon" or node.lemon


@in_every_run
def test_no_node_is_repaired_twice_at_one_time(run: Run) -> None:
    for fact, before, _ in retold(run):
        if isinstance(fact, ev.RepairStarted):
            node = before.nodes[fact.node_id]
            instance = before.instances[fact.node_id]
            assert node.repair is None
            assert not instance.condemned
            assert node.phase is Phase.ACTIVE
            assert health.confirmed(before, node)
            assert fact.rung in before.pools[node.pool].spec.ladder


@in_every_run
def test_a_sick_machine_that_speaks_is_drained_before_it_is_ended(run: Run) -> None:
    for fact, before, _ in retold(run):
        if isinstance(fact, ev.TerminationRequested) and "replaced" in fact.because:
            node = before.node_of(before.instances[fact.instance_id])
            if node is not None and node.connected:
                assert node.phase is Phase.LEAVING


@in_every_run
def test_health_is_the_worst_of_findings_and_they_are_few(run: Run) -> None:
    for fact, _, after in retold(run):
        if isinstance(fact, ev.HealthJudged):
            found = concluding.worst(fact.findings)
            good = (Health.HEALTHY, Health.UNKNOWN)
            assert fact.health is found or (found is Health.UNKNOWN and fact.health in good)
            assert len(fact.findings) <= concluding.FINDINGS_MAX
            keys = [finding.key for finding in fact.findings]
            assert len(keys) == len(set(keys))
            assert after.nodes[fact.node_id].findings == fact.findings


@in_every_run
def test_a_debt_is_paid_by_its_remedy_a_settling_word_an_operator_or_another_policy(
    run: Run,
) -> None:
    for fact, before, after in retold(run):
        if not isinstance(fact, ev.HealthJudged):
            continue
        node = before.nodes[fact.node_id]
        settled = any(finding.settles and finding.seen == fact.at for finding in fact.findings)
        if settled or node.judged_by != fact.policy:
            continue
        left = {finding.key: finding for finding in after.nodes[node.id].findings}
        for debt in node.findings:
            assert not (debt.bad and debt.lasting) or left[debt.key].bad


@in_every_run
def test_what_slurm_or_its_like_was_told_is_what_it_should_know_in_the_end(run: Run) -> None:
    """When it agrees with everything, a few words are enough, and then nothing is owed."""
    machine, _, now = finished(run)
    if not machine.strategies.settings.workload_manager:
        return
    now += SETTINGS.refusal_retry
    for _ in range(3):
        machine.step([*(msg.Heartbeat(id_) for id_ in machine.fleet.nodes), msg.Tick()], now)
        told = [action for action in machine.owed(now) if isinstance(action, Tell)]
        machine.step([msg.WorkloadAnswered(each.node_id, each.told) for each in told], now)
    for node in machine.fleet.nodes.values():
        assert not node.untold or node.over


@in_every_run
def test_a_machine_is_gone_only_after_its_end_was_agreed_to_or_it_never_was(run: Run) -> None:
    for fact, before, _ in retold(run):
        if isinstance(fact, ev.InstanceTerminated):
            instance = before.instances[fact.instance_id]
            assert instance.terminating_since is not None
            assert instance.terminate_accepted_at is not None or not instance.ref


@in_every_run
def test_only_operators_and_finished_drains_change_what_is_wanted_of_a_node(run: Run) -> None:
    for fact, before, after in retold(run):
        for id_ in before.nodes.keys() & after.nodes.keys():
            moved = before.nodes[id_].intent is not after.nodes[id_].intent
            assert moved <= isinstance(fact, ev.IntentChanged)


@in_every_run
def test_nothing_brings_an_ended_node_back(run: Run) -> None:
    ended: set[str] = set()
    for _, _, after in retold(run):
        assert all(after.nodes[id_].phase is Phase.TERMINATED for id_ in ended & set(after.nodes))
        ended |= {node.id for node in after.nodes.values() if node.phase is Phase.TERMINATED}
        ended &= set(after.nodes)


@in_every_run
def test_no_wait_is_longer_than_its_deadline(run: Run) -> None:
    for machine, _, now in played(run):
        _assert_in_time(machine, now)


def _assert_in_time(machine: Machine, now: datetime) -> None:
    settings = machine.strategies.settings
    limit = max(settings.provisioning_timeout, settings.registration_timeout)
    for instance in machine.fleet.instances.values():
        if instance.live and instance.registered_at is None:
            begun = instance.launched_at or instance.requested_at
            assert now - max(begun, machine.fleet.resumed_at or begun) <= limit
    for command in machine.fleet.commands.values():
        assert command.finished or now <= command.expires_at
