"""The journal is read by pages and followed across restarts of the server."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable

import pytest

from cli.connect_server import ConnectServer, Json, Refusal, Run
from navarch.cli import events
from navarch.cli.session import TIMEOUT, Session
from navarch.errors import WireError


def fact(seq: int) -> Json:
    """Make a fact."""
    return {"seq": str(seq), "kind": "node_lost", "text": f"fact {seq}"}


def journal(last_seq: int) -> Json:
    """Answer as a server does whose journal has so many facts."""
    return {"events": [], "lastSeq": str(last_seq)}


def followed(server: ConnectServer, *, after_seq: int, count: int) -> list[int]:
    """Follow until so many facts have come, and return their numbers."""
    session = Session(server=server.url, token=None, output="json", timeout=TIMEOUT)
    with contextlib.closing(session):
        facts = events.followed(session, subject="n1", after_seq=after_seq)
        return [int(one["seq"]) for one in itertools.islice(facts, count)]


def test_the_newest_facts_are_asked_for_and_shown_oldest_first(
    server: ConnectServer, run: Run
) -> None:
    server.prepare("ListEvents", {"events": [fact(9), fact(8)], "lastSeq": "9"})
    answer = json.loads(run("events", "--limit", "2", "--subject", "n1", "-o", "json").stdout)
    assert answer == {"events": [fact(8), fact(9)], "lastSeq": "9"}
    asked = {"subject": "n1", "limit": 2, "newestFirst": True}
    assert server.requests == [("ListEvents", asked)]


def test_facts_since_a_time_are_read_to_the_end(server: ConnectServer, run: Run) -> None:
    def page(request: Json) -> Json:
        after = int(request["afterSeq"])
        numbers = range(after + 1, min(after + request["limit"], 2_500) + 1)
        return {"events": [fact(number) for number in numbers], "lastSeq": "2600"}

    server.answers["ListEvents"] = page
    since = "2026-01-31T12:00:00+01:00"
    answer = json.loads(run("events", "--since", since, "-o", "json").stdout)
    assert [int(one["seq"]) for one in answer["events"]] == list(range(1, 2_501))
    assert answer["lastSeq"] == "2600"
    assert [request["since"] for _, request in server.requests] == [since] * 3
    fewer = json.loads(run("events", "--since", "1h", "--limit", "1200", "-o", "json").stdout)
    assert len(fewer["events"]) == 1_200


def test_following_goes_on_where_it_stopped_when_the_server_comes_back(
    server: ConnectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken_after_two(request: Json) -> Iterable[Json]:
        after = int(request["afterSeq"])
        return [{"event": fact(after + 1)}, {"event": fact(after + 2)}]

    server.prepare("ListEvents", journal(100))
    server.streams["WatchEvents"] = broken_after_two
    assert followed(server, after_seq=10, count=5) == [11, 12, 13, 14, 15]
    asked = [request for method, request in server.requests if method == "WatchEvents"]
    assert asked == [{"subject": "n1", "afterSeq": str(seq)} for seq in (10, 12, 14)]
    assert "waiting for it to come back" in capsys.readouterr().err


def test_following_starts_over_when_the_journal_is_another_one(
    server: ConnectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.prepare("ListEvents", journal(1))
    server.streams["WatchEvents"] = lambda request: [{"event": fact(int(request["afterSeq"]) + 1)}]
    assert followed(server, after_seq=500, count=1) == [1]
    assert "the journal is another one than before" in capsys.readouterr().err


def test_following_ends_when_the_server_refuses(server: ConnectServer) -> None:
    def refuse(request: Json) -> Json:
        raise Refusal(401, "unauthenticated", "the token is not known")

    server.answers["ListEvents"] = refuse
    with pytest.raises(WireError, match="the token is not known"):
        followed(server, after_seq=1, count=1)
