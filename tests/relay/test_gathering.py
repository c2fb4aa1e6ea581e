"""What waits for a batch: of each node the newest, in batches that a control plane takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.relay import gathering
from navarch.relay.gathering import Batch, Full, Gathering, Held, encoded, halves
from navarch.wire.generated import navarch_pb2 as pb

NODES = st.sampled_from([f"n{number}" for number in range(8)])
BODIES = st.binary(max_size=300)


def a_heartbeat(node_id: str, celsius: int = 40) -> bytes:
    beat = pb.HeartbeatRequest(node_id=node_id)
    beat.metrics.gpu_metrics.add(gpu_index=0, temperature=celsius)
    return beat.SerializeToString()


def bodies(batches: list[Batch]) -> dict[str, bytes]:
    return {node_id: held.body for batch in batches for node_id, held in batch.items()}


@given(st.lists(st.tuples(NODES, BODIES), max_size=40))
def test_of_each_node_the_newest_heartbeat_is_given_away_once(
    spoken: list[tuple[str, bytes]],
) -> None:
    held = Gathering()
    for moment, (node_id, body) in enumerate(spoken):
        held.add(node_id, body, float(moment))
    assert held.size == sum(len(body) for body in dict(spoken).values())
    assert bodies(held.take()) == dict(spoken)
    assert len(held) == held.size == 0
    assert held.take() == []


@given(st.lists(BODIES, max_size=30))
def test_a_batch_reads_as_the_heartbeats_that_it_was_made_of(said: list[bytes]) -> None:
    beats = [
        pb.HeartbeatRequest(node_id=f"n{number}-{body.hex()}") for number, body in enumerate(said)
    ]
    batch = pb.HeartbeatBatchRequest.FromString(encoded(each.SerializeToString() for each in beats))
    assert list(batch.heartbeats) == beats


def test_no_batch_is_larger_than_a_control_plane_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "BATCH_HEARTBEATS_MAX", 3)
    monkeypatch.setattr(gathering, "BATCH_BYTES_MAX", 100)
    held = Gathering()
    for number in range(10):
        held.add(f"n{number}", bytes(10 if number < 7 else 60), 0.0)
    batches = held.take()
    assert [len(batch) for batch in batches] == [3, 3, 2, 1, 1]
    assert all(len(encoded(each.body for each in batch.values())) <= 100 for batch in batches)


def test_what_fits_no_batch_is_known_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "BATCH_BYTES_MAX", 200)
    assert gathering.fits(bytes(197))
    assert len(encoded([bytes(197)])) == 200
    assert not gathering.fits(bytes(198))


def test_a_heartbeat_without_room_is_refused_and_the_older_one_stays() -> None:
    held = Gathering(bytes_max=10)
    held.add("n1", b"12345", 0.0)
    held.add("n2", b"1234", 0.0)
    with pytest.raises(Full):
        held.add("n1", b"1234567", 1.0)
    held.add("n1", b"123456", 1.0)
    assert bodies(held.take()) == {"n1": b"123456", "n2": b"1234"}


def test_what_was_not_passed_on_waits_again_unless_its_node_has_spoken_or_it_is_old() -> None:
    held = Gathering()
    for moment, node_id in enumerate(("old", "silent", "speaks")):
        held.add(node_id, a_heartbeat(node_id), float(moment))
    failed = held.take()
    held.add("speaks", b"newer", 9.0)
    held.add("new", b"first", 9.0)
    assert held.give_back(failed, since=1.0) == 1
    assert bodies(held.take()) == {
        "silent": a_heartbeat("silent"),
        "speaks": b"newer",
        "new": b"first",
    }


@given(
    st.dictionaries(NODES, BODIES, min_size=1),
    st.dictionaries(NODES, BODIES),
    st.integers(min_value=0, max_value=1500),
)
def test_giving_back_never_takes_more_room_than_there_is(
    before: dict[str, bytes], after: dict[str, bytes], bytes_max: int
) -> None:
    held = Gathering(bytes_max)
    for node_id, body in after.items():
        try:
            held.add(node_id, body, 2.0)
        except Full:
            break
    waiting = len(held)
    batch = {node_id: Held(1.0, body) for node_id, body in before.items()}
    fresh = sum(node_id not in held for node_id in before)
    dropped = held.give_back([batch], since=0.0)
    assert held.size <= bytes_max
    assert len(held) == waiting + fresh - dropped


def test_what_has_waited_for_too_long_is_dropped() -> None:
    held = Gathering()
    held.add("n1", b"12", 0.0)
    held.add("n2", b"345", 0.0)
    held.add("n1", b"67", 5.0)
    assert held.expire(5.0) == 1
    assert (held.size, bodies(held.take())) == (2, {"n1": b"67"})


def test_halves_of_a_batch_are_all_of_it() -> None:
    batch = {f"n{number}": Held(0.0, b"") for number in range(5)}
    first, second = halves(batch)
    assert {**first, **second} == batch
    assert (len(first), len(second)) == (2, 3)
