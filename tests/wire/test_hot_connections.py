"""Requests as bytes on connections: in pieces, in rows, with odd heads; answered alike.

Each is sent to two control planes that differ in nothing but the quick path.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wire.hot_requests import gpu, heartbeat, raw
from wire.hot_twins import JSON, Twins, twins


@pytest.fixture(scope="module")
def both() -> Iterator[Twins]:
    """Two control planes; requests of one test are still known in the next."""
    with twins() as running:
        yield running
        assert running.quick.histories == running.plain.histories


SMALL = heartbeat("n1", gpu()).SerializeToString()


def test_a_request_may_come_in_pieces(both: Twins) -> None:
    whole = raw(SMALL)
    for cut in (1, 20, len(whole) - len(SMALL) - 2, len(whole) - len(SMALL), len(whole) - 1):
        assert both.send(whole[:cut], whole[cut:])[0].status == 200


def test_answers_come_in_the_order_of_the_requests(both: Twins) -> None:
    slow = raw(b'{"nodeId":"n1"}', "GetNode", form=JSON)
    bad, poll = raw(b"\xff"), raw(b"\x0a\x02n1", "PollCommands")
    sent = b"".join([raw(SMALL), slow, raw(SMALL), bad, poll, slow, raw(SMALL)])
    found = both.send(sent, answers=7)
    assert [each.status for each in found] == [200, 200, 200, 400, 200, 200, 200]
    assert [b"hostname" in each.body or b"nodeId" in each.body for each in found] == [
        number in (1, 5) for number in range(7)
    ]


def test_the_same_head_is_known_again_whatever_the_body_is(both: Twins) -> None:
    before = both.served
    both.send(raw(SMALL), raw(heartbeat("n2").SerializeToString()), raw(SMALL), answers=3)
    both.send(raw(SMALL), raw(b"\xff"), raw(SMALL), raw(b""), answers=4)
    both.send(raw(SMALL), raw(SMALL)[:-4], raw(SMALL)[-4:] + raw(SMALL), answers=3)
    both.send(raw(SMALL), raw(SMALL) + raw(SMALL)[:50], raw(SMALL)[50:], answers=3)
    both.send(raw(SMALL), raw(SMALL, "SendHeartbeat"), raw(SMALL, "PollCommands"), answers=3)
    assert both.served == before + 3 + 2 + 3 + 3 + 3


def test_a_length_that_does_not_fit_is_noticed(both: Twins) -> None:
    long = raw(SMALL).replace(b"Content-Length: ", b"Content-Length: 0")
    assert both.send(raw(SMALL), long, answers=2)[1].status == 200
    for wrong in (b"+%d", b"%d,5", b"x%d", b"-%d"):
        odd = raw(SMALL).replace(b"%d" % len(SMALL), wrong % len(SMALL))
        assert both.send(raw(SMALL), odd, answers=2)[1].status == 400


@pytest.mark.parametrize("size", [5, len(SMALL)])
def test_bodies_in_chunks_take_the_ordinary_way(both: Twins, size: int) -> None:
    before = both.served
    chunks = [SMALL[at : at + size] for at in range(0, len(SMALL), size)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    head = raw(b"", "Heartbeat", "Transfer-Encoding: chunked", length=False)
    assert both.send(head, body)[0].status == 200
    assert both.served == before


def test_who_waits_to_be_told_to_go_on_is_told(both: Twins) -> None:
    head = raw(SMALL, "Heartbeat", "Expect: 100-continue").removesuffix(SMALL)
    assert both.send(head, SMALL)[0].status == 200


@pytest.mark.parametrize("version, more", [("1.0", ""), ("1.1", "Connection: close")])
def test_connections_that_end_are_served_by_the_application(
    both: Twins, version: str, more: str
) -> None:
    before = both.served
    lines = [more] if more else []
    found = both.send(raw(SMALL, "Heartbeat", *lines, version=version))[0]
    assert (found.status, found.headers["connection"]) == (200, "close")
    assert both.served == before + 1


def test_a_body_that_is_too_large_is_refused(both: Twins) -> None:
    head = raw(b"", "HeartbeatBatch", "Content-Length: 99999999", length=False)
    assert both.send(head)[0].status == 429
    large = b"\x0a\x02n1" * (4 * 2**20 // 4 + 1)
    assert both.send(raw(large, "HeartbeatBatch"))[0].status == 429


def test_headers_that_are_no_text_are_refused(both: Twins) -> None:
    assert both.send(raw(SMALL, "Heartbeat", "X-Name: \xff"))[0].status == 400


def test_a_known_head_may_come_before_its_body(both: Twins) -> None:
    before = both.served
    whole, head = raw(SMALL), raw(SMALL).removesuffix(SMALL)
    other = raw(b"\x0a\x02n1", "PollCommands")
    both.send(head, SMALL, head, SMALL, head, SMALL[:9], SMALL[9:], answers=3)
    both.send(
        whole, other, head, SMALL, other[:-3], other[-3:], whole[:-20], SMALL[-20:], answers=5
    )
    both.send(whole, head, SMALL + whole + whole[:30], whole[30:-3], whole[-3:], answers=4)
    both.send(whole, head[:-2], b"\r\n" + SMALL, whole[:5], whole[5:], answers=3)
    assert both.served == before + 3 + 5 + 4 + 3
    odd = raw(b"\xff" * 9).removesuffix(b"\xff" * 9)
    assert [each.status for each in both.send(whole, odd, b"\xff" * 9, whole, answers=3)] == [
        *(200, 400, 200)
    ]


def test_a_known_head_may_announce_too_much(both: Twins) -> None:
    large = b"\x0a\x02n1" * (4 * 2**20 // 4 + 1)
    assert [each.status for each in both.send(raw(SMALL), raw(large), answers=2)] == [200, 429]
