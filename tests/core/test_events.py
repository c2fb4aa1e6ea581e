"""Events: facts decode for ever, and every kind is folded, sampled and documented."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from factories import a_spec, a_stranger, at, name, registered, requested
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.node import Intent, Phase
from navarch.core.model.pool import Disruption, PoolSpec, Source
from navarch.core.model.report import Health

KINDS: dict[str, type[ev.Event]] = {
    type_.__struct_config__.tag: type_ for type_ in get_args(ev.Fact)
}

GOLDEN = "journal-0.1.jsonl"


@pytest.fixture(scope="module")
def golden(project: Path) -> list[bytes]:
    """Return the lines of the golden journal of release 0.1."""
    return (project / "tests" / "golden" / GOLDEN).read_bytes().splitlines()


@pytest.fixture(scope="module")
def documented(project: Path) -> dict[str, list[str]]:
    """Return the fields that ``docs/events.md`` gives for each kind."""
    text = (project / "docs" / "events.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return {kind: re.findall(r"`(\w+)`", fields) for kind, fields in rows}


# --- everything is covered -------------------------------------------------------------------


def test_every_class_of_events_is_a_kind_of_fact() -> None:
    assert set(ev.Event.__subclasses__()) == set(KINDS.values())


def test_every_kind_is_documented_with_its_fields(documented: dict[str, list[str]]) -> None:
    fields = {kind: list(type_.__struct_fields__) for kind, type_ in KINDS.items()}
    assert {kind: ["at", *names] for kind, names in documented.items()} == fields


def test_every_kind_has_a_sample_in_the_golden_journal(golden: list[bytes]) -> None:
    assert {ev.kind(ev.decode(line)) for line in golden} == set(KINDS)


def test_every_field_has_a_sample_in_the_golden_journal(golden: list[bytes]) -> None:
    seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for line in golden:
        sample = msgspec.json.decode(line)
        seen[sample.pop("kind")] |= set(sample)
    assert {kind: sorted(names) for kind, names in seen.items()} == {
        kind: sorted(type_.__struct_fields__) for kind, type_ in KINDS.items()
    }


def test_every_field_of_a_configured_pool_has_a_sample_in_the_golden_journal(
    golden: list[bytes],
) -> None:
    specs = [
        sample["spec"]
        for line in golden
        if (sample := msgspec.json.decode(line))["kind"] == "pool_configured"
    ]
    assert {name for spec in specs for name in spec} == set(PoolSpec.__struct_fields__)
    sources = [source for spec in specs for source in spec.get("sources", ())]
    assert {name for source in sources for name in source} == set(Source.__struct_fields__)
    limits = [spec["disruption"] for spec in specs if "disruption" in spec]
    assert {name for limit in limits for name in limit} == set(Disruption.__struct_fields__)


def test_every_fact_of_the_golden_journal_moves_the_fleet(golden: list[bytes]) -> None:
    fleet = Fleet()
    for line in golden:
        before = fleets.encode(fleet)
        fold.apply(fleet, ev.decode(line))
        assert fleets.encode(fleet) != before, line


BEFORE_HEALTH = 49
"""How many lines the golden journal had before nodes were judged by policies and repaired."""


def folded(lines: list[bytes]) -> Fleet:
    """Return the fleet that these lines of a journal make."""
    fleet = Fleet()
    for line in lines:
        fold.apply(fleet, ev.decode(line))
    return fleet


def test_the_golden_journal_tells_the_same_story_for_ever(golden: list[bytes]) -> None:
    fleet = folded(golden[:BEFORE_HEALTH])
    assert (fleet.tag, fleet.serial, fleet.command_serial) == ("k3f9", 4, 2)
    assert {pool.name: (pool.target, pool.retired) for pool in fleet.pools.values()} == {
        "training": (2, False),
        "spare": (0, True),
    }
    assert {instance.id: instance.state.value for instance in fleet.instances.values()} == {
        "training-k3f9-0002": "terminated",
        "spare-k3f9-0003": "failed",
        "training-k3f9-0004": "terminating",
    }
    assert {node.id: node.status.value for node in fleet.nodes.values()} == {
        "training-k3f9-0002": "terminated"
    }
    assert fleet.pending == {"training-k3f9-0002": ("cmd-k3f9-000002",)}
    assert {key: refusals.failure for key, refusals in fleet.refusals.items()} == {
        "lambda///": "NoCapacity"
    }
    assert {pool.name: pool.bought for pool in fleet.pools.values()} == {
        "training": {"lambda": 3},
        "spare": {"lambda": 1},
    }
    assert fleet.instances["training-k3f9-0004"].spot


def test_the_golden_journal_tells_what_was_done_about_a_sick_node(golden: list[bytes]) -> None:
    fleet = folded(golden)
    assert (fleet.policy, fleet.policy_name, fleet.event_serial) == ("5f0c9a", "site", 3)
    assert fleet.rule_failures == {"site-rule": 1}
    assert fleet.lemons == {}  # what was set aside by an operator is trusted again
    mended, handed_over = (fleet.nodes[f"mended-k3f9-000{n}"] for n in (5, 6))
    assert (mended.health, mended.findings, mended.condemned) == (Health.UNKNOWN, (), False)
    assert (mended.phase, mended.intent, mended.told) == (
        Phase.ACTIVE,
        Intent.IN_SERVICE,
        Told.OPEN,
    )
    assert mended.unhealthy_at == (at(hours=45, minutes=6), at(hours=45, minutes=42))
    assert mended.tallies == {}  # nor is it counted any more
    assert handed_over.handed_over.startswith("its rule asks for a person")
    pool = fleet.pools["mended"]
    assert (pool.brake_because, len(pool.replacements)) == ("", 2)


def test_a_repair_of_the_golden_journal_goes_through_its_stages(golden: list[bytes]) -> None:
    stages: list[str] = []
    fleet = Fleet()
    for line in golden:
        fold.apply(fleet, ev.decode(line))
        node = fleet.nodes.get("mended-k3f9-0005")
        if node is not None:
            stages.append(node.repair.stage.value if node.repair else "none")
    assert [stage for stage, _ in groupby(stages)] == [
        "none",
        "draining",
        "acting",
        "probation",
        "none",
    ]


# --- bytes -----------------------------------------------------------------------------------


def test_what_is_read_is_written_the_same(golden: list[bytes]) -> None:
    assert [ev.encode(ev.decode(line)) for line in golden] == golden


def test_equal_facts_give_equal_bytes() -> None:
    one = ev.PoolConfigured(at(), a_spec(labels={"a": "1", "b": "2"}))
    other = ev.PoolConfigured(at(), a_spec(labels={"b": "2", "a": "1"}))
    assert one == other
    assert ev.encode(one) == ev.encode(other)


def test_a_field_of_a_later_release_is_passed_over() -> None:
    line = b'{"kind":"node_lost","at":"2026-05-01T12:00:00Z","node_id":"a","because":"b","new":1}'
    assert ev.decode(line) == ev.NodeLost(at(), "a", "b")


@pytest.mark.parametrize("line", [b"", b"{", b"[]]", b"\xff"])
def test_what_is_no_json_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        ev.decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{}",
        b'{"kind":"node_exploded","at":"2026-05-01T12:00:00Z"}',
        b'{"kind":"node_lost","at":"2026-05-01T12:00:00Z","node_id":"a"}',
        b'{"kind":"node_lost","at":"noon","node_id":"a","because":"b"}',
        b'{"kind":"node_lost","at":"2026-05-01T12:00:00Z","node_id":7,"because":"b"}',
    ],
)
def test_what_is_no_fact_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        ev.decode(line)


# --- names -----------------------------------------------------------------------------------


def test_a_kind_is_its_class_name_in_small_letters() -> None:
    for kind, type_ in KINDS.items():
        assert kind == re.sub(r"(?<!^)([A-Z])", r"_\1", type_.__name__).lower()


@pytest.mark.parametrize(
    "fact,expected",
    [
        (ev.FleetFounded(at(), "k3f9"), ()),
        (ev.Resumed(at(), "0.1.0"), ()),
        (ev.PoolConfigured(at(), a_spec()), ("training",)),
        (ev.TargetChanged(at(), "training", 2, "so"), ("training",)),
        (requested(1), (name(1), "training")),
        (registered(1), (name(1), "training")),
        (a_stranger(), ("lab-1",)),
        (ev.OrphanCondemned(at(), "fake", "m-9", "so"), ("fake/m-9",)),
        (ev.CommandDelivered(at(), "cmd-1", "n1"), ("n1", "cmd-1")),
        (ev.RecordsForgotten(at(), "old", ("i",), ("n",), ("c",)), ("i", "n", "c")),
    ],
)
def test_subjects(fact: ev.Event, expected: tuple[str, ...]) -> None:
    assert ev.subjects(fact) == expected
