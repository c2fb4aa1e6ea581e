"""What is kept of a fleet and how it is laid out, without a terminal."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.connect_server import ConnectServer, Json
from navarch.cli.session import PAGE_SIZE
from navarch.cli.top import dialogs, shown
from navarch.cli.top.app import Top
from navarch.cli.top.board import Board
from navarch.cli.top.seen import ORDER, NodeLine, Seen, line_of
from navarch.cli.top.watching import BACK_MAX, ONE_BY_ONE_MAX, Watching
from navarch.cli.views import EventView
from navarch.errors import WireError
from navarch.wire.servers import Servers

NOW = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)


def a_line(node: str = "n1", **more: Any) -> NodeLine:  # noqa: ANN401 - fields of the JSON
    entry = {"nodeId": node, "status": "NODE_STATUS_ACTIVE", "phase": "active", **more}
    line = line_of(entry)
    assert line is not None
    return line


@pytest.mark.parametrize(
    "entry,state",
    [
        ({}, "ACTIVE"),
        ({"healthStatus": "HEALTH_STATUS_DEGRADED"}, "DEGRADED"),
        ({"healthStatus": "HEALTH_STATUS_UNHEALTHY"}, "UNHEALTHY"),
        ({"contact": "lost", "healthStatus": "HEALTH_STATUS_UNHEALTHY"}, "LOST"),
        ({"status": "NODE_STATUS_DRAINING", "healthStatus": "HEALTH_STATUS_DEGRADED"}, "DRAINING"),
        ({"phase": "terminating", "contact": "lost"}, "TERMINATING"),
        ({"status": "NODE_STATUS_OF_TOMORROW"}, "OF_TOMORROW"),
    ],
)
def test_the_one_word_is_what_is_wrong(entry: Json, state: str) -> None:
    assert a_line(**entry).state == state


def test_a_node_that_has_ended_is_no_line_and_nonsense_is_an_error() -> None:
    assert line_of({"nodeId": "n1", "phase": "terminated"}) is None
    with pytest.raises(WireError, match="not understood"):
        line_of({"nodeId": 7})


def test_every_state_has_a_colour_and_all_but_the_good_one_a_sign() -> None:
    assert set(ORDER) <= set(shown.COLOURS)
    assert [state for state in ORDER if state not in shown.SIGNS] == ["ACTIVE"]


def test_pages_say_who_is_there_and_who_is_gone() -> None:
    seen = Seen()
    seen.told_page([a_line(each) for each in "abcd"], after="", last="d")
    assert not seen.picture().complete
    seen.told_page([a_line(each) for each in "ef"], after="d", last=None)
    assert seen.picture().complete
    seen.told_page([a_line("a"), a_line("d")], after="", last="d")
    assert sorted(line.node for line in seen.picture().nodes) == ["a", "d", "e", "f"]
    seen.told_page([], after="d", last=None)
    assert sorted(line.node for line in seen.picture().nodes) == ["a", "d"]


def test_what_is_as_before_is_no_change() -> None:
    seen = Seen()
    seen.told_page([a_line("a")], after="", last=None)
    seen.told_pools([])
    version = seen.version
    seen.told_page([a_line("a")], after="", last=None)
    seen.told_node("a", a_line("a"))
    seen.told_node("b", None)
    seen.told_pools([])
    seen.linked(state=seen.link.state)
    assert seen.version == version
    seen.told_node("a", None)
    assert seen.version > version


def test_nodes_are_sorted_by_need_and_found_by_all_their_words() -> None:
    sick = a_line("a", healthStatus="HEALTH_STATUS_UNHEALTHY", because="xid 79 on GPU 2")
    lines = [a_line("c"), sick, a_line("b", contact="lost", pool="training")]
    first = shown.chosen(lines, sort="what is wrong")
    assert [line.node for line in first] == ["b", "a", "c"]
    assert [line.node for line in shown.chosen(lines, sort="node")] == ["a", "b", "c"]
    found = shown.chosen(lines, sort="node", words="GPU XID")
    assert found == [sick]
    assert [line.node for line in shown.chosen(lines, sort="node", pool="training")] == ["b"]
    assert shown.counted(lines) == [("LOST", 1), ("UNHEALTHY", 1), ("ACTIVE", 1)]


def test_the_narrower_the_terminal_the_fewer_columns() -> None:
    lines = [a_line("a" * 30, pool="training", because="x" * 90, provider="fake", region="east")]
    names = {
        width: [each.column.name for each in shown.placed(shown.NODE_COLUMNS, lines, NOW, width)]
        for width in (30, 80, 250)
    }
    assert names[30] == ["NODE", "STATE", "BECAUSE"]
    assert names[80] == ["NODE", "STATE", "POOL", "BECAUSE"]
    assert names[250] == [column.name for column in shown.NODE_COLUMNS]


@given(
    st.integers(20, 300),
    st.lists(st.tuples(st.text(max_size=50), st.text(max_size=50)), max_size=5),
)
def test_whatever_nodes_are_called_lines_fit(width: int, words: list[tuple[str, str]]) -> None:
    lines = [a_line(name, because=because) for name, because in words]
    columns = shown.placed(shown.NODE_COLUMNS, lines, NOW, width)
    for line in lines:
        cells = [shown.cell(each.column.words(line, NOW), each.width) for each in columns]
        assert [len(cell) for cell in cells] == [each.width for each in columns]
        assert all(cell.isprintable() for cell in cells)


@pytest.mark.parametrize(
    "seconds,said",
    [(-5, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d"), (10**9, "999d")],
)
def test_ages_take_four_signs(seconds: int, said: str) -> None:
    assert shown.ago(NOW - timedelta(seconds=seconds), NOW) == said


# ---- learning


def page_of(nodes: list[str], request: Json) -> Json:
    """Answer a page as the control plane does."""
    left = [node for node in nodes if node > request["pageToken"]]
    page = left[: min(request["pageSize"], 3)]
    more = {"nextPageToken": page[-1]} if len(left) > len(page) else {}
    return {"nodes": [{"nodeId": node, "phase": "active"} for node in page], **more}


def test_a_storm_is_answered_by_reading_all_pages_once(server: ConnectServer) -> None:
    nodes = [f"n{number}" for number in range(8)]
    read = threading.Event()
    facts = [{"seq": "1", "kind": "resumed"}]
    storm = threading.Event()
    server.prepare("ListPools", {"pools": []})
    server.prepare("ListEvents", {"events": facts, "lastSeq": "1"})
    server.answers["GetNode"] = lambda request: {"node": {"nodeId": request["nodeId"]}}

    def pages(request: Json) -> Json:
        answer = page_of(nodes, request)
        if "nextPageToken" not in answer:
            read.set()
        return answer

    def stream(request: Json) -> Any:  # noqa: ANN401 - messages
        assert request == {"afterSeq": "1"}
        assert storm.wait(20)
        subjects = [f"n{number}" for number in range(ONE_BY_ONE_MAX + 1)]
        yield {"event": {"seq": "2", "kind": "records_forgotten", "subjects": subjects[:8]}}
        for number, name in enumerate(subjects, 3):
            yield {"event": {"seq": f"{number}", "kind": "node_registered", "subjects": [name]}}
        server.ended.wait(20)

    server.answers["ListNodes"] = pages
    server.streams["WatchEvents"] = stream
    seen = Seen()
    moment = timedelta(milliseconds=50)
    watching = Watching(lambda: Servers([server.url]), seen, every=moment, soon=moment)
    watching.start()
    assert read.wait(20)
    nodes.remove("n4")
    storm.set()
    for _ in range(400):
        if not seen.has_node("n4") and seen.link.seq > ONE_BY_ONE_MAX:
            break
        threading.Event().wait(0.05)
    server.ended.set()
    watching.end()
    watching.end()
    assert sorted(line.node for line in seen.picture().nodes) == nodes
    assert watching.failed is None
    asked = {request["pageSize"] for method, request in server.requests if method == "ListNodes"}
    assert asked == {PAGE_SIZE}
    limits = [each["limit"] for method, each in server.requests if method == "ListEvents"]
    assert set(limits) == {BACK_MAX}


def test_the_newest_facts_are_kept_and_no_more() -> None:
    seen = Seen()
    seen.told_facts([EventView(seq=number) for number in range(1, 2_000)])
    assert len(seen.picture().events) == 500
    assert (seen.link.seq, seen.newest) == (1_999, EventView(seq=1_999))
    seen.told_facts([EventView(seq=3)], anew=True)
    assert [fact.seq for fact in seen.picture().events] == [3]
    assert seen.link.seq == 3


def test_every_key_is_in_the_help_and_on_the_page(project: Any) -> None:  # noqa: ANN401 - a path
    page = (project / "docs" / "top.md").read_text()
    words = " ".join(f"{key} {meaning}" for key, meaning in dialogs.KEYS)
    spelled = {"slash": "/", "question_mark": "?"}
    for binding in (*Top.BINDINGS, *Board.BINDINGS):
        key = binding.key.split(",")[0]  # type: ignore[union-attr]  # ours are no tuples
        key = {"up": "arrows", "down": "arrows", "pageup": "page keys"}.get(key, key)
        key = {"pagedown": "page keys", **spelled}.get(key, key)
        assert f"`{key}`" in page or key in page, key
        assert key in words or key in ("home", "end", "?"), key
