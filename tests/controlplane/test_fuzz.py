"""Whatever is sent to it, a control plane answers in good form, lives on, and keeps its journal."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from controlplane.fuzzing import (
    FORMS,
    FORMS_STREAM,
    IDS,
    METHODS,
    ODD_BODIES,
    ODD_HEADERS,
    Answer,
    Request,
    World,
    headers_of,
    raw_requests,
    requests,
)
from navarch.wire.asgi import SERVICE

ANY_DATA = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A control plane that many requests meet."""
    made = World()
    yield made
    made.close()


@ANY_DATA
@given(requests())
def test_every_request_has_an_answer_in_good_form(world: World, request_: Request) -> None:
    world.check_answer(request_, world.send(request_))


def test_every_method_takes_every_odd_body(world: World) -> None:
    for method in METHODS:
        forms = FORMS_STREAM if SERVICE.methods_by_name[method].server_streaming else FORMS
        for form in forms:
            for body in ODD_BODIES:
                request = Request(method, body, headers_of(form))
                world.check_answer(request, world.send(request))
    world.check_plane()


def test_every_odd_header_is_taken_or_refused(world: World) -> None:
    for method in ("Heartbeat", "HeartbeatBatch", "PollCommands", "ListNodes", "WatchEvents"):
        streams = SERVICE.methods_by_name[method].server_streaming
        for form in FORMS_STREAM if streams else FORMS:
            for name, value in ODD_HEADERS:
                body = b'{"nodeId":"n1"}' if form.endswith("json") else b"\x0a\x02n1"
                headers = [each for each in headers_of(form) if each[0] != name]
                request = Request(method, body, (*headers, (name, value)))
                world.check_answer(request, world.send(request))
    world.check_plane()


@settings(ANY_DATA, max_examples=ANY_DATA.max_examples // 2)
@given(raw_requests().filter(lambda data: b"WatchEvents" not in data))
def test_whatever_bytes_a_socket_brings_are_answered_or_hung_up_on(
    world: World, data: bytes
) -> None:
    answer = world.send_bytes(data)
    statuses = [
        line.split(b" ")[1]
        for line in answer.split(b"\r\n")
        if line.startswith(b"HTTP/1.1 ") and line.count(b" ") >= 1
    ]
    assert not answer or statuses, (data, answer)
    assert not {b"500", b"502", b"503"} & set(statuses), (data, answer)


def test_it_lives_on_after_all_of_it(world: World) -> None:
    world.check_plane()


@pytest.mark.soak
def test_requests_leave_nothing_behind() -> None:
    """The same thousands of requests, again and again: memory stays as it is."""
    world = World()
    corpus = [
        Request(method, body, headers_of(form))
        for method in METHODS
        if method not in ("RegisterNode", "ApplyResources", "IssueCommand", "ReportHealth")
        for form in (FORMS_STREAM if SERVICE.methods_by_name[method].server_streaming else FORMS)
        for body in (*ODD_BODIES, *(b'{"nodeId":"%b"}' % each.encode() for each in IDS))
    ]

    def held() -> int:
        for request in corpus:
            answer: Answer = world.send(request)
            assert answer.status
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    held()
    tracemalloc.start()
    try:
        sizes = [held() for _ in range(4)]
    finally:
        tracemalloc.stop()
        world.close()
    assert sizes[-1] - sizes[1] < 300_000, sizes
