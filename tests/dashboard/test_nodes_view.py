"""The view of one machine: how it stands and why, in the fleet and in the journal alone."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import (
    POOL,
    Facts,
    a_finding,
    a_stranger,
    at,
    ending,
    founded,
    gpus,
    issued,
    launched,
    lost,
    name,
    priced,
    registered,
    requested,
    running,
    sick,
    xid,
)
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent
from navarch.core.model.replica import ModelSeen, NodeServing
from navarch.core.model.sightings import Sightings
from navarch.core.sentences import sentence
from navarch.dashboard.machines import COMMANDS_MAX, OUTPUT_MAX
from navarch.dashboard.views import nodes
from navarch.dashboard.views.nodes import NodesView, NodeView, ReadingsView
from navarch.errors import WireError
from serving_world import MODEL, ServingWorld
from views_seen import refused, seen_after, shown

ONE = name(1)
FOUNDED = founded(target=1)
SEEN = seen_after(FOUNDED, running(1))


def view(*facts: Facts, **query: str) -> NodeView:
    found = shown(nodes.view, seen_after(FOUNDED, running(1), *facts), ONE, **query)
    assert isinstance(found, NodeView)
    return found


def reported(number: int, when: float = 60) -> ev.HealthReported:
    event = xid(79, gpu_index=3, message="NVRM: Xid (PCI:0000:3b:00): 79")
    return ev.HealthReported(at(seconds=when), ONE, (), (event,), number)


def fell_ill() -> list[ev.Fact]:
    finding = a_finding(event=xid(79, gpu_index=3), number=7, when=at(seconds=61))
    return [reported(7), sick(1, at(seconds=61), finding)]


# --- how it stands ---------------------------------------------------------------------------


def test_a_sick_node_says_so_first_and_why() -> None:
    found = view(*fell_ill())
    assert (found.known, found.state, found.since) == ("node", "unhealthy", at(seconds=61))
    assert [axis.name for axis in found.axes] == ["phase", "health", "intent", "contact"]
    health = found.axes[1]
    assert (health.value, health.tone, health.seq) == ("unhealthy", "bad", 9)
    assert health.because == "it is sick"


def test_a_finding_has_its_rule_its_event_and_the_fact_that_brought_it() -> None:
    (finding,) = view(*fell_ill()).findings
    assert (finding.rule, finding.event, finding.seq) == ("xid-79", "xid 79 on GPU 3", 8)
    assert finding.means == "only another machine puts it right"


def test_what_would_have_to_be_different_names_the_fact() -> None:
    first = view(*fell_ill()).otherwise[0]
    assert (first.what, first.then) == ("no event 7 (xid 79 on GPU 3)", "it is healthy")
    assert first.seq == 8


def test_the_explanation_is_that_of_the_command_line() -> None:
    seen = seen_after(FOUNDED, running(1), fell_ill())
    found = shown(nodes.view, seen, ONE)
    assert isinstance(found, NodeView)
    assert found.lines == list(seen.explain("node", ONE))


def test_the_newest_facts_stand_with_their_numbers() -> None:
    found = view(lost(1, at(minutes=5)))
    assert found.history.facts[0].text == sentence(lost(1, at(minutes=5)))
    assert found.history.facts[0].seq == 8
    assert found.history.whole


def test_an_axis_that_no_fact_told_has_no_reason() -> None:
    seen = seen_after(lost(1, at(minutes=5)), fleet=seen_after(FOUNDED, running(1)).fleet)
    found = shown(nodes.view, seen, ONE)
    assert isinstance(found, NodeView)
    assert [(each.value, each.because) for each in found.axes][3] == ("connected", "")


def test_what_is_said_of_how_long_ago_things_were_is_renewed_with_the_readings() -> None:
    seen = seen_after(FOUNDED, running(1), fell_ill())
    found = shown(nodes.view, seen, ONE, part="readings")
    assert isinstance(found, ReadingsView)
    assert found.lines == list(seen.explain("node", ONE))
    booting = seen_after(FOUNDED, requested(1))
    early = shown(nodes.view, booting, ONE, part="readings")
    assert isinstance(early, ReadingsView)
    assert early.lines == list(booting.explain("instance", ONE))


# --- the time --------------------------------------------------------------------------------


def test_only_the_last_day_is_told_where_nobody_says() -> None:
    facts = [*FOUNDED, *running(1), lost(1, at(hours=2)), reported(1, 3600 * 40)]
    seen = seen_after(facts, now=at(hours=48))
    found = shown(nodes.view, seen, ONE)
    assert isinstance(found, NodeView)
    assert found.history.since == at(hours=24)
    assert [mark.kind for mark in found.history.marks] == ["health_reported"]
    whole = shown(nodes.view, seen, ONE, hours="0")
    assert isinstance(whole, NodeView)
    assert whole.history.since == at()
    assert len(whole.history.marks) == 5


def test_hours_that_are_none_are_refused() -> None:
    seen = seen_after(FOUNDED, running(1))
    for hours in ("-1", "nan", "x", "1e9"):
        assert refused(nodes.view, seen, ONE, hours=hours).code == "invalid_argument"


def test_a_query_with_another_key_or_part_is_refused() -> None:
    seen = seen_after(FOUNDED, running(1))
    assert "'color'" in refused(nodes.view, seen, ONE, color="red").message
    assert "part" in refused(nodes.view, seen, ONE, part="half").message


@given(st.text(max_size=40), st.sampled_from(["hours", "part", "like", "x"]))
@settings(max_examples=40)
def test_whatever_is_asked_the_answer_is_a_page_or_a_refusal(text: str, key: str) -> None:
    async def ask() -> None:
        try:
            await nodes.view(SEEN, ONE, {key: text})
        except WireError as error:
            assert error.code == "invalid_argument"  # noqa: PT017 - most texts are refused

    asyncio.run(ask())


# --- who it is -------------------------------------------------------------------------------


def test_a_machine_that_boots_is_known_before_its_agent() -> None:
    seen = seen_after(FOUNDED, requested(1), launched(1, at(seconds=20)))
    found = shown(nodes.view, seen, ONE)
    assert isinstance(found, NodeView)
    assert (found.known, found.state) == ("instance", "booting")
    assert found.lines == list(seen.explain("instance", ONE))
    assert found.gpus == ()


def test_a_node_that_has_ended_still_says_why() -> None:
    gone = ev.InstanceTerminated(at(minutes=9), ONE, "gone from the list")
    found = view(ending(1, at(minutes=8)), gone)
    assert (found.state, found.because) == ("terminated", "gone from the list")
    assert found.since == at(minutes=9)


def test_the_time_of_a_node_that_has_ended_ends_a_little_after_it() -> None:
    gone = ev.InstanceTerminated(at(minutes=20), ONE, "gone from the list")
    found = view(ending(1, at(minutes=18)), gone)
    assert (found.history.since, found.history.until) == (at(), at(minutes=21))
    assert view().history.until == at(hours=1)


def test_a_launch_that_failed_has_failed() -> None:
    failed = ev.LaunchFailed(at(seconds=5), ONE, "NoCapacity", "none left")
    found = shown(nodes.view, seen_after(FOUNDED, requested(1), failed), ONE)
    assert isinstance(found, NodeView)
    assert (found.state, found.because) == ("failed", "none left")


def test_a_machine_that_is_let_go_is_told_by_the_journal() -> None:
    gone = ev.InstanceTerminated(at(minutes=9), ONE, "gone from the list")
    forgotten = ev.RecordsForgotten(at(hours=30), "old", instances=(ONE,), nodes=(ONE,))
    seen = seen_after(FOUNDED, running(1), fell_ill(), ending(1, at(minutes=8)), gone, forgotten)
    assert ONE not in seen.fleet.nodes
    found = shown(nodes.view, seen, ONE)
    assert isinstance(found, NodeView)
    assert (found.known, found.state, found.because) == (
        "journal",
        "terminated",
        "gone from the list",
    )
    assert found.lines[1] == "phase was terminated in the end: gone from the list"
    assert "health was unhealthy in the end: it is sick" in found.lines
    assert found.machine.provider_ref == "m-1"
    assert [mark.kind for mark in found.history.marks][-1] == "records_forgotten"


def test_a_name_that_nobody_has_is_refused_with_those_like_it() -> None:
    seen = seen_after(FOUNDED, running(1), running(2))
    error = refused(nodes.view, seen, "training-k3f9-0012")
    assert error.code == "not_found"
    assert "'training-k3f9-0012'; nearest: training-k3f9-000" in error.message
    assert refused(nodes.view, seen, "x", part="readings").code == "not_found"


def test_the_name_of_a_pool_is_no_machine_though_facts_are_about_it() -> None:
    assert refused(nodes.view, seen_after(FOUNDED, running(1)), POOL).code == "not_found"


def test_without_a_name_ids_are_listed_those_like_a_text_first() -> None:
    seen = seen_after(FOUNDED, running(1), running(2))
    found = shown(nodes.view, seen, like="0002")
    assert isinstance(found, NodesView)
    assert (found.ids[0], found.count) == (name(2), 2)


def test_a_stranger_has_no_price_and_no_instance() -> None:
    found = shown(nodes.view, seen_after(FOUNDED, a_stranger()), "lab-1")
    assert isinstance(found, NodeView)
    assert found.machine.price.dollars_per_hour is None
    assert found.machine.price.because == "it was not bought here"
    assert found.machine.instance_id == ""


def test_a_price_is_that_of_the_newest_list() -> None:
    sold = msg.Sold("h100-8x", 23.92)
    seen = seen_after(
        FOUNDED, running(1), sightings=Sightings(catalogs=priced(at(minutes=59), fake=[sold]))
    )
    found = shown(nodes.view, seen, ONE)
    assert isinstance(found, NodeView)
    assert found.machine.price.dollars_per_hour == 23.92
    assert found.machine.price.because == "$23.92 an hour, 60 s old"
    bare = view()
    assert bare.machine.price.because == "no price list of fake was read"


def test_markup_in_a_name_stays_text() -> None:
    label = {"rack": "<script>alert(1)</script>"}
    fact = replace(registered(1, at()), gpus=gpus(2))
    fact = replace(fact, metadata=replace(fact.metadata, labels=label, hostname="<b>"))
    seen = seen_after(FOUNDED, requested(1), launched(1), fact)
    found = shown(nodes.view, seen, ONE)
    assert isinstance(found, NodeView)
    assert found.machine.labels == label
    assert [gpu.index for gpu in found.gpus] == [0, 1]


# --- commands and what runs there ------------------------------------------------------------


def test_commands_stand_newest_first_and_with_the_end_of_their_output() -> None:
    many = [issued(n, CommandType.RUN_DIAGNOSTIC, at(minutes=n)) for n in range(1, 61)]
    done = ev.CommandFinished(
        at(hours=2), many[-1].command_id, ONE, CommandState.SUCCEEDED, "ok", "x" * 5_000 + "end"
    )
    found = view(*many, done).commands
    assert len(found.rows) == COMMANDS_MAX
    assert found.left_out == 60 - COMMANDS_MAX
    newest = found.rows[0]
    assert (newest.id, newest.state) == (many[-1].command_id, "succeeded")
    assert newest.output.endswith("xend")
    assert newest.output_left_out == 5_003 - OUTPUT_MAX


def serving() -> tuple[ServingWorld, Fleet]:
    world = ServingWorld(1)
    world.settle()
    return world, world.fleet


def test_replicas_and_weights_on_a_node_are_shown() -> None:
    world, fleet = serving()
    seen = seen_after(fleet=fleet, now=world.now, sightings=world.machine.sightings)
    found = shown(nodes.view, seen, ONE, part="readings")
    assert isinstance(found, ReadingsView)
    assert [each.state for each in found.served.replicas] == ["ready", "ready"]
    (model,) = found.served.models
    assert (model.model, model.complete, model.bytes_total) == (MODEL, True, 10)


def test_weights_on_their_way_say_how_far_they_are() -> None:
    world, fleet = serving()
    coming = ModelSeen("default/qwen", "", 40, 100, problem="slow", bytes_per_second=3)
    world.machine.sightings.serving[ONE] = NodeServing(models=(coming,))
    seen = seen_after(fleet=fleet, now=world.now, sightings=world.machine.sightings)
    found = shown(nodes.view, seen, ONE, part="readings")
    assert isinstance(found, ReadingsView)
    model = found.served.models[1]
    assert (model.bytes_done, model.bytes_total, model.bytes_per_second) == (40, 100, 3)
    assert (model.complete, model.problem) == (False, "slow")


def test_a_cordon_is_an_axis_and_would_have_to_end() -> None:
    found = view(ev.IntentChanged(at(minutes=2), ONE, Intent.CORDONED, "noisy fan"))
    assert (found.state, found.axes[2].because) == ("cordoned", "noisy fan")
    assert found.otherwise[0].then == "it takes work again"
