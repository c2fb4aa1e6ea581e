"""Lists of nodes are written from fragments, and nobody can tell by the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import factories
from navarch.core.model.fleet import Fleet
from navarch.core.model.gpu import GPU
from navarch.core.model.last_heard import LastHeard
from navarch.core.model.node import Contact, Intent, Metadata, Node, NodeStatus, Phase
from navarch.core.model.report import Health
from navarch.wire import answers
from navarch.wire.asgi import JsonCodec
from navarch.wire.fragments import JsonFragments, ProtoFragments, varint
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.listing import Listing, NodeList
from navarch.wire.prepared import BinaryCodec
from navarch.wire.queries import NodeQuery, Page

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)

# --- any fleet -------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
IDS = st.from_regex(r"[a-z0-9][a-z0-9._:/-]{0,20}", fullmatch=True)
GPUS = st.builds(
    GPU,
    index=st.integers(0, 63),
    uuid=WORDS,
    name=WORDS,
    pci_bus_id=WORDS,
    memory_total=st.one_of(st.just(0), st.integers(0, 2**63 - 1)),
    driver_version=WORDS,
    cuda_version=WORDS,
)
METADATA = st.builds(
    Metadata,
    hostname=WORDS,
    internal_ip=WORDS,
    external_ip=WORDS,
    kernel_version=WORDS,
    labels=st.dictionaries(WORDS, WORDS, max_size=4),
)
NODES = st.builds(
    Node,
    id=IDS,
    registered_at=st.just(NOW),
    heard_at=st.just(NOW),
    provider=st.sampled_from(["", "alpha", "beta"]),
    region=st.sampled_from(["", "east", "west"]),
    zone=WORDS,
    instance_type=WORDS,
    pool=st.sampled_from(["", "training", "serving"]),
    instance_id=WORDS,
    gpus=st.lists(GPUS, max_size=3).map(tuple),
    metadata=METADATA,
    phase=st.sampled_from(Phase),
    health=st.sampled_from(Health),
    intent=st.sampled_from(Intent),
    contact=st.sampled_from(Contact),
    because=WORDS,
)
MOMENTS = st.one_of(
    st.datetimes(timezones=st.just(UTC)),
    # What a fleet has: many within a few seconds, on whole seconds and milliseconds too.
    st.sampled_from([0, 1, 1_000, 999_000, 1_000_000, 1_500_000, 999_999]).map(
        lambda us: NOW + timedelta(microseconds=us)
    ),
)
FLEETS = st.lists(
    st.tuples(NODES, st.one_of(st.none(), MOMENTS)), max_size=8, unique_by=lambda each: each[0].id
)
QUERIES = st.builds(
    NodeQuery,
    provider=st.sampled_from(["", "", "alpha", "beta", "nobody"]),
    region=st.sampled_from(["", "", "east"]),
    status=st.sampled_from([None, None, *NodeStatus]),
    pool=st.sampled_from(["", "", "training"]),
    page=st.builds(Page, st.integers(0, 4), st.one_of(st.just(""), IDS)),
)


def fleet_of(told: Sequence[tuple[Node, datetime | None]]) -> tuple[Fleet, LastHeard]:
    fleet, heard = Fleet(), LastHeard()
    for node, at in told:
        fleet.put_node(node)
        if at is not None:
            heard[node.id] = at
    return fleet, heard


def ordinary(fleet: Fleet, heard: LastHeard, query: NodeQuery) -> pb.ListNodesResponse:
    """Make the answer as a message, from all nodes."""
    nodes = {
        node.id: node
        for node in fleet.nodes.values()
        if query.provider in ("", node.provider)
        and query.region in ("", node.region)
        and query.pool in ("", node.pool)
        and query.status in (None, node.status)
    }
    ids, token = query.page.of(sorted(nodes))
    shown = [answers.node_info(nodes[id_], heard.get(id_)) for id_ in ids]
    return pb.ListNodesResponse(nodes=shown, next_page_token=token)


def assert_same_bytes(answer: NodeList, message: pb.ListNodesResponse) -> None:
    assert JsonCodec().encode(answer) == JsonCodec().encode(message)
    assert BinaryCodec().encode(answer) == BinaryCodec().encode(message)


@given(FLEETS, QUERIES)
def test_a_list_has_the_bytes_that_the_ordinary_codecs_write(
    told: list[tuple[Node, datetime | None]], query: NodeQuery
) -> None:
    fleet, heard = fleet_of(told)
    answer = Listing().list(fleet, heard, query)
    assert_same_bytes(answer, ordinary(fleet, heard, query))


@given(FLEETS, FLEETS, QUERIES, MOMENTS)
def test_a_list_follows_what_becomes_of_the_fleet(
    first: list[tuple[Node, datetime | None]],
    then: list[tuple[Node, datetime | None]],
    query: NodeQuery,
    later: datetime,
) -> None:
    fleet, heard = fleet_of(first)
    listing = Listing()
    everything = listing.list(fleet, heard, NodeQuery())
    assert_same_bytes(everything, ordinary(fleet, heard, NodeQuery()))

    for node, _ in then:  # nodes come and change ...
        fleet.put_node(node)
    for node in list(fleet.nodes.values())[::2]:  # ... change by a word ...
        fleet.put_node(replace(node, because="it is otherwise now", health=Health.UNHEALTHY))
    fleet.drop((), list(fleet.nodes)[::3])  # ... and go,
    for node_id in list(fleet.nodes)[::2]:  # and some are heard.
        heard[node_id] = later
    for asked in (query, NodeQuery()):
        answer = listing.list(fleet, heard, asked)
        assert_same_bytes(answer, ordinary(fleet, heard, asked))


@given(st.integers(0, 2**40))
def test_a_length_is_written_as_protobuf_writes_it(number: int) -> None:
    written = pb.GPUInfo(memory_total=number).SerializeToString()[1:] or b"\0"
    assert varint(number) == written


# --- what is kept ----------------------------------------------------------------------------


def big_fleet(count: int) -> tuple[Fleet, LastHeard]:
    gpus = tuple(GPU(index, f"GPU-{index:032}", "NVIDIA H100") for index in range(8))
    return fleet_of([(factories.a_node(n, gpus=gpus), NOW) for n in range(1, count + 1)])


@pytest.mark.parametrize("form", ["json", "proto"])
def test_a_heartbeat_makes_no_fragment_anew_and_a_change_makes_one(form: str) -> None:
    fleet, heard = big_fleet(10)
    listing = Listing()
    fragments = listing.json if form == "json" else listing.proto

    def written() -> bytes:
        answer = listing.list(fleet, heard, NodeQuery())
        return answer.json() if form == "json" else answer.proto()

    before = written()
    assert fragments.made == 10
    heard[factories.name(3)] = NOW + timedelta(seconds=30)
    assert written() != before
    assert fragments.made == 10
    fleet.put_node(replace(fleet.nodes[factories.name(3)], intent=Intent.CORDONED))
    written()
    assert fragments.made == 11


@pytest.mark.parametrize("kind", [JsonFragments, ProtoFragments])
def test_a_full_cache_keeps_what_it_has_and_the_answer_is_the_same(
    kind: type[JsonFragments | ProtoFragments],
) -> None:
    fleet, heard = big_fleet(10)
    nodes = list(fleet.nodes.values())
    beats = heard.microseconds(list(fleet.nodes))
    whole = kind()
    expected = whole.written(nodes, beats, "")
    small = kind(bytes_max=whole.bytes // 2)
    for _ in range(2):
        assert small.written(nodes, beats, "") == expected
    assert len(small) == 5
    assert small.bytes <= whole.bytes // 2
    assert small.made == 15


def test_what_is_kept_of_nodes_that_went_is_given_up() -> None:
    fleet, heard = big_fleet(10)
    listing = Listing()
    listing.list(fleet, heard, NodeQuery()).json()
    kept = listing.json.bytes
    fleet.drop((), [factories.name(n) for n in range(1, 6)])
    listing.list(fleet, heard, NodeQuery()).json()
    assert len(listing.json) == 5
    assert listing.json.bytes == kept // 2


def test_a_long_list_is_prepared_in_slices_while_others_have_their_turn() -> None:
    fleet, heard = big_fleet(1_000)
    listing = Listing()

    async def prepared() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        await listing.prepare(listing.list(fleet, heard, NodeQuery()), None)
        other.cancel()
        return turns

    assert asyncio.run(prepared()) >= 4
    assert listing.proto.made == 1_000


def test_a_list_shows_the_nodes_as_they_were_when_it_was_asked() -> None:
    fleet, heard = big_fleet(3)
    answer = Listing().list(fleet, heard, NodeQuery())
    expected = ordinary(fleet, heard, NodeQuery())
    fleet.put_node(replace(fleet.nodes[factories.name(2)], intent=Intent.CORDONED))
    fleet.drop((), [factories.name(3)])
    assert_same_bytes(answer, expected)
