"""What a container has printed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.docker_bench import Bench, request_of
from doubles.docker_engine import Container, Fault
from navarch.errors import NotFound, Unavailable
from navarch.providers.base import BOOTSTRAP_LOG_BYTES_MAX, BootstrapLogReader
from navarch.providers.docker.answers import unframed


def made(bench: Bench, **changes: object) -> Container:
    bench.run(lambda provider: provider.provision(request_of()), **changes)
    return bench.container()


def told(bench: Bench, instance_id: str) -> str:
    return bench.run(lambda provider: provider.bootstrap_log(instance_id))


def test_the_provider_says_that_it_shows_logs(bench: Bench) -> None:
    assert isinstance(bench.provider(), BootstrapLogReader)


@pytest.mark.parametrize("tty", [False, True])
def test_output_and_errors_are_shown_in_the_order_of_printing(bench: Bench, *, tty: bool) -> None:
    container = made(bench)
    container.tty = tty
    container.printed = [(1, b"begin command-1\n"), (2, b"trouble\xff\n"), (1, b"FAILED\n")]
    assert told(bench, container.id) == "begin command-1\ntrouble\ufffd\nFAILED\n"


def test_a_container_that_has_ended_and_is_kept_still_tells(bench: Bench) -> None:
    container = made(bench, keep_ended=True)
    container.printed = [(1, b"FAILED\n")]
    container.state = "exited"
    assert told(bench, container.id) == "FAILED\n"


def test_a_long_log_is_cut_to_its_end(bench: Bench) -> None:
    container = made(bench)
    container.printed = [(1, b"%06d " % number + b"x" * 93 + b"\n") for number in range(3_000)]
    shown = told(bench, container.id)
    assert len(shown.encode()) <= BOOTSTRAP_LOG_BYTES_MAX
    assert shown.splitlines()[-1].startswith("002999 ")
    assert len(shown.splitlines()[0]) == 100


def test_only_a_container_of_ours_is_asked_by_its_whole_id(bench: Bench) -> None:
    container = made(bench)
    stranger = bench.engine.add("stranger")
    for instance_id in (container.id[:12], "n-0001", "f" * 64, stranger, ""):
        with pytest.raises(NotFound):
            told(bench, instance_id)
    assert [each for each in bench.engine.calls() if "logs" in each] == []


def test_an_engine_in_trouble_is_unavailable(bench: Bench) -> None:
    container = made(bench)
    bench.engine.faults.append(Fault("GET .*/logs"))
    with pytest.raises(Unavailable):
        told(bench, container.id)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=40))))
def test_frames_are_joined(frames: list[tuple[int, bytes]]) -> None:
    sent = b"".join(struct.pack(">BxxxL", kind, len(content)) + content for kind, content in frames)
    assert unframed(sent) == b"".join(content for _, content in frames)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_to_their_end(content: bytes) -> None:
    assert len(unframed(content)) <= len(content)
