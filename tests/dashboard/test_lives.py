"""Lives: what a machine was on each axis, told by its facts alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings

from factories import (
    a_finding,
    a_stranger,
    at,
    ending,
    flat,
    launched,
    lost,
    mending,
    name,
    registered,
    requested,
    running,
    sick,
    well,
    xid,
)
from navarch.core.model import events as ev
from navarch.core.model.ladder import Outcome, Stage
from navarch.core.model.node import Intent
from navarch.core.sentences import sentence
from navarch.dashboard.lives import Life, Segment, gravest, life_of, within
from navarch.stores.base import Recorded
from worlds import Run, finished, runs

ONE = name(1)


def recorded(*facts: ev.Fact, first: int = 1) -> list[Recorded]:
    return [Recorded(seq, fact) for seq, fact in enumerate(facts, start=first)]


def told(*facts: ev.Fact) -> Life:
    return life_of(ONE, recorded(*facts))


def states(life: Life, axis: str) -> list[str]:
    return [each.state for lane in life.lanes if lane.name == axis for each in lane.segments]


def segment(life: Life, axis: str, number: int = -1) -> Segment:
    (lane,) = (lane for lane in life.lanes if lane.name == axis)
    return lane.segments[number]


def reported(when_seconds: float, number: int = 1) -> ev.HealthReported:
    return ev.HealthReported(at(seconds=when_seconds), ONE, (), (xid(79, gpu_index=3),), number)


# --- the axes --------------------------------------------------------------------------------


def test_a_machine_that_boots_has_a_phase_alone() -> None:
    life = told(requested(1, at()), launched(1, at(seconds=20)))
    assert states(life, "phase") == ["provisioning", "pending_registration"]
    assert states(life, "health") == []


def test_each_stretch_ends_where_the_next_begins() -> None:
    life = told(*running(1), lost(1, at(minutes=5)))
    first, second = next(lane for lane in life.lanes if lane.name == "contact").segments
    assert (first.state, first.until) == ("connected", at(minutes=5))
    assert (second.state, second.since, second.until) == ("lost", at(minutes=5), None)


def test_a_stretch_says_why_and_which_fact_began_it() -> None:
    life = told(*running(1), lost(1, at(minutes=5)))
    assert segment(life, "contact").because == "silent for 91 s"
    assert segment(life, "contact").seq == 4


def test_a_verdict_names_its_rule_its_event_and_the_fact_that_brought_it() -> None:
    finding = a_finding(event=xid(79, gpu_index=3), number=7)
    life = told(*running(1), reported(60, number=7), sick(1, at(seconds=61), finding))
    found = segment(life, "health")
    assert (found.state, found.tone) == ("unhealthy", "bad")
    assert (found.rule, found.event, found.event_seq) == ("xid-79", "xid 79 on GPU 3", 4)


def test_a_verdict_over_an_event_that_was_not_read_names_no_fact() -> None:
    life = told(*running(1), sick(1, at(seconds=61), a_finding(number=7)))
    assert segment(life, "health").event_seq == 0


def test_what_an_operator_wants_is_an_axis_of_its_own() -> None:
    cordon = ev.IntentChanged(at(minutes=2), ONE, Intent.CORDONED, "noisy fan")
    life = told(*running(1), cordon)
    assert states(life, "intent") == ["in_service", "cordoned"]
    assert segment(life, "intent").because == "noisy fan"


def test_a_repair_is_told_stage_by_stage_and_ends() -> None:
    stage = ev.RepairAdvanced(at(minutes=8), ONE, Stage.ACTING, "it is empty")
    end = ev.RepairEnded(at(minutes=9), ONE, Outcome.SUCCEEDED, "it is well")
    life = told(*running(1), sick(1, at(minutes=6)), mending(1, at(minutes=7)), stage, end)
    assert states(life, "repair") == ["reboot: draining", "reboot: acting", ""]
    assert states(life, "health") == ["unknown", "unhealthy", "healthy"]


def test_without_a_repair_there_is_no_lane_for_one() -> None:
    assert "repair" not in [lane.name for lane in told(*running(1)).lanes]


def test_a_machine_that_has_ended_says_so_at_the_end() -> None:
    gone = ev.InstanceTerminated(at(minutes=9), ONE, "gone from the list")
    life = told(*running(1), ending(1, at(minutes=8)), gone)
    assert states(life, "phase")[-2:] == ["terminating", "terminated"]
    assert life.node is not None
    assert life.node.over


# --- what was not read -----------------------------------------------------------------------


def test_before_the_first_move_that_was_read_nothing_is_known() -> None:
    life = life_of(ONE, recorded(sick(1, at(hours=2)), well(1, at(hours=3)), first=900))
    assert not life.whole
    assert states(life, "health") == ["", "unhealthy", "healthy"]
    assert segment(life, "health", 0).until == at(hours=2)
    assert states(life, "contact") == [""]


def test_a_life_that_begins_with_its_launch_or_as_a_stranger_is_whole() -> None:
    assert told(*running(1)).whole
    assert life_of("lab-1", recorded(a_stranger())).whole
    assert not told(registered(1, at())).whole


def test_facts_about_other_things_on_the_machine_are_marks_only() -> None:
    placed = ev.ReplicaPlaced(at(minutes=1), "chat-k3f9-r00001", ONE, "it fits")
    life = told(*running(1), placed)
    assert life.marks[-1].kind == "replica_placed"
    assert states(life, "phase")[-1] == "active"


def test_a_stranger_that_comes_back_under_its_name_begins_anew() -> None:
    facts = flat(
        a_stranger(),
        ev.NodeLost(at(hours=1), "lab-1", "silent"),
        ev.NodeDismissed(at(hours=2), "lab-1", "sent away"),
        ev.NodeRetired(at(hours=2), "lab-1", "it went"),
        ev.RecordsForgotten(at(hours=27), "kept long enough", nodes=("lab-1",)),
        a_stranger(when=at(hours=30)),
    )
    life = life_of("lab-1", recorded(*facts))
    contact = next(lane for lane in life.lanes if lane.name == "contact").segments
    assert [each.state for each in contact] == ["connected", "lost", "connected"]
    assert contact[1].until == at(hours=27)
    assert contact[2].until is None


def test_only_what_reaches_into_the_time_is_left() -> None:
    life = told(*running(1), lost(1, at(hours=1)), ev.NodeReturned(at(hours=2), ONE, "it beats"))
    left = within(life, at(hours=1, minutes=30))
    assert states(left, "contact") == ["lost", "connected"]
    assert [mark.kind for mark in left.marks] == ["node_returned"]


def test_marks_say_the_facts_in_sentences_and_how_good_they_are() -> None:
    life = told(*running(1), lost(1, at(hours=1)))
    assert [mark.tone for mark in life.marks] == ["note", "good", "good", "bad"]
    assert life.marks[-1].text == sentence(lost(1, at(hours=1)))


def test_the_gravest_finding_is_the_newest_of_the_worst() -> None:
    older = a_finding(when=at(minutes=1))
    newer = a_finding(when=at(minutes=2), code=95)
    assert gravest((older, newer)) == newer
    assert gravest(()) is None


# --- in any world ----------------------------------------------------------------------------


def facts_of(facts: Sequence[Recorded], machine: str) -> list[Recorded]:
    return [each for each in facts if machine in ev.subjects(each.event)]


@settings(max_examples=12)
@given(runs)
def test_in_every_world_a_life_ends_where_the_fleet_is(run: Run) -> None:
    machine, facts, _ = finished(run)
    fleet, kept = machine.fleet, recorded(*facts)
    for id_ in list(fleet.instances)[:6]:
        mine = facts_of(kept, id_)
        life = life_of(id_, mine)
        node, instance = fleet.nodes.get(id_), fleet.instances[id_]
        assert states(life, "phase")[-1] == (instance.state if node is None else node.phase)
        if node is not None:
            assert states(life, "health")[-1] == node.health
            assert states(life, "contact")[-1] == node.contact
            assert states(life, "intent")[-1] == node.intent
        for lane in life_of(id_, mine[len(mine) // 2 :]).lanes:  # the first half was not read
            for one, other in pairwise(lane.segments):
                assert one.until == other.since
