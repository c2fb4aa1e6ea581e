"""The watch over notices that a spot machine ends, against doubles of both metadata servers."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from doubles.metadata import MetadataServers
from navarch import wiring
from navarch.agent.daemon import Daemon
from navarch.agent.duties import Duties
from navarch.agent.equipment import Census, make_sensors
from navarch.agent.interruption import (
    ANSWER_BYTES_MAX,
    AmazonNotices,
    GoogleNotices,
    Interruptions,
    Metadata,
    Unheard,
    cloud_of,
    make_interruptions,
)
from navarch.agent.line import Line
from navarch.agent.record import CommandRecord
from navarch.agent.sensing import Sensing
from navarch.agent.settings import AgentSettings
from navarch.agent.turns import (
    Answer,
    CallFailed,
    EventsSensed,
    HealthAnswered,
    HeartbeatAnswered,
    RegisterAnswered,
    Send,
)
from navarch.cli.main import cli
from navarch.core.model.messages import Heartbeat, RegisterNode, ReportHealth
from navarch.core.model.report import HealthEvent

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
INSTANCE_ACTION = "GET /latest/meta-data/spot/instance-action"
NEW_TOKEN = "PUT /latest/api/token"
TERMINATE = HealthEvent(
    "interruption",
    metrics={"deadline": "2017-09-18T08:22:00Z", "action": "terminate", "cloud": "aws"},
    message="aws takes this machine back: terminate at 2017-09-18T08:22:00Z",
    timestamp=NOW,
)


@pytest.fixture
def servers() -> MetadataServers:
    """Return servers that announce nothing."""
    return MetadataServers()


@pytest.fixture
def url(servers: MetadataServers) -> Iterator[str]:
    """Serve, and yield the address."""
    with servers.serving() as url:
        yield url


def watch(cloud: str, url: str, **more: object) -> Interruptions:
    metadata = Metadata(aws_url=url, gcp_url=url, every=timedelta(milliseconds=5))
    made = make_interruptions(cloud, metadata, now=lambda: NOW)
    assert made is not None
    return made


# --- Amazon EC2 --------------------------------------------------------------------------------


def test_a_notice_of_ec2_is_told_in_its_words(servers: MetadataServers, url: str) -> None:
    servers.announce("terminate", "2017-09-18T08:22:00Z")
    assert asyncio.run(watch("aws", url).look()) == TERMINATE
    assert servers.asked == [NEW_TOKEN, INSTANCE_ACTION]
    assert servers.lifetimes == ["21600"]


def test_while_nothing_is_announced_nothing_is_told_and_the_token_is_kept(
    servers: MetadataServers, url: str
) -> None:
    source = AmazonNotices(url, SECOND)
    assert [source.look(NOW), source.look(NOW)] == [None, None]
    assert servers.asked == [NEW_TOKEN, INSTANCE_ACTION, INSTANCE_ACTION]


def test_a_token_that_is_over_is_fetched_anew_at_once(servers: MetadataServers, url: str) -> None:
    source = AmazonNotices(url, SECOND)
    source.look(NOW)
    servers.expire_tokens()
    servers.announce("stop", "2026-01-31T12:02:00Z")
    notice = source.look(NOW)
    assert notice is not None
    assert notice.action == "stop"
    assert servers.asked[2:] == [INSTANCE_ACTION, NEW_TOKEN, INSTANCE_ACTION]


def test_a_token_that_is_refused_at_once_is_not_fetched_in_a_circle(
    servers: MetadataServers, url: str
) -> None:
    servers.raw = b"HTTP/1.0 401 Unauthorized\r\n\r\n"
    with pytest.raises(Unheard, match="no token is given: HTTP 401"):
        AmazonNotices(url, SECOND).look(NOW)
    assert len(servers.asked) == 1


def test_a_service_that_gives_no_token_is_not_asked_without_one(
    servers: MetadataServers, url: str
) -> None:
    servers.gives_tokens = False
    with pytest.raises(Unheard, match="no token is given: HTTP 403"):
        AmazonNotices(url, SECOND).look(NOW)
    assert servers.asked == [NEW_TOKEN]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"terminate",
        b'{"action": "terminate"}',
        b'{"action": "terminate", "time": "soon"}',
        b'{"action": "terminate", "time": "2017-09-18T08:22:00"}',
        b'{"action": "rm -rf /", "time": "2017-09-18T08:22:00Z"}',
        b'{"action": "terminate", "time": "2017-09-18T08:22:00Z"}' + b" " * ANSWER_BYTES_MAX,
        b"\xff\xfe",
        b"[" * 4000,
    ],
)
def test_what_is_not_understood_is_no_notice(
    servers: MetadataServers, url: str, said: bytes
) -> None:
    servers.instance_action = said
    with pytest.raises(Unheard):
        AmazonNotices(url, SECOND).look(NOW)


# --- Google Compute Engine ---------------------------------------------------------------------


def test_a_notice_of_google_leaves_thirty_seconds(servers: MetadataServers, url: str) -> None:
    servers.preempted = b"TRUE\n"
    event = asyncio.run(watch("gcp", url).look())
    assert event is not None
    assert event.metrics == {
        "deadline": "2026-01-31T12:00:30Z",
        "action": "preempt",
        "cloud": "gcp",
    }
    assert (event.event_type, event.gpu_index, event.timestamp) == ("interruption", -1, NOW)


def test_what_is_not_googles_server_is_not_believed(servers: MetadataServers, url: str) -> None:
    servers.preempted, servers.flavor = b"TRUE", ""
    with pytest.raises(Unheard, match="not from Google"):
        GoogleNotices(url, SECOND).look(NOW)


@pytest.mark.parametrize("said", [b"", b"true", b"TRUE FALSE", b"\x00"])
def test_google_says_true_or_false_and_nothing_else(
    servers: MetadataServers, url: str, said: bytes
) -> None:
    servers.preempted = said
    with pytest.raises(Unheard, match="neither"):
        GoogleNotices(url, SECOND).look(NOW)


# --- once, and whatever happens ----------------------------------------------------------------


def looks(made: Interruptions, *steps: Callable[[], object]) -> list[bool]:
    """Look once after each step, and tell whether there was something new each time."""

    async def each() -> list[bool]:
        found = []
        for step in steps:
            step()
            found.append(await made.look() is not None)
        return found

    return asyncio.run(each())


def test_a_notice_is_told_once_and_another_one_again(servers: MetadataServers, url: str) -> None:
    def hibernate(time: str) -> Callable[[], None]:
        return lambda: servers.announce("hibernate", time)

    def over() -> None:
        servers.instance_action = None

    first, second = hibernate("2026-01-31T12:00:00Z"), hibernate("2026-02-01T12:00:00Z")
    steps = [first, first, second, second, over, second]
    assert looks(watch("aws", url), *steps) == [True, False, True, False, False, True]


def test_a_failure_between_does_not_tell_the_same_notice_again(
    servers: MetadataServers, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def say(preempted: bytes, status: int = 0) -> Callable[[], None]:
        def change() -> None:
            servers.preempted, servers.status = preempted, status

        return change

    with caplog.at_level(logging.INFO, "navarch.agent"):
        steps = [say(b"TRUE"), say(b"", 503), say(b"", 503), say(b"TRUE")]
        assert looks(watch("gcp", url), *steps) == [True, False, False, False]
    assert [record.message.split()[0] for record in caplog.records] == [
        "interruptions_unheard",
        "interruptions_heard_again",
    ]


def test_a_service_that_hangs_costs_its_deadline_and_not_the_loop(
    servers: MetadataServers, url: str
) -> None:
    servers.silent.set()
    metadata = Metadata(gcp_url=url, time_max=timedelta(milliseconds=50))
    made = make_interruptions("gcp", metadata, now=lambda: NOW)
    assert made is not None

    async def looked() -> bool:
        look = asyncio.create_task(made.look())
        await asyncio.to_thread(servers.wait_for, 1)
        is_free = not look.done()
        assert await look is None
        return is_free

    assert asyncio.run(looked())


def test_a_service_that_is_not_there_is_asked_again_and_heard_when_it_comes(
    servers: MetadataServers,
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        absent = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(Unheard, match="refused"):
            AmazonNotices(absent, SECOND).look(NOW)


@given(raw=st.binary(max_size=300))
def test_no_bytes_are_a_notice_by_chance_and_none_end_the_watch(raw: bytes) -> None:
    servers = FUZZED[0]
    servers.raw = raw
    for cloud in ("aws", "gcp"):
        assert asyncio.run(FUZZED[1][cloud].look()) is None


@given(
    status=st.sampled_from([200, 404, 401]),
    headers=st.lists(st.binary(max_size=30)),
    body=st.binary(max_size=80),
)
def test_no_answer_in_http_ends_the_watch(status: int, headers: list[bytes], body: bytes) -> None:
    servers = FUZZED[0]
    lines = [b"HTTP/1.1 %d X" % status, *headers, b"", body]
    servers.raw = b"\r\n".join(lines)
    for cloud in ("aws", "gcp"):
        assert asyncio.run(FUZZED[1][cloud].look()) is None


FUZZED: tuple[MetadataServers, dict[str, Interruptions]]
"""Servers for many examples: one socket and two threads for all of them."""


@pytest.fixture(scope="module", autouse=True)
def _serve_the_fuzzed() -> Iterator[None]:
    global FUZZED  # noqa: PLW0603 - Hypothesis takes no fixture that is made anew
    servers = MetadataServers()
    with servers.serving() as url:
        FUZZED = servers, {cloud: watch(cloud, url) for cloud in ("aws", "gcp")}
        yield


# --- which cloud -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vendor, cloud",
    [
        ("Amazon EC2\n", "aws"),
        ("Google\n", "gcp"),
        ("QEMU\n", ""),
        ("Xen\n", ""),
        ("\xff\xfe", ""),
        ("", ""),
        ("Amazon EC2" + " " * 1000 + "x", "aws"),
    ],
)
def test_the_firmware_says_which_cloud_it_is(tmp_path: Path, vendor: str, cloud: str) -> None:
    (tmp_path / "sys_vendor").write_text(vendor, encoding="latin-1")
    assert cloud_of(tmp_path / "sys_vendor") == cloud


def test_elsewhere_nobody_is_asked(servers: MetadataServers, url: str, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    nowhere = Metadata(vendor_file=tmp_path / "none", aws_url=url, gcp_url=url)
    assert make_interruptions("auto", nowhere, now=lambda: NOW) is None
    assert make_interruptions("off", nowhere, now=lambda: NOW) is None
    # Threads of other tests may end meanwhile; what matters is that none is new.
    assert (servers.asked, set(threading.enumerate()) - before) == ([], set())


def test_auto_asks_the_cloud_that_the_firmware_names(
    servers: MetadataServers, url: str, tmp_path: Path
) -> None:
    (tmp_path / "sys_vendor").write_text("Google\n")
    metadata = Metadata(vendor_file=tmp_path / "sys_vendor", gcp_url=url)
    made = make_interruptions("auto", metadata, now=lambda: NOW)
    assert made is not None
    assert asyncio.run(made.look()) is None
    assert servers.asked == ["GET /computeMetadata/v1/instance/preempted"]


@pytest.mark.parametrize("address", ["", "169.254.169.254", "https://x", "http://x:port"])
def test_an_address_that_is_none_is_refused_before_anything_begins(address: str) -> None:
    from navarch.errors import ConfigError

    with pytest.raises(ConfigError, match="address"):
        make_interruptions("aws", Metadata(aws_url=address), now=lambda: NOW)


def test_the_command_line_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[AgentSettings] = []

    def begin(settings: AgentSettings) -> int:
        begun.append(settings)
        return 0

    monkeypatch.setattr(wiring, "run_agent", begin)
    needed = ["agent", "--server", "http://a:1", "--node-id", "n", "--state-dir", "/s"]
    for words in ([], ["--interruptions", "aws"], ["--interruptions", "off"]):
        CliRunner().invoke(cli, [*needed, *words], catch_exceptions=False)
    assert [each.interruptions for each in begun] == ["auto", "aws", "off"]


# --- as a part of the agent --------------------------------------------------------------------


def test_a_notice_is_sent_in_the_turn_in_which_it_comes() -> None:
    duties = Duties(RegisterNode("n1"), start=NOW, spread=0.5)
    register, *_ = [each for each in duties.step(EventsSensed(()), NOW) if isinstance(each, Send)]
    heartbeat, *_ = [
        each
        for each in duties.step(RegisterAnswered(register.call), NOW + 2 * SECOND)
        if isinstance(each, Send)
    ]
    poll, *_ = [
        each
        for each in duties.step(HeartbeatAnswered(heartbeat.call), NOW + 2 * SECOND)
        if isinstance(each, Send)
    ]
    duties.step(CallFailed(poll.call, "internal"), NOW + 2 * SECOND)
    outputs = duties.step(EventsSensed((TERMINATE,)), NOW + 2 * SECOND)
    sent = [each.request for each in outputs if isinstance(each, Send)]
    assert sent == [ReportHealth("n1", (), (TERMINATE,))]


class Plane(Line):
    """A control plane that takes everything, without a wire."""

    def __init__(self) -> None:
        self.reported: asyncio.Queue[HealthEvent] = asyncio.Queue()

    async def call(self, send: Send) -> Answer:
        match send.request:
            case RegisterNode():
                return RegisterAnswered(send.call, heartbeat_interval=timedelta(hours=1))
            case Heartbeat():
                return HeartbeatAnswered(send.call)
            case ReportHealth(events=events):
                for event in events:
                    self.reported.put_nowait(event)
                return HealthAnswered(send.call)
            case _:
                return CallFailed(send.call, "internal")


def test_the_agent_reports_a_notice_while_nothing_else_is_due(
    servers: MetadataServers, url: str, tmp_path: Path
) -> None:
    settings = AgentSettings(
        servers=("http://a:1",),
        node_id="n1",
        state_dir=tmp_path,
        sensors="injected",
        interruptions="aws",
        metadata=Metadata(aws_url=url, every=timedelta(milliseconds=5)),
    )

    async def life() -> HealthEvent:
        plane = Plane()
        census = Census()
        sensors = make_sensors(settings, lambda: NOW, census)
        sensing = Sensing(sensors, time_max=SECOND, now=lambda: NOW, census=census)
        record = CommandRecord(tmp_path / "commands.jsonl")
        daemon = Daemon(settings, sensing, line=plane, record=record, now=lambda: NOW)
        running = asyncio.create_task(daemon.run())
        try:
            async with asyncio.timeout(10):
                await asyncio.to_thread(servers.wait_for, 4)
                assert plane.reported.empty()
                servers.announce("terminate", "2017-09-18T08:22:00Z")
                event = await plane.reported.get()
                await asyncio.to_thread(servers.wait_for, len(servers.asked) + 3)
                assert plane.reported.empty()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return event

    assert asyncio.run(life()) == TERMINATE
